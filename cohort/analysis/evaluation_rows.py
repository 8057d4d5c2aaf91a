"""What an evaluation found as rows of one table, for files."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from cohort.analysis.cost import cost_together
from cohort.analysis.evaluate import ExitsEvaluation, RunEvaluation
from cohort.analysis.exits_table import ensembles_of_exits
from cohort.reporting.formatting import number
from cohort.reporting.table import CALIBRATED, CLASSIFIED, RETRIEVED
from cohort.reporting.table_files import Column
from cohort.run.ending import prefixed

Row = dict[str, Any]

COLUMNS = (
    Column("run", "run"),
    Column("row", "row"),
    Column("student", "student", str),
    Column("exit", "exit", str),
    Column("exits", "exits"),
    Column("weights", "weights"),
    Column("member", "member", str),
    Column("teachers", "size", str),
    Column("network", "model"),
    Column("parameters", "parameters", "{:,d}".format),
    Column("multiply-adds", "multiply_adds", "{:,d}".format),
    *(
        Column(heading.replace("-\n", "").replace("\n", " "), key, written)
        for measures in (CLASSIFIED, RETRIEVED)
        for heading, (key, written) in measures.items()
    ),
    *(Column(heading, key, number) for heading, key in CALIBRATED.items()),
    Column("train entropy", "train_entropy", number),
    Column("KL", "test_diversity", number),
    Column("DEE", "dee", partial(number, form=".2f")),
    Column("time ms", "latency_ms", partial(number, form=".2f")),
)
"""Of the rows, as a paper prints them."""


def rows_of(name: str, evaluation: RunEvaluation) -> Iterator[Row]:
    """A row for each student, exit, member and ensemble of a run, beginning with the run's name.

    ``row`` says what it is: ``student``, ``exit``, ``exits`` (an ensemble of those in ``exits``),
    ``member``, ``ensemble`` of all students, or ``teachers``, an ensemble of ``size`` of them.
    """
    summary = evaluation.summary
    for line in summary["students"]:
        lists = {"exits", "members"}
        yield {"run": name, "row": "student", **{k: v for k, v in line.items() if k not in lists}}
        of_student = {"run": name, "student": line["student"]}
        for exit in line.get("exits", ()):
            yield {**of_student, "row": "exit", **exit}
        if line["student"] in evaluation.exits:
            for row in _ensembles(evaluation.exits[line["student"]]):
                yield {**of_student, "row": "exits", **row}
        for member in line.get("members", ()):
            yield {**of_student, "row": "member", **member}
    # One student's members together are the student itself.
    if not any("members" in line for line in summary["students"]):
        yield {"run": name, "row": "ensemble", **summary["ensemble"]}
    for line in summary.get("teachers", ()):
        yield {"run": name, "row": "teachers", **line}


def _ensembles(exits: ExitsEvaluation) -> Iterator[Row]:
    for who, numbers, scores in ensembles_of_exits(exits.report):
        parameters, multiply_adds = cost_together(exits.costs, numbers)
        cost = {"parameters": parameters, "multiply_adds": multiply_adds}
        weights = {"weights": who.removeprefix("weighted ")} if who.startswith("weighted") else {}
        yield {"exits": ",".join(map(str, numbers)), **weights, **cost, **prefixed(scores)}
