"""Every fault of a student, worker and trial at every phase of a step: seconds, steps lost, weights.

    python -m tests.faults.table

Prints the rows of the second table of ``README.md`` beside it; a quarter of an hour.
"""

import json
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
from cohort.reporting.records import read_metrics
from cohort.run.journal import Journal
from cohort.tuning.on_ray.run import run_study
from tests.support.faulty import FAULTS, FIRED, PHASES
from tests.support.local_ray import ray_with_fuse
from tests.support.small_studies import study_of

FAULTY = "tests.support.faulty:faulty"
STEPS, EVERY, STEP = 20, 5, 13
"""The checkpoint and evaluation after the fault's step are those of step 15."""
SMALL: dict[str, Any] = {
    "train_subset": 256, "test_subset": 32, "batch_size": 32, "steps": STEPS, "checkpoint_every": EVERY,
    "eval_every": EVERY, "log_every": 1, "threads": 1, "trust_code": True,
}  # fmt: skip


@dataclass
class Seen:
    """What became of a run with a fault."""

    ended: float = 0.0
    told: list[tuple[float, str]] = field(default_factory=list)
    steps: list[tuple[float, int]] = field(default_factory=list)
    error: str = ""


@contextmanager
def watching(seen: Seen) -> Iterator[None]:
    """Inside, whatever a run says to its user is noted."""
    said = Journal.notice

    def notice(journal: Journal, text: str) -> None:
        seen.told.append((time.time(), text))
        said(journal, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "notice", notice)
        try:
            yield
        except RunError as error:
            seen.error = str(error)
        seen.ended = time.time()


def cohort(run_dir: Path, seen: Seen, **options: Any) -> None:
    defaults = {
        **SMALL, "k": 3, "per_process": 1, "students": ("resnet8", FAULTY, "resnet8"), "gpus": 0,
        "hang_after": 3.0, "run_dir": str(run_dir),
    }  # fmt: skip
    train_cohort(CohortConfig(**(defaults | options)), on_step=noting(seen))


def in_a_group(run_dir: Path, seen: Seen) -> None:
    cohort(run_dir, seen, exchange="collective")


def job(run_dir: Path, seen: Seen, **options: Any) -> None:
    defaults = {
        **SMALL, "model": FAULTY, "method": "none", "workers": 1, "hang_after": 3.0, "run_dir": str(run_dir),
    }  # fmt: skip
    self_distill(SelfDistillConfig(**(defaults | options)), on_step=noting(seen))


def trial(run_dir: Path, seen: Seen) -> None:
    """A cohort in the process of a study's trial."""
    base = {**SMALL, "k": 1, "teacher": "none", "exchange": "in_process", "students": FAULTY}
    study = study_of(run_dir.parent, {**base, "lr": 0.1, "lr_schedule": None}, max_failures=1)
    result = run_study(study, study_dir=run_dir.with_name(f"{run_dir.name}-study"))
    (of_trial,) = (run_dir.parent / f"{run_dir.name}-study" / "trials").iterdir()
    of_trial.rename(run_dir)
    seen.error = "" if result.exit_code == 0 else "failed"


def noting(seen: Seen) -> Callable[[Any], None]:
    def on_step(record: Any) -> None:
        if record["phase"] == "train":
            seen.steps.append((time.time(), record["step"]))

    return on_step


def hashes(run_dir: Path) -> list[str]:
    """Of a run's students; none of one that failed."""
    summary = json.loads((run_dir / "summary.json").read_text())
    return [student["weights_sha256"] for student in summary["students"]]


def row(
    name: str,
    fault: str,
    phase: str,
    run: Callable[..., None],
    place: Path,
    fuse: Path,
    expected: list[str],
) -> str:
    """One line of the table."""
    run_dir, seen = place / f"{name} {fault} {phase}".replace(" ", "-"), Seen()
    Path(f"{fuse}{FIRED}").unlink(missing_ok=True)
    fuse.write_text(json.dumps({"fault": fault, "phase": phase, "step": STEP}))
    with watching(seen):
        run(run_dir, seen)
    fuse.unlink(missing_ok=True)
    fired = Path(f"{fuse}{FIRED}")
    if not fired.exists():
        return f"| {name} | {fault} | {phase} | NOT FIRED | | | |"
    at = float(fired.read_text())
    records = read_metrics(run_dir / "metrics.jsonl")
    steps = seen.steps or [(r["time"], r["step"]) for r in records if r["phase"] == "train"]
    reached = max((step for moment, step in steps if moment <= at), default=0)
    after = [(moment, step) for moment, step in steps if moment > at + 0.05]
    again = min((m for m, step in after if step <= reached), default=None)
    noticed = min((m for m, _ in seen.told if m > at), default=seen.ended)
    lost = reached - min(step for _, step in after) + 1 if again else 0
    if seen.error:
        outcome = f"ended: {seen.error.partition(' (details')[0]}"
    else:
        outcome = "equal" if hashes(run_dir) == expected else "NOT EQUAL"
    went_on = min((m for m, step in after), default=seen.ended)
    return f"| {name} | {fault} | {phase} | {noticed - at:.1f} | {went_on - at:.1f} | {lost} | {outcome} |"


KINDS: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
    "student": (cohort, {"exchange": "in_process", "per_process": None, "hang_after": None}),
    "student in a group": (in_a_group, {}),
    "worker": (job, {"workers": 0, "hang_after": None}),
    "trial": (trial, {}),
}


def main(kinds: list[str]) -> int:
    """How many rows are not as promised."""
    lines = []
    with tempfile.TemporaryDirectory() as folder, ray_with_fuse(4) as fuse:
        place = Path(folder)
        for kind in kinds or KINDS:
            run, undisturbed = KINDS[kind]
            if kind != "student in a group":
                run(place / kind.replace(" ", "-"), Seen(), **undisturbed)
                expected = hashes(place / kind.replace(" ", "-"))
            for fault in (*FAULTS, "NaN"):
                for phase in PHASES if fault != "NaN" else ("predict",):
                    if (fault, phase) == ("exception", "exchange"):
                        continue  # there is nothing of the user's that could raise
                    lines.append(row(kind, fault, phase, run, place, fuse, expected))
                    print(lines[-1], flush=True)
    return sum("NOT" in line for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
