"""``cohort bench``: what methods and exchanges cost, one table or two, and raw times as JSON."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from cohort.benchmark.against.config import AgainstConfig
from cohort.benchmark.config import Timing
from cohort.benchmark.exchange.config import BenchConfig
from cohort.benchmark.feed.config import FeedBenchConfig
from cohort.benchmark.ods.config import OdsBenchConfig
from cohort.benchmark.self_distill.config import StepBenchConfig
from cohort.benchmark.step.config import CohortStepBenchConfig
from cohort.cli.parser import Config, parse
from cohort.errors import SUCCESS

Reported = TypeVar("Reported", bound=Timing)
Found = TypeVar("Found")


def exchange(argv: Sequence[str]) -> int:
    """Measure what it costs students to teach each other, by each exchange."""
    config = _parse(BenchConfig, exchange.__doc__, argv, "bench exchange")
    if config.latency is not None:
        return _latency(config)

    from cohort.benchmark.exchange.measure import measure
    from cohort.benchmark.exchange.results import table, write_json

    measured = measure(config)
    return _tell(config, measured, write_json, [table(config, measured)])


def _latency(config: BenchConfig) -> int:
    from cohort.benchmark.exchange.latency import measure
    from cohort.benchmark.exchange.latency_results import table, write_json

    measured = measure(config)
    return _tell(config, measured, write_json, [table(config, measured)])


def self_distill(argv: Sequence[str]) -> int:
    """Measure what a step of self-distillation costs beside other methods."""
    config = _parse(StepBenchConfig, self_distill.__doc__, argv, "bench self-distill")

    from cohort.benchmark.self_distill.measure import measure_steps
    from cohort.benchmark.self_distill.results import table, write_json

    seconds = measure_steps(config)
    return _tell(config, seconds, write_json, [table(config, seconds)])


def ods(argv: Sequence[str]) -> int:
    """Measure what a step of ODS distillation costs, and its parts."""
    config = _parse(OdsBenchConfig, ods.__doc__, argv, "bench ods")

    from cohort.benchmark.ods.measure import measure_ods
    from cohort.benchmark.ods.results import tables, write_json

    measured = measure_ods(config)
    return _tell(config, measured, write_json, tables(config, measured))


def feed(argv: Sequence[str]) -> int:
    """Measure what it costs to decode pictures once for all students, or once for each."""
    config = _parse(FeedBenchConfig, feed.__doc__, argv, "bench feed")

    from cohort.benchmark.feed.measure import measure
    from cohort.benchmark.feed.results import table, write_json

    measured = measure(config)
    return _tell(config, measured, write_json, [table(config, measured)])


def against(argv: Sequence[str]) -> int:
    """Measure students that teach each other here, and in public packages."""
    config = _parse(AgainstConfig, against.__doc__, argv, "bench against")

    from cohort.benchmark.against.measure import measure
    from cohort.benchmark.against.results import table, write_json

    measured = measure(config)
    return _tell(config, measured, write_json, [table(config, measured)])


def step(argv: Sequence[str]) -> int:
    """Measure what a step of all students of a process takes, captured or not."""
    config = _parse(CohortStepBenchConfig, step.__doc__, argv, "bench step")

    from cohort.benchmark.step.measure import measure
    from cohort.benchmark.step.results import table, write_json

    seconds = measure(config)
    return _tell(config, seconds, write_json, [table(config, seconds)])


def _parse(cls: type[Config], description: str | None, argv: Sequence[str], command: str) -> Config:
    example = "--rounds 20 --output bench.json"
    return parse(
        cls, description, argv, command=command, title="benchmark", example=example, trains=False
    ).config


def _tell(
    config: Reported,
    measured: Found,
    write_json: Callable[[str, Reported, Found], None],
    tables: Iterable[object],
) -> int:
    """Write what was measured to ``--output``, if there is one, and show it."""
    from cohort.reporting.display import console_for

    if config.output:
        write_json(config.output, config, measured)
    console = console_for()
    for table in tables:
        console.print(table)
    return SUCCESS
