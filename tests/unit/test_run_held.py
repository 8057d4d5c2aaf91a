"""A run that trains cannot be resumed beside itself."""

import dataclasses

import pytest

from cohort import CohortConfig, ConfigError, SelfDistillConfig, resume, self_distill, train_cohort
from cohort.reporting.records import read_metrics

SIZE = {"train_subset": 32, "test_subset": 16, "batch_size": 16, "epochs": 2, "threads": 1}
SIZE |= {"checkpoint_every": 1, "log_every": 1}


@pytest.mark.parametrize(
    ("train", "config", "resume"),
    [
        (train_cohort, CohortConfig(**SIZE, k=1, teacher="none", exchange="in_process"), resume),
        (self_distill, SelfDistillConfig(**SIZE, method="none", workers=0), resume),
    ],
    ids=["cohort", "job"],
)  # fmt: skip
def test_it_is_refused_and_the_run_goes_on(tmp_path, train, config, resume):
    config, refused = dataclasses.replace(config, run_dir=str(tmp_path / "run")), []

    def beside(record):
        if record["step"] == 2 and not refused:
            with pytest.raises(ConfigError, match="another process trains this run") as caught:
                resume(config.run_dir)
            refused.append(caught.value)

    result = train(config, on_step=beside)
    assert refused
    assert result.summary["status"] == "finished"
    lines = read_metrics(result.run_dir / "metrics.jsonl")
    assert [line["step"] for line in lines if line["phase"] == "train"] == [1, 2, 3, 4]
    resume(config.run_dir)  # it is free now
