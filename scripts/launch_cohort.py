"""Train a cohort of students that teach each other (Deep Mutual Learning) on Ray."""

from cohort.command_line import INTERRUPTED, SUCCESS, parse, run_command
from cohort.runtime.config import CohortConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(CohortConfig, str(__doc__))

    from rich.console import Console

    from cohort.reporting.table import print_summary
    from cohort.runtime.train import resume_cohort, train_cohort

    console = Console()
    if arguments.resume:
        result = resume_cohort(arguments.resume, given=arguments.given, verbose=True)
    else:
        result = train_cohort(arguments.config, verbose=True)
    alone = result.alone.summary if result.alone else None
    if result.interrupted:
        console.print(
            f"interrupted; go on with: python scripts/launch_cohort.py --resume {result.run_dir}",
            soft_wrap=True,
        )
        return INTERRUPTED
    print_summary(console, result.summary, alone)
    console.print(f"everything is in {result.run_dir}", soft_wrap=True)
    return SUCCESS


if __name__ == "__main__":
    run_command(main)
