"""``cohort train``, ``self-distill``, ``ods-distill``: a run from flags, new or gone on with."""

from collections.abc import Callable, Sequence

from cohort.cli.ending import Result, tell_ending
from cohort.cli.parser import parse
from cohort.config import RunConfig
from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.runtime.config import CohortConfig


def train(argv: Sequence[str]) -> int:
    """Train a cohort of students that teach each other (Deep Mutual Learning)."""
    example = "--dataset cifar100 --download --students resnet32 --k 4 --gpus 4"
    return _run("train", CohortConfig, train.__doc__, argv, "cohort", example)


def self_distill(argv: Sequence[str]) -> int:
    """Train a network with exits that is its own teacher (Be Your Own Teacher)."""
    example = "--dataset cifar100 --download --model resnet18 --workers 2"
    return _run(
        "self-distill", SelfDistillConfig, self_distill.__doc__, argv, "self-distillation", example
    )


def ods_distill(argv: Sequence[str]) -> int:
    """Distil a deep ensemble into one BatchEnsemble, its diversity kept (ODS)."""
    example = "--teachers runs/ensemble --perturbation conf_ods --run-dir runs/student"
    return _run("ods-distill", OdsConfig, ods_distill.__doc__, argv, "ODS distillation", example)


def _run(
    command: str,
    cls: type[RunConfig],
    description: str | None,
    argv: Sequence[str],
    title: str,
    example: str,
) -> int:
    asked = parse(cls, description, argv, command=command, title=title, example=example)
    start, resume = _functions(command)
    if asked.resume:
        result = resume(asked.resume, given=asked.given, verbose=True)
    else:
        result = start(asked.config, verbose=True)
    alone = getattr(result, "alone", None)  # of a cohort with --baseline
    return tell_ending(result, command, alone and alone.summary)


def _functions(command: str) -> tuple[Callable[..., Result], Callable[..., Result]]:
    """What starts a command's run and what resumes it, imported only now, for they need torch."""
    if command == "train":
        from cohort.runtime.train import resume_cohort, train_cohort

        return train_cohort, resume_cohort
    if command == "self-distill":
        from cohort.jobs.self_distill import run as byot

        return byot.self_distill, byot.resume_self_distill
    from cohort.jobs.ods import run as ods

    return ods.ods_distill, ods.resume_ods_distill
