"""The benchmark of steps: whose turn it is, and ratios taken round by round."""

import doctest

import pytest
import torch

from cohort.benchmark import report
from cohort.benchmark.exchange.config import check_output
from cohort.benchmark.self_distill import measure as step_measure
from cohort.benchmark.self_distill.config import METHODS, StepBenchConfig
from cohort.benchmark.self_distill.measure import build_learners, time_rounds
from cohort.benchmark.self_distill.results import TWO_STEP, rows
from cohort.errors import ConfigError
from cohort.learning.beside_teacher import AllExits, BesideFrozenTeacher
from cohort.models.normalised import Normalised

SMALL = {"train_subset": 32, "test_subset": 8, "batch_size": 4}


def test_examples_in_docstrings_run():
    results = doctest.testmod(report)
    assert (results.attempted, results.failed) == (2, 0)


def test_ratios_are_taken_round_by_round():
    # The machine is ten times slower in the second round, which no ratio may show.
    factors = dict(zip(METHODS, (1, 2, 3, 1.5, 1.6, 1.7), strict=True))
    seconds = {method: [factor, 10 * factor, factor] for method, factor in factors.items()}
    table = rows(StepBenchConfig(steps=4), seconds)
    assert list(table) == [*METHODS, TWO_STEP]
    for method, factor in factors.items():
        assert table[method]["step_time_vs_none"] == pytest.approx([factor] * 3)
    assert table["byot"]["step_ms"] == pytest.approx([750, 750, 4125])
    assert table[TWO_STEP]["step_time_vs_none"] == pytest.approx([2.5] * 3)
    assert table[TWO_STEP]["step_time_vs_byot"] == pytest.approx([2.5 / 3] * 3)


def test_every_method_is_first_in_its_turn_and_goes_on_where_it_stood(monkeypatch):
    calls = []

    def take(learner, start, steps):
        calls.append((learner, start, steps))
        return float(len(calls))

    monkeypatch.setattr(step_measure, "time_steps", take)
    learners = {"none": "N", "kd": "K", "at": "A"}
    seconds = time_rounds(StepBenchConfig(rounds=3, steps=5), learners)
    assert "".join(learner for learner, _, _ in calls) == "NKA" + "KAN" + "ANK" + "NKA"
    assert [start for _, start, _ in calls] == [0] * 3 + [5] * 3 + [10] * 3 + [15] * 3
    assert seconds == {"none": [6, 8, 10], "kd": [4, 9, 11], "at": [5, 7, 12]}


def test_each_method_is_what_a_job_trains():
    learners = build_learners(StepBenchConfig(**SMALL), torch.device("cpu"))
    kinds = {method: type(learner.forward) for method, learner in learners.items()}
    beside = dict.fromkeys(("kd", "fitnet", "at"), BesideFrozenTeacher)
    assert kinds == {"none": Normalised, "dsn": AllExits, "byot": AllExits} | beside
    for learner in learners.values():
        learner.predict(0)
        learner.learn(0)
    teacher = learners["kd"].forward._frozen[0]
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_network_without_sections_is_refused():
    config = StepBenchConfig(model="tests.support.exits:Silent", **SMALL)
    with pytest.raises(ConfigError, match="does not say where its sections end"):
        build_learners(config, torch.device("cpu"))


def test_output_that_cannot_be_written_is_refused_before_measuring(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file; name another place"):
        check_output(str(tmp_path / "file" / "x.json"))
    check_output(str(tmp_path / "new" / "x.json"))
