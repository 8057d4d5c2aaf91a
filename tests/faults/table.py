"""Every fault of a student, worker and trial at every phase of a step: seconds, steps lost, weights.

    python -m tests.faults.table [student] [worker] [trial]

Prints the rows of the second table of ``README.md`` beside it; half an hour.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cohort import CohortConfig, RunError, SelfDistillConfig, self_distill, train_cohort
from cohort.jobs.recorder import Recorder
from cohort.reporting.records import read_metrics
from cohort.runtime.private_ray import UNREAD
from cohort.runtime.recovery import RecoveryPolicy
from cohort.tuning.on_ray.run import run_study
from cohort.tuning.on_ray.watch import Watch
from tests.support.faulty import FAULTS, FIRED, PHASES
from tests.support.local_ray import ray_with_fuse
from tests.support.small_studies import study_of

FAULTY = "tests.support.faulty:faulty"
STEPS, EVERY, STEP = 20, 5, 13
DONE = dict.fromkeys(PHASES, STEP - 1) | {"checkpoint": 15, "evaluation": 15}
"""Steps done at the fault: the evaluation and the checkpoint after it are those of step 15."""
SMALL: dict[str, Any] = {
    "train_subset": 256, "test_subset": 32, "batch_size": 32, "steps": STEPS, "checkpoint_every": EVERY,
    "eval_every": EVERY, "log_every": 1, "threads": 1,
}  # fmt: skip
HANG = {"hang_after": 3.0}


@dataclass
class Seen:
    """When what was seen of a run, in seconds since the epoch."""

    noticed: list[float] = field(default_factory=list)
    """Somebody's death was decided about."""
    error: str = ""
    ended: float = 0.0


def cohort(run_dir: Path, **options: Any) -> None:
    defaults = {
        **SMALL, **HANG, "k": 3, "per_process": 1, "students": ("resnet8", FAULTY, "resnet8"), "gpus": 0,
        "run_dir": str(run_dir),
    }  # fmt: skip
    train_cohort(CohortConfig(**(defaults | options)))


def cohort_in_a_group(run_dir: Path) -> None:
    cohort(run_dir, exchange="collective")


def cohort_here(run_dir: Path) -> None:
    cohort(run_dir, exchange="in_process", per_process=None, hang_after=None)


def job(run_dir: Path, **options: Any) -> None:
    defaults = {
        **SMALL, **HANG, "model": FAULTY, "method": "none", "workers": 1, "run_dir": str(run_dir)
    }  # fmt: skip
    self_distill(SelfDistillConfig(**(defaults | options)))


def job_here(run_dir: Path) -> None:
    job(run_dir, workers=0, hang_after=None)


def trial(run_dir: Path) -> None:
    """A cohort of one student in the process of a study's trial."""
    base = {**SMALL, "k": 1, "teacher": "none", "exchange": "in_process", "students": FAULTY}
    study = study_of(run_dir.parent, {**base, "epochs": None}, max_failures=1)
    study_dir = run_dir.with_name(f"{run_dir.name}-study")
    result = run_study(study, study_dir=study_dir)
    (of_trial,) = (study_dir / "trials").iterdir()
    of_trial.rename(run_dir)
    if result.exit_code != 0:
        raise RunError(next(iter(result.results.trials["status"])))


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "student": (cohort, cohort_here),
    "student in a group": (cohort_in_a_group, cohort_here),
    "worker": (job, job_here),
    "trial": (trial, trial),
}
"""How each is trained with a fault, and without."""


@contextmanager
def watching(seen: Seen) -> Iterator[None]:
    """Inside is noted when the death of somebody is decided about, and how the run ends."""

    def noted(method: Callable[..., Any]) -> Callable[..., Any]:
        def note(*arguments: Any, **keywords: Any) -> Any:
            seen.noticed.append(time.time())
            return method(*arguments, **keywords)

        return note

    with pytest.MonkeyPatch.context() as patch:
        deciding = ((RecoveryPolicy, "decide"), (Recorder, "begin"), (Watch, "on_trial_recover"))
        for place, name in deciding:
            patch.setattr(place, name, noted(getattr(place, name)))
        try:
            yield
        except RunError as error:
            seen.error = str(error).partition(" (details")[0]
        seen.ended = time.time()


def row(kind: str, fault: str, phase: str, place: Path, fuse: Path, expected: list[str]) -> str:
    """One line of the table."""
    run_dir, seen = place / f"{kind} {fault} {phase}".replace(" ", "-"), Seen()
    fired = Path(f"{fuse}{FIRED}")
    fired.unlink(missing_ok=True)
    fuse.write_text(json.dumps({"fault": fault, "phase": phase, "step": STEP}))
    with watching(seen):
        KINDS[kind][0](run_dir)
    fuse.unlink(missing_ok=True)
    if not fired.exists():
        return f"| {kind} | {fault} | {phase} | NOT FIRED | | | |"
    at = float(fired.read_text())
    noticed = min((moment for moment in seen.noticed if moment > at), default=seen.ended)
    records = read_metrics(run_dir / "metrics.jsonl")
    trained = [(r["time"], r["step"]) for r in records if r["phase"] == "train"]
    after = (each for each in trained if each[0] > max(at, noticed))
    went_on, first = min(after, default=(seen.ended, DONE[phase] + 1))
    equal = "equal" if hashes(run_dir) == expected else "NOT EQUAL"
    outcome = f"the run ends: {seen.error}" if seen.error else equal
    lost = max(0, DONE[phase] + 1 - first)  # one that is asked to end may do a step more
    return f"| {kind} | {fault} | {phase} | {noticed - at:.1f} | {went_on - at:.1f} | {lost} | {outcome} |"


def hashes(run_dir: Path) -> list[str]:
    """Of a run's students; none of one that failed."""
    summary = json.loads((run_dir / "summary.json").read_text())
    return [student["weights_sha256"] for student in summary["students"]]


def rows(kind: str, place: Path, fuse: Path) -> Iterator[str]:
    KINDS[kind][1](place / f"{kind} undisturbed".replace(" ", "-"))
    expected = hashes(place / f"{kind} undisturbed".replace(" ", "-"))
    for fault in FAULTS:
        for phase in PHASES:
            if (fault, phase) != (
                "exception",
                "exchange",
            ):  # nothing of the user's could raise there
                yield row(kind, fault, phase, place, fuse, expected)
    yield row(kind, "NaN", "predict", place, fuse, expected)


def main(kinds: list[str]) -> int:
    """How many rows are not as promised."""
    os.environ[UNREAD] = "1"
    bad = 0
    with tempfile.TemporaryDirectory() as folder, ray_with_fuse(4) as fuse:
        for kind in kinds or KINDS:
            for line in rows(kind, Path(folder), fuse):
                bad += "NOT " in line
                print(line, flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
