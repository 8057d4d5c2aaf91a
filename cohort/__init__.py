"""Cohorts of neural networks that teach each other, on Ray, from a laptop to a cluster."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cohort.commands import resume as resume
    from cohort.data.dataset import Augmentation as Augmentation
    from cohort.data.dataset import ImageDataset as ImageDataset
    from cohort.data.dataset import Split as Split
    from cohort.errors import ConfigError as ConfigError
    from cohort.errors import RunError as RunError
    from cohort.jobs.ods.config import OdsConfig as OdsConfig
    from cohort.jobs.ods.run import ods_distill as ods_distill
    from cohort.jobs.self_distill.config import SelfDistillConfig as SelfDistillConfig
    from cohort.jobs.self_distill.run import self_distill as self_distill
    from cohort.learning.export import export_exit as export_exit
    from cohort.learning.student_files import load_student as load_student
    from cohort.models.early_exit import MultiExitStudent as MultiExitStudent
    from cohort.models.members import MembersStudent as MembersStudent
    from cohort.models.spec import WithExits as WithExits
    from cohort.models.spec import WithMembers as WithMembers
    from cohort.run.start import Result as Result
    from cohort.runtime.config import CohortConfig as CohortConfig
    from cohort.runtime.train import train_cohort as train_cohort
    from cohort.tuning.file.load import load_study as load_study
    from cohort.tuning.on_ray.run import run_study as run_study
    from cohort.tuning.study import Study as Study

_HOME = {
    "Augmentation": "cohort.data.dataset",
    "CohortConfig": "cohort.runtime.config",
    "ConfigError": "cohort.errors",
    "ImageDataset": "cohort.data.dataset",
    "MembersStudent": "cohort.models.members",
    "MultiExitStudent": "cohort.models.early_exit",
    "OdsConfig": "cohort.jobs.ods.config",
    "Result": "cohort.run.start",
    "RunError": "cohort.errors",
    "SelfDistillConfig": "cohort.jobs.self_distill.config",
    "Split": "cohort.data.dataset",
    "Study": "cohort.tuning.study",
    "WithExits": "cohort.models.spec",
    "WithMembers": "cohort.models.spec",
    "export_exit": "cohort.learning.export",
    "load_student": "cohort.learning.student_files",
    "load_study": "cohort.tuning.file.load",
    "ods_distill": "cohort.jobs.ods.run",
    "resume": "cohort.commands",
    "run_study": "cohort.tuning.on_ray.run",
    "self_distill": "cohort.jobs.self_distill.run",
    "train_cohort": "cohort.runtime.train",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    # Imported at first use: --help needs no torch, and the core needs no Ray.
    import importlib

    if name not in _HOME:
        raise AttributeError(f"module 'cohort' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
