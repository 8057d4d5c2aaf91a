"""What teaching each other costs: the same students alone and by each exchange, in turns."""

import dataclasses
import os
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

from cohort.analysis.turns import seconds_of, time_rounds
from cohort.benchmark.device import gpus_for
from cohort.benchmark.exchange.config import MODES, BenchConfig, Mode
from cohort.config import check_precision
from cohort.config_file import to_yaml
from cohort.errors import ConfigError, RunError
from cohort.runtime.actors import RayCohort
from cohort.runtime.assembly import assemble, session
from cohort.runtime.cohort import OnRecords, Stopping
from cohort.runtime.exchange import choose_exchange
from cohort.runtime.train import prepare

Advance = Callable[[int, int, OnRecords, Stopping], int]
"""``Cohort.advance`` in one mode."""
Seconds = dict[Mode, list[float]]
"""Of each mode, how long its steps took, round by round."""

STARTUP_SECONDS = 300.0
"""A first step that has not come by then never will."""
STARTUP_IMAGES = 256
"""Training images, or a batch if that is more, and a fourth of it to test on: enough to start."""


@dataclass(frozen=True)
class Measurements:
    """Everything one benchmark measured."""

    round_seconds: Seconds
    peak_memory: Mapping[Mode, int]
    """Bytes per student: of the hosts' processes, which serve every mode but the last, together, divided
    by K; in process, of this process divided by K."""
    startup_seconds: Mapping[Mode, float]
    """From the command to the first step; empty if it was not asked for."""
    gpus: int
    notice: str
    """For the user, of how the machine is shared; may be empty."""


def measure(config: BenchConfig) -> Measurements:
    """Run the benchmark.

    Raises ConfigError if a cohort cannot be built as configured, RunError if a launch failed.
    """
    gpus = gpus_for(config.gpus, most=config.k)
    check_precision(config.precision, on_gpu=gpus > 0)
    parts = prepare(config.cohort("object_store", gpus))
    timed: Sequence[Mode] = MODES if config.startup else ()
    startup = {mode: time_startup(config, mode, gpus) for mode in timed}
    with (
        session(config.cohort("object_store", gpus)),
        assemble(parts) as on_ray,
        assemble(
            dataclasses.replace(parts, config=config.cohort("in_process", min(gpus, 1)))
        ) as here,
    ):
        actors = on_ray.cohort
        assert isinstance(actors, RayCohort)
        advances: dict[Mode, Advance] = {"in_process": here.cohort.advance}
        for mode in MODES[:-1]:
            exchange = choose_exchange(
                config.cohort(mode, gpus), actors.sizes, parts.dataset.num_classes
            )
            exchange.open(actors.hosts, actors.places)
            advances[mode] = partial(exchange.advance, actors.hosts)
        seconds = time_rounds(
            {mode: partial(time_steps, advances[mode]) for mode in MODES},
            rounds=config.rounds,
            steps=config.steps_per_round,
            seed=config.seed,
            warmup=config.warmup_rounds,
        )
        memory = _peak_memory(config, actors)
    return Measurements(seconds, memory, startup, gpus, on_ray.notice or "")


def time_steps(advance: Advance, numbers: range) -> float:
    """Seconds in which a cohort takes these steps, from nothing in flight to nothing in flight."""

    def work() -> None:
        done = advance(numbers.start, numbers.stop, lambda student, records: None, lambda: False)
        assert done == numbers.stop

    return seconds_of(work, torch.device("cpu"))  # a cohort waits for its GPUs by itself


def time_startup(config: BenchConfig, mode: Mode, gpus: int) -> float:
    """Seconds from the start of the real command until step 1 stands in metrics.jsonl."""
    short = dataclasses.replace(
        config.cohort(mode, gpus),
        train_subset=max(STARTUP_IMAGES, config.batch_size),
        test_subset=STARTUP_IMAGES // 4,
        steps=1,
        log_every=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        keys, run_dir, log = (Path(folder, name) for name in ("keys.yaml", "run", "log"))
        keys.write_text(to_yaml(short), "utf-8")
        command = [sys.executable, "-m", "cohort", "train"]
        command += ["--config", str(keys), "--run-dir", str(run_dir)]
        # The package may be found only by where this process was started.
        found = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with log.open("wb") as output:
            begin = time.perf_counter()
            launch = subprocess.Popen(command, env=found, stdout=output, stderr=output)
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
            raise _launch_failed(code, log.read_text("utf-8", "replace").strip().splitlines())
        time.sleep(0.01)
    raise RunError(f"a launch took no step in {STARTUP_SECONDS:.0f} s")


def _launch_failed(code: int, lines: list[str]) -> Exception:
    reason = lines[-1] if lines else f"exit code {code}"
    if reason.startswith("error: "):
        return ConfigError(reason.removeprefix("error: "))
    return RunError(f"a launch failed: {reason}")


def _peak_memory(config: BenchConfig, actors: RayCohort) -> dict[Mode, int]:
    student = sum(int(used["peak_memory"]) for used in actors.usage()) // config.k
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {mode: whole // config.k if mode == "in_process" else student for mode in MODES}
