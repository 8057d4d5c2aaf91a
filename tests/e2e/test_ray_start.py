"""A cluster as docs/clusters.md has it: by ``ray start``, with a token, without what tests set elsewhere."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from ray._raylet import AuthenticationTokenLoader

from cohort.runtime import private_ray, session
from tests.support.command import PATIENCE, ROOT, run_here, wait_until

RAY = Path(sys.executable).with_name("ray")
MODE = "RAY_AUTH_MODE"
SET_BY_TESTS = (MODE, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER")
SMALL = (
    *("--k", 1, "--teacher", "none", "--exchange", "object_store", "--students", "resnet8"),
    *(
        "--dataset",
        "synthetic",
        "--image-size",
        8,
        "--train-subset",
        32,
        "--test-subset",
        16,
        "--batch-size",
        16,
        "--steps",
        1,
        "--threads",
        1,
    ),
)


@contextmanager
def at_home(home):
    """In this process: a home folder, and none of the settings for tests."""
    with pytest.MonkeyPatch.context() as patch, private_ray.auth_mode_kept():
        patch.setenv("HOME", str(home))
        for name in SET_BY_TESTS:
            patch.delenv(name, raising=False)
        forget_token()
        yield patch
    forget_token()


def forget_token():
    AuthenticationTokenLoader.instance().reset_cache()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder with the token that the first local run has written."""
    home = tmp_path_factory.mktemp("home")
    with at_home(home):
        private_ray.have_token()
    return home


@pytest.fixture(scope="module")
def address(home):
    """Of a head on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it
    clean = {name: value for name, value in os.environ.items() if name not in SET_BY_TESTS}
    own = {"HOME": str(home), "RAY_TMPDIR": folder, "PYTHONPATH": str(ROOT), MODE: "token"}
    # The last keeps Ray from making 127.0.0.1 an address that others reach.
    environment = clean | own | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    flags = ("--block", "--include-dashboard=false", "--disable-usage-stats", "--num-cpus=1")
    command = [RAY, "start", "--head", f"--port={port}", *flags]
    said = Path(folder) / "said"
    with (
        said.open("w") as out,
        subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True
        ) as head,
    ):
        wait_until(lambda: "Ray runtime started" in said.read_text() or head.poll() is not None)
        assert head.poll() is None, said.read_text()
        yield f"127.0.0.1:{port}"
        head.terminate()  # which ends all that it has started
        head.wait(PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tokenless():
    """What answers as a cluster without tokens does: whoever asks."""
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    everything = type(
        "Everything", (grpc.GenericRpcHandler,), {"service": lambda self, call: handler}
    )
    server = grpc.server(ThreadPoolExecutor(1), handlers=[everything()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_the_first_token_is_this_users_alone(home):
    (token,) = (home / ".ray").iterdir()
    assert token.name == "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text()) == 64
    before = token.read_text()
    with at_home(home):
        private_ray.have_token()
    assert token.read_text() == before


def test_a_command_joins_a_cluster_on_loopback_by_its_token(
    address, home, tmp_path, monkeypatch, capsys
):
    with at_home(home):
        place = ("--address", address, "--run-dir", tmp_path / "run")
        code, out, err = run_here(monkeypatch, capsys, *SMALL, *place)
        assert MODE not in os.environ
    assert code == 0, out + err
    assert err == ""


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """The one line with which a command ends that was not let in."""

    def ends(address, home, **settings):
        with at_home(home) as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            place = ("--address", address, "--run-dir", tmp_path / "run")
            code, out, err = run_here(monkeypatch, capsys, *SMALL, *place)
        assert code == 2, out + err
        assert not (tmp_path / "run").exists()
        (line,) = err.splitlines()
        assert f"--address is {address!r}" in line
        return line

    return ends


def test_who_is_refused_learns_why(address, home, tokenless, tmp_path, refused):
    another = tmp_path / "another"
    (another / ".ray").mkdir(parents=True)
    (another / ".ray" / "auth_token").write_text("0" * 64)
    for line, why in (
        (refused(address, tmp_path), "it asks for a token, and there is none here"),
        (
            refused("auto", tmp_path, RAY_ADDRESS=address),
            "it asks for a token, and there is none here",
        ),
        (refused(address, another), "it asks for another token than the one here"),
        (
            refused(address, home, RAY_AUTH_MODE="disabled"),
            "it asks for a token, but RAY_AUTH_MODE is disabled here",
        ),
        (
            refused(tokenless, home, RAY_AUTH_MODE="token"),
            "it uses no tokens, but RAY_AUTH_MODE is token here",
        ),
    ):
        assert f"the Ray cluster there refuses this command: {why}; give all nodes" in line


def test_what_does_not_answer_is_no_cluster(home, refused, monkeypatch):
    monkeypatch.setattr(session, "CONNECT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = refused(f"127.0.0.1:{silent.getsockname()[1]}", home)
    assert "no Ray cluster answers there" in line
