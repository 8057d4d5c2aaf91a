"""Each analysis of finished runs as ensembles: from members and data to figures and rows of a table.

Their names are those of "Diversity Matters When Learning From Ensembles" (NeurIPS 2021, arXiv 2110.14149).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product

import torch
from matplotlib.figure import Figure
from torch import Tensor

from cohort.analysis import ensemble_figures as figures
from cohort.analysis.ensemble import PERTURBED_BATCH, member_log_posteriors, members_of
from cohort.analysis.jacobians import JacobianMatch, jacobian_match
from cohort.analysis.options import AnalyseOptions
from cohort.analysis.outcome import SEED, Outcome, Row, figure_name, some
from cohort.analysis.transfer import diversity_of_others, transfer
from cohort.config import Perturbation
from cohort.data.dataset import Split
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


def analyse_diversity(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Outcome:
    """Figure 3: diversity by confidence on training and on test images, clean and perturbed.

    Training images are not augmented. The member whose gradient perturbs is drawn per batch.
    A row per bin, and one without a bin for all examples, which has the factor over clean inputs.
    """
    drawn: dict[str, Figure] = {}
    rows: list[Row] = []
    for run in runs:
        splits: dict[str, dict[str, list[DiversityBin]]] = {}
        for name, split in (("training", run.dataset.train), ("test", run.dataset.test)):
            posteriors = _on_all_inputs(run, some(split, options), options, device)
            splits[name] = {
                inputs: diversity_by_confidence(log_posterior_MNC)
                for inputs, log_posterior_MNC in posteriors.items()
            }
            rows += _diversity_rows(run.name, name, posteriors, splits[name])
        drawn[figure_name("diversity", run.name, len(runs))] = figures.diversity_figure(splits)
    return Outcome(drawn, rows)


def analyse_transfer(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Outcome:
    """Figure 6: what inputs that ODS made with one member do to the others, on training images.

    A row for clean inputs, one for noise, and one per member that inputs were made with. The last
    have the diversity of the other members as well, beside that on clean and on noisy inputs.
    """
    drawn: dict[str, Figure] = {}
    rows: list[Row] = []
    for run in runs:
        found = list(_transfer_rows(run, options, device))
        drawn[figure_name("transfer", run.name, len(runs))] = _transfer_figure(found)
        rows += found
    return Outcome(drawn, rows)


def analyse_jacobian(
    runs: Sequence[LoadedRun], options: AnalyseOptions, device: torch.device
) -> Outcome:
    """Section 5.3: how alike the Jacobians are of each member and each teacher, on test images."""
    drawn: dict[str, Figure] = {}
    rows: list[Row] = []
    for run in runs:
        match = jacobian_match(
            members_of(run.students),
            members_of([teacher.to(device) for teacher in load_teachers(run.folder)]),
            _images(some(run.dataset.test, options), device),
            classes=run.dataset.num_classes,
            draws=options.draws,
            seed=SEED,
        )
        rows += _jacobian_rows(run.name, match)
        matrices = match.relative_error.tolist(), match.cosine.tolist()
        drawn[figure_name("jacobian", run.name, len(runs))] = figures.jacobian_figure(*matrices)
    return Outcome(drawn, rows)


def perturbation(kind: Perturbation, options: AnalyseOptions) -> InputPerturbation:
    """As the options have it."""
    return InputPerturbation(kind=kind, eta=options.eta, temperature=options.tau, norm=options.norm)


def _on_all_inputs(
    run: LoadedRun, split: Split, options: AnalyseOptions, device: torch.device
) -> dict[str, Tensor]:
    """The members' log-posteriors [M, N, C] by kind of input."""
    members = members_of(run.students)
    return {
        inputs: member_log_posteriors(members, split, perturbation(kind, options), device)
        for inputs, kind in INPUTS.items()
    }


def _diversity_rows(
    run: str,
    split: str,
    posteriors: dict[str, Tensor],
    bins: dict[str, list[DiversityBin]],
) -> Iterator[Row]:
    clean = diversity(posteriors["clean"])
    for inputs, log_posterior_MNC in posteriors.items():
        same = {"run": run, "split": split, "inputs": inputs}
        whole_range = DiversityBin(
            lower=0,
            upper=1,
            count=log_posterior_MNC.shape[1],
            diversity=diversity(log_posterior_MNC),
        )
        factor = whole_range.diversity / clean if clean else math.nan
        yield same | {"bin": None, **asdict(whole_range), "factor_over_clean": factor}
        for number, found in enumerate(bins[inputs], start=1):
            yield same | {"bin": number, **asdict(found), "factor_over_clean": None}


def _transfer_rows(run: LoadedRun, options: AnalyseOptions, device: torch.device) -> Iterator[Row]:
    members, split = members_of(run.students), some(run.dataset.train, options)

    def posteriors(kind: Perturbation, source: int | None = None) -> Tensor:
        return member_log_posteriors(members, split, perturbation(kind, options), device, source)

    def row(inputs: str, perturbed_MNC: Tensor, source: int | None = None) -> Row:
        found = transfer(clean_MNC, perturbed_MNC)
        reactions = {f"kl_to_clean_{m}": kl for m, kl in enumerate(found.kl_to_clean)}
        same = {"run": run.name, "inputs": inputs, "source": source}
        references = {"": perturbed_MNC, "clean_": clean_MNC, "gaussian_": noisy_MNC}
        others = {
            f"{name}diversity_others": None
            if source is None
            else diversity_of_others(reference_MNC, source)
            for name, reference_MNC in references.items()
        }
        return same | {"diversity": found.diversity, **others, **reactions}

    clean_MNC, noisy_MNC = posteriors("none"), posteriors("gaussian")
    yield row("clean", clean_MNC)
    yield row("gaussian", noisy_MNC)
    for source in range(len(members)):
        yield row("ods", posteriors("ods", source), source)


def _transfer_figure(found: Sequence[Row]) -> Figure:
    """Of a run's rows: clean, noise, and one per member."""
    sources = found[2:]
    columns = {
        "all members": "diversity",
        "the others": "diversity_others",
        "the others, noise": "gaussian_diversity_others",
        "the others, clean": "clean_diversity_others",
    }
    by_source = {name: [row[column] for row in sources] for name, column in columns.items()}
    members = range(len(sources))
    kl_to_clean = {
        _made_with(row): [row[f"kl_to_clean_{member}"] for member in members] for row in found[1:]
    }
    return figures.transfer_figure(by_source, kl_to_clean)


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


def _made_with(row: Row) -> str:
    return "noise" if row["source"] is None else f"member {row['source']}"


def _images(split: Split, device: torch.device) -> Iterator[Tensor]:
    for images_BCHW, _ in whole(split, device=device, batch_size=PERTURBED_BATCH):
        yield images_BCHW
