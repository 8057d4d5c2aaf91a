"""What benchmarks share, and that of steps: whose turn it is, and ratios taken round by round."""

import doctest

import pytest
import torch

from cohort.analysis.turns import time_rounds
from cohort.benchmark import report
from cohort.benchmark.self_distill.config import METHODS, StepBenchConfig
from cohort.benchmark.self_distill.measure import build_learners
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


def test_all_take_turns_in_random_order_and_go_on_where_they_stood():
    calls = []

    def player(name):
        return lambda numbers: calls.append((name, numbers)) or (name, numbers.start)

    took = time_rounds({name: player(name) for name in "abc"}, rounds=9, steps=5, seed=0, warmup=2)
    orders = ["".join(name for name, _ in calls[i : i + 3]) for i in range(0, 33, 3)]
    assert {"".join(sorted(order)) for order in orders} == {"abc"}
    assert len(set(orders)) > 2
    assert [numbers for _, numbers in calls[::3]] == [range(n, n + 5) for n in range(0, 55, 5)]
    # Of the rounds after the first two.
    assert took == {name: [(name, start) for start in range(10, 55, 5)] for name in "abc"}


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
        StepBenchConfig(output=str(tmp_path / "file" / "x.json"))
    StepBenchConfig(output=str(tmp_path / "new" / "x.json"))


def test_a_table_has_the_columns_that_its_rows_have_and_says_what_they_are():
    columns = (
        report.Column("ms", "time", ".1f", "a step"),
        report.Column("MiB", "memory", ".0f", scale=2**-20),
        report.Column("share", "share", ".2f", "of the whole"),
    )
    rows = {"a": {"time": [1.0, 2.0, 3.0], "memory": 2**21}, "b": {"time": [4.0], "memory": None}}
    table = report.bench_table("title", "mode", rows, columns, "Medians.")
    shown = {column.header: list(column.cells) for column in table.columns}
    assert shown == {"mode": ["a", "b"], "ms": ["2.0 [1.0, 3.0]", "4.0"], "MiB": ["2", "–"]}
    assert str(table.caption) == "Medians.\nms: a step"
