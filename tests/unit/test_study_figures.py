"""Figures of studies show the numbers given, with units."""

import doctest
import math

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from cohort.analysis.drawing import save
from cohort.tuning.results import naming
from cohort.tuning.results.plots import NOTE, bars, heatmap, lines

SIZES = {
    "test_accuracy": {"peers": {2: [0.5, 0.75], 1: [0.5]}, "none": {1: [0.25, math.nan]}},
    "ensemble_test_accuracy": {"peers": {1: [0.5], 2: [1.0]}, "none": {1: [math.nan]}},
    "train_entropy": {"peers": {1: [0.125]}},
}
BARS = {
    "test_accuracy": {"alone": [0.5, 0.75], "pair": [0.25, 0.75]},
    "ensemble_test_accuracy": {"alone": [math.nan, math.nan], "pair": [1.0, 1.0]},
    "test_nll": {"alone": [2.0, 1.0], "pair": [0.5, 0.5]},
}
PANELS = {"ods": {(1, 4): 0.5, (2, 4): 0.75, (2, 1): 0.25}, "gaussian": {(1, 1): 1.0}}


def drawn(axes):
    """Lines with a legend, by it: where they go."""
    handles, labels = axes.get_legend_handles_labels()
    return {
        label: handle.lines[0].get_xydata().tolist()
        for label, handle in zip(labels, handles, strict=True)
    }


def scattered(axes):
    found = [seeds.get_offsets() for seeds in axes.collections if isinstance(seeds, PathCollection)]
    return np.ma.concatenate(found).filled(math.nan).tolist()


def test_examples():
    tested = doctest.testmod(naming)
    assert tested.attempted >= 6
    assert tested.failed == 0


def test_lines_through_the_means_in_the_order_of_x():
    accuracy, entropy = lines(SIZES, x="k").axes
    assert (accuracy.get_ylabel(), entropy.get_ylabel()) == ("accuracy / %", "train entropy / nat")
    assert accuracy.get_xlabel() == "k"
    found = drawn(accuracy)
    assert found["peers: test accuracy"] == [[1, 50], [2, 62.5]]
    assert found["peers: ensemble test accuracy"] == [[1, 50], [2, 100]]
    assert len(found) == 3  # none of nothing
    assert drawn(entropy) == {"peers": [[1, 0.125]]}
    assert list(accuracy.get_xticks()) == [1, 2]


def test_whiskers_are_standard_errors():
    (axes,) = lines({"test_accuracy": {"": {1: [0.5, 0.75, 1.0]}}}, x="k").axes
    (whisker,) = axes.containers[0].lines[2][0].get_segments()
    error = 25 / math.sqrt(3)
    assert whisker.tolist() == [[1, pytest.approx(75 - error)], [1, pytest.approx(75 + error)]]
    assert axes.get_legend() is None  # its one line has no name


def test_seeds_are_dots():
    (axes,) = lines({"test_accuracy": {"": {2: [0.5, 0.75], 1: [0.25]}}}, x="k").axes
    assert scattered(axes) == [[1, 25], [2, 50], [2, 75]]


def test_what_is_no_number_stands_in_its_order():
    (axes,) = lines({"test_nll": {"": {"wide": [1.0], None: [2.0], 3: [3.0]}}}, x="student").axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["wide", "–", "3"]
    assert axes.containers[0].lines[0].get_xydata().tolist() == [[0, 1], [1, 2], [2, 3]]


def test_dots_alone():
    figure = lines(
        {"test_nll": {"a": {0.1: [1.0, 2.0], 0.01: [3.0]}}}, x="lr", dots=True, log_x=True
    )
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert not axes.containers
    assert not axes.get_lines()
    assert scattered(axes) == [[0.01, 3], [0.1, 1], [0.1, 2]]
    assert axes.get_legend_handles_labels()[1] == ["a"]
    assert figure.get_suptitle() == ""


def test_dots_of_two_metrics_differ_in_colour():
    data = {metric: {"a": {1: [0.5]}} for metric in ("test_nll", "ensemble_test_nll")}
    (axes,) = lines(data, x="lr", dots=True).axes
    first, second = (found.get_facecolor().tolist() for found in axes.collections)
    assert first != second


def test_bars():
    figure = bars(BARS)
    accuracy, nll = figure.axes
    assert figure.get_suptitle() == NOTE
    assert [text.get_text() for text in accuracy.get_xticklabels()] == ["alone", "pair"]
    single, ensemble = (found for found in accuracy.containers if hasattr(found, "patches"))
    assert [bar.get_height() for bar in single] == [62.5, 50]
    assert [bar.get_height() for bar in ensemble][1] == 100
    assert [bar.get_x() + bar.get_width() / 2 for bar in single] == pytest.approx([-0.2, 0.8])
    assert [text.get_text() for text in accuracy.texts] == ["62.5", "50.0", "100.0"]
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == [
        "test accuracy", "ensemble test accuracy",
    ]  # fmt: skip
    assert nll.get_ylabel() == "test NLL / nat"
    assert nll.get_legend() is None
    assert sorted(y for _, y in scattered(nll)) == [0.5, 0.5, 1, 2]


def test_heatmap_has_one_scale_and_gaps():
    figure = heatmap(PANELS, x="eta", y="tau", value="test_accuracy")
    left, right, bar = figure.axes
    assert (left.get_title(), right.get_title()) == ("ods", "gaussian")
    assert (left.get_xlabel(), left.get_ylabel()) == ("eta", "tau")
    assert [text.get_text() for text in left.get_yticklabels()] == ["1", "4"]
    assert bar.get_ylabel() == "test accuracy / %"
    ods, gaussian = (axes.images[0] for axes in (left, right))
    assert ods.get_array().filled(-1).tolist() == [[-1, 25], [50, 75]]
    assert gaussian.get_array().filled(-1).tolist() == [[100, -1], [-1, -1]]
    assert ods.get_clim() == gaussian.get_clim() == (25, 100)
    assert ods.get_cmap().get_bad().tolist() == [0.8, 0.8, 0.8, 1]
    written = {text.get_text(): text.get_color() for text in (*left.texts, *right.texts)}
    assert written == {"25.0": "white", "50.0": "white", "75.0": "black", "100.0": "black"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: lines(SIZES, x="k"),
        lambda: bars(BARS),
        lambda: heatmap(PANELS, x="eta", y="tau", value="test_accuracy"),
    ],
)
def test_saved_as_the_same_bytes(tmp_path, make):
    first, second = ([path.read_bytes() for path in save(make(), tmp_path / name)] for name in "ab")
    assert first == second
    assert all(first)
