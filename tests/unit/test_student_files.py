"""A trained student on disk, and the hash of its weights."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cohort.errors import ConfigError
from cohort.learning.learner import WEIGHTS_FILE, weights_bytes
from cohort.learning.student_files import CARD_FILE, ModelCard, load_student, weights_sha256
from cohort.models.registry import build_student

SHAPE, MEAN, STD = (1, 8, 8), (0.25,), (0.5,)
CARD = ModelCard(
    network="resnet8", dataset="digits", classes=("0", "1", "2"), image_shape=SHAPE,
    mean=MEAN, std=STD,
)  # fmt: skip


def build(spec="resnet8", student=0):
    return build_student(
        spec, num_classes=3, image_shape=SHAPE, mean=MEAN, std=STD, seed=0, student=student
    )


def save(folder, network, card=CARD):
    folder.mkdir(exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(weights_bytes(network))
    (folder / CARD_FILE).write_text(card.to_json())
    return folder


@pytest.fixture
def trained():
    """A student whose running statistics have moved from where they began."""
    network = build()
    network(torch.rand(16, *SHAPE))
    return network.eval()


@pytest.fixture
def folder(tmp_path, trained):
    return save(tmp_path / "0", trained)


def test_loaded_gives_the_same_logits(folder, trained):
    images = torch.rand(5, *SHAPE)
    loaded = load_student(folder)
    assert not any(module.training for module in loaded.modules())
    assert torch.equal(loaded(images), trained(images))
    assert not torch.equal(loaded(images), build(student=1).eval()(images))
    assert weights_sha256(loaded) == weights_sha256(trained)


def test_normalisation_is_inside(folder):
    images = torch.rand(5, *SHAPE)
    loaded = load_student(folder)
    torch.testing.assert_close(loaded(images), loaded.network((images - 0.25) / 0.5))


def test_no_pickle_in_the_folder(folder):
    assert sorted(path.name for path in folder.iterdir()) == [CARD_FILE, WEIGHTS_FILE]
    header = int.from_bytes((folder / WEIGHTS_FILE).read_bytes()[:8], "little")
    json.loads((folder / WEIGHTS_FILE).read_bytes()[8 : 8 + header])


def test_a_network_that_cannot_be_imported_is_given(tmp_path):
    def factory():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    student = build(lambda num_classes: factory()).eval()
    card = replace(CARD, network="<lambda>")
    folder = save(tmp_path / "0", student, card)
    with pytest.raises(ConfigError, match="<lambda>"):
        load_student(folder)
    images = torch.rand(2, *SHAPE)
    assert torch.equal(load_student(folder, lambda num_classes: factory())(images), student(images))


def test_tied_weights_survive(tmp_path):
    def tied(num_classes):
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 3)
        )
        network[2].weight = network[1].weight
        return network

    student = build(tied).eval()
    images = torch.rand(2, *SHAPE)
    loaded = load_student(save(tmp_path / "0", student), tied)
    assert torch.equal(loaded(images), student(images))


def expect_named(folder, name, harm):
    harm(folder / name)
    with pytest.raises(ConfigError) as caught:
        load_student(folder)
    assert str(folder / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", [CARD_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-7]),
        lambda path: path.write_bytes(b"\xff" * 40),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["missing", "empty", "truncated", "noise", "directory"],
)
def test_a_bad_file_is_named(folder, name, harm):
    expect_named(folder, name, harm)


@pytest.mark.parametrize("text", ["[]", "{}", '{"network": "resnet8", "classes": 3}', "3"])
def test_a_card_that_describes_nothing(folder, text):
    message = expect_named(folder, CARD_FILE, lambda path: path.write_text(text))
    assert "does not describe a student" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network", 3),
        ("network", []),
        ("mean", ["x"]),
        ("mean", []),
        ("std", [1, 2, 3, 4]),
        ("image_shape", [1]),
        ("image_shape", ["a", 8, 8]),
        ("exit", "first"),
    ],
)
def test_a_card_with_a_value_of_another_kind(folder, key, value):
    def harm(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    message = expect_named(folder, CARD_FILE, harm)
    assert "does not describe a student: " in message
    assert key in message


def test_weights_of_another_network(folder):
    expect_named(folder, WEIGHTS_FILE, lambda path: save_file({"w": torch.zeros(1)}, path))


def test_a_file_instead_of_the_folder(folder):
    with pytest.raises(ConfigError, match=WEIGHTS_FILE):
        load_student(folder / WEIGHTS_FILE)


def test_the_hash_is_that_of_every_parameter_and_buffer(trained):
    original = weights_sha256(trained)
    seen = {original}
    for name, tensor in trained.state_dict().items():
        kept = tensor.clone()
        flat = tensor.flatten().clone()
        flat[-1] = flat[-1] + 1 if not tensor.is_floating_point() else flat[-1] * 2 + 1
        tensor.copy_(flat.view(tensor.shape))
        assert weights_sha256(trained) not in seen, name
        seen.add(weights_sha256(trained))
        tensor.copy_(kept)
    assert weights_sha256(trained) == original
    assert len(seen) == len(trained.state_dict()) + 1


def test_the_hash_sees_the_last_bit(trained):
    original = weights_sha256(trained)
    with torch.no_grad():
        weight = next(trained.parameters())
        weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(9.0))
    assert weights_sha256(trained) != original


def test_the_hash_sees_names_and_shapes():
    a, b = nn.Module(), nn.Module()
    a.register_buffer("x", torch.ones(2, 3))
    b.register_buffer("x", torch.ones(3, 2))
    assert weights_sha256(a) != weights_sha256(b)
    c = nn.Module()
    c.register_buffer("y", torch.ones(2, 3))
    assert weights_sha256(a) != weights_sha256(c)


def test_the_hash_sees_nothing_else(trained):
    original = weights_sha256(trained)
    trained.train()
    trained.remark = "of the user"
    for parameter in trained.parameters():
        parameter.requires_grad_(False).grad = torch.ones_like(parameter)
    trained.network.to(memory_format=torch.channels_last)
    assert weights_sha256(trained) == original


def test_the_hash_does_not_depend_on_the_order_of_registration():
    a, b = nn.Module(), nn.Module()
    for module, order in ((a, "xy"), (b, "yx")):
        for name in order:
            module.register_buffer(name, torch.full((2,), float(ord(name))))
    assert weights_sha256(a) == weights_sha256(b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.complex64])
def test_the_hash_takes_every_type(dtype):
    module = nn.Module()
    module.register_buffer("x", torch.zeros(3).to(dtype))
    before = weights_sha256(module)
    module.x[1] = 1
    assert weights_sha256(module) != before
