"""A cohort is measured on its validation split at every evaluation, beside the test split."""

import dataclasses

import torch

from cohort import CohortConfig, load_student, train_cohort
from cohort.data.registry import load_dataset
from cohort.learning.evaluation import log_posterior_over
from cohort.metrics.classification import evaluate_posterior, mean_posterior
from cohort.reporting.records import read_metrics

CONFIG = CohortConfig(
    exchange="in_process",
    train_subset=64,
    test_subset=20,
    validation=30,
    batch_size=16,
    epochs=2,
    steps=6,
    eval_every=3,
)


def test_records_of_the_validation_split_are_those_of_the_trained_students(tmp_path):
    train_cohort(dataclasses.replace(CONFIG, run_dir=str(tmp_path / "run")))
    records = [r for r in read_metrics(tmp_path / "run" / "metrics.jsonl") if r["phase"] != "train"]
    found = [(record["step"], record["phase"], record["student"]) for record in records]
    assert found == [
        (step, phase, student)
        for step in (3, 6)
        for phase in ("test", "validation")
        for student in (0, 1, "ensemble")
    ]
    held_out = load_dataset(CONFIG, CONFIG.seed).validation
    labels = torch.from_numpy(held_out.labels)
    posteriors = [
        log_posterior_over(
            load_student(tmp_path / "run/students" / k), held_out, torch.device("cpu")
        )
        for k in "01"
    ]
    for record, posterior in zip(
        records[-3:], [*posteriors, mean_posterior(posteriors)], strict=True
    ):
        for name, value in evaluate_posterior(posterior, labels).items():
            torch.testing.assert_close(record[name], value)


def test_measuring_more_often_leaves_training_alone(tmp_path):
    results = [
        train_cohort(dataclasses.replace(CONFIG, eval_every=every, run_dir=str(tmp_path / name)))
        for name, every in (("often", 2), ("once", 6))
    ]
    often, once = (
        [line["weights_sha256"] for line in result.summary["students"]] for result in results
    )
    assert often == once
