"""Curves: means, bands and gaps of known numbers, and thin enough for a page."""

import math

import numpy as np
import pytest

from cohort.report.curves import POINTS, lines_of, mean_lines, measurement
from cohort.report.drawing import draw_panel, styled, without_formulas
from cohort.report.panels import panels_of_groups, panels_of_run
from cohort.report.rates import rates_of
from cohort.report.reading import RunFiles
from cohort.report.svg import inline
from cohort.run.data_card import DataCard
from cohort.run.folder import RunFolder
from cohort.tuning.results.plots import lines as plotted
from tests.support.fake_run import record


def lines(values):
    """Of losses by student, by step; None where nothing was recorded."""
    records = [
        record(step, k, 0.5, "train", loss=None if value == "null" else value)
        for k, found in values.items()
        for step, value in enumerate(found)
        if value is not None
    ]
    return lines_of(records, measurement("loss"), lambda r: str(r["student"]))


def test_mean_and_band_of_those_that_are_there():
    found = lines({0: [1.0, 2.0, 3.0], 1: [3.0, 6.0, None]})
    assert found.mean.tolist() == [2.0, 4.0, 3.0]
    assert [each.tolist() for each in found.band] == [[1.0, 2.0, 3.0], [3.0, 6.0, 3.0]]
    assert found.epochs_T.tolist() == [0.0, 0.25, 0.5]


def test_what_is_not_finite_is_a_gap_and_what_is_missing_is_none():
    for odd in ("null", math.inf, 10**400):
        found = lines({0: [1.0, odd], 1: [3.0, 5.0]}).mean
        assert found.tolist() == pytest.approx([2.0, math.nan], nan_ok=True)
    assert lines({0: [1e308], 1: [1e308]}).mean.tolist() == [math.inf]
    found = lines({0: [1.0, "null"], 1: [3.0, 5.0]})
    assert found.mean.tolist() == pytest.approx([2.0, math.nan], nan_ok=True)
    assert found.shown[1].tolist() == [3.0, 5.0]


def test_many_steps_become_few_points_with_the_same_mean():
    count = 10 * POINTS + 7
    found = lines({0: [float(step) for step in range(count)], 1: [1.0] * 5})
    assert (len(found.epochs_T), found.thinned) == (274, 11)
    assert found.values_LT[0, 0] == np.mean(range(11))
    assert found.values_LT[0, -1] == np.mean(range(273 * 11, count))
    assert found.there_LT[1].tolist() == [True] + [False] * 273


def test_runs_are_aligned_by_epoch():
    long, short = lines({0: [1.0, 2.0, 3.0], 1: [3.0, 4.0, 5.0]}), lines({0: [4.0, 5.0]})
    found = mean_lines({"long": long, "short": short})
    assert found.mean.tolist() == [3.0, 4.0, 4.0]
    assert [each.tolist() for each in found.band] == [[2.0, 3.0, 4.0], [4.0, 5.0, 4.0]]


RECORDS = (
    *(record(8, k, 0.5, "train", loss=1.0, mine=2.0, entropy=None) for k in (0, 1)),
    *(
        record(8, k, 0.25 + k / 2, nll=1.0, exits={"accuracy": [0.5, 0.75], "nll": 3})
        for k in (0, 1)
    ),
    record(8, "ensemble", 0.75, nll=0.5),
)


def run(name="a", records=RECORDS, **config):
    data = DataCard(classes=("a",), image_shape=(1, 8, 8), counts={"train": 40})
    return RunFiles(
        folder=RunFolder(name), name=name, config=config, data=data, records=tuple(records)
    )


PLAN = {
    "epochs": 4, "batch_size": 10, "lr": 0.5, "weight_decay": 0.0, "optimizer": "sgd",
    "lr_schedule": "step", "warmup_epochs": 0.0,
}  # fmt: skip


def test_panels_of_a_run():
    found = {panel.name: panel for panel in panels_of_run(run(**PLAN))}
    assert list(found) == ["loss", "accuracy", "nll", "entropy", "mine", "accuracy-exits", "lr"]
    accuracy = {series.label: series.lines.mean.tolist() for series in found["accuracy"].series}
    assert accuracy == {"training": [50.0], "test": [50.0], "ensemble, test": [75.0]}
    exits = {series.label: series.lines.mean.tolist() for series in found["accuracy-exits"].series}
    assert exits == {"exit 1": [50.0], "exit 2": [75.0]}
    assert (found["accuracy"].axis, found["entropy"].axis) == ("accuracy / %", "entropy / nat")


def test_unlike_students_have_a_line_each():
    found = {panel.name: panel for panel in panels_of_run(run(students="resnet8, mobilenet"))}
    students = {s.label: s.lines.mean.tolist() for s in found["accuracy-students"].series}
    assert students == {"0 resnet8": [25.0], "1 mobilenet": [75.0]}
    assert "accuracy-students" not in {p.name for p in panels_of_run(run(students="resnet8"))}


def test_the_learning_rate_is_that_of_the_plan_or_as_recorded():
    planned = rates_of(run(**PLAN))  # 4 steps an epoch, of which 8 are done; x0.1 at 30 % of 16
    assert planned.mean.tolist() == pytest.approx([0.5] * 5 + [0.05] * 4)
    assert planned.epochs_T[-1] == 2.0
    recorded = rates_of(run(records=[record(4, 0, 0.5, "train", lr=0.25)], **PLAN))
    assert recorded.mean.tolist() == [0.25]
    assert rates_of(run(**PLAN | {"epochs": None})) is None


def test_panels_of_groups_have_a_line_for_each_group():
    better = [r | {"accuracy": 1.0} for r in RECORDS]
    groups = {"_none": [run("a"), run("b", better)], "$<i>$": [run("c", better)]}
    found = {panel.name: panel for panel in panels_of_groups(groups)}
    assert [name for name in found if name.startswith("accuracy")] == [
        "accuracy-train", "accuracy-test", "accuracy-ensemble-test",
    ]  # fmt: skip
    panel = found["accuracy-test"]
    assert [s.lines.mean.tolist() for s in panel.series] == [[75.0], [100.0]]
    with styled():
        figure = draw_panel(panel)
        figure.draw_without_rendering()
    assert "<i>" not in inline(figure, 0, "<i>")
    (axes,) = figure.axes
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [" _none", "$<i>$"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "accuracy / %")
    styles = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines}
    assert {style[1] for style in styles} == {"-", "--"}


def test_a_logarithmic_axis_has_numbers_and_no_formulas():
    with styled():
        figure = plotted({"test_accuracy": {"": {0.01: [0.5], 1.0: [0.75]}}}, x="lr", log_x=True)
        without_formulas(figure)
        figure.draw_without_rendering()
    (axes,) = figure.axes
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert {"1e−02", "1"} <= {*ticks}
    assert not [text for text in ticks if "$" in text]
