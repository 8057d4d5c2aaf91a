"""ODS distillation's run: data, teachers and network are read and tried out."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from cohort.data.dataset import ImageDataset, Search
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError
from cohort.imports import written_name
from cohort.invocation import command_line
from cohort.jobs.job import Job
from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.ods.job import OdsJob
from cohort.jobs.ods.resolve import check_validation, teacher_folders
from cohort.jobs.ods.resolve import resolve as resolve
from cohort.jobs.placement import Placement, check_divides
from cohort.jobs.run import JobRun
from cohort.jobs.run import check_here as check_here
from cohort.jobs.teacher import TeacherFiles, read_student
from cohort.learning.plan import check_batch, plan_training
from cohort.models.members import MembersStudent
from cohort.models.members_apart import check_members_apart
from cohort.models.modules import count_parameters
from cohort.models.spec import WithMembers
from cohort.reporting.tensorboard import summary_writer

if TYPE_CHECKING:  # it knows Ray
    from cohort.jobs.common import Common


def prepare(config: OdsConfig, dataset: ImageDataset | None = None) -> JobRun:
    """The run of a resolved config; see ``Command.prepare``."""
    assert config.model is not None, "the config is not resolved"
    method = f"{config.student}-{config.perturbation or config.method}"
    beside = None if config.teacher_pool is None else _teachers_in_a_pool
    return JobRun.of(prepare_job(config, dataset), method, config.model, beside)


def _teachers_in_a_pool(
    job: Job, placement: Placement, common: "Common"
) -> AbstractContextManager[Job]:
    from cohort.jobs.ods.pool import with_pool  # a job in this process never imports Ray

    return with_pool(job, placement, common)


def prepare_job(config: OdsConfig, dataset: ImageDataset | None = None) -> OdsJob:
    """Read the data and the teachers, try out the network. ``config`` is resolved.

    ``dataset`` stands in for the teachers' data, which are then not read. Raises ConfigError for
    whatever does not fit.
    """
    if config.tensorboard:
        summary_writer()
    if config.in_this_process:
        check_here(config)
    dataset = dataset or load_dataset(config, config.seed)
    if isinstance(dataset.test, Search):
        raise ConfigError(
            f"--dataset {dataset.name} is for finding people again, by features, and the members of an "
            f"ensemble have none in common; use {command_line('self-distill', '--method', 'kd')}"
        )
    plan = plan_training(config, len(dataset.train))
    check_batch(plan, dataset)
    check_divides(config, plan, dataset)
    given = f"--teachers {config.teachers}"
    teachers = tuple(
        read_student(folder, dataset, given, trust_code=config.trust_code)
        for folder in teacher_folders(config)
    )
    dataset = dataset.in_order_of(_classes(config, teachers))
    check_validation(config)
    _check_pool(config, len(teachers))
    job = OdsJob(config, dataset, plan, "", 0, teachers)
    _try_out_teachers(job)
    student = job.student()
    if isinstance(student, MembersStudent):
        check_members_apart(student.network, dataset.image_shape, "--model")
    return replace(job, network=_written_name(config), parameters=count_parameters(student))


def _classes(config: OdsConfig, teachers: Sequence[TeacherFiles]) -> tuple[str, ...]:
    """The teachers' classes in their order. Raises ConfigError if it is not the same for all."""
    first, *others = dict.fromkeys(teacher.card.classes for teacher in teachers)
    if others:
        raise ConfigError(
            f"--teachers {config.teachers} has students that know their classes in different orders, "
            "whose posteriors cannot be compared; take one run's own"
        )
    return first


def _check_pool(config: OdsConfig, teachers: int) -> None:
    if (config.teacher_pool or 0) > teachers:
        raise ConfigError(
            f"--teacher-pool is {config.teacher_pool}, but there are {teachers} teachers; it must be "
            f"at most {teachers}"
        )


def _try_out_teachers(job: OdsJob) -> None:
    """Raise ConfigError for damaged files, and for different networks that are to be stacked."""
    if job.config.stacked_teachers:
        job.build_teachers(torch.device("cpu"))
    else:
        for teacher in job.teachers:  # one at a time: all of them may not fit here
            teacher.build()


def _written_name(config: OdsConfig) -> str:
    assert config.model is not None
    if config.members is None:
        return written_name(config.model)
    return WithMembers(config.model, config.members).written_name
