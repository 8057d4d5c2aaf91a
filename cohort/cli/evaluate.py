"""``cohort evaluate``: finished runs measured again on their data, their exits and ensembles too."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from cohort.analysis.options import numbers
from cohort.cli.parser import Parser, add_trust
from cohort.config import Distance
from cohort.errors import SUCCESS, ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from cohort.analysis.evaluate import RunEvaluation


def evaluate(argv: Sequence[str]) -> int:
    """Measure the trained students of runs, their exits and their ensembles."""
    given = _parser().parse_args(argv)
    weights = given.ensemble_weights
    weights = None if weights is None else numbers("--ensemble-weights", weights)
    if given.latency < 0:
        raise ConfigError(f"--latency is {given.latency}; it must be 0 or greater")

    if given.ranking is not None and len(given.runs) > 1:
        raise ConfigError(
            f"--ranking is {given.ranking}, a picture of one run's students; give one RUN_DIR with it"
        )

    from rich.console import Console

    from cohort.analysis.evaluate_runs import evaluate_runs
    from cohort.analysis.evaluation_rows import COLUMNS, rows_of
    from cohort.reporting.table_files import check_file, write_table

    file = None if given.output is None else check_file(given.output)
    evaluations = evaluate_runs(
        given.runs,
        data_root=given.data_root,
        weights=weights,
        latency_rounds=given.latency,
        distance=given.distance,
        ranking=given.ranking,
        trust_code=given.trust_code,
    )
    _show(Console(), evaluations)
    if file is not None:
        rows = [row for name, each in evaluations.items() for row in rows_of(name, each)]
        notes = dict.fromkeys(note for each in evaluations.values() for note in each.notes)
        write_table(file, rows, COLUMNS, list(notes))
        print(file)
    return SUCCESS


def _show(console: "Console", evaluations: "Mapping[str, RunEvaluation]") -> None:
    """The tables of each run, under its name if there are several."""
    from cohort.analysis.exits_table import print_exits
    from cohort.reporting.table import print_table

    for name, evaluation in evaluations.items():
        if len(evaluations) > 1:
            print(f"{name}:")
        print_table(console, evaluation.summary)
        for note in evaluation.notes:
            print(f"note: {note}")
        for student, exits in evaluation.exits.items():
            print_exits(console, student, exits)


def _parser() -> Parser:
    parser = Parser("evaluate", evaluate.__doc__, "runs/mine runs/other --output table.csv")
    parser.add_argument(
        "runs",
        metavar="RUN_DIR",
        nargs="+",
        help="Folders of finished runs of any kind, or their URIs.",
    )
    parser.add_argument(
        "--data-root", metavar="DIR", help="Where the data lie now. Default: as then."
    )
    parser.add_argument(
        "--ensemble-weights",
        metavar="W,…",
        help="Weights of the exits, shallowest first, in one more ensemble of a student's exits.",
    )
    parser.add_argument(
        "--latency",
        metavar="ROUNDS",
        type=int,
        default=0,
        help="Time each student and exit on one image, all of all runs taking turns in so many rounds. "
        "Default: not at all.",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="Write a row for each student, exit, member and ensemble: a new .csv or .json with all that "
        "was measured, .md or .tex (booktabs) as it is shown.",
    )
    parser.add_argument(
        "--distance",
        choices=get_args(Distance),
        help="Between features, where people are looked for. Default: as then.",
    )
    parser.add_argument(
        "--ranking",
        metavar="FILE",
        help="Draw some people who are looked for, and who is found: a .png, .svg or .pdf.",
    )
    add_trust(parser)
    return parser
