"""ODS distillation from small teachers in this process, and what is left of it."""

import os
import signal

import pytest
import torch

from cohort import OdsConfig, load_student, ods_distill
from cohort.jobs.ods.resolve import resolve
from cohort.jobs.ods.run import prepare_job as prepare
from cohort.learning.data_parallel import Workers
from cohort.reporting.records import read_metrics
from tests.support.teacher_runs import deep_ensemble

SMALL_NETWORK = "tests.support.teacher_runs:small"
CPU = torch.device("cpu")
SIZES = {
    "epochs": 2, "batch_size": 32, "threads": 1, "workers": 0, "log_every": 1, "trust_code": True
}  # fmt: skip


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Three, that held 40 images out."""
    return deep_ensemble(
        tmp_path_factory.mktemp("teachers") / "run", students=SMALL_NETWORK, validation=40, epochs=8
    )


@pytest.fixture(scope="module")
def distilled(teachers, tmp_path_factory):
    """With everything left to its default."""
    return job(tmp_path_factory.mktemp("distilled") / "run", teachers, epochs=4, tensorboard=True)


def job(run_dir, teachers, **options):
    return ods_distill(OdsConfig(**{**SIZES, **options}, teachers=teachers, run_dir=str(run_dir)))


def prepared(teachers, **options):
    return prepare(resolve(OdsConfig(**{**SIZES, **options}, teachers=teachers)))


def taught(teachers, steps=1, **options):
    """A learner after so many steps, and its records."""
    learner = prepared(teachers, **options).build_learner(Workers(), CPU)
    for step in range(steps):
        learner.predict(step)
        learner.learn(step)
    return learner, learner.windows.drain()


def interrupted_at(step, run_dir, teachers):
    """A run of 12 steps, stopped as Ctrl-C does once a step was recorded."""

    def interrupt(record):
        if record["step"] == step and record["phase"] == "train":
            os.kill(os.getpid(), signal.SIGINT)

    result = ods_distill(
        OdsConfig(**{**SIZES, "epochs": 4}, teachers=teachers, run_dir=str(run_dir)),
        on_step=interrupt,
    )
    assert result.interrupted == (step < 12)
    assert result.summary["steps"] == step
    return result


def networks(teachers):
    return [load_student(f"{teachers}/students/{number}", trust_code=True) for number in range(3)]


def records_of(result, *phases):
    records = [r for r in read_metrics(result.run_dir / "metrics.jsonl") if r["phase"] in phases]
    for record in records:
        del record["time"]
    return records


def the_student(result):
    (student,) = result.summary["students"]
    return student
