"""How an ensemble's members differ, and what ODS does to that, as the paper on it shows.

"Diversity Matters When Learning From Ensembles" (NeurIPS 2021, arXiv 2110.14149): diversity by
confidence (Figure 3), inputs made with one member and given to the others (Figure 6), and how
alike students and teachers react to a change of their input (section 5.3).

Shapes: M members, N examples, C classes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from cohort.analysis.drawing import axes_grid, curve
from cohort.analysis.findings import SEED, Findings, Row, by_run, sample
from cohort.analysis.jacobians import JacobianMatch, jacobian_match
from cohort.analysis.members import (
    PERTURBED_BATCH,
    diversity_of_others,
    kl_to_clean,
    member_log_posteriors,
    members_of,
)
from cohort.analysis.options import AnalyseOptions
from cohort.config import Perturbation
from cohort.data.source import whole
from cohort.metrics.diversity import DiversityBin, diversity, diversity_by_confidence
from cohort.objectives.perturbation import InputPerturbation
from cohort.run.finished import LoadedRun, load_teachers

INPUTS: dict[str, Perturbation] = {
    "clean": "none",
    "gaussian": "gaussian",
    "ods": "ods",
    "conf_ods": "conf_ods",
}
DIVERSITY = "mean pairwise KL / nat"
Matrix = Sequence[Sequence[float]]


def analyse_diversity(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Findings:
    """Figure 3: diversity by confidence on training and on test images, clean and perturbed.

    Training images are not augmented. The member whose gradient perturbs is drawn per batch.
    A row per bin, and one without a bin for all examples, which has the factor over clean inputs.
    """

    def analyse(run: LoadedRun) -> tuple[Figure, list[Row]]:
        bins: dict[str, dict[str, list[DiversityBin]]] = {}
        rows: list[Row] = []
        for name, split in (("training", run.dataset.train), ("test", run.dataset.test)):
            few, members = sample(split, options.examples), members_of(run.students)
            posteriors = {
                inputs: member_log_posteriors(members, few, perturbation(kind, options), device)
                for inputs, kind in INPUTS.items()
            }
            bins[name] = {i: diversity_by_confidence(p_MNC) for i, p_MNC in posteriors.items()}
            head = {"run": run.name, "split": name}
            rows += [head | row for row in _diversity_rows(posteriors, bins[name])]
        return diversity_figure(bins), rows

    return by_run("diversity", runs, analyse)


def analyse_transfer(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Findings:
    """Figure 6: what inputs that ODS made with one member do to the others, on training images.

    A row for clean inputs, one for noise, and one per member that inputs were made with. The last
    have the diversity of the other members as well, beside that on clean and on noisy inputs.
    """

    def analyse(run: LoadedRun) -> tuple[Figure, list[Row]]:
        rows = list(_transfer_rows(run, options, device))
        return _transfer_figure(rows), rows

    return by_run("transfer", runs, analyse)


def analyse_jacobian(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Findings:
    """Section 5.3: how alike the Jacobians are of each member and each teacher, on test images."""

    def analyse(run: LoadedRun) -> tuple[Figure, list[Row]]:
        few = sample(run.dataset.test, options.examples)
        teachers = load_teachers(run.folder, trust_code=run.trust_code)
        match = jacobian_match(
            members_of(run.students),
            members_of([teacher.to(device) for teacher in teachers]),
            (images for images, _ in whole(few, device=device, batch_size=PERTURBED_BATCH)),
            classes=run.dataset.num_classes,
            draws=options.draws,
            seed=SEED,
        )
        figure = jacobian_figure(match.relative_error.tolist(), match.cosine.tolist())
        return figure, list(_jacobian_rows(run.name, match))

    return by_run("jacobian", runs, analyse)


def perturbation(kind: Perturbation, options: AnalyseOptions) -> InputPerturbation:
    """A perturbation of this kind with the options' step size, temperature and norm."""
    return InputPerturbation(kind=kind, eta=options.eta, temperature=options.tau, norm=options.norm)


def diversity_figure(splits: Mapping[str, Mapping[str, Sequence[DiversityBin]]]) -> Figure:
    """Diversity against confidence: a panel per split, a curve per kind of input.

    A bin without examples, or of infinite diversity, is a gap in the curve.
    """
    figure, panels = axes_grid(1, len(splits), width=4.2 * len(splits), height=3.4)
    for axes, (split, curves) in zip(panels, splits.items(), strict=True):
        for number, (inputs, bins) in enumerate(curves.items()):
            middle = [(found.lower + found.upper) / 2 for found in bins]
            curve(axes, middle, [found.diversity for found in bins], inputs, number)
        axes.set(title=f"{split} images", xlabel="confidence of the ensemble", xlim=(0, 1))
        axes.set_ylabel(DIVERSITY)
    panels[-1].legend()
    return figure


def transfer_figure(
    by_source: Mapping[str, Sequence[float]], reactions: Mapping[str, Sequence[float]]
) -> Figure:
    """Left the diversity by the member that inputs were made with, right each member's own reaction.

    Args:
        by_source: curves by name, each with a value per source.
        reactions: rows of a heat map, by what the inputs were made with: ``kl_to_clean`` per member.
    """
    members = len(next(iter(reactions.values())))
    figure, (left, right) = axes_grid(1, 2, width=6.4 + 0.6 * members, height=3.6)
    for number, (name, values) in enumerate(by_source.items()):
        curve(left, range(len(values)), values, name, number)
    left.set(xlabel="ODS made with member", ylabel=DIVERSITY)
    left.set_xticks(range(members))
    left.legend(fontsize="small")
    _heat(figure, right, list(reactions.values()), "KL(clean ‖ perturbed) / nat")
    right.set_yticks(range(len(reactions)), list(reactions))
    right.set(xlabel="member", ylabel="inputs made with")
    return figure


def jacobian_figure(relative_error: Matrix, cosine: Matrix) -> Figure:
    """How alike the Jacobians are of every member (rows) and every teacher (columns)."""
    figure, panels = axes_grid(1, 2, width=6.4 + 0.8 * len(cosine[0]), height=3.4)
    titles = "relative squared error", "cosine"
    for axes, title, matrix in zip(panels, titles, (relative_error, cosine), strict=True):
        _heat(figure, axes, matrix, title)
        axes.set_yticks(range(len(matrix)))
        axes.set(xlabel="teacher", ylabel="member")
    return figure


def _heat(figure: Figure, axes: Axes, matrix: Matrix, label: str) -> None:
    image = axes.imshow(np.array(matrix), aspect="auto", cmap="cividis", interpolation="nearest")
    axes.set_xticks(range(len(matrix[0])))
    figure.colorbar(image, ax=axes, label=label)


def _diversity_rows(
    posteriors: Mapping[str, Tensor], bins: Mapping[str, Sequence[DiversityBin]]
) -> Iterator[Row]:
    clean = diversity(posteriors["clean"])
    for inputs, log_posterior_MNC in posteriors.items():
        of_all = diversity(log_posterior_MNC)
        every = DiversityBin(lower=0, upper=1, count=log_posterior_MNC.shape[1], diversity=of_all)
        factor = of_all / clean if clean else math.nan
        yield {"inputs": inputs, "bin": None, **asdict(every), "factor_over_clean": factor}
        for number, found in enumerate(bins[inputs], start=1):
            yield {"inputs": inputs, "bin": number, **asdict(found), "factor_over_clean": None}


def _transfer_rows(run: LoadedRun, options: AnalyseOptions, device: torch.device) -> Iterator[Row]:
    members, few = members_of(run.students), sample(run.dataset.train, options.examples)

    def posteriors(kind: Perturbation, source: int | None = None) -> Tensor:
        return member_log_posteriors(members, few, perturbation(kind, options), device, source)

    def row(inputs: str, perturbed_MNC: Tensor, source: int | None = None) -> Row:
        references = {"": perturbed_MNC, "clean_": clean_MNC, "gaussian_": noisy_MNC}
        others = {
            f"{name}diversity_others": None
            if source is None
            else diversity_of_others(reference_MNC, source)
            for name, reference_MNC in references.items()
        }
        reactions = enumerate(kl_to_clean(clean_MNC, perturbed_MNC))
        return {
            "run": run.name,
            "inputs": inputs,
            "source": source,
            "diversity": diversity(perturbed_MNC),
            **others,
            **{f"kl_to_clean_{member}": kl for member, kl in reactions},
        }

    clean_MNC, noisy_MNC = posteriors("none"), posteriors("gaussian")
    yield row("clean", clean_MNC)
    yield row("gaussian", noisy_MNC)
    for source in range(len(members)):
        yield row("ods", posteriors("ods", source), source)


def _transfer_figure(rows: Sequence[Row]) -> Figure:
    """The figure of a run's rows: those of clean inputs, of noise, and of each member's ODS."""
    clean, noise, *sources = rows
    columns = {
        "all members": "diversity",
        "the others": "diversity_others",
        "the others, noise": "gaussian_diversity_others",
        "the others, clean": "clean_diversity_others",
    }
    by_source = {name: [row[column] for row in sources] for name, column in columns.items()}
    made_with = {"noise": noise} | {f"member {row['source']}": row for row in sources}
    reacting = [column for column in clean if column.startswith("kl_to_clean_")]
    return transfer_figure(
        by_source, {name: [row[column] for column in reacting] for name, row in made_with.items()}
    )


def _jacobian_rows(run: str, match: JacobianMatch) -> Iterator[Row]:
    students, teachers = match.cosine.shape
    for member, teacher in product(range(students), range(teachers)):
        yield {
            "run": run,
            "member": member,
            "teacher": teacher,
            "own_teacher": member == teacher and students == teachers,
            "relative_error": float(match.relative_error[member, teacher]),
            "cosine": float(match.cosine[member, teacher]),
        }
