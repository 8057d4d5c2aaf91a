"""How much members differ, by how sure their ensemble is, on clean and on perturbed inputs.

"Diversity Matters When Learning From Ensembles" (NeurIPS 2021, arXiv 2110.14149), Figure 3.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import torch
from matplotlib.figure import Figure
from torch import Tensor

from cohort.analysis.analyses.perturbed import DIVERSITY, INPUTS, perturbation, said
from cohort.analysis.drawing import axes_grid, banded, legend
from cohort.analysis.findings import Captioned, Findings, by_group, captioned, sample
from cohort.analysis.groups import Row, Subject
from cohort.analysis.members import member_log_posteriors, members_of
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import curves
from cohort.metrics.diversity import DiversityBin, diversity, diversity_by_confidence

TITLE = "Diversity by confidence"


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """Diversity by confidence on training and on test images, clean and perturbed.

    Training images are not augmented. The member whose gradient perturbs is drawn per batch.
    A row per bin, and one without a bin for all examples, which has the factor over clean inputs.
    """
    used = {said(subject.run, options) for subject in subjects}

    def measure(subject: Subject) -> list[Row]:
        run, members = subject.run, members_of(subject.run.students)
        rows: list[Row] = []
        for name, split in (("training", run.dataset.train), ("test", run.dataset.test)):
            few = sample(split, options.examples)
            posteriors = {
                inputs: member_log_posteriors(
                    members, few, perturbation(kind, options, run), device
                )
                for inputs, kind in INPUTS.items()
            }
            head = subject.head | {"split": name}
            rows += [head | row for row in diversity_rows(posteriors)]
        return rows

    def draw(rows: list[Row]) -> Captioned:
        shows = (
            "Mean Kullback-Leibler divergence between two members, by the confidence of their mean "
            f"posterior, on clean and on perturbed images ({' or '.join(sorted(used))})."
        )
        return captioned(diversity_figure(rows), shows, rows)

    return by_group("diversity", subjects, measure, draw)


def diversity_rows(posteriors: Mapping[str, Tensor]) -> Iterator[Row]:
    """A row for all examples and one per bin, of log-posteriors [M, N, C] by kind of input."""
    clean = diversity(posteriors["clean"])
    for inputs, log_posterior_MNC in posteriors.items():
        of_all = diversity(log_posterior_MNC)
        every = DiversityBin(lower=0, upper=1, count=log_posterior_MNC.shape[1], diversity=of_all)
        factor = of_all / clean if clean else math.nan
        yield {"inputs": inputs, "bin": None, **asdict(every), "factor_over_clean": factor}
        for number, found in enumerate(diversity_by_confidence(log_posterior_MNC), start=1):
            yield {"inputs": inputs, "bin": number, **asdict(found), "factor_over_clean": None}


def diversity_figure(rows: Sequence[Row]) -> Figure:
    """Diversity against confidence, pooled: a panel per split, a curve per kind of input.

    A bin without examples, or of infinite diversity, is a gap in the curve.
    """
    binned = [
        row | {"middle": (row["lower"] + row["upper"]) / 2}
        for row in rows
        if row["bin"] is not None
    ]
    splits = list(dict.fromkeys(row["split"] for row in rows))
    figure, panels = axes_grid(1, len(splits), width=1.2 + 4.2 * len(splits), height=3.6)
    for axes, split in zip(panels, splits, strict=True):
        of = [row for row in binned if row["split"] == split]
        lines = curves(of, "diversity", "inputs", "middle")
        for number, ((inputs,), points) in enumerate(lines.items()):
            banded(axes, points, inputs, number)
        axes.set(title=f"{split} images", xlabel="confidence of the ensemble", xlim=(0, 1))
        axes.set_ylabel(DIVERSITY)
    legend(figure, panels[0])
    return figure
