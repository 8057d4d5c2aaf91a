"""Each analysis of finished runs: from students and data to figures and the rows of a table."""

from collections.abc import Sequence
from dataclasses import asdict

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from cohort.analysis import figures
from cohort.analysis.cost import exit_costs
from cohort.analysis.early_exit_curve import CurvePoint, early_exit_curve
from cohort.analysis.exits import evaluate_exits
from cohort.analysis.flat_minima import weight_noise_curve
from cohort.analysis.gradients import (
    Loss,
    backbone_of,
    gradient_magnitudes,
    last_exit_loss,
    loss_of_exits,
)
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.outcome import SEED, Outcome, Row, figure_name, some
from cohort.analysis.separability import features_over, pca_scatter, separability
from cohort.data.dataset import ImageDataset
from cohort.data.source import BatchSource
from cohort.models.early_exit import MultiExitStudent
from cohort.objectives.self_distillation import DEEP_SUPERVISION, SelfDistillation
from cohort.run.finished import LoadedRun

GRADIENT_BATCH = 64
THRESHOLDS = (0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)


def analyse_noise(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Outcome:
    """Training accuracy and loss under noise on the weights, all runs in one figure."""
    curves = {
        run.name: weight_noise_curve(
            run.student,
            some(run.dataset.train, options),
            options.sigmas,
            options.draws,
            SEED,
            device,
            relative=options.relative,
        )
        for run in runs
    }
    rows = [{"run": name, **asdict(p)} for name, points in curves.items() for p in points]
    return Outcome({"noise": figures.noise_figure(curves, relative=options.relative)}, rows)


def analyse_gradients(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Outcome:
    """Mean absolute gradient per layer; of a student with exits by what they learn from.

    The heat map has the layers on the way to the last exit, by depth, so that a network with exits
    stands above the same network without; the table has all layers.
    """
    rows = [
        row
        for run in runs
        for title, loss in losses_of(run.student).items()
        for row in _gradient_rows(run, title, loss, options, device)
    ]
    heat: dict[str, list[float]] = {}
    for row in rows:
        if row["depth"] is not None:
            heat.setdefault(f"{row['run']}: {row['loss']}", []).append(row["mean_abs_gradient"])
    return Outcome({"gradients": figures.gradients_figure(heat)}, rows)


def analyse_separability(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Outcome:
    """Sums of squares, and a scatter per run, of the test examples' features at every exit."""
    drawn: dict[str, Figure] = {}
    rows: list[Row] = []
    for run in runs:
        student, split = _with_exits(run.student), some(run.dataset.test, options)
        labels_N = torch.from_numpy(split.labels)
        features = features_over(student, split, device)
        places = (*student.network.places, "end")
        for exit, (place, features_NF) in enumerate(zip(places, features, strict=True), start=1):
            found = asdict(separability(features_NF, labels_N))
            rows.append({"run": run.name, "exit": exit, "place": place, **found})
        scatters = [pca_scatter(features_NF, labels_N) for features_NF in features]
        name = figure_name("separability", run.name, len(runs))
        drawn[name] = figures.scatter_figure(scatters, run.dataset.classes)
    return Outcome(drawn, rows)


def analyse_early_exit(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Outcome:
    """Test accuracy against cost, by threshold, and the fixed exits beside it."""
    curves: dict[str, list[CurvePoint]] = {}
    fixed: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        student, split = _with_exits(run.student), some(run.dataset.test, options)
        curves[run.name] = early_exit_curve(student, split, THRESHOLDS, device)
        report = evaluate_exits(student, split, device)
        costs = exit_costs(student, run.dataset.image_shape)
        fixed[run.name] = [
            (cost.multiply_adds, measured["accuracy"])
            for cost, measured in zip(costs, report.exits, strict=True)
        ]
    rows = [_curve_row(name, point) for name, points in curves.items() for point in points]
    return Outcome({"early_exit": figures.early_exit_figure(curves, fixed)}, rows)


def losses_of(student: nn.Module) -> dict[str, Loss]:
    """The training losses whose gradients are compared, by name."""
    if not isinstance(student, MultiExitStudent):
        return {"labels": last_exit_loss}
    return {
        "self-distillation": loss_of_exits(SelfDistillation()),
        "labels at every exit": loss_of_exits(DEEP_SUPERVISION),
        "labels at the last exit": last_exit_loss,
    }


def training_batches(
    dataset: ImageDataset, options: AnalyseOptions, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """``--examples`` training images, augmented, in full batches as in training."""
    split = some(dataset.train, options)
    source = BatchSource(
        split,
        batch_size=min(GRADIENT_BATCH, len(split)),
        seed=SEED,
        augmentation=dataset.augmentation,
        device=device,
    )
    return [source.batch(step) for step in range(source.steps_per_epoch)]


def _gradient_rows(
    run: LoadedRun, title: str, loss: Loss, options: AnalyseOptions, device: torch.device
) -> list[Row]:
    batches = training_batches(run.dataset, options, device)
    modules, backbone = dict(run.student.named_modules()), backbone_of(run.student)
    rows: list[Row] = []
    depth = 0
    for layer, magnitude in gradient_magnitudes(run.student, loss, batches).items():
        on_the_way = modules[layer] in backbone
        depth += on_the_way
        rows.append(
            {
                "run": run.name,
                "loss": title,
                "layer": layer,
                "depth": depth if on_the_way else None,
                "mean_abs_gradient": magnitude,
            }
        )
    return rows


def _curve_row(name: str, point: CurvePoint) -> Row:
    shares = {f"share_exit_{e}": share for e, share in enumerate(point.share_per_exit, start=1)}
    return {
        "run": name,
        "threshold": point.threshold,
        "accuracy": point.accuracy,
        "mean_multiply_adds": point.mean_multiply_adds,
        **shares,
    }


def _with_exits(student: nn.Module) -> MultiExitStudent:
    assert isinstance(student, MultiExitStudent)
    return student
