"""How alike students and teachers react to a change of their input.

"Diversity Matters When Learning From Ensembles" (NeurIPS 2021, arXiv 2110.14149), section 5.3. What is
measured: ``cohort.analysis.jacobians``.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from matplotlib.figure import Figure

from cohort.analysis.drawing import axes_grid, heat
from cohort.analysis.findings import SEED, Captioned, Findings, by_group, captioned, sample
from cohort.analysis.groups import Row, Subject
from cohort.analysis.jacobians import JacobianMatch, jacobian_match
from cohort.analysis.members import PERTURBED_BATCH, members_of
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.pooling import pooled
from cohort.data.source import whole
from cohort.run.finished import load_teachers

TITLE = "Jacobians of students and teachers"
PANELS = {"relative_error": "relative squared error", "cosine": "cosine"}


def analyse(subjects: Sequence[Subject], options: AnalyseOptions, device: torch.device) -> Findings:
    """How alike the Jacobians are of each member and each teacher, on test images."""

    def measure(subject: Subject) -> list[Row]:
        run = subject.run
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
        return [subject.head | row for row in jacobian_rows(match)]

    def draw(rows: list[Row]) -> Captioned:
        shows = (
            "How alike the Jacobians of each member's and each teacher's posterior are on test images: 0 is "
            "an equal one in the left panel, 1 in the right. A heat map shows means, and no band."
        )
        return captioned(jacobian_figure(rows), shows, rows)

    return by_group("jacobian", subjects, measure, draw)


def jacobian_rows(match: JacobianMatch) -> Iterator[Row]:
    """A row per member and teacher."""
    students, teachers = match.cosine.shape
    for member, teacher in product(range(students), range(teachers)):
        yield {
            "member": member,
            "teacher": teacher,
            "own_teacher": member == teacher and students == teachers,
            "relative_error": float(match.relative_error[member, teacher]),
            "cosine": float(match.cosine[member, teacher]),
        }


def jacobian_figure(rows: Sequence[Row]) -> Figure:
    """How alike the Jacobians are of every member (rows) and every teacher (columns), means over runs."""
    members, teachers = (1 + max(row[who] for row in rows) for who in ("member", "teacher"))
    figure, panels = axes_grid(1, 2, width=7 + 0.8 * teachers, height=3.6)
    for axes, (value, title) in zip(panels, PANELS.items(), strict=True):
        means = {
            (m, t): at.mean
            for (_, m, t), at in pooled(rows, value, "group", "member", "teacher").items()
        }
        matrix = [[means[m, t] for t in range(teachers)] for m in range(members)]
        heat(figure, axes, matrix, title)
        axes.set_yticks(range(members))
        axes.set(xlabel="teacher", ylabel="member")
    return figure
