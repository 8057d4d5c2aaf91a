"""How much gradient reaches each layer, by what is learned from.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094), section 5. What is measured:
``cohort.analysis.gradients``.
"""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import nn

from cohort.analysis.drawing import STYLES, axes_grid, banded, legend, numbered
from cohort.analysis.findings import Findings, captioned
from cohort.analysis.gradients import backbone_of, gradient_magnitudes, losses_of, training_batches
from cohort.analysis.groups import Row, Subject
from cohort.analysis.options import OF_GRADIENTS, AnalyseOptions
from cohort.analysis.pooling import curves
from cohort.models.early_exit import MultiExitStudent
from cohort.objectives.self_distillation import SelfDistillation
from cohort.run.finished import LoadedRun

TITLE = "Gradients by layer"
BYOT = "byot"


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """Mean absolute gradient per layer of every student; of one with exits by what they learn from.

    The figure has the layers on the way to the last exit, by depth, so that a network with exits
    stands beside the same network without; the table has all layers.
    """
    rows, weights = [], []
    for subject in subjects:
        objective = objective_of(subject.run, options)
        batches = training_batches(subject.run.dataset, options.examples, device)
        for head, student in subject.students():
            if isinstance(student, MultiExitStudent):
                weights.append(_shown(objective))
            for title, loss in losses_of(student, objective).items():
                found = gradient_magnitudes(student, loss, batches)
                rows += [head | {"loss": title} | row for row in _layers(student, found)]
    with_weights = f", weighed by {' or '.join(dict.fromkeys(weights))}" if weights else ""
    shows = (
        "Mean absolute gradient by the weights of each layer on the way to the last exit, on batches of "
        "training images: of the labels' cross-entropy, and where there are exits of their losses"
        f"{with_weights}; what peers or teachers add is left out."
    )
    return Findings({"gradients": captioned(gradients_figure(rows), shows, rows)}, rows)


def objective_of(run: LoadedRun, options: AnalyseOptions) -> SelfDistillation:
    """The loss of self-distillation as the run weighed its terms, where options do not say otherwise.

    The usual weights for a run that did not learn by it.
    """
    own = run.settings if run.settings.get("method") == BYOT else {}
    given = {key: getattr(options, key) for key in OF_GRADIENTS}
    used = {key: own.get(key) if value is None else value for key, value in given.items()}
    # A run that weighed it and does not tell which distance is of a version that had the mean alone.
    weighed = own.get("hint_weight") is not None and given["hint_weight"] is None
    used["hint_distance"] = own.get("hint_distance", "mean" if weighed else None)
    return SelfDistillation(**{key: value for key, value in used.items() if value is not None})


def gradients_figure(rows: Sequence[Row]) -> Figure:
    """Gradients by depth on a logarithmic axis: a colour per group, a kind of line per loss.

    Where there is no gradient the line has a gap.
    """
    on_the_way = [row for row in rows if row["depth"] is not None]
    lines = curves(on_the_way, "mean_abs_gradient", "group", "loss", "depth")
    numbers = numbered(group for group, _ in lines)
    losses = numbered(loss for _, loss in lines)
    figure, (axes,) = axes_grid(1, 1, width=8.5, height=3.8)
    for (group, loss), points in lines.items():
        drawn = {depth: at if at.mean > 0 else (float("nan"),) * 3 for depth, at in points.items()}
        style = STYLES[losses[loss] % len(STYLES)]
        banded(axes, drawn, f"{group}: {loss}", numbers[group], style=style)
    axes.set(xlabel="layer, by depth", ylabel="mean |∂L/∂w|", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    return figure


def _layers(student: nn.Module, magnitudes: dict[str, float]) -> list[Row]:
    modules, backbone = dict(student.named_modules()), backbone_of(student)
    rows: list[Row] = []
    depth = 0
    for layer, magnitude in magnitudes.items():
        on_the_way = modules[layer] in backbone
        depth += on_the_way
        at = depth if on_the_way else None
        rows.append({"layer": layer, "depth": at, "mean_abs_gradient": magnitude})
    return rows


def _shown(objective: SelfDistillation) -> str:
    return (
        f"α {objective.alpha:g}, λ {objective.hint_weight:g} and T {objective.temperature:g} in "
        "self-distillation"
    )
