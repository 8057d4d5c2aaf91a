"""``cohort evaluate``: a finished run measured again on its data, its exits and ensembles too."""

from collections.abc import Sequence
from typing import get_args

from cohort.analysis.options import numbers
from cohort.cli.parser import Parser, add_trust
from cohort.config import Distance
from cohort.errors import SUCCESS, ConfigError


def evaluate(argv: Sequence[str]) -> int:
    """Measure the trained students of a run, their exits and their ensemble."""
    given = _parser().parse_args(argv)
    weights = given.ensemble_weights
    weights = None if weights is None else numbers("--ensemble-weights", weights)
    if given.latency < 0:
        raise ConfigError(f"--latency is {given.latency}; it must be 0 or greater")

    from rich.console import Console

    from cohort.analysis.evaluate import evaluate_run
    from cohort.analysis.exits_table import print_exits
    from cohort.reporting.table import print_table

    evaluation = evaluate_run(
        given.run_dir,
        data_root=given.data_root,
        weights=weights,
        latency_rounds=given.latency,
        distance=given.distance,
        ranking=given.ranking,
        trust_code=given.trust_code,
    )
    console = Console()
    print_table(console, evaluation.summary)
    for note in evaluation.notes:
        print(f"note: {note}")
    for student, exits in evaluation.exits.items():
        print_exits(console, student, exits)
    return SUCCESS


def _parser() -> Parser:
    parser = Parser("evaluate", evaluate.__doc__, "runs/mine --latency 100")
    parser.add_argument("run_dir", metavar="RUN_DIR", help="Folder of a finished run, or its URI.")
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
        help="Time each exit on one image so often, in turn. Default: not at all.",
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
