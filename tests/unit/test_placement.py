"""Who gets which part of the cluster: pure arithmetic, no Ray."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.errors import ConfigError
from cohort.runtime.placement import (
    BYTES_PER_PARAMETER,
    PROCESS_BYTES,
    STUDENTS_PER_CORE,
    Node,
    check_threads,
    share_out,
)

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


def sizes(division):
    """Students of each host."""
    return [len(host) for host in division.hosts]


@pytest.mark.parametrize(
    ("nodes", "k", "gpus", "hosts", "cpu_share", "gpu_share"),
    [
        ([node(4)], 2, None, [1, 1], 2.0, 0.0),
        ([node(2)], 2, None, [1, 1], 1.0, 0.0),
        ([node(2)], 3, None, [2, 1], 1.0, 0.0),
        ([node(2)], 8, None, [4, 4], 1.0, 0.0),
        ([node(2)], 16, None, [8, 8], 1.0, 0.0),
        ([node(1)], 3, None, [3], 1.0, 0.0),
        ([node(2), node(2)], 4, None, [1, 1, 1, 1], 1.0, 0.0),
        ([node(2), node(1)], 4, None, [2, 1, 1], 1.0, 0.0),
        ([node(3), node(1)], 2, None, [1, 1], 1.0, 0.0),  # two of two threads would not fit
        ([node(3), node(3)], 2, None, [1, 1], 3.0, 0.0),
        ([node(8), node(0)], 8, None, [1] * 8, 1.0, 0.0),  # a head node that takes no work
        ([node(1.5), node(1.5)], 3, None, [2, 1], 1.0, 0.0),  # three whole cores, but not together
        ([node(0.5), node(0.5)], 2, None, [1, 1], 0.5, 0.0),
        ([node(16, 4)], 4, None, [1] * 4, 1.0, 1.0),
        ([node(16, 8)], 4, None, [1] * 4, 1.0, 1.0),
        ([node(16, 4)], 4, 2, [2, 2], 1.0, 1.0),
        ([node(16, 2)], 3, None, [2, 1], 1.0, 1.0),
        ([node(16, 1)], 40, None, [40], 1.0, 1.0),
        ([node(16, 4)], 4, 0, [1] * 4, 4.0, 0.0),
        ([node(4, 1), node(4, 1)], 2, None, [1, 1], 1.0, 1.0),
        ([node(4, 1), node(4, 1)], 4, None, [2, 2], 1.0, 1.0),
        ([node(1, 4), node(16, 0)], 4, None, [1] * 4, 0.25, 1.0),  # the GPUs' node has one core
        ([node(8, 0, 4 * GIB)], 8, None, [2, 2, 1, 1, 1, 1], 1.0, 0.0),  # memory for six processes
    ],
)
def test_by_hand(nodes, k, gpus, hosts, cpu_share, gpu_share):
    division = share_out(nodes, k, gpus, SMALL)
    share = division.share
    assert sizes(division) == hosts
    assert (share.cpus, share.gpus) == (cpu_share, gpu_share)
    assert share.device == ("cuda" if gpu_share else "cpu")
    wanted = {"CPU": cpu_share, "GPU": gpu_share} if gpu_share else {"CPU": cpu_share}
    assert share.resources() == wanted | {"memory": float(share.memory)}
    assert share.memory > 16 * SMALL * max(hosts)


@pytest.mark.parametrize(
    ("options", "hosts", "cpu_share", "gpu_share", "threads"),
    [
        ({"k": 8, "per_process": 1}, [1] * 8, 0.5, 0.0, 1),
        ({"k": 8, "per_process": 3}, [3, 3, 2], 1.0, 0.0, 1),
        ({"k": 8, "per_process": 8}, [8], 1.0, 0.0, 1),
        ({"k": 2, "per_process": 9}, [2], 2.0, 0.0, 2),
        ({"k": 2, "threads": 1}, [1, 1], 1.0, 0.0, 1),
        ({"k": 2, "threads": 2}, [1, 1], 2.0, 0.0, 2),
        ({"k": 2, "threads": 3}, [2], 3.0, 0.0, 3),
        ({"k": 16, "threads": 4}, [16], 4.0, 0.0, 4),
        ({"k": 8, "threads": 4, "per_process": 4}, [4, 4], 2.0, 0.0, 4),
        ({"k": 4, "gpus": 2, "per_process": 1}, [1] * 4, 1.0, 0.5, 1),
        ({"k": 4, "gpus": 2, "per_process": 4}, [4], 1.0, 1.0, 1),
        ({"k": 4, "gpus": 2, "threads": 2}, [2, 2], 1.0, 1.0, 2),
    ],
    ids=str,
)
def test_divided_otherwise(options, hosts, cpu_share, gpu_share, threads):
    given = {"gpus": 0, **options}
    division = share_out([node(4, 2)], largest_network=SMALL, **given)
    assert sizes(division) == hosts
    assert (division.share.cpus, division.share.gpus) == (cpu_share, gpu_share)
    assert division.threads == threads


@pytest.mark.parametrize(
    ("nodes", "k", "gpus", "notice"),
    [
        ([node(2)], 2, None, None),
        ([node(2)], 8, None, "up to 4 students share a core; more cores would be faster"),
        (
            [node(2)],
            3,
            None,
            "up to 2 students share a core, of which some wait for others; more cores would be faster",
        ),
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
        ([node(1, 0, GIB)], 8, None, 10**7, ["--k is 8", "memory holds 2", "--k 2 or fewer"]),
        ([node(8, 0, 4 * GIB)], 2, None, 10**9, ["memory", "smaller networks"]),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(nodes, k, gpus, parameters, words):
    with pytest.raises(ConfigError) as caught:
        share_out(nodes, k, gpus, parameters)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_more_threads_than_cores_are_refused():
    with pytest.raises(ConfigError) as caught:
        share_out([node(2), node(4)], 2, None, SMALL, threads=1_000_000)
    assert str(caught.value) == (
        "--threads is 1000000, more than one for each of the 4 cores that run them; use 4 or fewer"
    )
    with pytest.raises(ConfigError, match="more than 8 for each of the 1 core that run"):
        check_threads([node(0.5)], 1, decoders=9)
    check_threads([node(0.5)], 1, decoders=8)


def test_a_million_students_are_refused_at_once():
    with pytest.raises(ConfigError, match="use --k 16 or fewer"):
        share_out([node(2)], 10**6, None, SMALL)
    with pytest.raises(ConfigError, match="use --k 256 or fewer"):
        share_out([node(1, 1)], 10**6, None, SMALL)


def test_a_refusal_names_the_processes_that_were_asked_for():
    with pytest.raises(ConfigError) as many:
        share_out([node(2)], 17, None, SMALL, per_process=1)
    assert str(many.value) == (
        "--k is 17, but the cluster's 2 cores place at most 16 students with --per-process 1 (8 a core); "
        "use --k 16 or fewer, or --address of a larger cluster"
    )
    share_out([node(2)], 16, None, SMALL, per_process=1)


def test_a_refusal_names_the_nearest_number_in_a_process_that_would_do():
    with pytest.raises(ConfigError, match="use --k 8 or fewer, or --per-process 15, or --address"):
        share_out([node(2)], 16, None, SMALL, per_process=16)
    share_out([node(2)], 16, None, SMALL, per_process=15)
    little = PROCESS_BYTES + 3 * BYTES_PER_PARAMETER * SMALL
    with pytest.raises(
        ConfigError, match="use --k 1 or fewer, or --per-process 3, or take smaller"
    ):
        share_out([node(2, memory=little)], 3, None, SMALL, per_process=1)


NODES = st.builds(node, st.integers(0, 16) | st.sampled_from([0.5, 1.5, 2.7]), st.integers(0, 4))
CLUSTERS = st.lists(NODES, min_size=1, max_size=4)


@given(
    CLUSTERS,
    st.integers(1, 40),
    st.none() | st.integers(0, 8),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 9),
)
def test_whatever_is_granted_fits(nodes, k, gpus, threads, per_process):
    try:
        division = share_out(nodes, k, gpus, SMALL, threads=threads, per_process=per_process)
    except ConfigError:
        return
    share, hosts = division.share, division.hosts
    assert [student for host in hosts for student in host] == list(range(k))
    assert max(sizes(division)) - min(sizes(division)) <= 1
    assert max(sizes(division)) <= (per_process or k)
    assert 0 < share.cpus <= division.threads
    assert 0 <= share.gpus <= 1
    assert places(nodes, share) >= len(hosts)
    total = sum(one.gpus for one in nodes)
    assert bool(share.gpus) == (min(total, total if gpus is None else gpus) > 0)
    if not share.gpus:
        assert max(sizes(division)) / share.cpus <= STUDENTS_PER_CORE + 0.01
    if gpus and share.gpus:  # the hosts do not need more GPUs than the cohort was allowed
        assert math.ceil(len(hosts) / (10_000 // units(share.gpus))) <= gpus


@given(CLUSTERS, st.integers(1, 40))
def test_a_core_is_a_process_and_none_is_idle(nodes, k):
    """Where memory sets no limit: as many hosts as there are whole cores, or students."""
    whole = sum(int(one.cpus) for one in nodes)
    try:
        division = share_out(nodes, k, 0, SMALL)
    except ConfigError:
        return
    if math.ceil(k / max(whole, 1)) <= STUDENTS_PER_CORE and whole:
        assert len(division.hosts) == min(k, whole)
        assert division.share.cpus == division.threads


@given(CLUSTERS, st.integers(1, 200))
def test_refused_only_what_no_core_could_hold(nodes, k):
    held = sum(int(one.cpus * STUDENTS_PER_CORE) for one in nodes)
    if k <= held:
        share_out(nodes, k, 0, SMALL)
    else:
        with pytest.raises(ConfigError, match=f"at most {held} students"):
            share_out(nodes, k, 0, SMALL)
