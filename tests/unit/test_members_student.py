"""A batch ensemble as a student: what it answers, its name, its files, its evaluation."""

import dataclasses
import json

import pytest
import torch
from torch import nn

from cohort.analysis.evaluate import evaluate_run
from cohort.config_file import to_yaml
from cohort.data.source import as_tensor, to_float
from cohort.errors import ConfigError
from cohort.imports import written_name
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.learning.evaluation import combined, log_posterior_over, log_posteriors_over
from cohort.learning.learner import WEIGHTS_FILE, weights_bytes
from cohort.learning.student_files import CARD_FILE, ModelCard, load_student, weights_sha256
from cohort.metrics.classification import accuracy
from cohort.models.batch_ensemble import BatchEnsemble
from cohort.models.member_layers import fast_weights, member_biases
from cohort.models.members import MembersStudent
from cohort.models.normalised import Normalised
from cohort.models.registry import build_network, build_student
from cohort.models.spec import WithExits, WithMembers, parse_spec
from cohort.runtime.config import CohortConfig
from tests.support.exits import Tiny
from tests.support.splits import random_split

SHAPE, MEAN, STD = (1, 8, 8), (0.25,), (0.5,)
TINY = "tests.support.exits:Tiny"
CPU = torch.device("cpu")


def student_of(spec, seed=0, student=0, shape=SHAPE):
    channels = shape[0]
    return build_student(
        spec, num_classes=5, image_shape=shape, mean=MEAN * channels, std=STD * channels,
        seed=seed, student=student,
    )  # fmt: skip


def trained(spec="resnet8+members=3", shape=SHAPE):
    """Its running statistics and its members' biases have moved."""
    student = student_of(spec, shape=shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student(torch.rand(16, *shape))
        for bias in member_biases(student):
            nn.init.normal_(bias)
    return student.eval()


# What it answers


@pytest.mark.parametrize("training", [True, False])
def test_its_softmax_is_the_members_mean_posterior(training):
    student = trained()
    assert type(student) is MembersStudent
    assert student.num_members == 3
    student.train(training)
    pixels = torch.rand(4, *SHAPE)
    logits_MBC = student.of_members(pixels)
    assert logits_MBC.shape == (3, 4, 5)
    expected_BC = torch.stack([logits_BC.softmax(1) for logits_BC in logits_MBC]).mean(0)
    answer_BC = student(pixels)
    torch.testing.assert_close(answer_BC.softmax(1), expected_BC)
    torch.testing.assert_close(answer_BC.exp().sum(1), torch.ones(4))
    assert (logits_MBC[0] - logits_MBC[1]).abs().max() > 0.01


class Certain(nn.Module):
    """Logits 0 and 200 or 0 and -200, by member: a posterior too small for float32."""

    def forward(self, x):
        sign = torch.cat([torch.ones(len(x) // 2), -torch.ones(len(x) // 2)])
        return torch.stack([0 * sign, 200 * sign], 1).bfloat16()


def test_posteriors_too_small_and_too_coarse():
    student = MembersStudent(BatchEnsemble(Certain(), 2), MEAN, STD)
    answer_BC = student(torch.rand(3, *SHAPE))
    assert answer_BC.dtype == torch.float32
    torch.testing.assert_close(answer_BC.exp(), torch.full((3, 2), 0.5))


def test_a_member_alone():
    student = trained()
    pixels = torch.rand(4, *SHAPE)
    for member in range(3):
        alone = student.member_alone(member)
        assert type(alone) is Normalised
        torch.testing.assert_close(alone(pixels), student.of_members(pixels)[member])
    with pytest.raises(ConfigError, match=r"member is 3"):
        student.member_alone(3)


# Fresh


def test_a_fresh_one_is_a_function_of_seed_and_student():
    state = torch.get_rng_state()
    student = student_of(f"{TINY}+members=2")
    assert torch.equal(torch.get_rng_state(), state)
    assert weights_sha256(student) == weights_sha256(student_of(WithMembers(Tiny, 2)))
    plain = student_of(TINY)
    assert torch.equal(student.network.network.classifier.weight, plain.network.classifier.weight)
    biases = member_biases(student)
    assert [tuple(bias.shape) for bias in biases] == [(2, 4), (2, 6), (2, 8), (2, 5)]
    assert not any(bias.any() for bias in biases)
    for other in (student_of(f"{TINY}+members=2", seed=1), student_of(f"{TINY}+members=2", 0, 1)):
        pairs = zip(fast_weights(student), fast_weights(other), strict=True)
        assert not any(torch.equal(one, two) for one, two in pairs)


def test_signs():
    student = student_of(WithMembers("resnet8", 2, init="sign"))
    assert all(set(weight.unique().tolist()) <= {-1.0, 1.0} for weight in fast_weights(student))
    assert any(weight.min() < 0 for weight in fast_weights(student))


def test_lazy_layers_are_made_first():
    def lazy(num_classes):
        return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(num_classes))

    logits_MBC = student_of(WithMembers(lazy, 2)).of_members(torch.rand(3, *SHAPE))
    assert logits_MBC.shape == (2, 3, 5)


# By name


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("resnet20+members=4", WithMembers("resnet20", 4)),
        ("a.b:c+members=16", WithMembers("a.b:c", 16)),
    ],
)
def test_names_are_parsed_and_written(text, spec):
    assert parse_spec(text, "--student") == spec
    assert written_name(spec) == text
    assert written_name(WithMembers(Tiny, 3, init="sign")) == f"{TINY}+members=3"
    assert parse_spec(spec, "--student") is spec


@pytest.mark.parametrize(
    "text",
    ["r+members", "r+members=", "r+members=1", "r+members=0", "r+members=-2", "r+members=2.0",
     "r+members=x", "r+members=04", "r+members=10000", "+members=2", "r+member=2",
     "r+exits+members=2", "r+members=2+exits", "r+exits=a+members=2", "r+members=2/3"],
)  # fmt: skip
def test_what_is_not_written_so_is_refused(text):
    with pytest.raises(ConfigError) as caught:
        build_network(text, num_classes=5, image_shape=SHAPE, flag="--student")
    assert str(caught.value).startswith(f"--student is {text!r}; exits are written NAME+exits")
    assert "NAME+members=M with M from 2 to 9999" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("resnet8", 1), "members is 1; a batch ensemble has from 2"),
        (("resnet8+exits", 2), "network is 'resnet8+exits'"),
        ((WithExits("resnet8"), 2), "of a plain network"),
    ],
)
def test_specs_that_make_no_sense(arguments, told):
    with pytest.raises(ConfigError) as caught:
        WithMembers(*arguments)
    assert told in str(caught.value)
    with pytest.raises(ConfigError, match="init is 'zero'; it must be normal or sign"):
        WithMembers("resnet8", 2, init="zero")


def test_networks_that_cannot_have_members():
    with pytest.raises(ConfigError, match=r"--students cannot be .*: the network itself is a Root"):
        student_of("tests.support.exits:Root+members=2")


def test_other_commands_refuse_them():
    for students in ("resnet8+members=4", WithMembers("resnet8", 4), "resnet8,resnet8+members=4"):
        with pytest.raises(ConfigError) as caught:
            CohortConfig(students=students)
        assert str(caught.value) == (
            "--students is 'resnet8+members=4', a batch ensemble, which is trained by "
            "cohort ods-distill; name a network without +members here"
        )
    for model in ("resnet8+members=4", WithMembers("resnet8", 4)):
        with pytest.raises(ConfigError) as caught:
            SelfDistillConfig(model=model)
        assert str(caught.value).startswith("--model is 'resnet8+members=4'; here it is the")


# Files


def save(folder, student, network):
    card = ModelCard(
        network=network, dataset="digits", classes=tuple("01234"), mean=tuple(MEAN), std=STD,
        image_shape=SHAPE,
    )  # fmt: skip
    if student.scale.numel() == 3:
        card = dataclasses.replace(card, image_shape=(3, 32, 32), mean=MEAN * 3, std=STD * 3)
    folder.mkdir(parents=True)
    (folder / WEIGHTS_FILE).write_bytes(weights_bytes(student))
    (folder / CARD_FILE).write_text(card.to_json())
    return folder


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("resnet8+members=3", SHAPE),
        (f"{TINY}+members=2", SHAPE),
        ("resnet18+members=2", (3, 32, 32)),
        ("squeezenet1_1+members=2", (3, 32, 32)),
    ],
)
def test_loaded_is_the_same(tmp_path, spec, shape):
    student = trained(spec, shape)
    loaded = load_student(save(tmp_path / "0", student, spec), trust_code=":" in spec)
    assert type(loaded) is MembersStudent
    assert not any(module.training for module in loaded.modules())
    pixels = torch.rand(3, *shape)
    assert torch.equal(loaded.of_members(pixels), student.of_members(pixels))
    assert weights_sha256(loaded) == weights_sha256(student)


def test_a_factory_that_cannot_be_imported_is_given(tmp_path):
    def factory(num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

    spec = WithMembers(factory, 2)
    student = trained(spec)
    assert written_name(spec) == "<factory>+members=2"
    folder = save(tmp_path / "0", student, written_name(spec))
    with pytest.raises(ConfigError, match="pass its factory"):
        load_student(folder)
    pixels = torch.rand(3, *SHAPE)
    for given in (factory, spec):
        loaded = load_student(folder, network=given)
        assert torch.equal(loaded.of_members(pixels), student.of_members(pixels))


def test_other_weights_and_exits_are_refused(tmp_path):
    folder = save(tmp_path / "0", trained(), "resnet8+members=2")
    with pytest.raises(ConfigError, match=r"model.safetensors cannot be loaded"):
        load_student(folder)
    folder = save(tmp_path / "1", trained(), "resnet8+members=3")
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps({**card, "exit": 1}))
    with pytest.raises(ConfigError, match=r"exit 1 of resnet8\+members=3, which has no exits"):
        load_student(folder)


# Evaluation


def test_posteriors_of_every_member_and_of_all():
    student, split = trained(f"{TINY}+members=2").train(), random_split()
    log_posteriors = log_posteriors_over(student, split, CPU)
    assert student.training
    images = to_float(as_tensor(split.images))
    with torch.no_grad():
        expected_MNC = student.eval().of_members(images).log_softmax(2)
    torch.testing.assert_close(torch.stack(log_posteriors), expected_MNC)
    mean_NC = combined(student, log_posteriors)
    torch.testing.assert_close(mean_NC.exp(), expected_MNC.exp().mean(0))
    torch.testing.assert_close(log_posterior_over(student, split, CPU), mean_NC)


def test_a_run_is_evaluated_by_its_members_mean(tmp_path):
    student = trained("resnet8+members=3")
    save(tmp_path / "students" / "0", student, "resnet8+members=3")
    (tmp_path / "config.yaml").write_text(to_yaml(CohortConfig(test_subset=30, train_subset=20)))
    card = tmp_path / "students" / "0" / CARD_FILE
    ten = {**json.loads(card.read_text()), "classes": list("0123456789")}
    card.write_text(json.dumps(ten))
    student = build_student(
        "resnet8+members=3", num_classes=10, image_shape=SHAPE, mean=MEAN, std=STD, seed=0,
        student=0,
    )  # fmt: skip
    (card.parent / WEIGHTS_FILE).write_bytes(weights_bytes(student))
    from cohort.run.finished import load_run

    test = load_run(tmp_path).dataset.test
    posterior_NC = log_posterior_over(student, test, CPU).exp()
    (row,) = evaluate_run(tmp_path).summary["students"]
    assert row["test_accuracy"] == accuracy(posterior_NC, torch.from_numpy(test.labels))
    assert row["model"] == "resnet8+members=3"
