"""A run's pictures in files, decoded in the process that trains."""

from collections.abc import Iterator
from contextlib import contextmanager

from cohort.data.dataset import ImageDataset
from cohort.data.decoding import feeder_of
from cohort.data.fed import in_files, with_feed
from cohort.data.feeder import free_cores
from cohort.learning.plan import TrainingPlan


@contextmanager
def fed_here(
    dataset: ImageDataset, plan: TrainingPlan, *, decoders: int | None, busy: int
) -> Iterator[ImageDataset]:
    """Inside, one feeder decodes for all who learn from the data set in this process.

    Args:
        dataset: comes back as it is if no picture is in a file.
        plan: of the run.
        decoders: decoding threads; None for the cores that training leaves free.
        busy: torch threads that train.
    """
    if not in_files(dataset):
        yield dataset
        return
    feeder = feeder_of(
        dataset,
        batch_size=plan.batch_size,
        seed=plan.seed,
        total_steps=plan.total_steps,
        decoders=decoders or free_cores(busy),
        keep=lambda decoded: decoded,
    )
    try:
        yield with_feed(dataset, feeder)
    finally:
        feeder.close()
