"""Figures show the numbers given, with units, and are saved as the same bytes every time."""

import itertools
import math

import numpy as np
import pytest
import torch
from matplotlib.axis import Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from cohort.analysis.analyses.agreement import agreement_figure
from cohort.analysis.analyses.diversity import diversity_figure
from cohort.analysis.analyses.early_exit import early_exit_figure
from cohort.analysis.analyses.gradients import gradients_figure
from cohort.analysis.analyses.jacobian import jacobian_figure
from cohort.analysis.analyses.noise import SINGLE, noise_figure
from cohort.analysis.analyses.posterior import posterior_figure
from cohort.analysis.analyses.ranking import match_figure
from cohort.analysis.analyses.reliability import reliability_figure
from cohort.analysis.analyses.separability import ratio_figure, scatter_figure
from cohort.analysis.analyses.transfer import transfer_figure
from cohort.analysis.drawing import save
from cohort.analysis.findings import captioned
from cohort.analysis.separability import pca_scatter


def rows(group, *lines, run=None, student=0):
    """Rows of a student."""
    head = {"group": group, "run": run or group, "student": student}
    return [head | line for line in lines]


def noise(sigma, accuracy, std=0.01):
    return {
        "sigma": sigma, "accuracy_mean": accuracy, "accuracy_std": std, "loss_mean": 3 * sigma,
        "loss_std": std,
    }  # fmt: skip


NOISE = [
    *rows("byot", noise(0.1, 0.7), noise(0, 0.9)),
    *rows("plain", noise(0, 0.8, math.nan), noise(0.1, 0.2, math.nan)),
    *rows("pair", noise(0, 0.8), noise(0.1, 0.2)),
    *rows("pair", noise(0, 0.6), noise(0.1, 0.4), student=1),
]
GRADIENTS = [
    *rows("byot", *(
        {"loss": "every exit", "depth": depth, "mean_abs_gradient": value}
        for depth, value in [(1, 0.1), (2, 0.01), (None, 7.0), (3, 0.001)]
    )),
    *rows("plain", *(
        {"loss": "last exit", "depth": depth, "mean_abs_gradient": value}
        for depth, value in [(1, 0.0), (2, 1.0)]
    )),
]  # fmt: skip


def leaving(threshold, exit, accuracy, cost):
    return {
        "threshold": threshold, "exit": exit, "accuracy": accuracy, "mean_multiply_adds": cost
    }  # fmt: skip


CURVES = [
    *rows("byot", leaving(0, None, 0.5, 1e6), leaving(1, None, 0.7, 3e6)),
    *rows("byot", leaving(0, None, 0.5, 1e6), leaving(1, None, 0.9, 5e6), student=1),
    *rows("byot", leaving(None, 1, 0.5, 1e6), leaving(None, 2, 0.8, 2.5e6)),
    *rows("byot", leaving(None, 1, 0.5, 1e6), leaving(None, 2, 0.8, 2.5e6), student=1),
]


def scatters():
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(100) % 14
    return [pca_scatter(torch.randn(100, 5, generator=random), labels) for _ in range(3)]


def binned(split, *diversities):
    n = len(diversities)
    return [
        {"split": split, "inputs": "clean", "bin": b, "lower": b / n, "upper": (b + 1) / n,
         "diversity": value}
        for b, value in enumerate(diversities)
    ]  # fmt: skip


def moved(inputs, source, *reactions):
    others = {f"{name}diversity_others": 0.3 for name in ("", "clean_", "gaussian_")}
    reacting = {f"kl_to_clean_{member}": kl for member, kl in enumerate(reactions)}
    return {"inputs": inputs, "source": source, "diversity": 0.5, **others, **reacting}


def right(posterior, accuracy, ece):
    return {
        "posterior": posterior, "ece": ece, "bin": 1, "confidence": 0.625, "accuracy": accuracy
    }  # fmt: skip


DIVERSITY = rows("a", *binned("training", 0.1, 0.2), *binned("test", 0.3, math.inf), student="all")
TRANSFER = rows(
    "a", moved("clean", None, 0, 0), moved("gaussian", None, 0, 0.1), moved("ods", 0, 1, 2),
    moved("ods", 1, 3, 4), student="all",
)  # fmt: skip
JACOBIAN = rows(
    "a",
    {"member": 0, "teacher": 0, "relative_error": 0.1, "cosine": 0.9},
    {"member": 0, "teacher": 1, "relative_error": 1.1, "cosine": 0.2},
    student="all",
)
POSTERIOR = [
    *rows("a", *({"rank": r, "mean_posterior": p, "mean_entropy": 0.5} for r, p in ((1, 0.8), (2, 0.2)))),
    *rows("b", *({"rank": r, "mean_posterior": p, "mean_entropy": 1.5} for r, p in ((1, 0.6), (2, 0.4)))),
    *rows("b", *({"rank": r, "mean_posterior": p, "mean_entropy": 0.5} for r, p in ((1, 1.0), (2, 0.0))),
          run="c"),
]  # fmt: skip
AGREEMENT = rows(
    "a",
    *(
        {"epoch": e, "agreement": e / 4, "pairwise_kl": k}
        for e, k in ((1, 2.0), (2, math.nan), (3, 1.0))
    ),
    student="all",
)
RELIABILITY = [
    *rows("a", right("as trained", 0.75, 0.1), right("at temperature", 0.8, 0.05)),
    *rows("a", right("as trained", 0.25, 0.3), right("at temperature", 0.8, 0.05), student=1),
    *rows("a", right("as trained", 0.9, 0.2), right("at temperature", 0.8, 0), student="ensemble"),
]
RANKING = rows("a", {"rank": 1, "match_rate": 0.25}, {"rank": 2, "match_rate": 0.5})
RATIOS = rows("a", {"exit": 1, "ratio": 2.0}, {"exit": 2, "ratio": 0.5})
FIGURES = {
    "diversity": lambda: diversity_figure(DIVERSITY),
    "transfer": lambda: transfer_figure(TRANSFER),
    "jacobian": lambda: jacobian_figure(JACOBIAN),
    "noise": lambda: noise_figure(NOISE),
    "gradients": lambda: gradients_figure(GRADIENTS),
    "scatter": lambda: scatter_figure(scatters(), [f"class {c}" for c in range(14)]),
    "ratios": lambda: ratio_figure(RATIOS),
    "early_exit": lambda: early_exit_figure(CURVES),
    "posterior": lambda: posterior_figure(POSTERIOR),
    "agreement": lambda: agreement_figure(AGREEMENT),
    "reliability": lambda: reliability_figure(RELIABILITY),
    "ranking": lambda: match_figure(RANKING),
}


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def band(axes, number):
    """The lowest and highest point of a band."""
    heights = axes.collections[number].get_paths()[0].vertices[:, 1]
    return heights.min(), heights.max()


def names(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_noise():
    figure = noise_figure(NOISE)
    accuracy, loss = figure.axes
    drawn = lines(accuracy)
    np.testing.assert_allclose(drawn["byot"], [[0, 90], [0.1, 70]])
    np.testing.assert_allclose(drawn["plain"], [[0, 80], [0.1, 20]])
    np.testing.assert_allclose(drawn["pair"], [[0, 70], [0.1, 30]])
    np.testing.assert_allclose(lines(loss)["byot"], [[0, 0], [0.1, 0.3]])
    assert (accuracy.get_ylabel(), loss.get_ylabel()) == ("accuracy / %", "cross-entropy / nat")
    assert band(accuracy, 0) == pytest.approx((69, 91))  # one deviation of the draws
    assert band(accuracy, 2) == pytest.approx((20, 80))  # from the lowest to the highest student
    assert names(figure) == ["byot", "plain", "pair"]


def test_relative_noise_says_so():
    label = noise_figure(NOISE, relative=True).axes[0].get_xlabel()
    assert label == "σ of the weight noise / root mean square of the layer"
    assert noise_figure(NOISE).axes[0].get_xlabel() == "σ of the weight noise"


def test_gradients():
    figure = gradients_figure(GRADIENTS)
    (axes,) = figure.axes
    byot, plain = lines(axes).values()
    assert byot == [[1, 0.1], [2, 0.01], [3, 0.001]]
    assert [y for _, y in plain][1] == 1
    assert math.isnan(plain[0][1])  # which has no logarithm
    assert names(figure) == ["byot: every exit", "plain: last exit"]
    assert (axes.get_yscale(), axes.get_ylabel()) == ("log", "mean |∂L/∂w|")


def test_a_deep_network_has_room_for_its_ticks():
    deep = [{"loss": "labels", "depth": d, "mean_abs_gradient": 0.1} for d in range(1, 153)]
    (axes,) = gradients_figure(rows("deep", *deep)).axes
    assert 3 < len(axes.get_xticks()) <= 31
    assert axes.get_lines()[0].get_marker() == "None"


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


def test_ratios():
    assert lines(ratio_figure(RATIOS).axes[0]) == {"a": [[1, 2], [2, 0.5]]}


def test_early_exit():
    (axes,) = early_exit_figure(CURVES).axes
    curve, fixed, *_ = axes.get_lines()
    np.testing.assert_allclose(curve.get_xydata(), [[1, 50], [4, 80]])
    np.testing.assert_allclose(fixed.get_xydata(), [[1, 50], [2.5, 80]])
    assert band(axes, 0) == pytest.approx((50, 90))
    assert [text.get_text() for text in axes.texts] == ["1", "2"]
    assert axes.get_xlabel() == "mean multiply-adds per example / million"
    assert axes.get_ylabel() == "accuracy / %"


def test_posterior():
    left, right = FIGURES["posterior"]().axes
    assert lines(left) == {"a": [[1, 0.8], [2, 0.2]], "b": [[1, 0.8], [2, 0.2]]}
    assert [bar.get_width() for bar in right.patches] == pytest.approx([0.5, 1.0])
    assert [label.get_text() for label in right.get_yticklabels()] == [
        "a\n0.500 nat",
        "b\n1.000 nat",
    ]
    assert right.get_xlabel() == "mean entropy of the posterior / nat"


def test_agreement():
    left, right = FIGURES["agreement"]().axes
    assert lines(left)["a"] == [[1, 25], [2, 50], [3, 75]]
    (_, first), (_, gap), (_, last) = lines(right)["a"]
    assert (first, last, math.isnan(gap)) == (2, 1, True)
    assert left.get_ylabel() == "images on which two agree / %"


def test_reliability():
    panels = FIGURES["reliability"]().axes
    titles = [axes.get_title() for axes in panels]
    assert titles == [
        f"{who}, {kind}"
        for kind in ("as trained", "at temperature")
        for who in ("students", "ensemble")
    ]
    diagonal, students = panels[0].get_lines()
    assert diagonal.get_xydata().tolist() == [[0, 0], [100, 100]]
    assert students.get_xydata().tolist() == [[62.5, 50]]
    assert students.get_label() == "a: ECE 0.200"
    assert panels[1].get_lines()[1].get_label() == "a: ECE 0.200"
    (alone,) = reliability_figure(rows("a", right("as trained", 0.75, 0.1))).axes
    assert alone.get_title() == "students, as trained"


def test_ranking():
    assert lines(FIGURES["ranking"]().axes[0])["a"] == [[1, 25], [2, 50]]


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
    assert drawn == {"all members": [0.5] * 2} | {
        f"the others{end}": [0.3] * 2 for end in ("", ", noise", ", clean")
    }
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


def test_a_figure_says_what_its_bands_are():
    figure, caption = captioned(noise_figure(NOISE[:2]), "Noise.", NOISE[:2], single=SINGLE)
    bands = "Each line is one student, band ± standard deviation over the draws of the noise."
    assert caption == f"Noise. {bands}"
    assert figure.get_supxlabel().replace("\n", " ") == bands


@pytest.mark.parametrize("name", ["ratios", "jacobian"])
def test_saved_as_the_same_bytes(tmp_path, name):
    files = save(FIGURES[name](), tmp_path / "one.of")
    again = save(FIGURES[name](), tmp_path / "two")
    assert [file.name for file in files] == ["one.of.svg", "one.of.png"]
    for first, second in zip(files, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert files[0].read_text().startswith("<?xml")
    assert "<text" in files[0].read_text()  # not the outlines of letters
    assert "<dc:date>" not in files[0].read_text()
    assert files[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_over_another(name):
    figure = FIGURES[name]()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    # Matplotlib keeps more ticks than it draws.
    ticks = {id(text) for tick in figure.findobj(Tick) for text in tick.findobj(Text)}
    texts = [text for text in figure.findobj(Text) if text.get_text() and id(text) not in ticks]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), f"{one!r} is over {other!r}"
