"""What inputs that ODS made with one member do to the others.

"Diversity Matters When Learning From Ensembles" (NeurIPS 2021, arXiv 2110.14149), Figure 6.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from cohort.analysis.analyses.perturbed import DIVERSITY, perturbation, said
from cohort.analysis.drawing import axes_grid, banded, heat
from cohort.analysis.findings import Captioned, Findings, by_group, captioned, sample
from cohort.analysis.groups import Row, Subject
from cohort.analysis.members import (
    diversity_of_others,
    kl_to_clean,
    member_log_posteriors,
    members_of,
)
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import curves, pooled
from cohort.config import Perturbation
from cohort.metrics.diversity import diversity

TITLE = "Transfer of ODS inputs"
COLUMNS = {
    "all members": "diversity",
    "the others": "diversity_others",
    "the others, noise": "gaussian_diversity_others",
    "the others, clean": "clean_diversity_others",
}
"""The curves of the figure, and the columns they show."""


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """What inputs that ODS made with one member do to the others, on training images.

    A row for clean inputs, one for noise, and one per member that inputs were made with. The last
    have the diversity of the other members as well, beside that on clean and on noisy inputs.
    """
    used = {said(subject.run, options) for subject in subjects}

    def measure(subject: Subject) -> list[Row]:
        return list(_rows(subject, options, device))

    def draw(rows: list[Row]) -> Captioned:
        shows = (
            "Training images moved by ODS with one member's gradient "
            f"({' or '.join(sorted(used))}). Left, the diversity of members; right, how far each one's "
            "posterior moved, means without a band."
        )
        return captioned(transfer_figure(rows), shows, rows)

    return by_group("transfer", subjects, measure, draw)


def transfer_figure(rows: Sequence[Row]) -> Figure:
    """Left the diversity by the member that inputs were made with, right each member's own reaction.

    ``rows`` of a group: of clean inputs, of noise, and of each member's ODS, of every run.
    """
    made = [row for row in rows if row["source"] is not None]
    noisy = [row for row in rows if row["inputs"] == "gaussian"]
    reacting = [column for column in rows[0] if column.startswith("kl_to_clean_")]
    figure, (left, right) = axes_grid(1, 2, width=7.4 + 0.6 * len(reacting), height=3.8)
    for number, (name, column) in enumerate(COLUMNS.items()):
        ((_, points),) = curves(made, column, "group", "source").items()
        banded(left, points, name, number)
    left.set(xlabel="ODS made with member", ylabel=DIVERSITY)
    left.set_xticks(range(len(reacting)))
    left.legend(fontsize="small")
    reactions = {"noise": _means(noisy, reacting)} | {
        f"member {source}": _means([r for r in made if r["source"] == source], reacting)
        for source in dict.fromkeys(row["source"] for row in made)
    }
    heat(figure, right, list(reactions.values()), "KL(clean ‖ perturbed) / nat")
    right.set_yticks(range(len(reactions)), list(reactions))
    right.set(xlabel="member", ylabel="inputs made with")
    return figure


def _means(rows: Sequence[Row], columns: Sequence[str]) -> list[float]:
    return [at.mean for column in columns for at in pooled(rows, column, "group").values()]


def _rows(subject: Subject, options: AnalyseOptions, device: torch.device) -> Iterator[Row]:
    run, members = subject.run, members_of(subject.run.students)
    few = sample(run.dataset.train, options.examples)

    def posteriors(kind: Perturbation, source: int | None = None) -> Tensor:
        moved = perturbation(kind, options, run)
        return member_log_posteriors(members, few, moved, device, source)

    def row(inputs: str, perturbed_MNC: Tensor, source: int | None = None) -> Row:
        references: Mapping[str, Tensor] = {
            "": perturbed_MNC,
            "clean_": clean_MNC,
            "gaussian_": noisy_MNC,
        }
        others = {
            f"{name}diversity_others": None
            if source is None
            else diversity_of_others(reference_MNC, source)
            for name, reference_MNC in references.items()
        }
        reactions = enumerate(kl_to_clean(clean_MNC, perturbed_MNC))
        return {
            **subject.head,
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
