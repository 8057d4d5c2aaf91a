"""Measure what it costs students to teach each other: every exchange beside independent students."""

from cohort.benchmark.exchange.config import BenchConfig
from cohort.cli.parser import SUCCESS, parse, run_command


def main() -> int:
    """Parse, measure, print the table."""
    config = parse(BenchConfig, str(__doc__), trains=False).config

    from rich.console import Console

    from cohort.benchmark.exchange.measure import measure
    from cohort.benchmark.exchange.results import table, write_json

    measured = measure(config)
    if config.output:
        write_json(config.output, config, measured)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # files have no width
    console.print(table(config, measured))
    return SUCCESS


if __name__ == "__main__":
    run_command(main)
