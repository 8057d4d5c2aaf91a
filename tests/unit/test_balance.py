"""Unlike students in processes that take as long as each other: arithmetic, against a search of all ways."""

import doctest
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort import CohortConfig, ConfigError
from cohort.config import DataConfig
from cohort.data.registry import load_dataset
from cohort.runtime import balance
from cohort.runtime.assembly import multiply_adds_of
from cohort.runtime.balance import balanced, by_cost, in_proportion
from cohort.runtime.placement import PROCESS_BYTES, Node, share_out

GIB = 2**30
SMALL = 500_000


def test_examples_in_docstrings_run():
    results = doctest.testmod(balance)
    assert (results.attempted, results.failed) == (2, 0)


def dearest(costs, hosts):
    """Of the dearest part."""
    return max(sum(costs[student] for student in host) for host in hosts)


@given(
    st.lists(st.integers(1, 60) | st.floats(0.1, 9), min_size=1, max_size=8).flatmap(
        lambda costs: st.tuples(st.just(costs), st.integers(1, len(costs)))
    )
)
def test_no_other_way_in_order_is_better(case):
    costs, hosts = case
    found = balanced(costs, hosts)
    assert [student for host in found for student in host] == list(range(len(costs)))
    assert len(found) == hosts
    assert all(found)
    best = min(
        dearest(costs, [range(a, b) for a, b in pairwise((0, *cuts, len(costs)))])
        for cuts in combinations(range(1, len(costs)), hosts - 1)
    )
    assert dearest(costs, found) == pytest.approx(best)


@pytest.mark.parametrize(
    ("loads", "cores", "threads"),
    [
        ([1.0, 1.0], [2], (1, 1)),
        ([12.5, 69.8], [3], (1, 2)),
        ([12.5, 69.8], [8], (2, 6)),
        ([1.0, 1.0], [4], (2, 2)),
        ([3.0, 1.0, 1.0], [2, 2], (2, 1, 1)),
        ([9.0, 1.0], [2, 2], (2, 1)),  # a process does not span nodes
        ([9.0, 1.0, 1.0], [1, 3], (2, 1, 1)),
    ],
)
def test_threads_in_proportion(loads, cores, threads):
    assert in_proportion(loads, cores) == threads


def divided(nodes, costs, gpus=None):
    nodes = [Node(cpus, cards, 1024 * GIB) for cpus, cards in nodes]
    plain = share_out(nodes, len(costs), gpus, SMALL)
    return by_cost(plain, nodes, costs, SMALL)


def test_a_dear_student_has_a_core_to_itself():
    division = divided([(2, 0)], [70, 12, 12, 12])
    assert division.hosts == ((0,), (1, 2, 3))
    (first, one), (second, another) = division.shares
    assert (first.cpus, one, second.cpus, another) == (1.0, 1, 1.0, 1)
    assert first.memory - PROCESS_BYTES == (second.memory - PROCESS_BYTES) / 3
    assert division.notice == (
        "balanced by the networks' multiply-adds: student 0 with 1 thread; "
        "students 1, 2 and 3 with 1 thread"
    )


def test_cores_that_are_left_go_to_whoever_needs_longest():
    division = divided([(4, 0)], [12, 70])
    assert division.hosts == ((0,), (1,))
    assert [(share.cpus, threads) for share, threads in division.shares] == [(1.0, 1), (3.0, 3)]
    assert division.threads == 2


def test_gpus_are_not_divided_but_their_students_are():
    division = divided([(16, 2)], [12, 12, 12, 70])
    assert division.hosts == ((0, 1, 2), (3,))
    assert [share.gpus for share, _ in division.shares] == [1.0, 1.0]
    assert "students 0, 1 and 2 on a GPU; student 3 on a GPU" in division.notice


def test_on_one_core_there_is_nothing_to_balance():
    division = divided([(1, 0)], [12, 70])
    assert (division.hosts, division.by_cost) == (((0, 1),), ())


def test_what_networks_cost():
    """A 3 x 3 convolution of 1 to 16 channels is 9 * 16 multiply-adds at each of 64 pixels, and so on."""
    data = load_dataset(DataConfig(train_subset=8, test_subset=8), seed=0)
    block = [9 * 16 * 16 * 64 * 2, 9 * (16 * 32 + 32 * 32) * 16, 9 * (32 * 64 + 64 * 64) * 4]
    head = 9 * 16 * 64 + 64 * 10
    assert multiply_adds_of("resnet8", data) == pytest.approx(sum(block) + head, rel=0.05)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"exchange": "in_process"}, "--exchange in_process"),
        ({"per_process": 1}, "--per-process 1"),
        ({"threads": 2}, "--threads 2"),
        ({"schedule": "sequential"}, "--schedule sequential"),
    ],
)
def test_what_says_otherwise_is_refused(options, what):
    with pytest.raises(ConfigError, match=f"^--balance is on with {what}, wh.*leave one of them"):
        CohortConfig(balance=True, **options)
