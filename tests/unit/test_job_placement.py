"""Workers get a core and perhaps a GPU each, or the refusal says what would fit."""

import pytest

from cohort.errors import ConfigError
from cohort.jobs.placement import Placement, place
from cohort.runtime.placement import Node

TWO_CORES = [Node(cpus=2, gpus=0, memory=0)]
CLUSTER = [Node(cpus=8, gpus=2, memory=0), Node(cpus=8, gpus=2, memory=0)]


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "threads", "expected"),
    [
        (TWO_CORES, 1, None, None, Placement(1, False, 2)),
        (TWO_CORES, 2, None, None, Placement(2, False, 1)),
        (TWO_CORES, 2, 0, 3, Placement(2, False, 3)),
        (CLUSTER, 4, None, None, Placement(4, True, 4)),
        (CLUSTER, 4, 4, None, Placement(4, True, 4)),
        (CLUSTER, 16, 0, None, Placement(16, False, 1)),
    ],
)
def test_what_fits_is_placed(nodes, workers, gpus, threads, expected):
    assert place(nodes, workers, gpus, threads) == expected


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "words"),
    [
        (TWO_CORES, 3, None, ["--workers is 3", "2 cores", "--workers 2 or fewer", "--address"]),
        (TWO_CORES, 2, 2, ["--workers is 2", "0 GPUs", "--gpus 0"]),
        (CLUSTER, 5, None, ["--workers is 5", "4 GPUs", "--workers 4 or fewer", "--gpus 0"]),
        (CLUSTER, 17, 0, ["--workers is 17", "16 cores", "--workers 16 or fewer"]),
    ],
)
def test_what_does_not_fit_is_refused(nodes, workers, gpus, words):
    with pytest.raises(ConfigError) as refusal:
        place(nodes, workers, gpus, None)
    for word in words:
        assert word in str(refusal.value)


def test_no_worker_spans_two_nodes():
    halves = [Node(cpus=1.5, gpus=0, memory=0)] * 2
    assert place(halves, 2, None, None).workers == 2
    with pytest.raises(ConfigError, match="at most 2"):
        place(halves, 3, None, None)
