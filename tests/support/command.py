"""The real command line, in a process of its own or in this one, watched through the records it writes."""

import atexit
import contextlib
import io
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from cohort.reporting.records import read_metrics

ROOT = Path(__file__).parents[2]
PATIENCE = 300
"""Seconds to wait for what takes a few: a guard against hanging, on slow machines too."""
LAUNCH = "launch_cohort.py"
SELF_DISTILL = "self_distill.py"
ODS_DISTILL = "ods_distill.py"
_started: list[subprocess.Popen[str]] = []
_folders: dict[int, Path] = {}


def environment() -> dict[str, str]:
    """This process's, with a temporary folder of its own for a command and its Ray."""
    folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets lie in it
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return os.environ | {"TMPDIR": folder, "RAY_TMPDIR": folder, "PYTHONPATH": str(ROOT)}


def start(
    *arguments: object, cwd: Path | None = None, script: str | Path = LAUNCH
) -> subprocess.Popen[str]:
    """A script with these arguments, its Ray in a temporary folder of its own."""
    command = [sys.executable, ROOT / "scripts" / script, *arguments]
    return launch(command, cwd or ROOT, environment())


def launch(
    command: Sequence[object], cwd: Path, environment: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Any command, which at the latest ends with the test that started it."""
    process = subprocess.Popen(
        [*map(str, command)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _started.append(process)
    if temporary := environment.get("TMPDIR"):
        _folders[process.pid] = Path(temporary)
    return process


def left_by(process: subprocess.Popen[str]) -> set[str]:
    """What a command has left in its temporary folder: ours, and folders of Ray's sessions."""
    folder = _folders[process.pid]
    return {
        str(path.relative_to(folder))
        for pattern in ("cohort*", "ray/session_*")
        for path in folder.glob(pattern)
    }


def end_all() -> None:
    """Kill, with its process group, whatever was started and has not ended; close all pipes."""
    while _started:
        with _started.pop() as process:  # which closes them
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def run(
    *arguments: object, cwd: Path | None = None, script: str | Path = LAUNCH
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command that ends by itself."""
    process = start(*arguments, cwd=cwd, script=script)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def run_here(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *arguments: object,
    script: str = LAUNCH,
) -> tuple[int, str, str]:
    """The same in this process, which is quicker where the process is not what is tested."""
    capsys.readouterr()
    code = _run_script(monkeypatch, script, arguments)
    return code, *capsys.readouterr()


def here(*arguments: object, script: str | Path = LAUNCH) -> tuple[int, str, str]:
    """``run_here`` where there are no fixtures of a single test."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = _run_script(patch, script, arguments)
    return code, out.getvalue(), err.getvalue()


def _run_script(
    patch: pytest.MonkeyPatch, script: str | Path, arguments: tuple[object, ...]
) -> int:
    file = str(ROOT / "scripts" / script)
    patch.setattr(sys, "argv", [file, *map(str, arguments)])
    patch.setattr(sys, "path", list(sys.path))
    patch.setenv("PYTHONPATH", str(ROOT))
    try:
        runpy.run_path(file, run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def steps_done(run_dir: Path) -> int:
    """The newest step that a training record tells of."""
    metrics = run_dir / "metrics.jsonl"
    if not metrics.exists():
        return 0
    return max((r["step"] for r in read_metrics(metrics) if r["phase"] == "train"), default=0)


def stop_at(
    process: subprocess.Popen[str], run_dir: Path, step: int, number: signal.Signals
) -> int:
    """Send a signal once ``step`` steps are recorded; returns the exit code."""
    wait_until(lambda: steps_done(run_dir) >= step or process.poll() is not None)
    assert process.poll() is None, f"ended before step {step}: {process.communicate()}"
    process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    return process.returncode


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return as soon as the condition holds; AssertionError if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)  # looking costs as well
