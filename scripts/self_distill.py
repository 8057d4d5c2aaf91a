"""Train a network with exits that is its own teacher (Be Your Own Teacher) on Ray Train."""

from cohort.command_line import parse, run_command
from cohort.jobs.self_distill_config import SelfDistillConfig


def main() -> int:
    """Parse, train or resume, print the table."""
    arguments = parse(SelfDistillConfig, str(__doc__))

    from cohort.jobs.self_distillation import resume_self_distill, self_distill
    from cohort.reporting.ending import tell_ending

    if arguments.resume:
        result = resume_self_distill(arguments.resume, given=arguments.given, verbose=True)
    else:
        result = self_distill(arguments.config, verbose=True)
    return tell_ending(result, "self_distill.py")


if __name__ == "__main__":
    run_command(main)
