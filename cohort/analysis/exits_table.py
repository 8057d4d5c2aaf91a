"""The exits of one network as a table, in the manner of Table 5 of "Be Your Own Teacher"."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cohort.analysis.cost import ExitCost, cost_together
from cohort.analysis.evaluate import ExitsEvaluation
from cohort.analysis.exits import DEEPEST, ExitsReport
from cohort.analysis.latency import Latency
from cohort.reporting.display import console_for, explain
from cohort.reporting.formatting import DASH, number, percent
from cohort.reporting.table import SCORES

COLUMNS = ("parameters", "multiply-\nadds", "acceler-\nation", "accuracy\n%", "NLL", "Brier", "ECE")
LAST = "end"
MEANINGS = {
    "after": "the module that the exit follows; of an ensemble, the exits whose mean it is",
    "parameters, multiply-adds": "what answering one image takes, shared sections counted once",
    "acceleration": "multiply-adds of the deepest exit over the row's own",
    **SCORES,
    "time ms [quartiles]": "measured for one image, the median of all rounds",
}


def exits_table(
    report: ExitsReport,
    costs: Sequence[ExitCost],
    places: Sequence[str],
    latencies: Sequence[Latency] | None = None,
) -> Table:
    """A row per exit, shallowest first, then the ensembles; fits 110 columns.

    Args:
        report: accuracy and calibration of exits and ensembles.
        costs: one per exit. Acceleration is the deepest exit's multiply-adds, which are those of
            the network without exits, over the row's own.
        places: after which module each exit but the deepest stands.
        latencies: one per exit if measured; adds a column.
    """
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("exit", min_width=8)
    table.add_column("after", overflow="fold")
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    if latencies is not None:
        table.add_column("time ms\n[quartiles]", justify="right", no_wrap=True)
    for index, measured in enumerate(report.exits):
        place = (*places, LAST)[index]
        cells = _cells(measured, costs, [index + 1])
        time = [] if latencies is None else [str(latencies[index])]
        table.add_row(str(index + 1), place, *cells, *time)
    table.add_section()
    for who, exits, scores in ensembles_of_exits(report):
        time = [] if latencies is None else [DASH]
        table.add_row(who, _listed(exits), *_cells(scores, costs, exits), *time)
    explain(table, MEANINGS)
    return table


def print_exits(console: Console, student: int, exits: ExitsEvaluation) -> None:
    """Print the exits of one student."""
    table = exits_table(exits.report, exits.costs, exits.places, exits.latencies)
    table.title = f"exits of student {student}"
    console_for(console).print(table)


def ensembles_of_exits(report: ExitsReport) -> list[tuple[str, list[int], Mapping[str, float]]]:
    """What an ensemble is called, its exits, and its measurements; those that are the same once."""
    every = list(range(1, len(report.exits) + 1))
    rows: list[tuple[str, list[int], Mapping[str, float]]] = [
        ("ensemble of all", every, report.ensemble)
    ]
    if len(every) > DEEPEST:  # else it is the same
        rows.append((f"of the deepest {DEEPEST}", every[-DEEPEST:], report.deepest))
    if report.weights is not None and report.weighted is not None:
        # An exit that does not count need not be run.
        used = [exit for exit, weight in zip(every, report.weights, strict=True) if weight]
        shown = ",".join(f"{weight:g}" for weight in report.weights)
        rows.append((f"weighted {shown}", used, report.weighted))
    return rows


def _cells(
    measured: Mapping[str, float], costs: Sequence[ExitCost], exits: Sequence[int]
) -> tuple[str, ...]:
    parameters, multiply_adds = cost_together(costs, exits)
    return (
        number(parameters, ",d"),
        _millions(multiply_adds),
        f"{costs[-1].multiply_adds / multiply_adds:.2f}x",
        percent(measured["accuracy"], digits=2),
        *(number(measured[key]) for key in ("nll", "brier", "ece")),
    )


def _millions(count: int) -> str:
    return f"{count / 1e6:,.2f} M"


def _listed(exits: Sequence[int]) -> str:
    return "exits " + ", ".join(map(str, exits))
