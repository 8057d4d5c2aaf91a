"""What a student from ``load_student`` takes for pixels, whichever of its methods is asked."""

import numpy as np
import pytest
import torch

from cohort.errors import ConfigError
from cohort.learning.learner import weights_bytes
from cohort.learning.student_files import CARD_FILE, ModelCard, load_student, trained_student
from cohort.models.registry import build_student
from cohort.models.spec import WithExits, WithMembers

SHAPE = (3, 8, 8)


def saved(folder, network):
    """A student's folder, of a network as it is initialised."""
    card = ModelCard(
        network=network if isinstance(network, str) else network.written_name,
        dataset="made up", classes=("a", "b"), image_shape=SHAPE, mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4),
    )  # fmt: skip
    student = build_student(
        network, num_classes=2, image_shape=SHAPE, mean=card.mean, std=card.std, seed=0, student=0
    )
    (folder / CARD_FILE).write_text(card.to_json())
    (folder / "model.safetensors").write_bytes(weights_bytes(student))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    networks = {
        "plain": "resnet8",
        "exits": WithExits("resnet8"),
        "members": WithMembers("resnet8", 2),
    }
    return {kind: saved(tmp_path_factory.mktemp(kind), net) for kind, net in networks.items()}


ASKED = {
    "plain": lambda student, x: student(x),
    "features": lambda student, x: student.features(x),
    "exits": lambda student, x: student.outputs(x).logits[0],
    "one exit": lambda student, x: student(x, 1),
    "exit alone": lambda student, x: student.exit_alone(1).eval()(x),
    "until confident": lambda student, x: student.until_confident(x, 0.5).logits_BC,
    "members": lambda student, x: student.of_members(x),
    "member alone": lambda student, x: student.member_alone(1).eval()(x),
}


@pytest.fixture(params=ASKED)
def asked(request, folders):
    kind = {"plain": "plain", "features": "plain", "members": "members", "member alone": "members"}
    folder = folders[kind.get(request.param, "exits")]
    return lambda x, load=load_student: ASKED[request.param](load(folder), x).detach()


def pixels(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (2, *SHAPE), np.uint8))


def test_bytes_are_scaled_as_in_training(asked):
    scaled = asked(pixels().float().mul(1 / 255))
    assert torch.equal(asked(pixels()), scaled)
    assert torch.equal(asked(pixels().float().mul(1 / 255), trained_student), scaled)


def test_numpys_own_numbers_are_taken(asked):
    scaled = pixels().double() / 255
    assert torch.equal(asked(scaled), asked(scaled.float()))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (pixels().float(), "pixels are from 0 to 25"),
        (torch.full((1, *SHAPE), 1.001), "pixels are from 1.001 to 1.001; they must lie from 0 to 1"),
        (torch.full((1, *SHAPE), -0.5), "pixels are from -0.5"),
        (torch.full((1, *SHAPE), torch.nan), "pixels are from nan to nan"),
        (pixels().long(), "pixels are torch.int64; they must be floating-point numbers"),
        (torch.zeros(SHAPE), "pixels are of shape [3, 8, 8]; this student takes images [batch, 3,"),
        (torch.zeros(1, 1, 8, 8), "pixels are of shape [1, 1, 8, 8]"),
        (torch.zeros(1, 8, 8, 3), "pixels are of shape [1, 8, 8, 3]"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(asked, wrong, words):
    with pytest.raises(ConfigError) as caught:
        asked(wrong)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_no_picture_at_all_is_a_batch_too(folders):
    assert load_student(folders["plain"])(torch.zeros(0, *SHAPE)).shape == (0, 2)


def test_the_package_itself_does_not_look(folders):
    """In evaluation and on teachers: a look at values would wait for a GPU at every batch."""
    assert trained_student(folders["plain"])(torch.full((1, *SHAPE), 2.0)).isfinite().all()


def test_a_loaded_student_can_still_be_exported_and_differentiated(folders):
    student, x = load_student(folders["plain"]), pixels().float().mul(1 / 255)
    dynamic = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(student, (x,), dynamic_shapes=dynamic).module()
    assert torch.allclose(exported(x), student(x))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(student(x).sum(), x)
    assert gradient.abs().sum() > 0
