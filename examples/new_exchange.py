"""A new way for posteriors to travel: students, each a Ray actor, that exchange every second step.

python examples/new_exchange.py
"""

from collections.abc import Mapping
from typing import Any

from cohort import CohortConfig
from cohort.data.registry import load_dataset
from cohort.learning.plan import plan_training
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.actors import RayCohort
from cohort.runtime.cohort import OnRecords, Stopping, others
from cohort.runtime.config import resolve
from cohort.runtime.exchange import WINDOW, Actors
from cohort.runtime.in_flight import InFlight
from cohort.runtime.placement import share_out
from cohort.runtime.reservation import reserved
from cohort.runtime.session import cluster_nodes, ray_session


class EverySecondStep:
    """Implements ``cohort.runtime.exchange.Exchange``: in odd steps every student learns alone."""

    def open(self, actors: Actors, places: Mapping[int, Mapping[str, Any]]) -> None:
        """Nothing to connect: Ray moves the objects."""

    def advance(
        self, actors: Actors, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Train from ``start`` to ``stop`` steps done, or until ``stopping``; returns steps done."""
        with InFlight(
            list(actors), on_records
        ) as in_flight:  # back-pressure, and whose fault it was
            for step in range(start, stop):
                # References: this process hands them on unread.
                shown = [actor.predict.remote(step) for actor in actors.values()]
                peers = [others(shown, k) if step % 2 == 0 else [] for k in range(len(shown))]
                learning = zip(actors.values(), peers, strict=True)
                in_flight.add([actor.learn.remote(step, *theirs) for actor, theirs in learning])
                in_flight.limit(WINDOW)
                if stopping():
                    return in_flight.finish(step + 1)
            return in_flight.finish(stop)


if __name__ == "__main__":
    config = resolve(CohortConfig(log_every=1))
    dataset = load_dataset(config, config.seed)
    plan = plan_training(config, len(dataset.train))
    with ray_session(), reserved(share_out(cluster_nodes(), 2, 0, 0), 2) as places:
        cohort = RayCohort(
            ["resnet8"] * 2, plan, dataset, MutualLearning(),
            exchange=EverySecondStep(), reservation=places, threads=1,
        )  # fmt: skip
        print(cohort.advance(0, 6, print, lambda: False), "steps")
        cohort.close()
