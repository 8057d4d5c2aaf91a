"""A finished run that is resumed, with nothing left to train, is what it was."""

import json

import pytest

from cohort import CohortConfig, SelfDistillConfig, resume, self_distill, train_cohort
from cohort.reporting.records import read_metrics

SMALL = {
    "train_subset": 128,
    "test_subset": 10,
    "validation": 10,
    "batch_size": 16,
    "epochs": 2,
    "log_every": 1,
    "threads": 1,
}


@pytest.mark.parametrize("command", ["cohort", "self-distillation"])
def test_it_stays_as_it_was(tmp_path, command):
    run_dir = tmp_path / "run"
    if command == "cohort":
        train_cohort(CohortConfig(**SMALL, exchange="in_process", run_dir=str(run_dir)))
    else:
        self_distill(SelfDistillConfig(**SMALL, workers=0, run_dir=str(run_dir)))
    before = told(run_dir)
    assert resume(run_dir).summary["status"] == "finished"
    assert told(run_dir) == before
    assert before[0]["images_per_second"] > 0


@pytest.mark.parametrize("damaged", ["", "[]", "null", '{"images_per_second": "x"}'])
def test_a_damaged_summary_is_written_again(tmp_path, damaged):
    run_dir = tmp_path / "run"
    train_cohort(CohortConfig(**SMALL, exchange="in_process", run_dir=str(run_dir)))
    before, _ = told(run_dir)
    (run_dir / "summary.json").write_text(damaged)
    resume(run_dir)
    after, _ = told(run_dir)
    del before["hosts"]  # which nobody has measured again
    assert after == before | {"images_per_second": None}


def told(run_dir):
    """Summary and records, but for the times at which they were written."""
    summary = json.loads((run_dir / "summary.json").read_text())
    records = list(read_metrics(run_dir / "metrics.jsonl"))
    del summary["wall_seconds"], summary["times"]
    for record in records:
        del record["time"]
    return summary, records
