"""Measures what docs/cost-model.md is made of, here: python scripts/measure_costs.py OUTPUT.json

Takes some ten minutes of a machine with two cores on which nothing else runs.
"""

import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a Ray of one's own needs no token

import numpy as np
import psutil
import ray
from ray.cluster_utils import Cluster
from torch import nn

from cohort.benchmark.report import write_json
from cohort.data.dataset import ImageDataset, Split
from cohort.runtime.actors import RayCohort
from cohort.runtime.assembly import assemble
from cohort.runtime.config import CohortConfig, resolve
from cohort.runtime.train import prepare

ROUNDS, WARM_UP = 6, 4
Sample = Mapping[str, float]
"""Of one step: ``wall`` seconds; CPU seconds of the ``driver``, of all ``hosts`` and of ``ray``'s other
processes; ``loopback`` bytes; and ``memory`` of a host and the driver, bytes."""


def tiny(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """A network so small that the exchange is what takes time."""
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(image_shape)), num_classes))


def pictures(classes: int, shape: tuple[int, int, int]) -> ImageDataset:
    """Noise."""
    draw = np.random.default_rng(0)

    def split(count: int) -> Split:
        images = draw.integers(0, 256, (count, *shape), dtype=np.uint8)
        return Split(images, np.arange(count) % classes)

    names = tuple(f"class {number}" for number in range(classes))
    return ImageDataset(
        name="noise",
        train=split(2048),
        test=split(classes),
        classes=names,
        mean=(0.5,) * shape[0],
        std=(0.3,) * shape[0],
    )


@contextmanager
def cohort_of(k: int, dataset: ImageDataset, **options: Any) -> Iterator[RayCohort]:
    """K students at step 0, one thread each."""
    config = CohortConfig(k=k, threads=1, lr=1e-4, epochs=10_000, **options)
    with assemble(prepare(resolve(config), dataset)) as assembled:
        assert isinstance(assembled.cohort, RayCohort)
        yield assembled.cohort


def sample(cohort: RayCohort, steps: int) -> Sample:
    """Medians of a few rounds, after a warm-up; of the clock the least, for what disturbs only adds."""
    done = advance(cohort, 0, WARM_UP)
    rounds = []
    for _ in range(ROUNDS):
        before = state(cohort)
        done = advance(cohort, done, done + steps)
        after = state(cohort)
        rounds.append({key: (after[key] - before[key]) / steps for key in before})
    found = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    found["wall"] = min(each["wall"] for each in rounds)
    pids = [place["pid"] for place in cohort.places]
    return found | {
        "memory": statistics.mean(psutil.Process(pid).memory_full_info().pss for pid in pids),
        "driver_memory": psutil.Process().memory_full_info().pss,
    }


def advance(cohort: RayCohort, start: int, stop: int) -> int:
    """From nothing in flight to nothing in flight."""
    return cohort.advance(start, stop, lambda student, records: None, lambda: False)


def state(cohort: RayCohort) -> Sample:
    """What grows with steps."""
    hosts = {place["pid"] for place in cohort.places}
    others = [p for p in psutil.Process().children(recursive=True) if p.pid not in hosts]
    return {
        "hosts": sum(used["cpu_seconds"] for used in cohort.usage()),
        "ray": sum(sum(p.cpu_times()[:2]) for p in others),
        "loopback": float(psutil.net_io_counters(pernic=True)["lo"].bytes_recv),
        "driver": time.process_time(),
        "wall": time.perf_counter(),
    }


def exchange_samples(steps: int) -> dict[str, Sample]:
    """Of networks that cost next to nothing: by hosts, exchange and size of a posterior."""
    found = {}
    for classes, batch in ((100, 64), (1000, 512)):
        data = pictures(classes, (1, 4, 4))
        for hosts in (2, 4, 8):
            for teacher, exchange in (
                ("none", "object_store"),
                ("peers", "object_store"),
                ("peers", "collective"),
            ):
                few = steps if classes == 100 else steps // 4
                options = {"per_process": 1, "batch_size": batch, "students": tiny}
                with cohort_of(
                    hosts, data, exchange=exchange, teacher=teacher, **options
                ) as cohort:
                    name = f"{batch}x{classes} {hosts} {exchange if teacher == 'peers' else 'none'}"
                    found[name] = sample(cohort, few)
                    print(name, found[name], flush=True)
    return found


def student_samples(steps: int) -> dict[str, Sample]:
    """Of a network that costs something, on all cores at once: by students, hosts and exchange."""
    data, found = pictures(100, (3, 32, 32)), {}
    cases: list[tuple[int, int | None, tuple[str, str]]] = [
        (k, None, way)
        for k in (2, 4, 8, 16)
        for way in (("none", "object_store"), ("peers", "object_store"), ("peers", "collective"))
    ]
    cases += [(k, 1, ("peers", way)) for k in (4, 8) for way in ("object_store", "collective")]
    for k, each, (teacher, exchange) in cases:
        options = {"per_process": each, "batch_size": 64, "students": "resnet20"}
        with cohort_of(k, data, exchange=exchange, teacher=teacher, **options) as cohort:
            hosts = len(cohort.places)
            name = f"{k} {hosts} {exchange if teacher == 'peers' else 'none'}"
            found[name] = sample(cohort, max(2, steps // k))
            print(name, found[name], flush=True)
    return found


def cluster_samples(steps: int) -> dict[str, Sample]:
    """Bytes between nodes that are processes of this machine: by nodes and size of a posterior."""
    found = {}
    for nodes in (2, 4):
        with cluster_of(nodes):
            for classes, batch in ((100, 64), (1000, 512)):
                options = {"per_process": 1, "batch_size": batch, "students": tiny}
                data = pictures(classes, (1, 4, 4))
                with cohort_of(4, data, **options) as cohort:
                    places = {place["node"] for place in cohort.places}
                    name = f"{batch}x{classes} 4 hosts on {len(places)} nodes"
                    found[name] = sample(cohort, steps)
                    print(name, found[name], flush=True)
    return found


@contextmanager
def cluster_of(nodes: int) -> Iterator[None]:
    """A Ray of so many nodes, with four cores together."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        os.environ["RAY_TMPDIR"] = (
            folder  # where the address of the cluster is written, beside no other
        )
        Path(folder, "ray").mkdir()
        each: dict[str, Any] = {"num_cpus": 4 // nodes, "num_gpus": 0}
        head = {**each, "temp_dir": folder, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(nodes - 1):
            cluster.add_node(**each)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield
        finally:
            ray.shutdown()
            cluster.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def one_node() -> Iterator[None]:
    """A Ray that lets eight hosts in, however few cores there are."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def measure(output: str, steps: int = 200) -> None:
    """Everything, into one file."""
    samples: dict[str, dict[str, Sample]] = {}
    parts: dict[str, Callable[[int], dict[str, Sample]]] = {
        "students": lambda steps: student_samples(steps // 6),
        "exchange": exchange_samples,
    }
    for part, sampled in parts.items():
        with one_node():
            samples[part] = sampled(steps)
    samples["cluster"] = cluster_samples(steps // 4)
    write_json(Path(output), CohortConfig(threads=1), {"samples": samples})


if __name__ == "__main__":
    measure(sys.argv[1], *map(int, sys.argv[2:]))
