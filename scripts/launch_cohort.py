"""Train a cohort of students that teach each other (Deep Mutual Learning) on Ray."""

from cohort.cli.parser import parse, run_command
from cohort.runtime.config import CohortConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(CohortConfig, str(__doc__))

    from cohort.cli.ending import tell_ending
    from cohort.run.start import resume_run, start_run
    from cohort.runtime.command import TRAIN

    if arguments.resume:
        result = resume_run(TRAIN, arguments.resume, arguments.given, verbose=True)
    else:
        result = start_run(TRAIN, arguments.config, verbose=True)
    alone = result.alone.summary if result.alone else None
    return tell_ending(result, "launch_cohort.py", alone)


if __name__ == "__main__":
    run_command(main)
