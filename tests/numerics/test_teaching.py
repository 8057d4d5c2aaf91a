"""The frozen ensemble, one by one and at once; what a step is taught; the student's two passes."""

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from cohort.errors import ConfigError
from cohort.learning.teachers import Teachers
from cohort.learning.teaching import (
    LocalTeaching,
    Taught,
    TaughtStudent,
    labels_only,
    member_logits,
)
from cohort.models.members import MembersStudent
from cohort.models.normalised import Normalised
from cohort.models.registry import build_network
from cohort.objectives.ods import EnsembleDistillation
from cohort.objectives.perturbation import InputPerturbation

SHAPE = (3, 16, 16)
CLASSES = 10


def network(seed, name="resnet8", mean=0.5, channels=3):
    torch.manual_seed(seed)
    built = build_network(name, num_classes=10, image_shape=(channels, *SHAPE[1:]))
    for module in built.modules():  # statistics that differ from teacher to teacher, and from 0, 1
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return Normalised(built, (mean,) * channels, (0.25,) * channels)


def networks(count=3):
    return [network(seed, mean=0.4 + 0.1 * seed) for seed in range(count)]


def images(batch=4, seed=0):
    return torch.rand(batch, *SHAPE, generator=torch.Generator().manual_seed(100 + seed))


def test_the_ensemble_is_frozen_and_gives_each_teachers_log_posterior():
    modules, x = networks(), images()
    expected = [
        torch.log_softmax(copy.deepcopy(module).eval()(x).detach(), dim=1) for module in modules
    ]
    teachers = Teachers(modules)
    assert len(teachers) == 3
    posteriors = teachers.log_posteriors(x)
    assert torch.equal(posteriors, torch.stack(expected))
    assert not posteriors.requires_grad
    again = teachers.log_posteriors(x)  # nothing moved: batch statistics are frozen too
    assert torch.equal(again, posteriors)
    for module in modules:
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert not any(part.training for part in module.modules())
    for number, module in enumerate(modules):
        assert teachers.one(number) is module


def test_stacked_teachers_say_the_same_and_share_their_weights():
    x, posteriors = images(), Teachers(networks()).log_posteriors(images())
    assert (posteriors[0] - posteriors[1]).abs().max() > 0.01
    teachers = Teachers(networks(), stacked=True)
    torch.testing.assert_close(teachers.log_posteriors(x), posteriors, rtol=0, atol=1e-5)
    alone = [torch.log_softmax(teachers.one(j)(x), dim=1) for j in range(3)]
    torch.testing.assert_close(torch.stack(alone), posteriors, rtol=0, atol=1e-5)
    with torch.no_grad():
        list(teachers.one(1).parameters())[-1].add_(torch.arange(10.0))
    moved = teachers.log_posteriors(x)
    assert not torch.allclose(moved[1], posteriors[1], atol=0.1)
    torch.testing.assert_close(moved[[0, 2]], posteriors[[0, 2]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("stacked", [False, True])
def test_teachers_move_with_all_they_have(stacked):
    teachers = Teachers(networks(2), stacked=stacked).to(torch.device("meta"))
    posteriors = teachers.log_posteriors(images().to("meta"))
    assert posteriors.shape == (2, 4, 10)
    assert posteriors.is_meta


@pytest.mark.parametrize("stacked", [False, True])
def test_posteriors_are_float32_under_autocast(stacked):
    teachers = Teachers(networks(2), stacked=stacked)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posteriors = teachers.log_posteriors(images())
    assert posteriors.dtype == torch.float32
    torch.testing.assert_close(posteriors.exp().sum(dim=2), torch.ones(2, 4))


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="torch knows no CUDA")
@pytest.mark.parametrize(
    ("name", "channels", "count"), [("resnet8", 3, 1), ("resnet8", 1, 2), ("mobilenet", 3, 2)]
)
def test_stacked_teachers_are_called_on_a_gpu_as_torch_can(name, channels, count):
    """Tensors without values say that they are on one: its batch normalisation asks for their format."""
    modules = [network(seed, name, channels=channels) for seed in range(count)]
    teachers = Teachers(modules, stacked=True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        teachers.to(torch.device("cuda"))
        x = torch.empty(4, channels, 16, 16, device="cuda").to(memory_format=torch.channels_last)
        posteriors = teachers.log_posteriors(x)
    assert posteriors.shape == (count, 4, 10)
    assert posteriors.is_cuda


class Strided(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 10, 3, stride=stride), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    def forward(self, x):
        return self.layers(x)


def test_only_one_architecture_can_be_stacked():
    one, other = (Normalised(Strided(stride), (0.5,) * 3, (0.25,) * 3) for stride in (1, 2))
    for strangers in ([network(0), network(1, "resnet20")], [one, other]):
        with pytest.raises(ConfigError, match=r"teacher 1 is not .* leave --stacked-teachers out"):
            Teachers(strangers, stacked=True)
        assert Teachers(strangers).log_posteriors(images()).shape == (2, 4, 10)


def test_teaching_is_the_chosen_teachers_perturbation_and_every_teachers_posterior_there():
    teachers, x = Teachers(networks()), images()
    perturbation = InputPerturbation(kind="ods", eta=8.0)
    teach = LocalTeaching(teachers=teachers, perturbation=perturbation, classes=CLASSES, seed=7)
    chosen = {perturbation.chosen_teacher(7, step, 3) for step in range(6)}
    assert len(chosen) > 1
    for step in range(6):
        taught = teach(step, x)
        by = teachers.one(perturbation.chosen_teacher(7, step, 3))
        assert taught.images_BCHW is x
        assert torch.equal(taught.perturbed_BCHW, perturbation(x, by, seed=7, step=step))
        assert torch.equal(taught.teacher_MBC, teachers.log_posteriors(taught.perturbed_BCHW))
        assert not torch.allclose(taught.teacher_MBC, teachers.log_posteriors(x), atol=1e-4)


def test_ods_on_the_ensemble_parts_what_noise_leaves_together():
    teachers, x = Teachers(networks()), images(16)
    kl = {}
    for kind in ("gaussian", "ods"):
        perturbation = InputPerturbation(kind=kind, eta=16.0)
        taught = LocalTeaching(
            teachers=teachers, perturbation=perturbation, classes=CLASSES, seed=0
        )(0, x)
        clean, moved = teachers.log_posteriors(x), taught.teacher_MBC
        kl[kind] = (clean.exp() * (clean - moved)).sum(dim=2).mean()
    assert kl["ods"] > 3 * kl["gaussian"]


@pytest.mark.parametrize("kind", ["ods", "gaussian"])
def test_workers_are_taught_what_one_process_is(kind):
    teachers, x = Teachers(networks(2)), images(6)
    perturbation = InputPerturbation(kind=kind, eta=8.0)

    def teach(images_BCHW, shard):
        teaching = LocalTeaching(
            teachers=teachers, perturbation=perturbation, classes=CLASSES, seed=1, shard=shard
        )
        return teaching(4, images_BCHW)

    whole = teach(x, (0, 1))
    parts = [teach(x[:3], (0, 2)), teach(x[3:], (1, 2))]
    perturbed = torch.cat([part.perturbed_BCHW for part in parts])
    torch.testing.assert_close(perturbed, whole.perturbed_BCHW, rtol=0, atol=1e-4)
    posteriors = torch.cat([part.teacher_MBC for part in parts], dim=1)
    torch.testing.assert_close(posteriors, whole.teacher_MBC, rtol=0, atol=1e-3)


def test_unperturbed_teaching_has_one_set_of_images():
    teachers, x = Teachers(networks(2)), images()
    teach = LocalTeaching(
        teachers=teachers, perturbation=InputPerturbation(kind="none"), classes=CLASSES, seed=0
    )
    taught = teach(0, x)
    assert taught.images_BCHW is x
    assert taught.perturbed_BCHW is None
    assert torch.equal(taught.teacher_MBC, teachers.log_posteriors(x))
    assert labels_only(0, x) == Taught(x, None, None)


class Twins(MembersStudent):
    """Two members, and a note of what each pass saw."""

    def __init__(self):
        nn.Module.__init__(self)
        self.norm = nn.BatchNorm2d(3, momentum=0.5)
        self.head = nn.Linear(3 * 16 * 16, 10)
        self.seen = []

    def of_members(self, x_BCHW):
        self.seen.append(x_BCHW)
        logits_BC = self.head(self.norm(x_BCHW).flatten(1))
        return torch.stack([logits_BC, 2 * logits_BC])

    def forward(self, x_BCHW):
        raise AssertionError("the members' mean is of no use in training")


def test_batch_normalisation_sees_clean_and_perturbed_apart_clean_first():
    student, clean, perturbed = Twins().train(), images(seed=1), images(seed=2) * 0.5
    outputs = TaughtStudent(student)(Taught(clean, perturbed, None))
    assert student.seen[0] is clean
    assert student.seen[1] is perturbed
    assert outputs.clean_MBC.shape == outputs.perturbed_MBC.shape == (2, 4, 10)
    # Momentum ½ twice from 0, and not once with the mean of both.
    expected = 0.25 * clean.mean(dim=(0, 2, 3)) + 0.5 * perturbed.mean(dim=(0, 2, 3))
    torch.testing.assert_close(student.norm.running_mean, expected)
    # Each pass is normalised by its own batch: what batch statistics of both would not give.
    normed = (clean - clean.mean(dim=(0, 2, 3), keepdim=True)) / torch.sqrt(
        clean.var(dim=(0, 2, 3), keepdim=True, unbiased=False) + 1e-5
    )
    expected_logits = student.head(normed.flatten(1))
    torch.testing.assert_close(outputs.clean_MBC[1], 2 * expected_logits, rtol=1e-4, atol=1e-5)


def test_unperturbed_the_student_runs_once_for_both():
    student, x = Twins(), images()
    teacher = torch.zeros(2, 4, 10)
    outputs = TaughtStudent(student)(Taught(x, None, teacher))
    assert len(student.seen) == 1
    assert outputs.perturbed_MBC is outputs.clean_MBC
    assert outputs.teacher_MBC is teacher


def test_a_batch_ensemble_shows_its_members():
    built = build_network("resnet8+members=3", num_classes=10, image_shape=SHAPE)
    student, x = MembersStudent(built, (0.5,) * 3, (0.25,) * 3).eval(), images()
    expected = torch.stack([student.member_alone(j).eval()(x) for j in range(3)])
    torch.testing.assert_close(member_logits(student, x), expected, rtol=0, atol=1e-5)


def test_a_plain_student_is_its_only_member():
    student, x = network(5).eval(), images()
    assert torch.equal(member_logits(student, x), student(x)[None])


def test_a_student_learns_through_both_passes_and_its_teachers_do_not_change():
    teachers, x = Teachers(networks(1)), images()
    before = copy.deepcopy(teachers.one(0).state_dict())
    teach = LocalTeaching(
        teachers=teachers, perturbation=InputPerturbation(kind="conf_ods"), classes=CLASSES, seed=0
    )
    student = TaughtStudent(network(9)).train()
    objective = EnsembleDistillation(method="one_to_one", alpha=1.0, temperature=4.0)
    labels = torch.tensor([1, 2, 3, 4])
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
    divergences = []
    for _ in range(20):  # one batch again and again
        loss, measurements = objective.loss(student(teach(0, x)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        divergences.append(measurements["kl"].item())
    assert divergences[-1] < 0.4 * divergences[0]
    after = teachers.one(0).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in teachers.one(0).parameters())
