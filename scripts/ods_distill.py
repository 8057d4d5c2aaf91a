"""Distil a deep ensemble into one BatchEnsemble, diversity kept (ODS distillation), on Ray Train."""

from cohort.command_line import INTERRUPTED, SUCCESS, parse, run_command
from cohort.jobs.ods_config import OdsConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(OdsConfig, str(__doc__))

    from rich.console import Console

    from cohort.jobs.ods import ods_distill, resume_ods_distill
    from cohort.reporting.table import print_summary

    console = Console()
    if arguments.resume:
        result = resume_ods_distill(arguments.resume, given=arguments.given, verbose=True)
    else:
        result = ods_distill(arguments.config, verbose=True)
    if result.interrupted:
        console.print(
            f"interrupted; go on with: python scripts/ods_distill.py --resume {result.run_dir}",
            soft_wrap=True,
        )
        return INTERRUPTED
    print_summary(console, result.summary)
    console.print(f"everything is in {result.run_dir}", soft_wrap=True)
    return SUCCESS


if __name__ == "__main__":
    run_command(main)
