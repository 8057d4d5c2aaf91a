"""The cost model's arithmetic, by constants with which one can reckon; and the page made from it."""

import json
import re

import cost_model_page
import pytest
from cost_model import (
    Constants,
    Layout,
    Network,
    alone_seconds,
    collective_seconds,
    compute_seconds,
    driver_bytes,
    driver_seconds,
    host_seconds,
    loopback_bytes,
    node_bytes,
    node_memory,
    object_store_seconds,
    work_seconds,
)

ROUND = Constants(
    first_student=10.0,
    next_student=5.0,
    peer=0.01,
    call=2.0,
    stack=0.5,
    stack_byte=0.001,
    task=0.25,
    reference=0.1,
    ray=0.3,
    gather=1.0,
    gather_peer=0.2,
    gather_byte=0.002,
    task_bytes=1000.0,
    process_bytes=1e9,
    student_bytes=1e7,
    driver_bytes=5e8,
)
TINY = {"batch": 5, "classes": 5}
"""Posteriors of 100 bytes."""
SMALL = Layout(8, 4, 2, **TINY)


def test_what_a_host_shows():
    of = Layout(8, 4, 2)
    assert (of.students, of.hosts_a_node, of.posterior_bytes) == (2, 2, 25600)
    assert of.stack_bytes == 51200
    summed = Layout(8, 4, 2, aggregate="sum")
    assert summed.stack_bytes == 25600 + 2 * 64 * 4
    assert Layout(9, 4).students == 3


def test_a_host_computes_its_students_and_what_each_hears_of_all_others():
    assert alone_seconds(ROUND, SMALL) == 10 + 5
    assert compute_seconds(ROUND, SMALL) == pytest.approx(15 + 2 * 7 * 0.01)
    summed = Layout(8, 4, 2, aggregate="sum", **TINY)
    assert compute_seconds(ROUND, summed) == pytest.approx(15 + 2 * 1 * 0.01)


def test_the_object_store_takes_what_takes_longest():
    free = Network(bytes_a_second=1e15, latency=0.0)
    host = 15.14 + 2.0 + 2 * 0.5 + 3 * 200 * 0.001
    assert host_seconds(ROUND, SMALL, free) == pytest.approx(host)
    assert driver_seconds(ROUND, SMALL, free) == pytest.approx(4 * (0.25 + 3 * 0.1))
    work = (2 * (15.14 + 3 * 0.5 + 0.6) + 4 * (0.25 + 0.3 + 3 * 0.1)) / 2
    assert work_seconds(ROUND, SMALL) == pytest.approx(work)
    assert object_store_seconds(ROUND, SMALL, free) == pytest.approx(max(host, work))
    many = Layout(100, 100, 50, **TINY)
    assert object_store_seconds(ROUND, many, free) == driver_seconds(ROUND, many, free) == 1015


def test_a_host_of_all_has_nothing_to_exchange():
    of = Layout(8, 1, **TINY)
    seconds = 10 + 7 * 5 + 8 * 7 * 0.01
    assert object_store_seconds(ROUND, of) == collective_seconds(ROUND, of) == seconds


def test_a_ring_passes_every_host_and_hosts_on_a_core_take_turns():
    slow = Network(bytes_a_second=100.0, latency=0.5)
    one_node = Layout(8, 4, 1, cores=2, **TINY)
    ring = 1.0 + 2 * 0.2 + 600 * 0.002
    assert collective_seconds(ROUND, one_node, slow) == pytest.approx(2 * 15.14 + ring)
    between = 3 * 0.5 + 2 * 2 * 200 / 100
    assert collective_seconds(ROUND, SMALL, slow) == pytest.approx(15.14 + ring + between)


def test_large_stacks_come_once_to_a_node_and_small_ones_by_way_of_the_driver():
    assert node_bytes(SMALL, "object_store") == node_bytes(SMALL, "collective") == 2 * 2 * 200
    assert driver_bytes(ROUND, SMALL) == (4 * 4 * 200 + 4 * 1000) / 2
    assert loopback_bytes(ROUND, SMALL) == 4 * 4 * 200 + 4 * 1000
    large = Layout(8, 4, 2, batch=512, classes=1000)
    stack = 2 * 512 * 1000 * 4
    assert node_bytes(large, "object_store") == 2 * stack
    assert node_bytes(large, "collective") == 4 * stack
    assert driver_bytes(ROUND, large) == 4 * 1000 / 2
    assert loopback_bytes(ROUND, large) == 2 * 2 * stack + 4 * 1000


def test_memory_of_the_node_with_the_driver():
    assert node_memory(ROUND, SMALL) == 2 * (1e9 + 2 * 1e7 + 8 * 100) + 5e8


def test_a_line_through_points():
    assert cost_model_page.line({2: 5.0, 4: 11.0, 8: 23.0}) == pytest.approx((2.0, 3.0))


def test_what_the_model_makes_is_found_again():
    """Samples by the model's own formulas give its constants back."""
    samples = made_by(ROUND)
    fitted = vars(cost_model_page.fitted(samples))
    assert fitted == pytest.approx(vars(ROUND))


def made_by(c):
    """What a machine with these constants, and cores for all, would measure."""

    def one(hosts, way, *, students=1, posterior=25600):
        peers = 0 if way == "none" else hosts * students - 1
        tiny = c.first_student + (students - 1) * c.next_student
        host, wall = tiny + students * peers * c.peer, tiny + students * peers * c.peer
        others, big = hosts - 1, students * posterior - 25600
        if way == "object_store":
            host += others * (c.stack + big * c.stack_byte)
            wall += c.call
        if way == "collective":
            host += others * (c.gather_peer + big * c.gather_byte)
            wall += c.gather
        return {
            "wall": wall,
            "hosts": hosts * host,
            "driver": hosts * (c.task + others * c.reference),
            "ray": hosts * c.ray,
            "loopback": hosts * hosts * 25600 + hosts * c.task_bytes,
            "memory": c.process_bytes + students * c.student_bytes,
            "driver_memory": c.driver_bytes,
        }

    ways = ("none", "object_store", "collective")
    sizes = {"64x100": 25600, "512x1000": 4 * 512 * 1000}
    return {
        "students": {
            f"{k} 2 {way}": one(2, way, students=k // 2) for k in (2, 8, 16) for way in ways
        },
        "exchange": {
            f"{size} {hosts} {way}": one(hosts, way, posterior=posterior)
            for size, posterior in sizes.items()
            for hosts in (2, 4, 8)
            for way in ways
        },
    }


def test_the_page_is_what_its_script_writes():
    measured = json.loads(cost_model_page.MEASURED.read_text())
    text = cost_model_page.PAGE.read_text()
    assert cost_model_page.page(text, measured) == text
    assert "| 256 | 64 |" in text
    empty = re.sub(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", r"\1\3", text, flags=re.DOTALL)
    assert len(empty) < len(text) / 2
    assert cost_model_page.page(empty, measured) == text
