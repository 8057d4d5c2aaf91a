"""Which backend gathers posteriors, by where the hosts stand. No Ray, no GPU."""

import pytest

from cohort.runtime.exchange import _backend


def place(node, *gpus):
    """As a host tells of its own: Ray numbers the GPUs of each node from 0."""
    return {"node": node, "gpus": list(gpus)}


@pytest.mark.parametrize(
    ("places", "backend"),
    [
        ([place("a", 0), place("a", 1)], "nccl"),
        ([place("a", 0), place("b", 0)], "nccl"),
        ([place("a", 0), place("a", 1), place("b", 0), place("b", 1)], "nccl"),
        ([place("a", 0)], "nccl"),
        ([place("a"), place("a")], "gloo"),
        ([place("a"), place("b")], "gloo"),
        ([place("a", 0), place("a", 0)], "gloo"),
        ([place("a", 0), place("b", 0), place("b", 0)], "gloo"),
        ([place("a", 0), place("b")], "gloo"),
        ([place("a", 0, 1), place("a")], "gloo"),
        ([place("a", 0, 1), place("b", 0, 1)], "gloo"),
    ],
    ids=[
        "one node",
        "two nodes",
        "two on each of two nodes",
        "alone",
        "no GPU",
        "no GPU on two nodes",
        "a shared GPU",
        "a shared GPU on one of two nodes",
        "one of two without",
        "as many GPUs as hosts, but two of one's",
        "two GPUs each",
    ],
)
def test_nccl_only_where_each_host_has_one_gpu_of_its_own(places, backend):
    assert _backend(places) == backend
