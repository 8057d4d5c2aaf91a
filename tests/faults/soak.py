"""Run after run of three students, each with one fault at a step: all end with the same weights.

    make soak

Not a test that ``make test`` collects, for it takes minutes. Fault and step are drawn from a seed.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from cohort import CohortConfig, RunError, resume, train_cohort
from cohort.run.checkpoint import newest_checkpoint
from tests.support.local_ray import ray_with_fuse

RUNS, STEPS, EVERY = 25, 20, 5
SECONDS = 90.0
"""After which a run has waited for ever, as far as this is concerned."""


def hosts() -> list[psutil.Process]:
    """The processes of students below this one."""
    below = psutil.Process().children(recursive=True)
    return [p for p in below if "HostActor" in "".join(p.cmdline()[:1])]


def kill_one(run_dir: Path, chance: random.Random) -> None:
    chance.choice(hosts()).kill()


def kill_all(run_dir: Path, chance: random.Random) -> None:
    for process in hosts():
        process.kill()


def stop_one(run_dir: Path, chance: random.Random) -> None:
    chance.choice(hosts()).suspend()


def terminate_one(run_dir: Path, chance: random.Random) -> None:
    chance.choice(hosts()).terminate()


def kill_two_in_turn(run_dir: Path, chance: random.Random) -> None:
    """The second one while the cohort recovers from the first."""
    first, second, *_ = chance.sample(hosts(), len(hosts()))
    first.kill()
    time.sleep(chance.random())
    second.kill()


def end_the_run(run_dir: Path, chance: random.Random) -> None:
    """As any error of the program that trains: the run is gone on with from its checkpoint."""
    raise ArithmeticError("the soak's fault")


def damage_and_end(run_dir: Path, chance: random.Random) -> None:
    """The newest checkpoint too is cut short; the one before has to do."""
    newest = newest_checkpoint(run_dir / "checkpoints")
    assert newest is not None
    victim = chance.choice(sorted(newest.path.rglob("*.safetensors")))
    victim.write_bytes(victim.read_bytes()[:100])
    end_the_run(run_dir, chance)


FAULTS: list[Callable[[Path, random.Random], None]] = [
    kill_one, kill_all, stop_one, terminate_one, kill_two_in_turn, end_the_run, damage_and_end,
]  # fmt: skip


def config(run_dir: Path, **options: object) -> CohortConfig:
    """Three students of the digits, each in a process of its own."""
    defaults = dict(  # noqa: C408
        k=3, per_process=1, train_subset=256, test_subset=32, batch_size=32, steps=STEPS,
        checkpoint_every=EVERY, log_every=1, threads=1, gpus=0, max_failures=9, hang_after=3.0,
        run_dir=str(run_dir),
    )  # fmt: skip
    return CohortConfig(**(defaults | options))


def hashes(result: object) -> list[str]:
    return [student["weights_sha256"] for student in result.summary["students"]]  # type: ignore[attr-defined]


def soak(run_dir: Path, number: int, expected: list[str]) -> bool:
    """One run; whether its fault fired and its students are those of a run without."""
    chance = random.Random(number)
    fault, step = FAULTS[number % len(FAULTS)], chance.randrange(2, STEPS)
    exchange = chance.choice(["object_store", "collective"])
    if fault is damage_and_end:
        step = chance.randrange(2 * EVERY + 1, STEPS)  # there are two checkpoints by then
    fired: list[float] = []

    def watch(record: object) -> None:
        if record["phase"] == "train" and record["step"] == step and not fired:  # type: ignore[index]
            fired.append(time.monotonic())
            fault(run_dir, chance)

    try:
        result = train_cohort(config(run_dir, exchange=exchange), on_step=watch)
    except RunError:
        result = resume(run_dir)
    seconds = time.monotonic() - fired[0] if fired else 0.0
    equal = bool(fired) and hashes(result) == expected and seconds < SECONDS
    print(
        f"{number:3d} {fault.__name__:18s} {exchange:13s} step {step:2d}  "
        f"{seconds:5.1f} s later the run has ended, {result.summary['restarts']} restarts: "
        f"{'equal' if equal else 'NOT EQUAL' if fired else 'NOT FIRED'}",
        flush=True,
    )
    return equal


def main() -> int:
    """How many runs did not end as they should."""
    with tempfile.TemporaryDirectory() as folder, ray_with_fuse(4):
        place = Path(folder)
        undisturbed = train_cohort(
            config(place / "undisturbed", exchange="in_process", per_process=None, hang_after=None)
        )
        runs = [soak(place / str(n), n, hashes(undisturbed)) for n in range(RUNS)]
    print(f"{sum(runs)} of {RUNS} as if nothing had happened")
    return RUNS - sum(runs)


if __name__ == "__main__":
    sys.exit(main())
