"""Who gets which part of the cluster: pure arithmetic, no Ray."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.errors import ConfigError
from cohort.runtime.placement import STUDENTS_PER_CORE, Node, Share, share_out

GIB = 2**30
SMALL = 500_000
"""Parameters of a ResNet-32."""


def node(cpus, gpus=0, memory=1024 * GIB):
    return Node(cpus=cpus, gpus=gpus, memory=memory)


def units(share):
    """How many such shares one core, or one GPU, holds by Ray's arithmetic of 1/10000."""
    return round(10_000 * share)


def places(nodes, share):
    """How many bundles fit, node by node; a fraction of a GPU never spans two GPUs."""
    count = 0
    for one in nodes:
        by_cpu = units(one.cpus) // units(share.cpus)
        by_gpu = int(one.gpus) * (10_000 // units(share.gpus)) if share.gpus else by_cpu
        count += min(by_cpu, by_gpu)
    return count


@pytest.mark.parametrize(
    ("nodes", "k", "gpus", "cpu_share", "gpu_share"),
    [
        ([node(4)], 2, None, 1.0, 0.0),
        ([node(2)], 2, None, 1.0, 0.0),
        ([node(2)], 3, None, 0.5, 0.0),
        ([node(2)], 8, None, 0.25, 0.0),
        ([node(2)], 16, None, 0.125, 0.0),
        ([node(1)], 3, None, 0.3333, 0.0),
        ([node(2), node(2)], 4, None, 1.0, 0.0),
        ([node(2), node(1)], 4, None, 0.5, 0.0),
        ([node(8), node(0)], 8, None, 1.0, 0.0),  # a head node that takes no work
        ([node(1.5), node(1.5)], 3, None, 0.5, 0.0),  # three whole cores, but on no node two
        ([node(16, 4)], 4, None, 1.0, 1.0),
        ([node(16, 8)], 4, None, 1.0, 1.0),
        ([node(16, 4)], 4, 2, 1.0, 0.5),
        ([node(16, 2)], 3, None, 1.0, 0.5),
        ([node(16, 1)], 3, None, 1.0, 0.3333),
        ([node(16, 4)], 4, 0, 1.0, 0.0),
        ([node(4, 1), node(4, 1)], 2, None, 1.0, 1.0),
        ([node(4, 1), node(4, 1)], 4, None, 1.0, 0.5),
        ([node(1, 4), node(16, 0)], 4, None, 0.25, 1.0),  # the GPUs' node has one core
    ],
)
def test_by_hand(nodes, k, gpus, cpu_share, gpu_share):
    share = share_out(nodes, k, gpus, SMALL)
    assert (share.cpus, share.gpus) == (cpu_share, gpu_share)
    assert share.device == ("cuda" if gpu_share else "cpu")
    wanted = {"CPU": cpu_share, "GPU": gpu_share} if gpu_share else {"CPU": cpu_share}
    assert share.resources() == wanted | {"memory": float(share.memory)}
    assert share.memory > 16 * SMALL


@pytest.mark.parametrize(
    ("nodes", "k", "gpus", "notice"),
    [
        ([node(2)], 2, None, None),
        ([node(2)], 8, None, "up to 4 students share a core; more cores would be faster"),
        ([node(16, 2)], 3, None, "up to 2 students share a GPU"),
        ([node(16, 2)], 2, None, None),
    ],
)
def test_sharing_is_said(nodes, k, gpus, notice):
    assert share_out(nodes, k, gpus, SMALL).notice == notice


@pytest.mark.parametrize(
    ("nodes", "k", "gpus", "parameters", "words"),
    [
        ([node(2)], 17, None, SMALL, ["--k is 17", "2 cores", "at most 16", "--k 16 or fewer"]),
        ([node(2), node(1)], 25, None, SMALL, ["3 cores", "--k 24 or fewer"]),
        ([node(2)], 2, 1, SMALL, ["--gpus is 1", "has 0"]),
        ([node(8, 2), node(8, 1)], 4, 4, SMALL, ["--gpus is 4", "has 3", "--gpus 3 or fewer"]),
        ([node(64, 0, 4 * GIB)], 8, None, SMALL, ["--k is 8", "memory holds 6", "--k 6 or fewer"]),
        ([node(8, 0, 4 * GIB)], 2, None, 10**9, ["memory", "smaller networks"]),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(nodes, k, gpus, parameters, words):
    with pytest.raises(ConfigError) as caught:
        share_out(nodes, k, gpus, parameters)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_what_the_refusal_suggests_fits():
    nodes = [node(2), node(1, 0, 4 * GIB)]
    assert places(nodes, share_out(nodes, 14, None, SMALL)) >= 14
    assert share_out([node(2)], 16, None, SMALL).cpus == 0.125


CLUSTERS = st.lists(
    st.builds(node, st.integers(0, 16) | st.sampled_from([0.5, 1.5, 2.7]), st.integers(0, 4)),
    min_size=1,
    max_size=4,
)


def test_the_refusal_suggests_what_fits_with_fewer_students_on_a_gpu():
    """Ten on each GPU leave places for twelve, but of twelve only six would share one."""
    nodes = [Node(cpus=1, gpus=1, memory=2**40), Node(cpus=0.5, gpus=1, memory=2**40)]
    with pytest.raises(ConfigError, match=r"at most 9 students .*; use --k 9 or fewer"):
        share_out(nodes, 20, None, 0)
    assert share_out(nodes, 9, None, 0).gpus == 0.2
    with pytest.raises(ConfigError):
        share_out(nodes, 10, None, 0)


@given(CLUSTERS, st.integers(1, 40), st.none() | st.integers(0, 8))
def test_whatever_is_granted_fits(nodes, k, gpus):
    try:
        share = share_out(nodes, k, gpus, SMALL)
    except ConfigError:
        return
    assert 0 < share.cpus <= 1
    assert 0 <= share.gpus <= 1
    assert places(nodes, share) >= k
    total = sum(one.gpus for one in nodes)
    assert bool(share.gpus) == (min(total, total if gpus is None else gpus) > 0)
    if gpus and share.gpus:  # k of these do not need more GPUs than the cohort was allowed
        assert math.ceil(k / (10_000 // units(share.gpus))) <= gpus


@given(CLUSTERS, st.integers(1, 40), st.none() | st.integers(0, 8))
def test_nobody_gets_less_than_possible(nodes, k, gpus):
    try:
        share = share_out(nodes, k, gpus, SMALL)
    except ConfigError:
        return
    students = round(1 / share.cpus)
    assert students <= STUDENTS_PER_CORE
    if students > 1:
        larger = Share(math.floor(10_000 / (students - 1)) / 10_000, share.gpus)
        assert places(nodes, larger) < k


@given(CLUSTERS, st.integers(1, 200))
def test_refused_only_what_no_core_could_hold(nodes, k):
    held = sum(int(one.cpus * STUDENTS_PER_CORE) for one in nodes)
    if k <= held:
        share_out(nodes, k, 0, SMALL)
    else:
        with pytest.raises(ConfigError, match=f"at most {held} students"):
            share_out(nodes, k, 0, SMALL)
