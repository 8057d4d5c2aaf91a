"""A captured step, but for CUDA: what is put back, copied to static places, recorded once, and refused.

A recorder that replays by doing the work again stands for the GPU's.
"""

import contextlib
import copy

import pytest
import torch
from torch import nn

from cohort.errors import RunError
from cohort.learning.ahead import Ahead
from cohort.learning.build import build_learner
from cohort.learning.cuda_graphs import CudaRecorder, draws_on_the_cpu, reason
from cohort.learning.kept import Kept
from cohort.learning.lesson import Lesson
from cohort.learning.lessons import Lessons
from cohort.learning.student_files import weights_sha256
from cohort.objectives.mutual import MutualLearning
from cohort.objectives.peer_sum import add_up
from tests.support.learners import CPU, learner_of, plan_of, small, with_dropout
from tests.support.learners import digits as digits
from tests.support.recorder import FakeRecorder


def learners_of(dataset, count=2, network=small, teacher="peers", **options):
    plan = plan_of(dataset, **options)
    return [
        build_learner(
            network, plan, dataset, MutualLearning(teacher=teacher), student=k, device=CPU
        )
        for k in range(count)
    ]


def hashes(learners):
    return [weights_sha256(learner.network) for learner in learners]


def records(learners):
    for learner in learners:
        learner.close_window()
    return [learner.windows.drain() for learner in learners]


def captured(learners, **options):
    return Lessons(learners, FakeRecorder(), **options)


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_captured_steps_are_the_plain_ones(digits, optimizer, sequential):
    options = {"optimizer": optimizer, "lr": 1e-3, "log_every": 4}
    plain, static = (learners_of(digits, 3, **options) for _ in range(2))
    recorder = FakeRecorder()
    lessons = Lesson(plain), Lessons(static, recorder)
    for step in range(6):
        for lesson in lessons:
            lesson.advance(step, sequential)
    assert hashes(static) == hashes(plain)
    assert records(static) == records(plain)
    assert recorder.count("record") == recorder.count("try out") == 1


def alone(peer):
    """A host's only student as others are shown it: as it is."""
    return peer


def as_sum(peer):
    """The same where sums travel."""
    return add_up([peer], "peers")


@pytest.mark.parametrize("shown_as", [alone, as_sum])
def test_with_other_hosts_there_are_two_pieces(digits, shown_as):
    """Student 1's part of a cohort of three, of whom the others are in two other hosts."""
    plain, static = (learners_of(digits, 3) for _ in range(2))
    recorder = FakeRecorder()
    outer, mine = Lesson([plain[0], plain[2]]), Lesson([plain[1]])
    outer_too, here = Lesson([static[0], static[2]]), Lessons([static[1]], recorder)
    for step in range(4):
        for others, own in ((outer, mine), (outer_too, here)):
            first, last = others.predict(step)
            (middle,) = own.predict(step)
            own.learn(step, [shown_as(first)], [shown_as(last)])
            for learner, peers in zip(
                others._pupils, ([middle, last], [first, middle]), strict=True
            ):
                learner.learn(step, peers)
    assert hashes(static) == hashes(plain)
    assert recorder.count("record") == 2


@pytest.mark.parametrize("teacher", ["peers", "ensemble_logits"])
def test_with_the_sum_of_other_hosts(digits, teacher):
    """It is another one at every step, copied to where the captured step reads it."""
    plain, static = (learners_of(digits, 1, teacher=teacher) for _ in range(2))
    random = torch.Generator().manual_seed(0)
    lessons = Lesson(plain), captured(static)
    for step in range(3):
        peers = [torch.randn(16, 10, generator=random).log_softmax(1) for _ in range(3)]
        for lesson in lessons:
            lesson.predict(step)
            lesson.learn(step, [add_up(peers, teacher)], ())
    assert hashes(static) == hashes(plain)


def test_in_turn_with_other_hosts(digits):
    plain, static = (learners_of(digits, 2) for _ in range(2))
    one_too, two_too = Lessons([static[0]], FakeRecorder()), Lessons([static[1]], FakeRecorder())
    together = Lesson(plain)
    for step in range(4):
        together.advance(step, sequential=True)
        first, last = one_too.predict(step), two_too.predict(step)
        newest = one_too.learn_in_turn(step, (), [last[0].clone()])
        assert not torch.equal(newest, first)
        two_too.learn_in_turn(step, [newest[0].clone()], ())
    assert hashes(static) == hashes(plain)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("steps_before", [0, 3])
def test_what_a_step_changes_is_put_back(digits, optimizer, steps_before):
    """To the bit, before the first step and after some, whatever the steps in between."""
    undisturbed, disturbed = (
        learners_of(digits, 2, optimizer=optimizer, lr=1e-3) for _ in range(2)
    )
    for learners in (undisturbed, disturbed):
        for step in range(steps_before):
            Lesson(learners).advance(step)
    kept = Kept(disturbed)
    for step in range(7, 10):
        Lesson(disturbed).advance(step)
    kept.put_back()
    assert hashes(disturbed) == hashes(undisturbed)
    for learners in (undisturbed, disturbed):
        for step in range(steps_before, steps_before + 4):
            Lesson(learners).advance(step)
    assert hashes(disturbed) == hashes(undisturbed)


def test_a_student_that_is_restored_is_captured_anew(digits):
    undisturbed, resumed = (learners_of(digits, 2) for _ in range(2))
    recorder = FakeRecorder()
    lessons = Lessons(resumed, recorder)
    files = {}
    for step in range(5):
        Lesson(undisturbed).advance(step)
        lessons.advance(step)
        if step == 1:
            files = [learner.snapshot() for learner in resumed]
    for learner, of_one in zip(resumed, files, strict=True):
        learner.restore(of_one)
    lessons.renew(resumed)
    for step in range(2, 5):
        lessons.advance(step)
    assert hashes(resumed) == hashes(undisturbed)
    assert recorder.count("record") == 2


def test_dropout_of_one_is_that_of_a_plain_step_and_of_several_drawn_together(digits):
    """A resumed captured run is an undisturbed one."""
    (alone,), (static,) = (learners_of(digits, 1, with_dropout, "none") for _ in range(2))
    for step in range(3):
        Lesson([alone]).advance(step)
    lessons = captured([static])
    for step in range(3):
        torch.rand(5)  # whatever else draws
        lessons.advance(step)
    assert hashes([static]) == hashes([alone])

    whole, broken_off = (learners_of(digits, 2, with_dropout) for _ in range(2))
    lessons = captured(whole), captured(broken_off)
    for step in range(4):
        lessons[0].advance(step)
    for step in range(2):
        lessons[1].advance(step)
    lessons[1].renew(broken_off)
    for step in range(2, 4):
        lessons[1].advance(step)
    assert hashes(whole) == hashes(broken_off)


def test_evaluation_and_snapshots_between_replays_change_nothing(digits):
    plain, watched = (learners_of(digits, 2) for _ in range(2))
    lessons = captured(watched)
    for step in range(4):
        Lesson(plain).advance(step)
        lessons.advance(step)
        for learner in watched:
            learner.answer_over(digits.test)
            learner.snapshot()
    assert hashes(watched) == hashes(plain)


def test_what_cannot_be_captured_is_trained_as_it_is_and_said_once(digits):
    plain, refused = (learners_of(digits, 2, optimizer="adam") for _ in range(2))
    lessons = Lessons(refused, FakeRecorder(refuses="it waits for the GPU"))
    for step in range(3):
        Lesson(plain).advance(step)
        lessons.advance(step)
    assert hashes(refused) == hashes(plain)
    assert lessons.notices() == [
        "students train without a CUDA graph, because it waits for the GPU"
    ]
    lessons.renew(refused)
    lessons.advance(3)
    assert lessons.notices() == []


def test_on_means_that_it_must_be_captured(digits):
    lessons = Lessons(learners_of(digits), FakeRecorder(refuses="no"), must=True)
    with pytest.raises(RunError, match=r"--capture is on, but .* because no; use --capture auto"):
        lessons.advance(0)


def test_students_run_beside_each_other_and_wait_for_what_all_have_shown(digits):
    recorder = FakeRecorder()
    Lessons(learners_of(digits, 2), recorder).advance(0)
    step = recorder.told[recorder.told.index("record") + 1 :]
    assert step == [
        "begin",
        ("lane", 0, False), ("lane", 1, False),
        ("lane", 0, True), ("lane", 1, True),
    ]  # fmt: skip


class FakeCuda:
    """Streams that only note in which order their work has to be done."""

    def __init__(self):
        self.stream = "outer"
        self.work = {}

    def current_stream(self):
        return self.stream

    def does(self, what):
        """The current stream does something after all that it has done and waited for."""
        before = self.work.setdefault(self.stream, [])
        self.work[self.stream] = [*before, what]
        return set(before)


def test_who_learns_waits_for_what_others_have_shown_and_not_for_what_they_learn(monkeypatch):
    cuda = FakeCuda()

    class Event:
        def record(self):
            self.after = list(cuda.work.get(cuda.stream, []))

    class Stream:
        def __init__(self, device):
            pass

        def wait_event(self, event):
            own = cuda.work.setdefault(self, [])
            own += [what for what in event.after if what not in own]

    @contextlib.contextmanager
    def stream(chosen):
        before, cuda.stream = cuda.stream, chosen
        yield
        cuda.stream = before

    for name, value in (("Event", Event), ("Stream", Stream), ("stream", stream),
                        ("current_stream", cuda.current_stream)):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    cuda.stream = Stream(None)
    recorder = CudaRecorder(torch.device("cuda"))

    def step(in_turn):
        recorder.begin()
        for k in (0, 1):
            with recorder.lane(k):
                cuda.does(("show", k))
        waited = []
        for k in (0, 1):
            with recorder.lane(k, after_all=True):
                waited.append(cuda.does(("learn", k)))
            if in_turn and k == 0:
                with recorder.lane(k):
                    cuda.does(("show again", k))
        assert set(cuda.work[cuda.stream]) >= {("learn", 0), ("learn", 1)}  # joined
        return waited

    assert step(in_turn=False) == [{("show", 0), ("show", 1)}] * 2
    cuda.work.clear()
    shown = {("show", 0), ("show", 1)}
    assert step(in_turn=True) == [shown, {*shown, ("learn", 0), ("show again", 0)}]


def test_batches_are_made_once_and_a_step_ahead(digits):
    learner = learner_of(digits, small)
    made = []

    def make(step):
        made.append(step)
        return learner.given(step)

    ahead = Ahead(make, total_steps=3, device=CPU)
    for step in range(3):
        given = ahead.take(step)
        assert torch.equal(given.images_BCHW, learner.source.batch(step)[0])
        ahead.prepare(step + 1)
    assert made == [0, 1, 2]  # there is no step 3
    assert torch.equal(ahead.take(1).images_BCHW, learner.source.batch(1)[0])  # after a restart
    assert made == [0, 1, 2, 1]


# What CUDA would not notice, and what is said of what it does


def test_random_numbers_of_the_cpu_are_noticed():
    import random

    import numpy as np

    assert not draws_on_the_cpu(lambda: torch.zeros(3) + 1)
    for draw in (lambda: torch.rand(1), random.random, np.random.rand):
        assert draws_on_the_cpu(draw)


def test_a_reason_names_the_line_that_is_not_torch_s():
    class Network(nn.Module):
        def forward(self, x):
            return nn.functional.linear(x, torch.zeros(2, 3))

    with pytest.raises(RuntimeError) as caught:
        Network()(torch.zeros(1, 4))
    said = reason(caught.value)
    assert said.startswith("RuntimeError: ")
    assert f"{__file__}:" in said
    assert "\n" not in said


def test_states_of_an_optimizer_that_was_captured_are_those_of_a_plain_one(digits):
    plain, static = (learners_of(digits, 1, optimizer="adam")[0] for _ in range(2))
    Lesson([plain]).advance(0)
    captured([static]).advance(0)
    mine, other = (copy.deepcopy(each.optimizer.state_dict()) for each in (plain, static))
    assert mine["param_groups"] == other["param_groups"]
    for number, of_one in mine["state"].items():
        for name, value in of_one.items():
            assert torch.equal(value, other["state"][number][name])
