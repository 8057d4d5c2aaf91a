"""The in-process cohort against a loop written out in torch, and how it goes about its steps."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cohort.data.augment import augment
from cohort.learning.student_files import weights_sha256
from cohort.models.registry import build_student
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.in_process import InProcessCohort
from cohort.seeding import generator
from tests.support.learners import CPU, learner_of, plan_of, run, small, with_dropout
from tests.support.learners import digits as digits


def smooth(num_classes):
    """Without the ReLU, at whose kink a difference in the last bit becomes a large one."""
    return nn.Sequential(
        nn.Conv2d(
            1, 8, 3, 2, bias=False
        ),  # a bias has no gradient there, which Adam would scale up
        nn.BatchNorm2d(8),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(72, num_classes),
    )


def count_forwards(network):
    """A list that grows by one at each forward in train mode."""
    seen = []
    network.register_forward_hook(lambda module, args, out: seen.append(module.training))
    return seen


def cohort_of(dataset, networks, *, sequential=False, objective=None, **options):
    return InProcessCohort(
        networks, plan_of(dataset, **options), dataset, objective or MutualLearning(),
        sequential=sequential, threads=1, device=CPU,
    )  # fmt: skip


def advance(cohort, steps):
    cohort.advance(0, steps, lambda student, records: None, lambda: False)


@pytest.mark.parametrize(("sequential", "expected"), [(False, [5] * 4), (True, [10, 10, 10, 5])])
def test_forwards_per_step(digits, sequential, expected):
    """One each; in turn, one more for all but the last. Never one per pair."""
    cohort = cohort_of(digits, [small] * 4, sequential=sequential)
    seen = [count_forwards(learner.network) for learner in cohort.host.learners]
    advance(cohort, 5)
    assert [len(calls) for calls in seen] == expected
    assert all(training for calls in seen for training in calls)
    cohort.close()


class ByHand:
    """The papers' optimisers on one tensor, written out."""

    def __init__(self, kind, decay):
        self.kind, self.decay, self.steps = kind, decay, 0
        self.first = self.second = 0.0

    def step(self, w, g, rate):
        self.steps += 1
        if self.kind == "adamw":
            w *= 1 - rate * self.decay
        else:
            g = g + self.decay * w
        if self.kind in ("sgd", "momentum"):
            self.first = 0.9 * self.first + g
            w -= rate * (g + 0.9 * self.first if self.kind == "sgd" else self.first)
            return
        one, two = (0.5, 0.999) if self.kind == "adam" else (0.9, 0.999)
        self.first = one * self.first + (1 - one) * g
        self.second = two * self.second + (1 - two) * g**2
        mean, square = self.first / (1 - one**self.steps), self.second / (1 - two**self.steps)
        w -= rate * mean / (square.sqrt() + 1e-8)


def reference_loop(
    dataset, spec, count, steps, *, teacher="peers", temperature=1.0, sequential, optimizer="sgd", lr=0.05
):  # fmt: skip
    """Deep mutual learning as the paper writes it, in float64: optimisers by hand, pairs of KL."""
    batch, decay, total = 16, 5e-4, 50
    students = [
        build_student(
            spec, num_classes=10, image_shape=(1, 8, 8), mean=dataset.mean, std=dataset.std,
            seed=0, student=k,
        ).double().train()
        for k in range(count)
    ]  # fmt: skip
    optimizers = [[ByHand(optimizer, decay) for _ in s.parameters()] for s in students]
    images, labels = torch.from_numpy(dataset.train.images), torch.from_numpy(dataset.train.labels)
    per_epoch = len(labels) // batch

    def posterior(logits):
        return F.softmax(logits / temperature, 1)

    for step in range(steps):
        epoch, position = divmod(step, per_epoch)
        order = torch.randperm(len(labels), generator=generator(0, "order", epoch))
        chosen = order[position * batch : (position + 1) * batch]
        pixels = augment(images[chosen], dataset.augmentation, generator(0, "augment", step))
        x, y = pixels.double() / 255, labels[chosen]
        rate = lr * (1 + math.cos(math.pi * step / total)) / 2

        logits = [student(x) for student in students]
        shown = [posterior(z.detach()) for z in logits]
        for k, student in enumerate(students):
            others = [p for j, p in enumerate(shown) if j != k]
            own = F.log_softmax(logits[k] / temperature, 1)
            if teacher == "ensemble":
                others = [torch.stack(others).mean(0)]
            mimicry = sum(F.kl_div(own, p, reduction="batchmean") for p in others) / len(others)
            loss = F.cross_entropy(logits[k], y) + temperature**2 * mimicry
            gradients = torch.autograd.grad(loss, list(student.parameters()))
            with torch.no_grad():
                for w, g, by in zip(student.parameters(), gradients, optimizers[k], strict=True):
                    by.step(w, g, rate)
                if sequential and k < count - 1:
                    shown[k] = posterior(student(x))
    return students


def check_as_the_loop(digits, spec, steps, *, optimizer="sgd", lr=0.05, **cohort):
    """Three students after so many steps beside those of the loop."""
    teacher, temperature = cohort.get("teacher", "peers"), cohort.get("temperature", 1.0)
    objective = MutualLearning(teacher=teacher, temperature=temperature)
    options = {"sequential": cohort["sequential"], "objective": objective}
    trained = cohort_of(digits, [spec] * 3, optimizer=optimizer, lr=lr, **options)
    start = [copy.deepcopy(learner.network.state_dict()) for learner in trained.host.learners]
    advance(trained, steps)
    students = reference_loop(digits, spec, 3, steps, optimizer=optimizer, lr=lr, **cohort)
    for learner, student, before in zip(trained.host.learners, students, start, strict=True):
        got = {n: w.double() for n, w in learner.network.state_dict().items()}
        expected = {n: w.double() for n, w in student.state_dict().items()}
        torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE)
        moved = max((got[n] - before[n].double()).abs().max() for n in got)
        assert moved > 1000 * TOLERANCE  # it has trained: the comparison means something
    trained.close()


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(
    ("teacher", "temperature"), [("peers", 1.0), ("ensemble", 1.0), ("peers", 3.0)]
)
@pytest.mark.parametrize(("spec", "steps"), [("resnet8", 3), (smooth, 12)])  # an epoch has five
def test_the_cohort_does_what_the_paper_says(digits, spec, steps, sequential, teacher, temperature):
    check_as_the_loop(
        digits, spec, steps, sequential=sequential, teacher=teacher, temperature=temperature
    )


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(("optimizer", "lr"), [("momentum", 0.05), ("adam", 2e-3), ("adamw", 2e-3)])
def test_with_the_papers_other_optimisers_too(digits, optimizer, lr, sequential):
    check_as_the_loop(digits, smooth, 5, sequential=sequential, optimizer=optimizer, lr=lr)


TOLERANCE = 1e-6
"""Rounding in another order of operations."""


def test_a_cohort_without_teacher_is_its_students_alone(digits):
    """Decision 7: a deep ensemble is a cohort that does not exchange."""
    cohort = cohort_of(digits, [small] * 2, objective=MutualLearning(teacher="none"))
    advance(cohort, 5)
    for student, learner in enumerate(cohort.host.learners):
        alone = learner_of(digits, small, student=student, objective=MutualLearning(teacher="none"))
        run(alone, range(5))
        assert weights_sha256(alone.network) == weights_sha256(learner.network)
    cohort.close()


def test_mimicry_brings_students_together(digits):
    def distance(weight):
        cohort = cohort_of(digits, [small] * 2, objective=MutualLearning(weight=weight))
        advance(cohort, 30)
        one, two = cohort.answers("test").values()
        cohort.close()
        return (one.exp() - two.exp()).abs().sum(1).mean().item()

    assert distance(4.0) < 0.7 * distance(0.0)


def test_a_cohort_gives_the_process_back_its_random_state_and_threads(digits):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    cohort = cohort_of(digits, [with_dropout] * 2)
    advance(cohort, 2)
    assert not torch.equal(torch.get_rng_state(), state)
    cohort.close()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_advancing_stops_when_asked_and_all_are_at_the_same_step(digits):
    cohort = cohort_of(digits, [small] * 2, log_every=1)
    asked, steps = iter([False, False, True]), []
    done = cohort.advance(
        0, 10, lambda student, records: steps.extend((student, r["step"]) for r in records),
        lambda: next(asked),
    )  # fmt: skip
    assert done == 3
    assert steps == [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]
    cohort.close()
