"""Train a network with exits that is its own teacher (Be Your Own Teacher) on Ray Train."""

from cohort.cli.parser import parse, run_command
from cohort.jobs.self_distill.config import SelfDistillConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(SelfDistillConfig, str(__doc__))

    from cohort.cli.ending import tell_ending
    from cohort.jobs.self_distill.command import SELF_DISTILL

    if arguments.resume:
        result = SELF_DISTILL.resume(arguments.resume, given=arguments.given, verbose=True)
    else:
        result = SELF_DISTILL.start(arguments.config, verbose=True)
    return tell_ending(result, "self_distill.py")


if __name__ == "__main__":
    run_command(main)
