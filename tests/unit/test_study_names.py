"""A study may select by, and show, whatever real runs of all three commands measure."""

import pytest

from cohort import (
    CohortConfig,
    OdsConfig,
    SelfDistillConfig,
    ods_distill,
    self_distill,
    train_cohort,
)
from cohort.tuning.file.check_metrics import CONCLUDED, EVALUATED
from cohort.tuning.measurements import finals, history

SIZE = {"train_subset": 64, "test_subset": 32, "batch_size": 32, "epochs": 1, "threads": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished run of each command; the last is distilled from the first."""
    folder = tmp_path_factory.mktemp("runs")
    data = SIZE | {"validation": 32}
    apart = CohortConfig(
        **data, teacher="none", exchange="in_process", run_dir=str(folder / "cohort")
    )
    train_cohort(apart)
    self_distill(SelfDistillConfig(**data, workers=0, run_dir=str(folder / "exits")))
    distilled = OdsConfig(
        teachers=apart.run_dir, epochs=1, threads=1, workers=0, run_dir=str(folder / "members")
    )
    ods_distill(distilled)
    return sorted(folder.iterdir())


def test_every_measurement_may_be_named(runs):
    known = {"cohort": "test_accuracy", "exits": "ensemble_test_nll", "members": "test_diversity"}
    assert [run_dir.name for run_dir in runs] == list(known)
    for run_dir in runs:
        measured = finals(run_dir)
        assert known[run_dir.name] in measured
        for name in measured.keys() - {"status"}:
            assert EVALUATED.fullmatch(name) or CONCLUDED.fullmatch(name), name


def test_what_a_scheduler_may_look_at_is_known_at_every_evaluation(runs):
    for run_dir in runs:
        for name in history(run_dir)[-1].keys() - {"step", "epoch"}:
            assert EVALUATED.fullmatch(name), name
