"""The table of exits: one row each, ensembles with the cost of one shared pass."""

import io

import pytest
from rich.console import Console

from cohort.analysis.cost import ExitCost
from cohort.analysis.exits import ExitsReport
from cohort.analysis.exits_table import exits_table
from cohort.analysis.latency import Latency


def scores(accuracy):
    return {"accuracy": accuracy, "nll": 1.25, "brier": 0.5, "ece": 0.03125}


COSTS = [
    ExitCost(
        exit=exit, parameters=exit * 10_000_000, multiply_adds=exit * 1_000_000_000,
        own_parameters=1_000_000, own_multiply_adds=100_000_000,
    )
    for exit in (1, 2, 3, 4)
]  # fmt: skip
REPORT = ExitsReport(
    exits=tuple(scores(accuracy) for accuracy in (0.6, 0.7, 0.75, 0.78)),
    ensemble=scores(0.7967),
    deepest=scores(0.79),
    weights=(0, 1, 0, 2.5),
    weighted=scores(0.795),
)
PLACES = ("stages.0", "stages.1", "stages.2")
LATENCIES = [Latency(median_ms=e * 12.5, low_ms=e, high_ms=e * 25) for e in (1, 2, 3, 4)]


def cells(table):
    return list(zip(*(list(column.cells) for column in table.columns), strict=True))


def test_rows():
    rows = cells(exits_table(REPORT, COSTS, PLACES, LATENCIES))
    rest = ("1.250", "0.500", "0.031")
    assert rows == [
        ("1", "stages.0", "10,000,000", "1,000.00 M", "4.00x", "60.00", *rest, "12.50 [1.00, 25.00]"),
        ("2", "stages.1", "20,000,000", "2,000.00 M", "2.00x", "70.00", *rest, "25.00 [2.00, 50.00]"),
        ("3", "stages.2", "30,000,000", "3,000.00 M", "1.33x", "75.00", *rest, "37.50 [3.00, 75.00]"),
        ("4", "end", "40,000,000", "4,000.00 M", "1.00x", "78.00", *rest, "50.00 [4.00, 100.00]"),
        ("ensemble of all", "exits 1, 2, 3, 4", "43,000,000", "4,300.00 M", "0.93x", "79.67",
         *rest, "–"),
        ("of the deepest 3", "exits 2, 3, 4", "42,000,000", "4,200.00 M", "0.95x", "79.00",
         *rest, "–"),
        ("weighted 0,1,0,2.5", "exits 2, 4", "41,000,000", "4,100.00 M", "0.98x", "79.50",
         *rest, "–"),
    ]  # fmt: skip


def test_without_latencies_and_weights():
    report = ExitsReport(exits=REPORT.exits, ensemble=REPORT.ensemble, deepest=REPORT.deepest)
    table = exits_table(report, COSTS, PLACES)
    assert not any("time" in str(column.header) for column in table.columns)
    assert "parameters, multiply-adds: what answering" in str(table.caption)
    assert "time ms" not in str(table.caption)
    assert "time ms [quartiles]: " in str(exits_table(REPORT, COSTS, PLACES, LATENCIES).caption)
    assert [row[0] for row in cells(table)] == [*"1234", "ensemble of all", "of the deepest 3"]


@pytest.mark.parametrize("place", ["stages.0", "network.backbone.layer3.blocks.11.shortcut"])
def test_it_fits_110_columns(place):
    out = io.StringIO()
    table = exits_table(REPORT, COSTS, (place,) * 3, LATENCIES)
    Console(file=out, width=110).print(table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 110
    assert "…" not in out.getvalue()
    row = next(line for line in lines if line.startswith("4 "))
    assert row.split() == [
        "4", "end", "40,000,000", "4,000.00", "M", "1.00x", "78.00", "1.250", "0.500", "0.031",
        "50.00", "[4.00,", "100.00]",
    ]  # fmt: skip
