"""Measure what a step of self-distillation costs beside the methods it is compared with."""

from cohort.benchmark.self_distill.config import StepBenchConfig
from cohort.cli.parser import SUCCESS, parse, run_command


def main() -> int:
    """Parse, measure, print the table."""
    config = parse(StepBenchConfig, str(__doc__), trains=False).config

    from rich.console import Console

    from cohort.benchmark.self_distill.measure import measure_steps
    from cohort.benchmark.self_distill.results import table, write_json

    seconds = measure_steps(config)
    if config.output:
        write_json(config.output, config, seconds)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # files have no width
    console.print(table(config, seconds))
    return SUCCESS


if __name__ == "__main__":
    run_command(main)
