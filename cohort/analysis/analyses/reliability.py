"""Whether students are right as often as they are sure: reliability diagrams, and the ECE beside them.

Guo et al., "On calibration of modern neural networks", ICML 2017, Figure 1. Of each student and of
their ensemble, as trained, and at the temperature that is fitted on the validation split if there is
one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cohort.analysis.drawing import axes_grid, banded, numbered
from cohort.analysis.ensembles import Posteriors
from cohort.analysis.findings import Findings, captioned
from cohort.analysis.groups import ENSEMBLE, Row, Subject
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import curves, pooled
from cohort.data.dataset import ImageDataset
from cohort.metrics.calibration import at_temperature, calibrated
from cohort.metrics.classification import expected_calibration_error, mean_posterior
from cohort.metrics.reliability import BINS, reliability

TITLE = "Reliability and calibration"
LIMITS = (-2, 102)
"""Of both axes, in percent: marks at the ends are whole."""
AS_TRAINED, TEMPERED = "as trained", "at temperature"


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """All of the test split, so that the ECE is the one of the run's table."""
    rows: list[Row] = []
    for subject in subjects:
        dataset, answers = subject.run.dataset, []
        for head, student in subject.students():
            answers.append(Posteriors.of(student, dataset, device).combined(student))
            rows += [head | row for row in reliability_rows(answers[-1], dataset)]
        if len(answers) > 1:
            head = subject.head | {"student": ENSEMBLE}
            rows += [head | row for row in reliability_rows(together(answers), dataset)]
    shows = (
        f"Share of test images that are right by the mean confidence in them, in {BINS} bins of equal width; "
        "on the diagonal a posterior is calibrated. ECE: the expected calibration error, the mean of what is "
        "pooled. An ensemble is one of its run, so that its band is over runs alone."
    )
    of_students = [row for row in rows if row["student"] != ENSEMBLE]
    return Findings({"reliability": captioned(reliability_figure(rows), shows, of_students)}, rows)


def together(students: Sequence[Posteriors]) -> Posteriors:
    """The mean posterior of students, one posterior each."""
    held_out = [each.validation[0] for each in students if each.validation is not None]
    return Posteriors(
        [mean_posterior([each.test[0] for each in students])],
        [mean_posterior(held_out)] if held_out else None,
    )


def reliability_rows(answer: Posteriors, dataset: ImageDataset) -> Iterator[Row]:
    """A row per bin of one posterior, as trained and, with a validation split, at a fitted temperature."""
    labels_N, test_NC = torch.from_numpy(dataset.test.labels), answer.test[0]
    shown = {AS_TRAINED: (1.0, test_NC)}
    if dataset.validation is not None and answer.validation is not None:
        held_out = torch.from_numpy(dataset.validation.labels)
        fitted = calibrated(answer.validation[0], held_out, test_NC, labels_N).get("temperature")
        if fitted is not None:
            shown[TEMPERED] = fitted, at_temperature(test_NC, fitted)
    for name, (temperature, log_posterior_NC) in shown.items():
        ece = expected_calibration_error(log_posterior_NC.exp(), labels_N, BINS)
        head = {"posterior": name, "temperature": temperature, "ece": ece}
        for number, found in enumerate(reliability(log_posterior_NC, labels_N), start=1):
            yield head | {"bin": number} | asdict(found)


def reliability_figure(rows: Sequence[Row]) -> Figure:
    """Accuracy against confidence, pooled: a column for students and one for ensembles, if there are.

    A row for posteriors as trained, and one at the fitted temperature, if there is one.
    """
    kinds = [kind for kind in (AS_TRAINED, TEMPERED) if any(r["posterior"] == kind for r in rows)]
    whose = [who for who in (False, True) if any((r["student"] == ENSEMBLE) == who for r in rows)]
    numbers = numbered(row["group"] for row in rows)
    figure, panels = axes_grid(
        len(kinds),
        len(whose),
        width=4.4 * len(whose),
        height=0.4 + (3.8 + 0.2 * len(numbers)) * len(kinds),
    )
    for axes, (kind, ensemble) in zip(panels, product(kinds, whose), strict=True):
        of = [
            row
            for row in rows
            if row["posterior"] == kind and (row["student"] == ENSEMBLE) == ensemble
        ]
        _draw(axes, of, numbers)
        axes.set_title(f"{'ensemble' if ensemble else 'students'}, {kind}", fontsize="medium")
    return figure


def _place(number: int, confidence: float) -> float:
    """Where a bin stands, in percent: at the mean confidence in it, if there is any."""
    return 100 * ((number - 0.5) / BINS if math.isnan(confidence) else confidence)


def _draw(axes: Axes, rows: Sequence[Row], numbers: dict[str, int]) -> None:
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=1, zorder=0)
    eces = pooled(rows, "ece", "group")
    sure = pooled(rows, "confidence", "group", "bin")
    for (group,), bins in curves(rows, "accuracy", "group", "bin").items():
        points = {_place(number, sure[group, number].mean): at for number, at in bins.items()}
        label = f"{group}: ECE {eces[(group,)].mean:.3f}"
        banded(axes, points, label, numbers[group], scale=100)
    axes.set(xlabel="confidence / %", ylabel="accuracy / %", xlim=LIMITS, ylim=LIMITS)
    axes.set_aspect("equal")
    # Beneath the panel, for lines go anywhere in it.
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.16))
