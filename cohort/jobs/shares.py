"""How the workers of a job share its batches and splits."""

from cohort.data.dataset import ImageDataset
from cohort.errors import ConfigError
from cohort.jobs.config import JobConfig
from cohort.learning.plan import TrainingPlan


def check_shares(config: JobConfig, plan: TrainingPlan, dataset: ImageDataset) -> None:
    """Raise ConfigError unless every worker has as many examples of a batch, and some of each split."""
    if plan.batch_size % max(config.workers, 1):
        raise ConfigError(
            f"--batch-size is {plan.batch_size}, which --workers {config.workers} cannot share "
            "equally; make it a multiple"
        )
    for name, split in (("test", dataset.test), ("validation", dataset.validation)):
        if split is not None and len(split) < config.workers:
            raise ConfigError(
                f"--workers is {config.workers}, but the {name} split has {len(split)} images; "
                "take fewer workers"
            )


def smallest_batch(config: JobConfig, plan: TrainingPlan) -> int:
    """Examples over which a batch normalisation takes its statistics."""
    apart = 1 if config.batch_norm == "synchronised" else max(config.workers, 1)
    return plan.batch_size // apart
