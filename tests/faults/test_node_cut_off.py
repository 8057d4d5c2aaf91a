"""A node is cut off from the others by the network: neither is told, and both still live."""

import contextlib
import json
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from cohort import CohortConfig, train_cohort
from tests.support import networks
from tests.support.command import (
    LAUNCH,
    PATIENCE,
    ROOT,
    environment,
    launch,
    steps_done,
    wait_until,
)
from tests.support.namespaces import network, why_not

RAY = Path(sys.executable).with_name("ray")
QUICKLY = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}
"""How soon Ray takes a silent node for lost: by default it may take a minute."""
SMALL = {
    "dataset": "synthetic", "image_size": 8, "students": "tests.support.networks:slow",
    "train_subset": 128, "test_subset": 32, "batch_size": 16, "epochs": 10, "threads": 1,
    "checkpoint_every": 20, "eval_every": 80, "log_every": 1,
}  # fmt: skip
FLAGS = [
    word for key, value in SMALL.items() for word in (f"--{key.replace('_', '-')}", str(value))
]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def networks_of_their_own():
    if reason := why_not():
        pytest.skip(reason)


@contextmanager
def node(machine, said, environment, *flags):
    """A node of a Ray, of one core, on a machine."""
    flags += (f"--node-ip-address={machine.address}", "--num-cpus=1", "--block")
    command = [*machine.command, RAY, "start", *flags, "--disable-usage-stats"]
    with said.open("w") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_until(lambda: "Ray runtime started" in said.read_text() or process.poll() is not None)
        assert process.poll() is None, said.read_text()
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended, with all below it
            for each in psutil.Process(process.pid).children(recursive=True):
                each.kill()
        process.kill()
        process.wait()


@pytest.fixture
def undisturbed(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "PAUSE", 0)
    config = CohortConfig(**SMALL, exchange="in_process", run_dir=str(tmp_path / "undisturbed"))
    return hashes(train_cohort(config).run_dir)


def hashes(run_dir):
    summary = json.loads((run_dir / "summary.json").read_text())
    return [student["weights_sha256"] for student in summary["students"]]


@pytest.mark.parametrize("exchange", ["collective", "object_store"])
def test_its_student_moves_to_a_spare_and_when_it_is_back_nobody_listens(
    undisturbed, tmp_path, exchange
):
    run_dir, settings = tmp_path / "run", environment() | QUICKLY | {"GLOO_SOCKET_IFNAME": "eth0"}
    with ExitStack() as stack:
        head, far, spare = stack.enter_context(network(3))

        def start(machine, *flags):
            said = tmp_path / machine.name
            return stack.enter_context(node(machine, said, settings, *flags))

        start(head, "--head", "--port=6379", "--include-dashboard=false")
        address = f"{head.address}:6379"
        lost = start(far, f"--address={address}")
        script = [sys.executable, ROOT / "scripts" / LAUNCH, *FLAGS, "--exchange", exchange]
        command = [*head.command, *script, "--address", address, "--run-dir", run_dir]
        run = launch(command, ROOT, settings)
        wait_until(lambda: steps_done(run_dir) >= 25 or run.poll() is not None)
        far.connect(up=False)
        reached = steps_done(run_dir)
        start(spare, f"--address={address}")
        wait_until(lambda: steps_done(run_dir) > reached + 12 or run.poll() is not None)
        far.connect(up=True)
        out, err = run.communicate(timeout=PATIENCE)
        assert (run.returncode, err) == (0, ""), out + err
        wait_until(lambda: lost.poll() is not None)  # it learns that it was given up
    assert "raylet" not in out, out
    assert re.search(r"student 1 died and was restarted; all go on from step 20", out), out
    waited = "student 0 still waited for one that is gone: started again"
    assert (waited in out) == (exchange == "collective"), out
    assert hashes(run_dir) == undisturbed
