"""Train a network with exits that is its own teacher (Be Your Own Teacher) on Ray Train."""

from cohort.command_line import INTERRUPTED, SUCCESS, parse, run_command
from cohort.jobs.self_distill_config import SelfDistillConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(SelfDistillConfig, str(__doc__))

    from rich.console import Console

    from cohort.jobs.self_distillation import resume_self_distill, self_distill
    from cohort.reporting.table import print_summary

    console = Console()
    if arguments.resume:
        result = resume_self_distill(arguments.resume, given=arguments.given, verbose=True)
    else:
        result = self_distill(arguments.config, verbose=True)
    if result.interrupted:
        console.print(
            f"interrupted; go on with: python scripts/self_distill.py --resume {result.run_dir}",
            soft_wrap=True,
        )
        return INTERRUPTED
    print_summary(console, result.summary)
    console.print(f"everything is in {result.run_dir}", soft_wrap=True)
    return SUCCESS


if __name__ == "__main__":
    run_command(main)
