"""What tests on a CUDA device share."""

import pytest

from cohort import CohortConfig, train_cohort


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory):
    """The folder of a run of two teachers who know their task, with pictures held out."""
    run_dir = tmp_path_factory.mktemp("ensemble") / "run"
    train_cohort(
        CohortConfig(
            k=2,
            teacher="none",
            dataset="synthetic",
            students="resnet8",
            validation=200,
            epochs=2,
            exchange="in_process",
            gpus=1,
            run_dir=str(run_dir),
        )
    )
    return run_dir
