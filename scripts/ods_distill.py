"""Distil a deep ensemble into one BatchEnsemble, diversity kept (ODS distillation), on Ray Train."""

from cohort.cli.parser import parse, run_command
from cohort.jobs.ods.config import OdsConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(OdsConfig, str(__doc__))

    from cohort.cli.ending import tell_ending
    from cohort.jobs.ods.command import ODS_DISTILL
    from cohort.run.start import resume_run, start_run

    if arguments.resume:
        result = resume_run(ODS_DISTILL, arguments.resume, arguments.given, verbose=True)
    else:
        result = start_run(ODS_DISTILL, arguments.config, verbose=True)
    return tell_ending(result, "ods_distill.py")


if __name__ == "__main__":
    run_command(main)
