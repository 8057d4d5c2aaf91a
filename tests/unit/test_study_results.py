"""Tables, summary and figure of a study, from run folders written by hand."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import cohort.tuning.results.report_figure
from cohort.tuning.axes import Cases, Grid, LogUniform, Zip
from cohort.tuning.folder import StudyFolder
from cohort.tuning.report import BarsFigure, HeatmapFigure, LinesFigure, Report
from cohort.tuning.results.summary import summarise
from cohort.tuning.results.table import trials_table
from cohort.tuning.results.write import print_results, write_results
from cohort.tuning.study import RandomSearch, Study
from cohort.tuning.trials import points_of, trials_of
from tests.support.fake_run import record, student, write_run

STUDY = Study(
    name="size",
    command="launch_cohort",
    base={"students": ["resnet8", "resnet14"], "epochs": 2},
    space={"k": Grid((1, 2)), "teacher": Grid(("none", "peers", None))},
    without=({"k": 1, "teacher": "peers"}, {"k": 1, "teacher": None}),
    seeds=(0, 1),
    metric="test_accuracy",
    mode="max",
    report=Report(
        baseline={"k": 1, "teacher": "none"},
        metrics=("test_accuracy", "ensemble_test_nll"),
        figure=LinesFigure(x="k", series="teacher", y=("test_accuracy", "test_nll")),
    ),
)
ACCURACY = {  # the mean of two students is the one given, to the bit
    (1, "none", 0): 0.5, (1, "none", 1): 0.625,
    (2, "none", 0): 0.5, (2, "none", 1): 0.5,
    (2, "peers", 0): 0.75, (2, "peers", 1): 1 / 3,
    (2, None, 0): 0.25, (2, None, 1): 0.125,
}  # fmt: skip


def specs_of(study):
    return [spec for point in points_of(study) for spec in trials_of(study, point)]


def write_trial(folder, spec, accuracy, **more):
    students = [student(0, accuracy, test_nll=1.0)]
    if spec.labels.get("k", 1) == 2:
        students = [student(0, accuracy - 0.125), student(1, accuracy + 0.125)]
    ensemble = {"test_accuracy": accuracy, "test_nll": accuracy / 4}
    write_run(folder.trial(spec), status="finished", students=students, ensemble=ensemble, **more)


@pytest.fixture
def folder(tmp_path):
    return StudyFolder.create(tmp_path / "study", "seeds: [0]\n")


@pytest.fixture
def all_finished(folder):
    for spec in specs_of(STUDY):
        write_trial(folder, spec, ACCURACY[spec.labels["k"], spec.labels["teacher"], spec.seed])
    return folder


def table_of(folder, study=STUDY):
    return trials_table(study, folder, specs_of(study))


def row_of(summary, **labels):
    for name, value in labels.items():
        summary = summary[[cell == value for cell in summary[name]]]
    assert len(summary) == 1
    return summary.iloc[0]


def test_columns_in_order(all_finished):
    assert list(table_of(all_finished)) == [
        "trial", "status", "command", "k", "teacher", "seed",
        "config.threads", "config.students", "config.epochs", "config.k", "config.teacher",
        "parameters", "test_accuracy", "test_nll", "ensemble_test_accuracy", "ensemble_test_nll",
        "student_0_parameters", "student_0_test_accuracy", "student_0_test_nll",
        "student_1_parameters", "student_1_test_accuracy",
        "student_0_weights_sha256", "student_1_weights_sha256",
        "trained_steps", "trained_epochs", "wall_seconds", "images_per_second", "restarts",
        "dropped", "version.python", "version.cohort",
    ]  # fmt: skip


def test_rows_are_the_trials_in_order(all_finished):
    table, specs = table_of(all_finished), specs_of(STUDY)
    assert table["trial"].tolist() == [spec.name for spec in specs]
    assert table["seed"].tolist() == [spec.seed for spec in specs] == [0, 1] * 4
    assert table["teacher"].tolist() == ["none"] * 4 + ["peers"] * 2 + [None] * 2
    assert table["test_accuracy"].tolist() == pytest.approx(list(ACCURACY.values()), abs=1e-15)
    assert set(table["config.students"]) == {"resnet8,resnet14"}
    assert table["student_1_weights_sha256"][0] is None
    assert table["student_0_weights_sha256"][0] == "digest 0 0.5"
    assert table["trained_steps"].tolist() == [8] * 8


def test_status(folder):
    specs = specs_of(STUDY)
    names = "finished", "failed", "stopped", "unfinished", "failed", "unfinished", "finished"
    write_trial(folder, specs[0], 0.5)
    write_run(folder.trial(specs[1]), status="failed")
    folder.record_decision(specs[1].name, "failed", reason="no memory")
    evaluations = [record(4, 0, 0.25), record(6, 0, 0.5)]
    write_run(folder.trial(specs[2]), status="interrupted", steps=7, records=evaluations)
    folder.record_decision(specs[2].name, "stopped", epoch=1.5)
    write_run(folder.trial(specs[3]), records=[record(4, 0, 0.25)])
    write_run(folder.trial(specs[4]), status="failed")
    write_trial(folder, specs[6], 0.75)
    folder.record_decision(specs[6].name, "failed")  # and then it was tried again
    table = trials_table(STUDY, folder, specs[:7])
    assert table["status"].tolist() == list(names)
    accuracy = table["test_accuracy"].tolist()
    assert (accuracy[0], accuracy[2], accuracy[6]) == (0.5, 0.5, 0.75)
    assert all(math.isnan(accuracy[place]) for place in (1, 3, 4, 5))
    assert table["trained_steps"][2] == 6
    assert table["trained_epochs"][2] == 1.5
    assert table["version.python"][2] == "3.11"


def test_csv_and_parquet_hold_the_numbers_exactly(folder):
    study = replace(
        STUDY,
        space={"teacher": Grid((1, "peers", None)), "lr": Grid((0.1, 1))},
        without=(),
        report=Report(metrics=("test_accuracy",)),
    )
    specs = specs_of(study)
    for number, spec in enumerate(specs[:-1]):
        write_trial(folder, spec, 0.1 + number / 7)
    results = write_results(study, folder, specs)
    numbers = results.trials["test_accuracy"].tolist()
    assert numbers[:-1] == [0.1 + number / 7 for number in range(len(specs) - 1)]
    stored = pd.read_parquet(folder.table_parquet)
    assert list(stored) == list(results.trials)
    assert stored["test_accuracy"].tolist()[:-1] == numbers[:-1]
    assert math.isnan(stored["test_accuracy"].tolist()[-1])
    assert stored["lr"].tolist() == [0.1, 0.1, 1, 1] * 3
    assert stored["teacher"].tolist()[:8] == ["1"] * 4 + ["peers"] * 4
    assert stored["teacher"].isna().tolist() == [False] * 8 + [True] * 4
    with folder.table_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["test_accuracy"]) for row in rows[:-1]] == numbers[:-1]
    assert rows[-1]["test_accuracy"] == ""
    assert [row["teacher"] for row in rows] == ["1"] * 4 + ["peers"] * 4 + [""] * 4
    assert [row["trained_steps"] for row in rows] == ["8"] * 11 + [""]


def test_summary(all_finished):
    summary = summarise(STUDY, table_of(all_finished))
    assert list(summary) == [
        "k", "teacher", "n", "trials", "pairs",
        *(f"{metric}_{part}" for metric in ("test_accuracy", "ensemble_test_nll")
          for part in ("mean", "se", "diff", "diff_low", "diff_high")),
    ]  # fmt: skip
    assert summary[["k", "teacher"]].values.tolist() == [
        [1, "none"], [2, "none"], [2, "peers"], [2, None],
    ]  # fmt: skip
    point = row_of(summary, k=2, teacher=None)
    # 0.25 and 0.125 against 0.5 and 0.625: differences -1/4 and -1/2, t of one degree is 12.706.
    assert point["test_accuracy_mean"] == pytest.approx(0.1875)
    assert point["test_accuracy_se"] == pytest.approx(0.0625)
    assert point["test_accuracy_diff"] == pytest.approx(-0.375)
    assert point["test_accuracy_diff_low"] == pytest.approx(-0.375 - 12.7062 * 0.125, abs=1e-4)
    assert point["test_accuracy_diff_high"] == pytest.approx(-0.375 + 12.7062 * 0.125, abs=1e-4)
    assert point["ensemble_test_nll_diff"] == pytest.approx(-0.375 / 4)
    assert (point["n"], point["trials"], point["pairs"]) == (2, 2, 2)


def test_the_baseline_itself_has_no_difference(all_finished):
    baseline = row_of(summarise(STUDY, table_of(all_finished)), k=1)
    assert baseline["test_accuracy_mean"] == pytest.approx(0.5625)
    assert math.isnan(baseline["test_accuracy_diff"])
    assert baseline["pairs"] == 0


def test_a_baseline_keeps_the_labels_that_it_does_not_replace(all_finished):
    report = replace(STUDY.report, baseline={"k": 1})
    study = replace(STUDY, report=report)
    summary = summarise(study, table_of(all_finished, study))
    assert row_of(summary, k=2, teacher="none")["test_accuracy_diff"] == pytest.approx(-0.0625)
    assert math.isnan(row_of(summary, teacher="peers")["test_accuracy_diff"])  # no k=1 with peers


def test_only_seeds_of_both_are_paired(folder):
    for spec in specs_of(STUDY):
        if (spec.labels["k"], spec.seed) != (1, 0):
            accuracy = ACCURACY[spec.labels["k"], spec.labels["teacher"], spec.seed]
            write_trial(folder, spec, accuracy)
    summary = summarise(STUDY, table_of(folder))
    point = row_of(summary, teacher="peers")
    assert point["test_accuracy_diff"] == pytest.approx(1 / 3 - 0.625)
    assert math.isnan(point["test_accuracy_diff_low"])
    assert (point["n"], point["pairs"]) == (2, 1)
    baseline = row_of(summary, k=1)
    assert (baseline["n"], baseline["trials"]) == (1, 2)
    assert math.isnan(baseline["test_accuracy_se"])


def test_stopped_trials_are_no_part_of_a_mean(folder):
    first, second = specs_of(STUDY)[:2]
    write_trial(folder, first, 0.5)
    write_run(folder.trial(second), records=[record(4, 0, 0.125)])
    folder.record_decision(second.name, "stopped")
    table = trials_table(STUDY, folder, [first, second])
    assert table["test_accuracy"].tolist() == [0.5, 0.125]
    assert summarise(STUDY, table)["test_accuracy_mean"].tolist() == [0.5]


def test_equivalents_outside_of_their_ladder_are_counted_and_not_averaged(folder):
    report = Report(
        baseline={"k": 1, "teacher": "none"}, metrics=("dee",), figure=BarsFigure(y=("dee",))
    )
    study = replace(STUDY, report=report)
    found = [(1.5, 0), (2.5, 0), (1.0, -1), (2.0, 0), (4.0, 1), (1.0, -1), (1.0, 0), (3.0, 0)]
    for spec, (dee, outside) in zip(specs_of(study), found, strict=True):
        line = student(0, 0.5, dee=dee, dee_outside=outside)
        write_run(folder.trial(spec), status="finished", students=[line])
    results = write_results(study, folder, specs_of(study))
    assert results.trials["dee"].tolist() == [dee for dee, _ in found]
    assert results.trials["dee_outside"].tolist() == [outside for _, outside in found]
    columns = ["dee_mean", "dee_below", "dee_above", "dee_diff"]
    np.testing.assert_equal(
        results.summary[columns].values.tolist(),
        [[2, 0, 0, math.nan], [math.nan, 1, 0, math.nan], [math.nan, 1, 1, math.nan], [2, 0, 0, 0]],
    )
    out = io.StringIO()
    print_results(results, Console(file=out, width=120))
    rows = [line for line in out.getvalue().splitlines() if line.startswith((" 1", " 2"))]
    shown = ["2.00 ± 0.50", "– (1 <1)", "– (1 <1, 1 >M)", "2.0 ± 1.0"]
    assert [words in row for words, row in zip(shown, rows, strict=True)] == [True] * 4


def test_lists_and_cases_as_labels(folder):
    study = replace(
        STUDY,
        space={
            "size": Zip({"students": (["resnet8", "resnet14"], "resnet8"), "lr": (0.1, 0.2)}),
            "arm": Cases({"alone": {"k": 1, "teacher": "none"}, "pair": {"k": 2}}),
        },
        without=(),
        report=Report(
            baseline={"students": ["resnet8", "resnet14"], "lr": 0.1, "arm": "alone"},
            metrics=("test_accuracy",),
        ),
    )
    specs = specs_of(study)
    for number, spec in enumerate(specs):
        write_trial(folder, spec, 0.125 * number)
    summary = write_results(study, folder, specs).summary
    assert summary[["students", "lr", "arm"]].values.tolist() == [
        ["resnet8,resnet14", 0.1, "alone"], ["resnet8,resnet14", 0.1, "pair"],
        ["resnet8", 0.2, "alone"], ["resnet8", 0.2, "pair"],
    ]  # fmt: skip
    assert summary["test_accuracy_diff"].tolist()[1:] == pytest.approx([0.25, 0.5, 0.75])


def test_a_study_without_finished_trials(folder):
    specs = specs_of(STUDY)
    results = write_results(STUDY, folder, specs)
    assert results.files == [folder.table_csv, folder.table_parquet, folder.summary_csv]
    assert all(file.is_file() for file in results.files)
    assert results.summary["n"].tolist() == [0] * 4
    assert results.notes == ["no trial has finished yet, so that there are no means and no figure"]
    assert "0 of 2" in printed(results)
    assert write_results(STUDY, folder, []).trials.empty


def printed(results):
    out = io.StringIO()
    print_results(results, Console(file=out, width=80))
    return out.getvalue()


def test_printed(all_finished):
    results = write_results(STUDY, all_finished, specs_of(STUDY))
    assert [file.name for file in results.files[3:]] == ["figure.svg", "figure.png"]
    assert all(file.stat().st_size > 1000 for file in results.files[3:])
    rows = [" ".join(line.split()) for line in printed(results).splitlines()]
    # k, teacher, n; accuracies in percent and points. The second table has a quarter of them in nats.
    assert "2 – 2 18.75 ± 6.25 -37.50 [-196.33, +121.33]" in rows
    assert rows.index("1 none 2 56.25 ± 6.25 –") < rows.index("ensemble test NLL / nat")
    assert rows.index("1 none 2 0.141 ± 0.016 –") > rows.index("ensemble test NLL / nat")
    meant = "difference [95 %]: this row minus the row with k 1, teacher none and all else alike"
    assert meant in " ".join(rows)
    assert rows[-1] == f"{all_finished.figure}.png"


def test_a_metric_that_nothing_has_is_told(all_finished):
    study = replace(
        STUDY,
        report=Report(metrics=("test_accuracy", "dee"), figure=BarsFigure(y=("test_acuracy",))),
    )
    results = write_results(study, all_finished, specs_of(study))
    assert results.notes == [
        "no finished trial has measured dee",
        "no finished trial has measured what the figure shows: there is no figure",
    ]
    assert "difference" not in printed(results)
    assert not (all_finished.path / "figure.svg").exists()


def drawn_by(monkeypatch, name, study, folder):
    """What the figure's function is called with."""
    calls = []
    real = getattr(cohort.tuning.results.report_figure, name)
    monkeypatch.setattr(
        cohort.tuning.results.report_figure,
        name,
        lambda *a, **k: calls.append((a, k)) or real(*a, **k),
    )
    write_results(study, folder, specs_of(study))
    assert len(calls) == 1
    return calls[0]


def test_lines(monkeypatch, all_finished):
    (data,), options = drawn_by(monkeypatch, "lines", STUDY, all_finished)
    assert options == {"x": "k", "dots": False, "log_x": False}
    accuracy = data["test_accuracy"]
    assert list(accuracy) == ["none", "peers", "teacher=–"]
    assert accuracy["none"] == {1: [0.5, 0.625], 2: [0.5, 0.5]}
    assert data["test_nll"]["none"][1] == [1, 1]


def test_a_label_that_is_not_named_makes_lines_of_its_own(monkeypatch, all_finished):
    figure = LinesFigure(x="k", y=("test_accuracy",))
    study = replace(STUDY, report=replace(STUDY.report, figure=figure))
    (data,), _ = drawn_by(monkeypatch, "lines", study, all_finished)
    assert list(data["test_accuracy"]) == ["none", "peers", "teacher=–"]


def test_bars_are_in_the_order_of_the_study(monkeypatch, all_finished):
    study = replace(STUDY, report=replace(STUDY.report, figure=BarsFigure(y=("test_accuracy",))))
    (data,), _ = drawn_by(monkeypatch, "bars", study, all_finished)
    names = ["k=1, teacher=none", "k=2, teacher=none", "k=2, teacher=peers", "k=2, teacher=–"]
    assert list(data["test_accuracy"]) == names
    assert data["test_accuracy"]["k=1, teacher=none"] == [0.5, 0.625]


def test_heatmap(monkeypatch, all_finished):
    figure = HeatmapFigure(x="k", y="teacher", value="test_accuracy")
    study = replace(STUDY, report=replace(STUDY.report, figure=figure))
    (panels,), _ = drawn_by(monkeypatch, "heatmap", study, all_finished)
    assert list(panels) == [""]
    assert panels[""] == pytest.approx(
        {(1, "none"): 0.5625, (2, "none"): 0.5, (2, "peers"): 13 / 24, (2, None): 0.1875}
    )


def test_drawn_points_are_dots(monkeypatch, folder):
    study = replace(
        STUDY,
        space={"lr": LogUniform(0.01, 1), "k": Grid((1, 2))},
        without=(),
        search=RandomSearch(samples=3),
        report=Report(metrics=("test_accuracy",), figure=LinesFigure(x="lr", y=("test_accuracy",))),
    )
    for spec in specs_of(study):
        write_trial(folder, spec, 0.5)
    (data,), options = drawn_by(monkeypatch, "lines", study, folder)
    assert options == {"x": "lr", "dots": True, "log_x": True}
    assert list(data["test_accuracy"]) == [""]
    assert [len(values) for values in data["test_accuracy"][""].values()] == [4, 4, 4]


def test_a_label_with_one_value_is_in_no_name(monkeypatch, all_finished):
    figure = LinesFigure(x="k", y=("test_accuracy",))
    study = replace(
        STUDY,
        space={"k": Grid((1, 2)), "teacher": Grid(("none",))},
        without=(),
        report=Report(metrics=("test_accuracy",), figure=figure),
    )
    (data,), _ = drawn_by(monkeypatch, "lines", study, all_finished)
    assert data == {"test_accuracy": {"": {1: [0.5, 0.625], 2: [0.5, 0.5]}}}


def test_trials_that_have_not_finished_are_not_drawn(monkeypatch, folder):
    first, second = specs_of(STUDY)[:2]
    write_trial(folder, first, 0.5)
    write_run(folder.trial(second), records=[record(4, 0, 0.125)])
    folder.record_decision(second.name, "stopped")
    (data,), _ = drawn_by(monkeypatch, "lines", STUDY, folder)
    assert data["test_accuracy"] == {"none": {1: [0.5]}}
