"""Examples leave at the first exit that is sure, and only the others go deeper."""

import pytest
import torch
from torch import nn

from cohort.errors import ConfigError
from cohort.models.early_exit import EarlyExits
from cohort.models.normalised import Normalised
from cohort.models.registry import build_student

SHAPE = (3, 8, 8)
EXITS = 3


@pytest.fixture
def student():
    """Its exits are sure of some examples and not of others."""
    made = build_student(
        "tests.support.exits:Tiny+exits",
        num_classes=4,
        image_shape=SHAPE,
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3),
        seed=0,
        student=0,
    )
    made.outputs(images(16))  # statistics move
    made.eval()
    with torch.no_grad():
        for logits, classifier in zip(
            made.outputs(images()).logits, made.network.classifiers, strict=True
        ):
            classifier.bias.sub_(logits.mean(0))
            for parameter in classifier.parameters():
                parameter.div_(logits.std(0).mean())
    return made


def images(count=40):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(5))


def entered(student):
    """How many examples went into each part, in the order of the calls."""
    calls = []
    for kind in ("sections", "branches", "classifiers"):
        for number, module in enumerate(getattr(student.network, kind), start=1):
            name = f"{kind}.{number}"
            module.register_forward_pre_hook(
                lambda module, inputs, name=name: calls.append((name, len(inputs[0])))
            )
    return calls


@torch.no_grad()
def middling(student):
    """A threshold at which every exit answers someone."""
    sure = [logits.softmax(1).amax(1) for logits in student.outputs(images()).logits]
    return float(sure[0].quantile(0.6))


def test_only_the_undecided_go_deeper(student):
    threshold = middling(student)
    calls = entered(student)
    found = student.until_confident(images(), threshold)
    left = [int((found.exits_B >= exit).sum()) for exit in (1, 2, 3)]
    assert left[0] == 40 > left[1] > left[2] > 0
    assert calls == [
        ("sections.1", 40), ("branches.1", 40), ("classifiers.1", 40),
        ("sections.2", left[1]), ("branches.2", left[1]), ("classifiers.2", left[1]),
        ("sections.3", left[2]), ("classifiers.3", left[2]),
    ]  # fmt: skip


def test_every_answer_is_that_of_its_exit_alone(student):
    threshold = middling(student)
    found = student.until_confident(images(), threshold)
    assert isinstance(found, EarlyExits)
    assert found.exits_B.dtype == torch.int64
    assert set(found.exits_B.tolist()) == {1, 2, 3}
    alone = [student(images(), exit).detach() for exit in (1, 2, 3)]
    for example, exit in enumerate(found.exits_B.tolist()):
        torch.testing.assert_close(found.logits_BC[example], alone[exit - 1][example])
        confidences = [float(logits[example].softmax(0).max()) for logits in alone[:exit]]
        assert all(confidence < threshold for confidence in confidences[:-1])
        assert exit == EXITS or confidences[-1] >= threshold


@pytest.mark.parametrize(("threshold", "exit"), [(0, 1), (1, EXITS)])
def test_the_ends_of_the_threshold(student, threshold, exit):
    calls = entered(student)
    found = student.until_confident(images(), threshold)
    assert (found.exits_B == exit).all()
    torch.testing.assert_close(found.logits_BC, student(images(), exit))
    assert max(int(name[-1]) for name, _ in calls if name.startswith("sections")) == max(exit, 1)


def test_certainty_reaches_a_threshold_of_1(student):
    with torch.no_grad():
        student.network.classifiers[0].bias[2] = 1e6
    found = student.until_confident(images(), 1)
    assert (found.exits_B == 1).all()
    assert (found.logits_BC.argmax(1) == 2).all()


def test_an_empty_batch_runs_nothing(student):
    calls = entered(student)
    found = student.until_confident(images(0), 0.5)
    assert found.logits_BC.shape == (0, 4)
    assert found.exits_B.shape == (0,)
    assert calls == []


def test_what_is_not_a_number_is_left_to_the_deepest_exit(student):
    batch = images(3)
    batch[1] = torch.nan
    found = student.until_confident(batch, 0)
    assert found.exits_B.tolist() == [1, EXITS, 1]
    assert found.logits_BC[1].isnan().all()


@pytest.mark.parametrize("threshold", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_threshold_is_a_probability(student, threshold):
    with pytest.raises(ConfigError, match=rf"^--threshold is {threshold}; it must be between 0"):
        student.until_confident(images(2), threshold)


def test_it_leaves_mode_statistics_and_gradients_alone(student):
    expected = student.until_confident(images(), middling(student)).logits_BC
    threshold = middling(student)
    student.train()
    before = {key: value.clone() for key, value in student.state_dict().items()}
    found = student.until_confident(images(), threshold).logits_BC
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert all(module.training for module in student.modules())
    assert all(torch.equal(before[key], value) for key, value in student.state_dict().items())


def test_all_exits_see_normalised_pixels(student):
    pixels = images(3)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)))
    outputs = student.outputs(pixels)
    expected = student.network.outputs((pixels - mean) / std)
    for ours, theirs in zip(outputs.logits + outputs.features, sum(expected, ()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    for exit in (1, 2, 3):
        assert torch.equal(student(pixels, exit), outputs.logits[exit - 1])
    assert torch.equal(student(pixels), outputs.logits[-1])


@pytest.mark.parametrize("exit", [0, -1, 4, 7])
def test_an_exit_that_is_not_there(student, exit):
    said = rf"^--exit is {exit}; the network has exits 1 to 3$"
    with pytest.raises(ConfigError, match=said):
        student(images(2), exit)
    with pytest.raises(ConfigError, match=said):
        student.exit_alone(exit)


@pytest.mark.parametrize("exit", [1, 2, 3])
@pytest.mark.parametrize("training", [True, False])
def test_one_exit_alone_is_a_plain_network_of_the_same_modules(student, exit, training):
    student.train(training)
    if training:
        student.network.sections[-1].dropout.p = 0.0
    alone = student.exit_alone(exit)
    assert type(alone) is Normalised
    assert type(alone.network) is nn.Sequential
    assert all(module.training == training for module in alone.modules())
    assert torch.equal(alone(images(3)), student(images(3), exit))
    assert {id(p) for p in alone.parameters()} < {id(p) for p in student.parameters()}
    assert alone.scale is student.scale


@pytest.mark.parametrize("exit", [1, 3])
def test_torch_export_takes_one_exit_alone(student, exit):
    alone = student.exit_alone(exit)
    exported = torch.export.export(alone, (images(2),)).module()
    torch.testing.assert_close(exported(images(2)), alone(images(2)))
