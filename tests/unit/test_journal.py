"""What a run says, as records."""

import pytest

from cohort.learning.plan import plan_training
from cohort.reporting.records import read_lines, read_metrics
from cohort.run.folder import RunFolder
from cohort.run.journal import Journal
from cohort.runtime.config import CohortConfig, resolve


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run").make()


def journal(folder):
    plan = plan_training(resolve(CohortConfig(batch_size=10, epochs=4)), 100)
    return Journal(folder, plan, {0: "resnet8"})


def test_evaluations_tell_the_split(folder):
    with journal(folder) as said:
        said.evaluated(10, {0: {"nll": 0.5}, "ensemble": {"nll": 0.25}}, "validation")
        said.evaluated(10, {0: {"nll": 0.75}})
    keys = ("phase", "step", "epoch", "student", "nll")
    assert [tuple(record[key] for key in keys) for record in read_metrics(folder.metrics)] == [
        ("validation", 10, 1.0, 0, 0.5),
        ("validation", 10, 1.0, "ensemble", 0.25),
        ("test", 10, 1.0, 0, 0.75),
    ]


def test_a_rewind_forgets_evaluations_of_either_split(folder):
    with journal(folder) as said:
        for step in (10, 20):
            said.evaluated(step, {0: {"nll": 0.5}}, "validation")
            said.evaluated(step, {0: {"nll": 0.5}}, "test")
        said.rewind(10, [0])
    kept = [(record["phase"], record["step"]) for record in read_metrics(folder.metrics)]
    assert kept == [("validation", 10), ("test", 10)]


def test_what_happened_is_kept_beside_what_was_measured(folder):
    with journal(folder) as said:
        said.start(0, [0])
        said.notice("it begins")
        said.evaluated(10, {0: {"nll": 0.5}})
        said.notice("a student died")
        said.evaluated(20, {0: {"nll": 0.5}})
        said.notice("forgotten, as what it is about")
        said.rewind(10, [0])
        said.start(10, [0])
    found = [(line["phase"], line["step"], line.get("text")) for line in read_lines(folder.metrics)]
    assert found == [
        ("event", 0, "it begins"),
        ("test", 10, None),
        ("event", 10, "a student died"),
        ("event", 10, "training goes on from step 10"),
    ]
    assert [record["phase"] for record in read_metrics(folder.metrics)] == ["test"]


def test_what_time_was_spent_on(folder):
    with journal(folder) as said:
        said.start(0, [0])
        with said.paused(), said.timed("evaluation"):
            pass
        with pytest.raises(OSError, match="full"), said.timed("checkpoints"):
            raise OSError("full")
        assert list(said.times) == ["training", "evaluation", "checkpoints"]
        assert all(seconds >= 0 for seconds in said.times.values())
