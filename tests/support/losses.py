"""Twenty steps of every method, with arithmetic that is the same on every x86 processor.

    python -m tests.support.losses > tests/numerics/losses.json

Only for a change that is about numbers; ``tests/numerics/test_losses.py`` holds every other to it.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

PORTABLE = {
    "ATEN_CPU_CAPABILITY": "default",
    "DNNL_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
}
"""What keeps torch, oneDNN and MKL from choosing instructions by the processor; read at import."""

STEPS = 20
SMALL: dict[str, Any] = {
    "train_subset": 320,
    "test_subset": 20,
    "batch_size": 32,
    "epochs": 2,
    "log_every": 1,
    "threads": 1,
    "seed": 5,
}


def losses(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Every loss, exactly, as hexadecimal text: by setting, then by student."""
    from cohort import (
        CohortConfig,
        OdsConfig,
        SelfDistillConfig,
        ods_distill,
        self_distill,
        train_cohort,
    )

    cohort: dict[str, Any] = {**SMALL, "exchange": "in_process"}
    mutual = CohortConfig(**cohort, students="resnet8,wrn_10_1", temperature=2.0, run_dir="mutual")
    own = SelfDistillConfig(**SMALL, workers=0, run_dir="own")
    teachers = CohortConfig(**cohort, teacher="none", steps=8, run_dir="teachers")
    student = OdsConfig(
        teachers="teachers", workers=0, batch_size=32, epochs=2, log_every=1, threads=1, seed=5,
        run_dir="student",
    )  # fmt: skip
    os.chdir(folder)
    found = {}
    for name, train, config in (
        ("mutual learning", train_cohort, mutual),
        ("self-distillation", self_distill, own),
        ("teachers", train_cohort, teachers),
        ("ODS distillation", ods_distill, student),
    ):
        records: list[dict[str, Any]] = []
        train(config, on_step=records.append)
        found[name] = by_student(records)
    del found["teachers"]
    return found


def by_student(records: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The losses of each student, in the order of its steps."""
    found: dict[str, list[str]] = {}
    for record in records:
        if record["phase"] == "train":
            found.setdefault(str(record["student"]), []).append(float(record["loss"]).hex())
    return found


if __name__ == "__main__":
    if not PORTABLE.items() <= os.environ.items():  # read before torch was imported, or not at all
        os.execve(sys.executable, [sys.executable, "-m", __spec__.name], os.environ | PORTABLE)
    with tempfile.TemporaryDirectory() as here:
        print(json.dumps(losses(Path(here)), indent=1))
