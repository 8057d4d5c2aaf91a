"""What teaching each other costs: a cohort in every mode, interleaved in one run.

Speeds of two separate runs, and even of two processes that do the same, differ by more than the
modes do. So the same students take turns at learning alone and by each exchange, and a mode's time
is compared with their time alone in the same round.
"""

import dataclasses
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from cohort.benchmark.exchange.config import MODES, BenchConfig, Mode
from cohort.cli.parser import USAGE
from cohort.errors import ConfigError, RunError
from cohort.runtime.actors import RayCohort
from cohort.runtime.assembly import assemble, session
from cohort.runtime.cohort import OnRecords, Stopping
from cohort.runtime.exchange import choose_exchange
from cohort.runtime.train import prepare

Advance = Callable[[int, int, OnRecords, Stopping], int]
"""``Cohort.advance`` in one mode."""
Seconds = dict[Mode, list[float]]
"""How long each mode took for its steps, round by round."""

STARTUP_SECONDS = 300.0
"""A first step that has not come by then never will."""
STARTUP_IMAGES = 256
"""Training images, or a batch if that is more, and a fourth of it to test on: enough to start."""


@dataclass(frozen=True)
class Measurements:
    """Everything one benchmark measured."""

    round_seconds: Seconds
    peak_memory: Mapping[Mode, int]
    """Bytes per student: of the largest student process, which serves every mode but the last; in
    process, of this process divided by K."""
    startup_seconds: Mapping[Mode, float]
    """From the command to the first step; empty if it was not asked for."""
    gpus: int
    notice: str
    """For the user, of how the machine is shared; may be empty."""


def measure(config: BenchConfig, launcher: Path) -> Measurements:
    """Run the benchmark. ``launcher`` is launch_cohort.py, whose start is timed.

    Raises ConfigError if a cohort cannot be built as configured, RunError if a launch failed.
    """
    gpus = _gpus(config)
    parts = prepare(config.cohort("object_store", gpus))
    startup = {mode: time_startup(config, mode, gpus, launcher) for mode in _modes(config.startup)}
    with (
        session(config.cohort("object_store", gpus)),
        assemble(parts) as (actors, notice),
        assemble(dataclasses.replace(parts, config=config.cohort("in_process", min(gpus, 1)))) as (
            in_process,
            _,
        ),
    ):
        assert isinstance(actors, RayCohort)
        advances: dict[Mode, Advance] = {"in_process": in_process.advance}
        for mode in MODES[:-1]:
            exchange = choose_exchange(config.cohort(mode, gpus))
            exchange.open(actors.actors, actors.places)
            advances[mode] = partial(exchange.advance, actors.actors)
        seconds = time_rounds(config, {mode: advances[mode] for mode in MODES})
        memory = _peak_memory(config, actors)
    return Measurements(seconds, memory, startup, gpus, notice or "")


def time_rounds(config: BenchConfig, advances: Mapping[Mode, Advance]) -> Seconds:
    """Seconds of every round that counts; the order of modes is drawn anew for each."""
    order, draw = list(advances), random.Random(config.seed)
    seconds: Seconds = {mode: [] for mode in advances}
    for turn in range(config.warmup_rounds + config.rounds):
        draw.shuffle(order)
        for mode in order:
            took = time_steps(advances[mode], turn * config.steps_per_round, config.steps_per_round)
            if turn >= config.warmup_rounds:
                seconds[mode].append(took)
    return seconds


def time_steps(advance: Advance, start: int, steps: int) -> float:
    """Seconds in which a cohort advances, from nothing in flight to nothing in flight."""
    begin = time.perf_counter()
    done = advance(start, start + steps, lambda student, records: None, lambda: False)
    assert done == start + steps
    return time.perf_counter() - begin


def time_startup(config: BenchConfig, mode: Mode, gpus: int, launcher: Path) -> float:
    """Seconds from the start of the real command until step 1 stands in metrics.jsonl."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir, log = Path(folder, "run"), Path(folder, "log")
        command = [sys.executable, str(launcher), *_flags(config, mode, gpus, run_dir)]
        with log.open("w") as output:
            begin = time.perf_counter()
            launch = subprocess.Popen(command, stdout=output, stderr=output)
            try:
                return _first_step(launch, run_dir / "metrics.jsonl", begin, log)
            except BaseException:
                launch.terminate()
                raise
            finally:
                launch.wait()  # it ends its Ray by itself


def _first_step(launch: "subprocess.Popen[bytes]", file: Path, begin: float, log: Path) -> float:
    while (seconds := time.perf_counter() - begin) < STARTUP_SECONDS:
        if file.exists() and file.stat().st_size:
            return seconds
        if code := launch.poll():
            raise _launch_failed(code, log.read_text().strip().splitlines())
        time.sleep(0.01)
    raise RunError(f"a launch took no step in {STARTUP_SECONDS:.0f} s")


def _launch_failed(code: int, lines: list[str]) -> Exception:
    reason = lines[-1] if lines else f"exit code {code}"
    if code == USAGE:
        return ConfigError(reason.removeprefix("error: "))
    return RunError(f"a launch failed: {reason}")


def _flags(config: BenchConfig, mode: Mode, gpus: int, run_dir: Path) -> list[str]:
    """Those of launch_cohort.py for one step of this mode on little data."""
    cohort = dataclasses.replace(
        config.cohort(mode, gpus),
        train_subset=max(STARTUP_IMAGES, config.batch_size),
        test_subset=STARTUP_IMAGES // 4,
        steps=1,
        log_every=1,
        run_dir=str(run_dir),
    )
    flags = []
    for field in dataclasses.fields(cohort):
        value = getattr(cohort, field.name)
        if value not in (None, field.default):
            name = "--" + field.name.replace("_", "-")
            flags += [name] if value is True else [name, str(value)]
    return flags


def _modes(wanted: bool) -> Sequence[Mode]:
    return MODES if wanted else ()


def _gpus(config: BenchConfig) -> int:
    available = torch.cuda.device_count()
    if (config.gpus or 0) > available:
        raise ConfigError(f"--gpus is {config.gpus}, but this machine has {available}")
    return min(config.k, available) if config.gpus is None else config.gpus


def _peak_memory(config: BenchConfig, actors: RayCohort) -> dict[Mode, int]:
    student = max(actors.peak_memory().values())
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {mode: whole // config.k if mode == "in_process" else student for mode in MODES}
