"""Distil a deep ensemble into one BatchEnsemble, diversity kept (ODS distillation), on Ray Train."""

from cohort.command_line import parse, run_command
from cohort.jobs.ods_config import OdsConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(OdsConfig, str(__doc__))

    from cohort.jobs.ods import ods_distill, resume_ods_distill
    from cohort.reporting.ending import tell_ending

    if arguments.resume:
        result = resume_ods_distill(arguments.resume, given=arguments.given, verbose=True)
    else:
        result = ods_distill(arguments.config, verbose=True)
    return tell_ending(result, "ods_distill.py")


if __name__ == "__main__":
    run_command(main)
