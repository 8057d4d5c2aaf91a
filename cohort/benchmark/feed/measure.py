"""The same students on the same pictures: each decodes them, a feeder does for all, or all are ready."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import torch

from cohort.analysis.turns import seconds_of, time_rounds
from cohort.benchmark.device import gpus_for
from cohort.benchmark.feed.config import CLASSES, MODES, FeedBenchConfig, Mode
from cohort.benchmark.feed.pictures import make_folder
from cohort.config import check_precision, height_and_width
from cohort.data.dataset import ImageDataset
from cohort.data.fed import Batch, with_feed
from cohort.data.pictures.files import PictureFiles
from cohort.runtime.actors import RayCohort
from cohort.runtime.assembly import assemble, session
from cohort.runtime.exchange import choose_exchange
from cohort.runtime.feeding import Answer, NodeFeed
from cohort.runtime.node_feeder import another_feeder, kill
from cohort.runtime.train import prepare


class Took(NamedTuple):
    """What one turn took."""

    seconds: float
    cpu_seconds: float
    """Of all students' processes and the feeder's together."""


@dataclass(frozen=True)
class Measurements:
    """Everything that the benchmark measured."""

    rounds: dict[Mode, list[Took]]
    feeder_growth: int
    """Bytes: the largest resident sizes of the feeder's processes, beyond those before the first batch."""
    kept_at_most: int
    """Bytes of the batches that a feeder may keep."""
    gpus: int
    notice: str


def measure(config: FeedBenchConfig) -> Measurements:
    """Run the benchmark. Raises ConfigError if the cohort cannot be built as configured."""
    gpus = gpus_for(config.gpus, most=config.k)
    check_precision(config.precision, on_gpu=gpus > 0)
    height, width = height_and_width(config.image_size)
    with tempfile.TemporaryDirectory(prefix="cohort-") as folder:
        make_folder(Path(folder), config.images, CLASSES, height, width)
        cohort = config.cohort(folder, gpus)
        parts = prepare(cohort)
        with session(cohort), assemble(parts) as assembled:
            actors = assembled.cohort
            assert isinstance(actors, RayCohort)
            (feed,) = actors.feeds.values()  # on one node
            exchange = choose_exchange(cohort, actors.sizes, parts.dataset.num_classes)
            exchange.open(actors.hosts, actors.places)
            advance = partial(exchange.advance, actors.hosts)
            with closing(_Turns(actors, parts.dataset, feed)) as turns:
                before = feed.usage()["peak_memory"]
                rounds = time_rounds(
                    {mode: partial(turns.take, mode, advance) for mode in MODES},
                    rounds=config.rounds,
                    steps=config.steps,
                    seed=config.seed,
                )
            growth = feed.usage()["peak_memory"] - before
            kept = feed.kept_at_most * config.batch_size * 3 * height * width
    return Measurements(rounds, int(growth), kept, gpus, assembled.notice or "")


class SameBatch(NodeFeed):
    """A feed that has one batch for all steps: once it is there, nothing is decoded or augmented."""

    @classmethod
    def of(cls, feed: NodeFeed) -> Self:
        """Of a feeder on this node that serves what another one does."""
        plan = replace(feed.plan, total_steps=1)
        return cls(another_feeder(), plan, feed.dataset, feed.decoders)

    def batch(self, step: int) -> Answer[Batch]:
        """The batch of step 0, asked for."""
        return super().batch(0)


class _Turns:
    """Students that learn in one way and then in another."""

    def __init__(self, cohort: RayCohort, files: ImageDataset, feed: NodeFeed) -> None:
        for row in range(len(files.test)):
            # What decodes is imported with a process's first picture.
            one = files.test.images[row : row + 1]
            assert isinstance(one, PictureFiles)
            feed.pictures(one).result()
        self._ready = SameBatch.of(feed)
        self._ready.batch(0).result()
        self._cohort = cohort
        self._feed = feed
        self._reading: dict[Mode, Callable[[], None]] = {
            "each": cohort.reading(files, fed=False),
            "feeder": cohort.reading(files, fed=True),
            "ready": cohort.reading(with_feed(files, self._ready), fed=False),
        }

    def take(self, mode: Mode, advance: Callable[..., int], numbers: range) -> Took:
        """These steps in one way, until nothing is decoded ahead any more."""
        self._reading[mode]()

        def work() -> None:
            advance(numbers.start, numbers.stop, lambda student, records: None, lambda: False)
            self._feed.rest()

        before = self._cpu_seconds()
        seconds = seconds_of(work, torch.device("cpu"))  # a cohort waits for its GPUs by itself
        return Took(seconds, self._cpu_seconds() - before)

    def close(self) -> None:
        """End what only the benchmark needs."""
        kill(self._ready.actor)

    def _cpu_seconds(self) -> float:
        every = [self._feed.usage(), *self._cohort.usage()]
        return sum(used["cpu_seconds"] for used in every)
