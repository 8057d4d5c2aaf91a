"""Cohorts of neural networks that teach each other, on Ray, from a laptop to a cluster.

Train by a config, from Python or by the command ``cohort``; what was trained loads again anywhere:

    from cohort import CohortConfig, load_student, train_cohort

    result = train_cohort(CohortConfig(k=2, dataset="digits"))  # Deep Mutual Learning
    student = load_student(result.run_dir / "students" / "0")  # a torch module in evaluation mode
    logits = student(images)  # [batch, classes], of images [batch, channels, height, width] in [0, 1]

``train_cohort``, ``self_distill`` and ``ods_distill`` train by one method each, from its config, and
``resume`` goes on with a run of any of them; ``run_study`` trains many settings, from a file that
``load_study`` reads. A mistake in what was asked for is a ``ConfigError``, a run that fails a
``RunError``.
"""

import ast
import importlib
from pathlib import Path
from typing import Any

_HOME = {
    name.name: f"{statement.module}"
    for statement in ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    if isinstance(statement, ast.ImportFrom)
    for name in statement.names
}
"""The module in which each public name is defined."""
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    # Imported at first use: --help needs no torch, and the core needs no Ray.
    if name not in _HOME:
        raise AttributeError(f"module 'cohort' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
