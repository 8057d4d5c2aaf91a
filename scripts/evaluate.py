"""Evaluate the trained students of a run, and their ensemble, on the run's data."""

from cohort.command_line import SUCCESS, Parser, run_command


def main() -> int:
    """Parse, evaluate, print the table."""
    parser = Parser(description=__doc__)
    parser.add_argument("run_dir", metavar="RUN_DIR", help="Folder of a finished run.")
    parser.add_argument(
        "--data-root", metavar="DIR", help="Where the data lie now. Default: as then."
    )
    arguments = parser.parse_args()

    from rich.console import Console

    from cohort.reporting.table import print_table
    from cohort.runtime.evaluate import evaluate_run

    print_table(Console(), evaluate_run(arguments.run_dir, data_root=arguments.data_root))
    return SUCCESS


if __name__ == "__main__":
    run_command(main)
