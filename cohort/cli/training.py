"""``cohort train``, ``self-distill``, ``ods-distill``: a run from flags, new or gone on with."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cohort.cli.parser import parse
from cohort.commands import ODS_DISTILL, SELF_DISTILL, TRAIN
from cohort.errors import INTERRUPTED, SUCCESS
from cohort.reporting.table import print_summary
from cohort.run.command import Command

if TYPE_CHECKING:
    from cohort.run.start import Result


def train(argv: Sequence[str]) -> int:
    """Train a cohort of students that teach each other (Deep Mutual Learning)."""
    example = "--dataset cifar100 --download --students resnet32 --k 4 --gpus 4"
    return _run(TRAIN, train.__doc__, argv, "cohort", example)


def self_distill(argv: Sequence[str]) -> int:
    """Train a network with exits that is its own teacher (Be Your Own Teacher)."""
    example = "--dataset cifar100 --download --model resnet18 --workers 2"
    return _run(SELF_DISTILL, self_distill.__doc__, argv, "self-distillation", example)


def ods_distill(argv: Sequence[str]) -> int:
    """Distil a deep ensemble into one BatchEnsemble, its diversity kept (ODS)."""
    example = "--teachers runs/ensemble --perturbation conf_ods --run-dir runs/student"
    return _run(ODS_DISTILL, ods_distill.__doc__, argv, "ODS distillation", example)


def _run(
    command: Command[Any], description: str | None, argv: Sequence[str], title: str, example: str
) -> int:
    asked = parse(
        command.config, description, argv, command=command.name, title=title, example=example
    )

    if sys.stdout.isatty():
        print("loading PyTorch", flush=True)
    from cohort.run.start import resume_run, start_run  # torch, which --help does without

    if asked.resume is not None:
        result = resume_run(command, asked.resume, asked.given, verbose=True)
    else:
        result = start_run(command, asked.config, verbose=True)
    return _tell_ending(result)


def _tell_ending(result: "Result") -> int:
    """Print the table, or how to go on."""
    if result.interrupted:
        print(f"interrupted; go on with: {result.to_resume}")
        return INTERRUPTED
    alone = result.alone.summary if result.alone else None
    print_summary(Console(), result.summary, alone)
    print(f"everything is in {result.given}")
    return SUCCESS
