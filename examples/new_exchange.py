"""A new way for posteriors to travel: hosts, the processes of students, that exchange every second step.

python examples/new_exchange.py
"""

from cohort import CohortConfig
from cohort.data.registry import load_dataset
from cohort.learning.lesson import others
from cohort.learning.plan import plan_training
from cohort.objectives.mutual import MutualLearning
from cohort.runtime.actors import RayCohort
from cohort.runtime.cohort import OnRecords, Stopping
from cohort.runtime.config import resolve
from cohort.runtime.exchange import Hosts, Places, connect
from cohort.runtime.in_flight import InFlight
from cohort.runtime.placement import share_out
from cohort.runtime.reservation import reserved
from cohort.runtime.session import cluster_nodes, ray_session
from cohort.runtime.watch import UNWATCHED, Watch
from cohort.runtime.wire import Messages


class EverySecondStep:
    """Implements ``cohort.runtime.exchange.Exchange``: in odd steps every host is alone."""

    def open(self, hosts: Hosts, places: Places, watch: Watch = UNWATCHED) -> None:
        """Tell each host its place among the others; Ray moves what they write."""
        self.watch = watch  # over hosts that do not answer
        connect(hosts, places, Messages(), watch)

    def advance(
        self, hosts: Hosts, start: int, stop: int, on_records: OnRecords, stopping: Stopping
    ) -> int:
        """Train from ``start`` to ``stop`` steps done, or until ``stopping``; returns steps done."""
        with InFlight(on_records, watch=self.watch) as in_flight:  # whose fault it was
            for step in range(start, stop):
                if step % 2 == 0:  # references, which this process hands on unread
                    shown = [host.predict.remote(step) for host in hosts]
                    for i, host in enumerate(hosts):
                        host.learn.remote(step, *others(shown, i))
                    in_flight.add([host.drain.remote() for host in hosts])
                else:
                    in_flight.add([h.learn_apart.remote(step, step + 1, False) for h in hosts])
                in_flight.limit(4)
                if step + 1 == stop or stopping():
                    return in_flight.finish(step + 1)
        return stop


if __name__ == "__main__":
    config = resolve(CohortConfig(log_every=1))
    dataset = load_dataset(config, config.seed)
    with ray_session(), reserved(share_out(cluster_nodes(), 2, 0, 0)) as places:
        cohort = RayCohort(
            ["resnet8"] * 2, plan_training(config, len(dataset.train)), dataset, MutualLearning(),
            exchange=EverySecondStep(), reservation=places,
        )  # fmt: skip
        print(cohort.advance(0, 6, print, lambda: False), "steps")
        cohort.close()
