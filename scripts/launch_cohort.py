"""Train a cohort of students that teach each other (Deep Mutual Learning) on Ray."""

from cohort.cli.parser import parse, run_command
from cohort.runtime.config import CohortConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(CohortConfig, str(__doc__))

    from cohort.cli.ending import tell_ending
    from cohort.runtime.command import TRAIN

    if arguments.resume:
        result = TRAIN.resume(arguments.resume, given=arguments.given, verbose=True)
    else:
        result = TRAIN.start(arguments.config, verbose=True)
    alone = result.alone.summary if result.alone else None
    return tell_ending(result, "launch_cohort.py", alone)


if __name__ == "__main__":
    run_command(main)
