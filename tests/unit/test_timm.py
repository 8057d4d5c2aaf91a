"""Networks of timm by name: as timm builds them, without its weights and without a network."""

import socket

import pytest
import timm
import torch

from cohort import CohortConfig, load_student, train_cohort
from cohort.errors import ConfigError
from cohort.models.registry import build_network, build_student
from cohort.models.spec import WithMembers

SHAPE = (3, 32, 32)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("timm asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def build(spec, *, num_classes=5, image_shape=SHAPE):
    return build_network(spec, num_classes=num_classes, image_shape=image_shape)


def test_it_is_timms_network_with_a_classifier_of_ours():
    network = build("timm:mobilenetv3_small_050", num_classes=7, image_shape=(1, 64, 48))
    theirs = timm.create_model("mobilenetv3_small_050", num_classes=7, in_chans=1)
    assert type(network) is type(theirs)
    network.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 1, 64, 48)
    torch.testing.assert_close(network.eval()(images), theirs.eval()(images))
    assert network.train()(images).shape == (2, 7)


@pytest.mark.parametrize("image_shape", [(3, 32, 32), (1, 64, 32)])
def test_a_transformer_is_built_for_the_images_size(image_shape):
    network = build("timm:test_vit", image_shape=image_shape)
    side = 16
    assert network.pos_embed.shape[1] == 1 + image_shape[1] // side * (image_shape[2] // side)
    assert network(torch.rand(2, *image_shape)).shape == (2, 5)


def test_it_is_a_function_of_seed_and_number():
    def weights(seed):
        student = build_student(
            "timm:test_resnet", num_classes=5, image_shape=SHAPE, mean=(0.5,) * 3, std=(0.2,) * 3,
            seed=seed, student=0,
        )  # fmt: skip
        return torch.cat([p.flatten() for p in student.parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_exits_where_they_are_put():
    network = build("timm:test_efficientnet+exits=blocks.1/blocks.2", image_shape=(3, 64, 64))
    images = torch.rand(2, 3, 64, 64)
    assert [logits.shape for logits in network.outputs(images).logits] == [(2, 5)] * 3
    with pytest.raises(ConfigError, match="a network that does not say where its exits go; name"):
        build("timm:test_efficientnet+exits")
    with pytest.raises(ConfigError, match=r"puts exits after blocks\.0 in timm:test_vit, but"):
        build("timm:test_vit+exits=blocks.0")


def test_members_that_share_its_weights_or_a_sentence():
    ensemble = build(WithMembers("timm:test_resnet", 2), image_shape=(3, 64, 64))
    assert ensemble(torch.rand(2, 3, 64, 64)).shape == (2, 2, 5)
    with pytest.raises(ConfigError, match="--students cannot be a batch ensemble"):
        build(WithMembers("timm:test_vit", 2))


@pytest.mark.parametrize(
    ("spec", "image_shape", "words"),
    [
        ("timm:test_resnets", SHAPE, ["is 'timm:test_resnets', but timm", "did you mean 'test_resnet'?"]),
        ("timm:", SHAPE, ["has no network ''"]),
        ("timm:hf_hub:somebody/something", SHAPE, ["has no network 'hf_hub:somebody/something'"]),
        ("timm:test_resnet.nobody_in1k", SHAPE, ["timm cannot build", "nobody_in1k"]),
        ("timm:test_vit", (3, 8, 8), ["'timm:test_vit'"]),
    ],
)  # fmt: skip
def test_what_timm_has_not_is_said_in_a_sentence(spec, image_shape, words):
    with pytest.raises(ConfigError) as caught:
        build(spec, image_shape=image_shape)
    message = str(caught.value)
    assert message.startswith("--students is 'timm:")
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_without_timm_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        build("timm:test_resnet")
    assert str(caught.value) == (
        "--students is 'timm:test_resnet', which needs the extra: pip install 'cohort[models]'"
    )


def test_a_cohort_of_them_trains_and_loads_again(tmp_path):
    config = CohortConfig(
        students="timm:test_resnet,timm:test_efficientnet+exits=blocks.1", dataset="synthetic",
        train_subset=32, test_subset=8, batch_size=16, epochs=1, exchange="in_process", threads=1,
        run_dir=str(tmp_path / "run"),
    )  # fmt: skip
    result = train_cohort(config)
    assert [row["model"] for row in result.summary["students"]] == config.students.split(",")
    for number in (0, 1):
        student = load_student(tmp_path / "run/students" / str(number))
        assert student(torch.rand(2, *SHAPE)).shape == (2, 10)
