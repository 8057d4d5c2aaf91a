"""Measure what a step of ODS distillation costs beside simpler ways to learn, and what its parts cost."""

from cohort.benchmark.ods.config import OdsBenchConfig
from cohort.cli.parser import SUCCESS, parse, run_command


def main() -> int:
    """Parse, measure, print the tables."""
    config = parse(OdsBenchConfig, str(__doc__), trains=False).config

    from rich.console import Console

    from cohort.benchmark.ods.measure import measure_ods
    from cohort.benchmark.ods.results import tables, write_json

    measured = measure_ods(config)
    if config.output:
        write_json(config.output, config, measured)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # files have no width
    for table in tables(config, measured):
        console.print(table)
    return SUCCESS


if __name__ == "__main__":
    run_command(main)
