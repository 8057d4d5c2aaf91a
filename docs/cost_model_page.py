"""Writes the tables of docs/cost-model.md from what was measured: python docs/cost_model_page.py"""

import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cost_model import (
    Constants,
    Layout,
    alone_seconds,
    collective_seconds,
    driver_bytes,
    driver_seconds,
    host_memory,
    host_seconds,
    loopback_bytes,
    node_bytes,
    node_memory,
    object_store_seconds,
    work_seconds,
)

HERE = Path(__file__).parent
MEASURED = HERE.parent / "scripts" / "results" / "cost-model-resnet20-cpu.json"
PAGE = HERE / "cost-model.md"
POSTERIOR = 64 * 100 * 4
"""Bytes of the smaller ones."""
MS, MIB, GIB = 1e-3, 2**20, 2**30


def fitted(samples: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Constants:
    """The constants, from what ``scripts/measure_costs.py`` measured.

    Seconds that overlap with others' are those of the processor; what a host waits for is by the
    clock, between two hosts. What is not used here is left to hold the model against.
    """
    students, exchange = samples["students"], samples["exchange"]
    alone, eight = students["2 2 none"], students["8 2 none"]

    def more(size: str, hosts: int, way: str, key: str) -> float:
        """What a way to exchange takes over none; of the hosts' work, each host's."""
        over = exchange[f"{size} {hosts} {way}"][key] - exchange[f"{size} {hosts} none"][key]
        return over / hosts if key == "hosts" else over

    def work(way: str) -> tuple[float, float]:
        """Of a host: for each stack of one posterior, its loss included, and for each byte more."""
        _, each = line({h: more("64x100", h, way, "hosts") for h in (2, 4, 8)})
        large = more("512x1000", 2, way, "hosts") - more("64x100", 2, way, "hosts")
        return each, max(0.0, large / (4 * (512 * 1000 - 64 * 100)))

    each, stack_byte = work("object_store")
    each_gathered, gather_byte = work("collective")
    # Of two hosts of 8: 16 losses of 15 peers, and in each host a stack of 8 posteriors.
    sixteen = students["16 2 object_store"]["hosts"] - students["16 2 none"]["hosts"]
    peer = (sixteen - 2 * each - 2 * 7 * POSTERIOR * stack_byte) / (16 * 15 - 2)
    submitted = {h: exchange[f"64x100 {h} object_store"] for h in (2, 4, 8)}
    task, reference = line({h: used["driver"] / h for h, used in submitted.items()})
    student_bytes = (eight["memory"] - alone["memory"]) / 3
    return Constants(
        first_student=alone["hosts"] / 2,
        next_student=(eight["hosts"] - alone["hosts"]) / 2 / 3,
        peer=peer,
        call=more("64x100", 2, "object_store", "wall") - peer,
        stack=max(0.0, each - peer),
        stack_byte=stack_byte,
        task=task,
        reference=max(0.0, reference),
        ray=sum(used["ray"] / h for h, used in submitted.items()) / len(submitted),
        gather=more("64x100", 2, "collective", "wall") - peer,
        gather_peer=max(0.0, each_gathered - peer),
        gather_byte=gather_byte,
        task_bytes=submitted[2]["loopback"] / 2 - 2 * POSTERIOR,
        process_bytes=alone["memory"] - student_bytes,
        student_bytes=student_bytes,
        driver_bytes=alone["driver_memory"],
    )


def line(values: Mapping[int, float]) -> tuple[float, float]:
    """Least squares of values by the number of hosts H: a + b·(H-1)."""
    x, y = [hosts - 1 for hosts in values], list(values.values())
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    slope /= sum((a - mean_x) ** 2 for a in x)
    return mean_y - slope * mean_x, slope


def held_against(c: Constants, samples: Mapping[str, Any]) -> list[list[str]]:
    """Rows: K, hosts, exchange, then step, traffic and memory, each measured and predicted."""
    rows = []
    for name, found in samples["students"].items():
        k, hosts, way = name.split()
        of = Layout(int(k), int(hosts))
        step = {"none": alone_seconds, "object_store": object_store_seconds}.get(
            way, collective_seconds
        )
        fit = " (fitted)" if name in ("2 2 none", "8 2 none") else ""
        seconds = step(c, of)
        rows.append(
            [
                k,
                hosts,
                way.replace("_", " "),
                f"{found['wall'] / MS:.0f}",
                f"{seconds / MS:.0f}{fit}",
                ratio(seconds, found["wall"]),
                f"{found['memory'] / MIB:.0f}",
                f"{host_memory(c, of) / MIB:.0f}",
            ]
        )
    return rows


def traffic_against(c: Constants, samples: Mapping[str, Any]) -> list[list[str]]:
    """Rows: posterior, hosts, bytes a step on the loopback interface, measured and predicted."""
    rows = []
    for name, found in samples["exchange"].items():
        size, hosts, way = name.split()
        if way != "object_store":
            continue
        batch, classes = map(int, size.split("x"))
        of = Layout(int(hosts), int(hosts), batch=batch, classes=classes)
        rows.append([size, hosts, "1", *_bytes(found["loopback"], loopback_bytes(c, of))])
    for name, found in samples["cluster"].items():
        size, _, _, _, nodes, _ = name.split()
        batch, classes = map(int, size.split("x"))
        of = Layout(4, 4, nodes=int(nodes), batch=batch, classes=classes)
        rows.append([size, "4", nodes, *_bytes(found["loopback"], loopback_bytes(c, of))])
    return rows


CLUSTER = ((2, 1), (4, 2), (8, 4), (16, 8), (32, 16), (64, 32), (128, 64), (256, 64))
"""K and nodes."""


def predicted(c: Constants, cores: int, hosts_a_node: int) -> list[list[str]]:
    """Rows for cohorts of up to 256 students on up to 64 nodes."""
    rows = []
    for k, nodes in CLUSTER:
        of = Layout(k, min(k, nodes * hosts_a_node), nodes, cores)
        summed = Layout(k, of.hosts, nodes, cores, aggregate="sum")
        limits = {
            "hosts": host_seconds(c, of),
            "driver": driver_seconds(c, of),
            "cores": work_seconds(c, of),
        }
        rows.append(
            [
                str(k),
                str(nodes),
                f"{of.hosts} × {of.students}",
                _ms(alone_seconds(c, of)),
                f"{_ms(object_store_seconds(c, of))} ({max(limits, key=lambda name: limits[name])})",
                _ms(object_store_seconds(c, summed)),
                _ms(collective_seconds(c, of)),
                _ms(collective_seconds(c, summed)),
                f"{node_bytes(of, 'object_store') / MIB:.2f}",
                f"{node_bytes(summed, 'object_store') / MIB:.2f}",
                f"{driver_bytes(c, of) / MIB:.1f}",
                f"{node_memory(c, of) / GIB:.1f}",
            ]
        )
    return rows


PREDICTED = (
    *("K", "nodes", "hosts × students", "alone, ms", "object store (limit)", "… sum"),
    *("collective", "… sum", "into a node, MiB", "… sum", "driver's node, MiB", "memory, GiB"),
)
AGAINST = (
    *("K", "hosts", "exchange", "step, ms", "predicted", "ratio"),
    *("memory of a host, MiB", "predicted"),
)
TRAFFIC = ("posterior", "hosts", "nodes", "KiB a step", "predicted", "ratio")
GPU_FIRST, GPU_NEXT = 2.54 * MS, 0.65 * MS
"""ResNet-32, batch 64, bf16, one CUDA graph on an H100: 2.54, 3.26, 4.49, 7.08 ms for 1, 2, 4, 8 students."""


def blocks(measured: Mapping[str, Any]) -> dict[str, str]:
    """What is generated of the page, by name."""
    samples = measured["samples"]
    c = fitted(samples)
    gpu = replace(c, first_student=GPU_FIRST, next_student=GPU_NEXT, peer=0.0)
    hardware, made = measured["hardware"], measured["versions"]
    return {
        "machine": (
            f"{measured['date'][:10]}, commit {str(measured['commit'])[:7]}; {hardware['cores']} cores of "
            f"{hardware['cpu']}; Ray {made['ray']}, torch {made['torch']}"
        ),
        "constants": table(("constant", "", "value"), _constants(c)),
        "against": table(AGAINST, held_against(c, samples)),
        "traffic": table(TRAFFIC, traffic_against(c, samples)),
        "cpu": table(PREDICTED, predicted(c, cores=2, hosts_a_node=2)),
        "gpu": table(PREDICTED, predicted(gpu, cores=16, hosts_a_node=1)),
    }


def page(text: str, measured: Mapping[str, Any]) -> str:
    """The page with its blocks made anew."""
    for name, block in blocks(measured).items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}{block}\n{end}{tail}"
    return text


def ratio(predicted: float, measured: float) -> str:
    """Of a prediction to what was measured."""
    return f"{predicted / measured:.2f}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _constants(c: Constants) -> list[list[str]]:
    source = inspect.getsource(Constants)
    meanings = dict(re.findall(r'    (\w+): float\n    """(.*?)"""', source, re.DOTALL))
    return [[f"`{key}`", meanings[key], _unit(key, value)] for key, value in vars(c).items()]


def _unit(key: str, value: float) -> str:
    if key in ("process_bytes", "student_bytes", "driver_bytes"):
        return f"{value / MIB:.1f} MiB"
    if key == "task_bytes":
        return f"{value / 2**10:.1f} KiB"
    return f"{value * 1e9:.2f} ns" if key.endswith("_byte") else f"{value / MS:.3f} ms"


def _bytes(measured: float, expected: float) -> tuple[str, str, str]:
    return f"{measured / 2**10:.0f}", f"{expected / 2**10:.0f}", ratio(expected, measured)


def _ms(seconds: float) -> str:
    return f"{seconds / MS:.1f}"


def main() -> None:
    """Write the page."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), measured), encoding="utf-8")


if __name__ == "__main__":
    main()
