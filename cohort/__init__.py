"""Cohorts of neural networks that teach each other, on Ray, from a laptop to a cluster."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cohort.data.dataset import Augmentation as Augmentation
    from cohort.data.dataset import ImageDataset as ImageDataset
    from cohort.data.dataset import Split as Split
    from cohort.errors import ConfigError as ConfigError
    from cohort.errors import RunError as RunError
    from cohort.learning.student_files import load_student as load_student
    from cohort.runtime.config import CohortConfig as CohortConfig
    from cohort.runtime.train import CohortResult as CohortResult
    from cohort.runtime.train import resume_cohort as resume_cohort
    from cohort.runtime.train import train_cohort as train_cohort

_HOME = {
    "Augmentation": "cohort.data.dataset",
    "CohortConfig": "cohort.runtime.config",
    "CohortResult": "cohort.runtime.train",
    "ConfigError": "cohort.errors",
    "ImageDataset": "cohort.data.dataset",
    "RunError": "cohort.errors",
    "Split": "cohort.data.dataset",
    "load_student": "cohort.learning.student_files",
    "resume_cohort": "cohort.runtime.train",
    "train_cohort": "cohort.runtime.train",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    # Imported at first use: --help needs no torch, and the core needs no Ray.
    import importlib

    if name not in _HOME:
        raise AttributeError(f"module 'cohort' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
