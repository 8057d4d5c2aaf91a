"""The in-process cohort against a loop written out in torch, and how it goes about its steps."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cohort.data.augment import augment
from cohort.learning.schedule import learning_rate
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
        nn.Conv2d(1, 8, 3, 2),
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


def reference_loop(dataset, spec, count, steps, *, teacher="peers", temperature=1.0, sequential):
    """Deep mutual learning as the paper writes it, in plain torch: Nesterov by hand, pairs of KL."""
    batch, lr, decay, momentum, total = 16, 0.05, 5e-4, 0.9, 50
    students = [
        build_student(
            spec, num_classes=10, image_shape=(1, 8, 8), mean=dataset.mean, std=dataset.std,
            seed=0, student=k,
        ).train()
        for k in range(count)
    ]  # fmt: skip
    velocity = [[torch.zeros_like(p) for p in s.parameters()] for s in students]
    images, labels = torch.from_numpy(dataset.train.images), torch.from_numpy(dataset.train.labels)
    per_epoch = len(labels) // batch

    def posterior(logits):
        return F.softmax(logits / temperature, 1)

    for step in range(steps):
        epoch, position = divmod(step, per_epoch)
        order = torch.randperm(len(labels), generator=generator(0, "order", epoch))
        chosen = order[position * batch : (position + 1) * batch]
        pixels = augment(images[chosen], dataset.augmentation, generator(0, "augment", step))
        x, y = pixels.float() / 255, labels[chosen]
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
                for w, g, v in zip(student.parameters(), gradients, velocity[k], strict=True):
                    g = g + decay * w
                    v.mul_(momentum).add_(g)
                    w -= rate * (g + momentum * v)
                if sequential and k < count - 1:
                    shown[k] = posterior(student(x))
    return students


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(
    ("teacher", "temperature"), [("peers", 1.0), ("ensemble", 1.0), ("peers", 3.0)]
)
@pytest.mark.parametrize(("spec", "steps"), [("resnet8", 3), (smooth, 12)])  # an epoch has five
def test_the_cohort_does_what_the_paper_says(digits, spec, steps, sequential, teacher, temperature):
    objective = MutualLearning(teacher=teacher, temperature=temperature)
    cohort = cohort_of(digits, [spec] * 3, sequential=sequential, objective=objective)
    assert learning_rate(cohort.host.learners[0].plan, 25) == pytest.approx(
        0.025
    )  # the loop's schedule
    start = [copy.deepcopy(learner.network.state_dict()) for learner in cohort.host.learners]
    advance(cohort, steps)
    students = reference_loop(
        digits, spec, 3, steps, teacher=teacher, temperature=temperature, sequential=sequential
    )
    for learner, student, before in zip(cohort.host.learners, students, start, strict=True):
        got, expected = learner.network.state_dict(), student.state_dict()
        torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE)
        moved = max((got[n].float() - before[n].float()).abs().max() for n in got)
        assert moved > 1000 * TOLERANCE  # it has trained: the comparison means something
    cohort.close()


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
