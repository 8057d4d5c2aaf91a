"""Self-distillation's run: data, teacher and network are read and tried out."""

from dataclasses import replace

from cohort.data.dataset import ImageDataset
from cohort.data.registry import load_dataset
from cohort.imports import written_name
from cohort.jobs.placement import check_divides
from cohort.jobs.run import JobRun
from cohort.jobs.run import check_here as check_here
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.jobs.self_distill.config import resolve as resolve
from cohort.jobs.self_distill.job import SelfDistillJob
from cohort.jobs.teacher import TeacherFiles, read_teacher
from cohort.learning.measuring import check_measurable
from cohort.learning.plan import check_batch, plan_training
from cohort.models.early_exit import MultiExitStudent
from cohort.models.modules import count_parameters
from cohort.models.normalised import Normalised
from cohort.models.spec import WithExits


def prepare(config: SelfDistillConfig, dataset: ImageDataset | None = None) -> JobRun:
    """The run of a resolved config; see ``Command.prepare``."""
    assert config.model is not None, "the config is not resolved"
    return JobRun.of(prepare_job(config, dataset=dataset), config.method, config.model)


def prepare_job(
    config: SelfDistillConfig,
    teacher: TeacherFiles | None = None,
    dataset: ImageDataset | None = None,
) -> SelfDistillJob:
    """Read the data and the teacher, try out the network. ``config`` is resolved.

    ``teacher`` and ``dataset`` stand in for the run and the data that ``config`` names, which are
    then not read. Raises ConfigError for whatever does not fit.
    """
    assert config.model is not None, "the config is not resolved"
    if config.in_this_process:
        check_here(config)
    dataset = dataset or load_dataset(config, config.seed)
    plan = plan_training(config, len(dataset.train))
    check_batch(plan, dataset)
    check_divides(config, plan, dataset)
    if config.teacher is not None and teacher is None:
        teacher = read_teacher(config.teacher, dataset, trust_code=config.trust_code)
        dataset = dataset.in_order_of(teacher.card.classes)
    job = SelfDistillJob(config, dataset, plan, "", 0, teacher)
    student = job.student()
    check_measurable(student, dataset, config.model, flag="--model")
    job.training_module(student)  # refuses what cannot be trained together
    network = _written_name(config, student)
    return replace(job, network=network, parameters=count_parameters(student))


def _written_name(config: SelfDistillConfig, student: Normalised) -> str:
    """The network with the places of its exits: rebuilt exactly whatever its own will be."""
    assert config.model is not None
    if isinstance(student, MultiExitStudent):
        return WithExits(config.model, student.network.places).written_name
    return written_name(config.model)
