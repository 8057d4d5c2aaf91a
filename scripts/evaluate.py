"""Evaluate the trained students of a run, their exits, and their ensemble, on the run's data."""

from cohort.analysis.options import numbers
from cohort.cli.parser import SUCCESS, Parser, run_command
from cohort.errors import ConfigError


def main() -> int:
    """Parse, evaluate, print the tables."""
    arguments = make_parser().parse_args()
    weights = arguments.ensemble_weights
    given = None if weights is None else numbers("--ensemble-weights", weights)
    if arguments.latency < 0:
        raise ConfigError(f"--latency is {arguments.latency}; it must be 0 or greater")

    from rich.console import Console

    from cohort.analysis.evaluate import evaluate_run
    from cohort.analysis.exits_table import print_exits
    from cohort.reporting.table import print_table

    evaluation = evaluate_run(
        arguments.run_dir,
        data_root=arguments.data_root,
        weights=given,
        latency_rounds=arguments.latency,
    )
    console = Console()
    print_table(console, evaluation.summary)
    for note in evaluation.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    for student, exits in evaluation.exits.items():
        print_exits(console, student, exits)
    return SUCCESS


def make_parser() -> Parser:
    """The flags."""
    parser = Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("run_dir", metavar="RUN_DIR", help="Folder of a finished run.")
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
    return parser


if __name__ == "__main__":
    run_command(main)
