"""Figures show the numbers given, with units, and are saved as the same bytes every time."""

import math

import numpy as np
import pytest
import torch

from cohort.analysis.drawing import save
from cohort.analysis.early_exit import CurvePoint
from cohort.analysis.ods import diversity_figure, jacobian_figure, transfer_figure
from cohort.analysis.self_distillation import early_exit_figure, gradients_figure, scatter_figure
from cohort.analysis.separability import pca_scatter
from cohort.analysis.weight_noise import NoisePoint, noise_figure
from cohort.metrics.diversity import DiversityBin


def noise_point(sigma, accuracy, std=0.01):
    return NoisePoint(
        sigma=sigma, accuracy_mean=accuracy, accuracy_std=std, loss_mean=3 * sigma, loss_std=std
    )


NOISE = {
    "byot": [noise_point(0.1, 0.7), noise_point(0, 0.9)],
    "plain": [noise_point(0, 0.8, math.nan), noise_point(0.1, 0.2, math.nan)],
}
GRADIENTS = {"byot: every exit": [0.1, 0.01, 0.001], "plain: last exit": [0.0, 1.0]}
CURVES = {
    "byot": [
        CurvePoint(threshold=1, accuracy=0.8, mean_multiply_adds=3e6, share_per_exit=(0.0, 1.0)),
        CurvePoint(threshold=0, accuracy=0.5, mean_multiply_adds=1e6, share_per_exit=(1.0, 0.0)),
    ]
}
FIXED = {"byot": [(1e6, 0.5), (2.5e6, 0.8)]}


def scatters():
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(100) % 14
    return [pca_scatter(torch.randn(100, 5, generator=random), labels) for _ in range(3)]


def bins(*diversities):
    n = len(diversities)
    return [
        DiversityBin(lower=b / n, upper=(b + 1) / n, count=1, diversity=value)
        for b, value in enumerate(diversities)
    ]


FIGURES = {
    "diversity": lambda: diversity_figure(
        {"training": {"clean": bins(0.1, 0.2)}, "test": {"clean": bins(0.3, math.inf)}}
    ),
    "transfer": lambda: transfer_figure(
        {"all members": [0.5, 0.6], "the others": [0.3, 0.4]},
        {"noise": [0, 0.1], "member 0": [1, 2], "member 1": [3, 4]},
    ),
    "jacobian": lambda: jacobian_figure([[0.1, 1.1]], [[0.9, 0.2]]),
    "noise": lambda: noise_figure(NOISE),
    "gradients": lambda: gradients_figure(GRADIENTS),
    "scatter": lambda: scatter_figure(scatters(), [f"class {c}" for c in range(14)]),
    "early_exit": lambda: early_exit_figure(CURVES, FIXED),
}


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def test_noise():
    accuracy, loss = noise_figure(NOISE).axes
    drawn = lines(accuracy)
    np.testing.assert_allclose(drawn["byot"], [[0, 90], [0.1, 70]])
    np.testing.assert_allclose(drawn["plain"], [[0, 80], [0.1, 20]])
    np.testing.assert_allclose(lines(loss)["byot"], [[0, 0], [0.1, 0.3]])
    assert accuracy.get_ylabel() == "accuracy / %"
    assert loss.get_ylabel() == "cross-entropy / nat"
    band = accuracy.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(91)
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["byot", "plain"]


def test_relative_noise_says_so():
    label = noise_figure(NOISE, relative=True).axes[0].get_xlabel()
    assert label == "σ of the weight noise / root mean square of the layer"
    assert noise_figure(NOISE).axes[0].get_xlabel() == "σ of the weight noise"


def test_gradients():
    axes, colour_bar = gradients_figure(GRADIENTS).axes
    image = axes.get_images()[0].get_array()
    np.testing.assert_allclose(image[0], [-1, -2, -3])
    assert image.mask.tolist() == [[False] * 3, [True, False, True]]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(GRADIENTS)
    assert colour_bar.get_ylabel() == "log₁₀ mean |∂L/∂w|"


def test_a_deep_network_has_room_for_its_ticks():
    axes = gradients_figure({"deep": [0.1] * 152}).axes[0]
    assert len(axes.get_xticks()) <= 31
    assert axes.get_xticklabels()[0].get_text() == "1"


def test_scatter():
    figure = FIGURES["scatter"]()
    assert [axes.get_title() for axes in figure.axes] == ["exit 1", "exit 2", "exit 3"]
    shown = figure.axes[0].collections
    assert [dots.get_label() for dots in shown] == [f"class {c}" for c in range(10)]
    assert sum(len(dots.get_offsets()) for dots in shown) == sum(
        c < 10 for c in np.arange(100) % 14
    )
    assert len({dots.get_facecolor().tobytes() for dots in shown}) == 10
    assert "% of variance" in figure.axes[0].get_xlabel()


def test_early_exit():
    (axes,) = early_exit_figure(CURVES, FIXED).axes
    assert lines(axes) == {
        "byot: by confidence": [[1, 50], [3, 80]],
        "byot: fixed exits": [[1, 50], [2.5, 80]],
    }
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    assert axes.get_xlabel() == "mean multiply-adds per example / million"
    assert axes.get_ylabel() == "accuracy / %"


def test_diversity_drawn():
    left, right = FIGURES["diversity"]().axes
    assert left.get_title() == "training images"
    assert left.get_lines()[0].get_xydata().tolist() == [[0.25, 0.1], [0.75, 0.2]]
    (x, y), gap = right.get_lines()[0].get_xydata().tolist()
    assert (x, y) == (0.25, 0.3)
    assert math.isnan(gap[1])
    assert left.get_ylabel() == "mean pairwise KL / nat"


def test_transfer_drawn():
    left, right, colours = FIGURES["transfer"]().axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in left.get_lines()}
    assert drawn == {"all members": [0.5, 0.6], "the others": [0.3, 0.4]}
    assert right.get_images()[0].get_array().tolist() == [[0, 0.1], [1, 2], [3, 4]]
    assert [label.get_text() for label in right.get_yticklabels()] == [
        "noise", "member 0", "member 1"
    ]  # fmt: skip
    assert colours.get_ylabel() == "KL(clean ‖ perturbed) / nat"


def test_jacobians_drawn():
    error, cosine, *_ = FIGURES["jacobian"]().axes
    assert error.get_images()[0].get_array().tolist() == [[0.1, 1.1]]
    assert cosine.get_images()[0].get_array().tolist() == [[0.9, 0.2]]
    assert (error.get_xlabel(), error.get_ylabel()) == ("teacher", "member")


@pytest.mark.parametrize("name", FIGURES)
def test_saved_as_the_same_bytes(tmp_path, name):
    files = save(FIGURES[name](), tmp_path / "one.of")
    again = save(FIGURES[name](), tmp_path / "two")
    assert [file.name for file in files] == ["one.of.svg", "one.of.png"]
    for first, second in zip(files, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert files[0].read_text().startswith("<?xml")
    assert "<dc:date>" not in files[0].read_text()
    assert files[1].read_bytes().startswith(b"\x89PNG")
