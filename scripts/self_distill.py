"""Train a network with exits that is its own teacher (Be Your Own Teacher) on Ray Train."""

from cohort.cli.parser import parse, run_command
from cohort.jobs.self_distill.config import SelfDistillConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(SelfDistillConfig, str(__doc__))

    from cohort.cli.ending import tell_ending
    from cohort.jobs.self_distill.command import SELF_DISTILL
    from cohort.run.start import resume_run, start_run

    if arguments.resume:
        result = resume_run(SELF_DISTILL, arguments.resume, arguments.given, verbose=True)
    else:
        result = start_run(SELF_DISTILL, arguments.config, verbose=True)
    return tell_ending(result, "self_distill.py")


if __name__ == "__main__":
    run_command(main)
