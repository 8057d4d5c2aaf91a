"""Steps captured as CUDA graphs: what they are compared with the plain ones, and when they are not.

Tolerances: kernels of convolutions add up in other orders from run to run, by about 1e-6 of a
weight at a step, and training magnifies that, so 50 steps are compared by their losses.
"""

import copy
import dataclasses
import random
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from cohort import (
    CohortConfig,
    OdsConfig,
    SelfDistillConfig,
    ods_distill,
    resume,
    self_distill,
    train_cohort,
)
from cohort.config import DataConfig
from cohort.data.registry import load_dataset
from cohort.learning.build import build_learner
from cohort.learning.capture import CapturedLesson
from cohort.learning.cuda_graphs import CudaRecorder
from cohort.learning.learner import NonFiniteLossError
from cohort.learning.lesson import Lesson
from cohort.learning.lessons import Lessons
from cohort.learning.plan import plan_training
from cohort.learning.student_files import weights_sha256
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.config import resolve

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
STEPS = 50


def with_dropout(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(1800, num_classes),
    )  # fmt: skip


class Waits(nn.Module):
    """Looks at a number, for which the CPU has to wait."""

    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3072, num_classes))

    def forward(self, x):
        logits = self.layers(x)
        return logits if float(logits.detach().sum()) > 1e9 else logits * 1.0


class DrawsOnTheCpu(nn.Module):
    """Skips itself by a draw that a GPU would never see again."""

    def __init__(self, draw, num_classes):
        super().__init__()
        self.draw = draw
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3072, num_classes))

    def forward(self, x):
        return self.layers(x) * (1.0 + self.draw())


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DataConfig(dataset="synthetic"), seed=0)


def learners_of(dataset, count=2, network="resnet8", teacher="peers", **options):
    config = resolve(
        CohortConfig(
            **{"dataset": "synthetic", "batch_size": 64, "epochs": 20, "lr": 0.02} | options
        )
    )
    plan = plan_training(config, len(dataset.train))
    objective = MutualLearning(teacher=teacher)
    return [
        build_learner(network, plan, dataset, objective, student=k, device=torch.device("cuda"))
        for k in range(count)
    ]


def captured(learners):
    return Lessons(learners, CudaRecorder(torch.device("cuda")), must=True)


def losses(learners):
    for learner in learners:
        learner.close_window()
    return [[record["loss"] for record in learner.windows.drain()] for learner in learners]


def hashes(learners):
    return [weights_sha256(learner.network) for learner in learners]


@pytest.fixture
def exact():
    """cuDNN's algorithms that add up in the same order every time."""
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = False


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("options", [{}, {"optimizer": "adam", "lr": 1e-3}, {"precision": "bf16"},
                                     {"clip_grad_norm": 1.0}])  # fmt: skip
def test_captured_steps_learn_what_plain_ones_do(dataset, exact, options, sequential):
    plain, graph = (learners_of(dataset, log_every=10, **options) for _ in range(2))
    for lesson in (Lesson(plain), captured(graph)):
        for step in range(STEPS):
            lesson.advance(step, sequential)
    tolerance = 0.05 if options.get("precision") == "bf16" else 0.01
    expected, found = losses(plain), losses(graph)
    assert np.array(found)[:, 0] == pytest.approx(np.array(expected)[:, 0], rel=tolerance / 5)
    assert np.array(found) == pytest.approx(np.array(expected), rel=tolerance, abs=tolerance)
    assert np.mean(found, axis=0)[-1] < np.mean(found, axis=0)[0]


@pytest.mark.parametrize("network", ["resnet8", with_dropout])
def test_what_is_captured_twice_is_the_same_to_the_bit(dataset, exact, network):
    """And so is a run that is broken off after 20 steps and gone on with from its files."""
    once, again, resumed = (learners_of(dataset, network=network) for _ in range(3))
    for learners in (once, again):
        lesson = captured(learners)
        for step in range(STEPS):
            lesson.advance(step)
    assert hashes(once) == hashes(again)
    lesson = captured(resumed)
    for step in range(20):
        lesson.advance(step)
    files = [learner.snapshot() for learner in resumed]
    fresh = learners_of(dataset, network=network)
    for learner, of_one in zip(fresh, files, strict=True):
        learner.restore(of_one)
    lesson = captured(fresh)
    for step in range(20, STEPS):
        lesson.advance(step)
    assert hashes(fresh) == hashes(once)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("steps_before", [0, 3])
def test_students_are_after_the_capture_as_they_were_before(dataset, optimizer, steps_before):
    learners = learners_of(dataset, optimizer=optimizer, lr=1e-3)
    for step in range(steps_before):
        Lesson(learners).advance(step)
    before = copy.deepcopy([learner.network.state_dict() for learner in learners])
    states = [copy.deepcopy(learner.optimizer.state_dict()["state"]) for learner in learners]
    lesson = CapturedLesson(learners, CudaRecorder(torch.device("cuda")))
    lesson._take(steps_before)
    lesson._captured("advance", partial(lesson._lesson.advance, steps_before))
    for learner, network, state in zip(learners, before, states, strict=True):
        for name, value in learner.network.state_dict().items():
            assert torch.equal(value, network[name]), name
        for number, of_one in learner.optimizer.state_dict()["state"].items():
            for name, value in of_one.items():
                was = state.get(number, {}).get(name, torch.zeros_like(value))
                assert torch.equal(value, was), name


@pytest.mark.parametrize("in_turn", [False, True])
def test_two_hosts_capture_two_pieces_each(dataset, exact, in_turn):
    """What travels between them is copied by way of the CPU, as actors do it."""
    together, apart = (learners_of(dataset, log_every=10) for _ in range(2))
    whole = captured(together)
    first, last = captured(apart[:1]), captured(apart[1:])
    for step in range(STEPS):
        whole.advance(step, in_turn)
        a, b = first.predict(step)[0].cpu(), last.predict(step)[0].cpu()
        if in_turn:
            newest = first.learn_in_turn(step, (), [b])[0].cpu()
            last.learn_in_turn(step, [newest], ())
        else:
            first.learn(step, (), [b])
            last.learn(step, [a], ())
    expected, found = losses(together), losses(apart)
    assert np.array(found) == pytest.approx(np.array(expected), rel=0.01, abs=0.01)


def test_evaluation_and_checkpoints_between_replays_change_nothing(dataset, exact):
    plain, watched = (learners_of(dataset) for _ in range(2))
    lessons = captured(plain), captured(watched)
    for step in range(12):
        for lesson in lessons:
            lesson.advance(step)
        if step % 5 == 4:
            for learner in watched:
                learner.answer_over(dataset.test)
                learner.snapshot()
    assert hashes(watched) == hashes(plain)


def test_a_learning_rate_that_changes_reaches_the_graph(dataset, exact):
    plain, graph = (
        learners_of(dataset, 1, teacher="none", lr_schedule="cosine", epochs=1, log_every=1)
        for _ in range(2)
    )
    for lesson in (Lesson(plain), captured(graph)):
        for step in range(10):
            lesson.advance(step)
    assert np.array(losses(graph)) == pytest.approx(np.array(losses(plain)), rel=0.01, abs=0.01)
    assert float(graph[0].optimizer.param_groups[0]["lr"]) == pytest.approx(
        float(plain[0].optimizer.param_groups[0]["lr"])
    )


DRAWS = (lambda: float(torch.rand(1)), random.random, np.random.rand)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (Waits, "called a synchronizing CUDA operation"),
        *((partial(DrawsOnTheCpu, draw), "draws random numbers on the CPU") for draw in DRAWS),
    ],
)  # fmt: skip
def test_what_cannot_be_captured_trains_as_it_is_and_says_why(dataset, network, why):
    """Dropout included, for which a capture that failed must leave torch's generator in order."""
    plain, refused = (learners_of(dataset, 1, network, "none", log_every=5) for _ in range(2))
    lessons = Lessons(refused, CudaRecorder(torch.device("cuda")))
    for lesson in (Lesson(plain), lessons):
        random.seed(0)
        np.random.seed(0)
        for step in range(10):
            lesson.advance(step)
    (notice,) = lessons.notices()
    assert why in notice
    assert np.isfinite(losses(refused)).all()


def test_a_capture_that_fails_leaves_random_numbers_in_order():
    device = torch.device("cuda")
    recorder = CudaRecorder(device)
    value = torch.ones(1, device=device)
    with pytest.raises(Exception, match="captur"):
        recorder.record(lambda: float(torch.rand(1, device=device) + value))
    torch.cuda.manual_seed(3)
    first = torch.rand(4, device=device)
    torch.cuda.manual_seed(3)
    assert torch.equal(torch.rand(4, device=device), first)
    assert float(recorder.record(lambda: value + 1)()) == 2


def test_a_loss_that_is_not_finite_is_found_in_the_window_of_its_step(dataset):
    learners = learners_of(dataset, lr=1e20, log_every=5)
    lesson = captured(learners)

    def train():
        for step in range(10):
            lesson.advance(step)

    with pytest.raises(NonFiniteLossError, match=r"the loss is not finite at step [0-4];"):
        train()


# Runs and jobs


@pytest.mark.parametrize("options", [{}, {"schedule": "sequential"}, {"teacher": "none"}])
def test_a_run_that_is_captured_ends_where_its_resumption_does(tmp_path, exact, options):
    config = CohortConfig(
        dataset="synthetic", students="resnet8", exchange="in_process", gpus=1, epochs=2, steps=40,
        capture="on", checkpoint_every=20, run_dir=str(tmp_path / "whole"), **options,
    )  # fmt: skip
    whole = train_cohort(config).summary["students"]
    half = dataclasses.replace(config, steps=20, run_dir=str(tmp_path / "half"))
    train_cohort(half)
    ended = resume(tmp_path / "half", given={"steps": 40}).summary["students"]
    assert [s["weights_sha256"] for s in ended] == [s["weights_sha256"] for s in whole]
    # And an eager run goes on from a captured one's files.
    train_cohort(dataclasses.replace(half, run_dir=str(tmp_path / "other")))
    other = resume(tmp_path / "other", given={"steps": 40, "capture": "off"}).summary["students"]
    for mine, its in zip(whole, other, strict=True):
        assert mine["test_accuracy"] == pytest.approx(its["test_accuracy"], abs=0.1)


@pytest.mark.parametrize("method", ["byot", "dsn", "none"])
def test_jobs_are_captured(tmp_path, method):
    results = [
        self_distill(
            SelfDistillConfig(
                dataset="synthetic", model="resnet8", method=method, workers=0, gpus=1, epochs=2,
                steps=60, capture=capture, run_dir=str(tmp_path / capture),
            )
        ).summary["students"][0]["test_accuracy"]
        for capture in ("on", "off")
    ]  # fmt: skip
    assert min(results) > 0.5
    assert results[0] == pytest.approx(results[1], abs=0.1)


@pytest.mark.parametrize(
    "options",
    [{}, {"perturbation": "gaussian"}, {"stacked_teachers": True}, {"student": "single"},
     {"precision": "bf16"}],
)  # fmt: skip
def test_distillation_of_an_ensemble_is_captured_for_each_teacher(ensemble, tmp_path, options):
    results = [
        ods_distill(
            OdsConfig(
                teachers=str(ensemble), workers=0, gpus=1, epochs=2, capture=capture,
                run_dir=str(tmp_path / capture), **options,
            )
        ).summary["students"][0]["test_accuracy"]
        for capture in ("on", "off")
    ]  # fmt: skip
    assert min(results) > 0.5
    assert results[0] == pytest.approx(results[1], abs=0.1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own, of Python
def test_a_compiled_run_learns(tmp_path):
    result = train_cohort(
        CohortConfig(
            dataset="synthetic", students="resnet8", exchange="in_process", gpus=1, epochs=2,
            steps=60, capture="on", compile=True, run_dir=str(tmp_path / "run"),
        )
    )  # fmt: skip
    assert min(s["test_accuracy"] for s in result.summary["students"]) > 0.5
