"""A study's figure of noise: the mean over its trained students, and its numbers beside it."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from cohort import CohortConfig, train_cohort
from cohort.analysis.analyses import noise as module
from cohort.analysis.weight_noise import weight_noise_curve
from cohort.run.finished import load_students
from cohort.tuning.axes import Grid
from cohort.tuning.folder import StudyFolder
from cohort.tuning.report import NoiseFigure, Report
from cohort.tuning.results.noise import noise_rows
from cohort.tuning.results.write import write_results
from cohort.tuning.study import Study
from cohort.tuning.trials import points_of, trials_of

NOISE = NoiseFigure(sigmas=(0.0, 0.5), draws=2)
STUDY = Study(
    name="minima",
    command="launch_cohort",
    base={"exchange": "in_process", "steps": 2, "train_subset": 64, "test_subset": 10},
    space={"teacher": Grid(("none", "peers"))},
    seeds=(0, 1),
    metric="test_accuracy",
    mode="max",
    report=Report(metrics=("test_accuracy",), figure=NOISE),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All trials but the last, which is of the second point."""
    folder = StudyFolder.create(tmp_path_factory.mktemp("noise") / "study", "seeds: [0]\n")
    specs = [spec for point in points_of(STUDY) for spec in trials_of(STUDY, point)]
    for spec in specs[:-1]:
        train_cohort(CohortConfig(**spec.values, run_dir=str(folder.trial(spec))))
    return folder, specs


def test_rows_are_the_curves_of_each_student(trained):
    folder, specs = trained
    run_dir = folder.trial(specs[0])
    rows = noise_rows(run_dir, NOISE)
    students, dataset = load_students(run_dir)
    assert [(row["student"], row["sigma"]) for row in rows] == [(0, 0), (0, 0.5), (1, 0), (1, 0.5)]
    cpu = torch.device("cpu")
    # Where no device is faster, these are the same numbers to the bit.
    curve = weight_noise_curve(
        students[1][2].to(cpu), dataset.train, (0, 0.5), 2, 0, cpu, relative=True
    )
    for row, point in zip(rows[2:], curve, strict=True):
        assert row["accuracy_mean"] == pytest.approx(point.accuracy_mean, abs=1 / 64)
        assert row["loss_mean"] == pytest.approx(point.loss_mean, rel=1e-3)


def test_fewer_examples(trained):
    folder, specs = trained
    (row, *_) = noise_rows(folder.trial(specs[0]), replace(NOISE, examples=8))
    assert row["accuracy_mean"] * 8 == round(row["accuracy_mean"] * 8)


def test_figure_and_its_numbers(monkeypatch, trained):
    folder, specs = trained
    drawn = []
    real = module.noise_figure
    monkeypatch.setattr(
        module, "noise_figure", lambda rows, **o: drawn.append((rows, o)) or real(rows, **o)
    )
    results = write_results(STUDY, folder, specs)
    assert [file.name for file in results.files[3:]] == ["figure.svg", "figure.png", "noise.csv"]
    numbers = pd.read_csv(folder.path / "noise.csv")
    assert numbers["trial"].tolist() == [spec.name for spec in specs[:3] for _ in range(4)]
    assert numbers["point"].tolist() == ["none"] * 8 + ["peers"] * 4
    assert numbers["seed"].tolist() == [0] * 4 + [1] * 4 + [0] * 4
    ((rows, options),) = drawn
    assert options == {"relative": True}
    assert [(row["group"], row["run"]) for row in rows] == [
        (point, trial) for point, trial in zip(numbers["point"], numbers["trial"], strict=True)
    ]
    of_none = numbers[(numbers["point"] == "none") & (numbers["sigma"] == 0.5)]
    assert len(of_none) == 4
    # Two students that did not teach each other are no more alike than two seeds.
    assert of_none["loss_mean"].nunique() == 4


def test_the_table_has_what_training_measured(trained):
    folder, specs = trained
    results = write_results(
        replace(STUDY, report=Report(metrics=("train_entropy",))), folder, specs
    )
    assert results.trials["status"].tolist() == ["finished"] * 3 + ["unfinished"]
    assert results.summary["n"].tolist() == [2, 1]
    assert results.notes == []
    finished = results.trials[:3]
    students = finished[["student_0_test_nll", "student_1_test_nll"]].mean(axis=1)
    assert finished["test_nll"].tolist() == pytest.approx(students.tolist())
    assert finished["train_entropy"].between(0, 2.31).all()  # the logarithm of ten classes
