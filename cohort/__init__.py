"""Cohorts of neural networks that teach each other, on Ray, from a laptop to a cluster."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cohort.data.dataset import Augmentation as Augmentation
    from cohort.data.dataset import ImageDataset as ImageDataset
    from cohort.data.dataset import Split as Split
    from cohort.errors import ConfigError as ConfigError
    from cohort.errors import RunError as RunError
    from cohort.jobs.ods import ods_distill as ods_distill
    from cohort.jobs.ods import resume_ods_distill as resume_ods_distill
    from cohort.jobs.ods_config import OdsConfig as OdsConfig
    from cohort.jobs.run import JobResult as JobResult
    from cohort.jobs.self_distill_config import SelfDistillConfig as SelfDistillConfig
    from cohort.jobs.self_distillation import resume_self_distill as resume_self_distill
    from cohort.jobs.self_distillation import self_distill as self_distill
    from cohort.learning.export import export_exit as export_exit
    from cohort.learning.student_files import load_student as load_student
    from cohort.models.early_exit import MultiExitStudent as MultiExitStudent
    from cohort.models.members import MembersStudent as MembersStudent
    from cohort.runtime.config import CohortConfig as CohortConfig
    from cohort.runtime.train import CohortResult as CohortResult
    from cohort.runtime.train import resume_cohort as resume_cohort
    from cohort.runtime.train import train_cohort as train_cohort
    from cohort.tuning.file.load import load_study as load_study
    from cohort.tuning.on_ray.run import run_study as run_study
    from cohort.tuning.study import Study as Study
    from cohort.with_exits import WithExits as WithExits
    from cohort.with_members import WithMembers as WithMembers

_HOME = {
    "Augmentation": "cohort.data.dataset",
    "CohortConfig": "cohort.runtime.config",
    "CohortResult": "cohort.runtime.train",
    "ConfigError": "cohort.errors",
    "ImageDataset": "cohort.data.dataset",
    "JobResult": "cohort.jobs.run",
    "MembersStudent": "cohort.models.members",
    "MultiExitStudent": "cohort.models.early_exit",
    "OdsConfig": "cohort.jobs.ods_config",
    "RunError": "cohort.errors",
    "SelfDistillConfig": "cohort.jobs.self_distill_config",
    "Split": "cohort.data.dataset",
    "Study": "cohort.tuning.study",
    "WithExits": "cohort.with_exits",
    "WithMembers": "cohort.with_members",
    "export_exit": "cohort.learning.export",
    "load_student": "cohort.learning.student_files",
    "load_study": "cohort.tuning.file.load",
    "ods_distill": "cohort.jobs.ods",
    "resume_cohort": "cohort.runtime.train",
    "resume_ods_distill": "cohort.jobs.ods",
    "resume_self_distill": "cohort.jobs.self_distillation",
    "run_study": "cohort.tuning.on_ray.run",
    "self_distill": "cohort.jobs.self_distillation",
    "train_cohort": "cohort.runtime.train",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    # Imported at first use: --help needs no torch, and the core needs no Ray.
    import importlib

    if name not in _HOME:
        raise AttributeError(f"module 'cohort' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
