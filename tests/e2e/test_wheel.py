"""The package where it is installed, and where it never was: in each case its own code trains."""

import json
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import cohort
from tests.support.command import PATIENCE, ROOT, environment, launch, steps_done, wait_until

MINE = """
import time
from pathlib import Path
import cohort
from cohort.models.registry import build_network

with Path({file!r}).open("a") as used:
    print(cohort.__file__, file=used)


def slow(num_classes, image_shape):
    network = build_network("resnet8", num_classes=num_classes, image_shape=image_shape)
    network.register_forward_hook(lambda *_: time.sleep(0.01))
    return network
"""
"""A network of the user's own, which writes down of which cohort it is used."""
FLAGS = [
    *("--dataset", "synthetic", "--image-size", "8"),  # without scikit-learn, a second to import
    *("--k", "2", "--students", "mine:slow", "--train-subset", "64", "--test-subset", "32"),
    *("--batch-size", "16", "--log-every", "1", "--threads", "1"),
]


@pytest.fixture
def folder(tmp_path):
    """Where the user works, with a network of the user's own."""
    folder = tmp_path / "my work"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE.format(file=str(tmp_path / "used")))
    return folder


@pytest.fixture
def used(tmp_path):
    """The packages that were used until now."""
    return lambda: {Path(line) for line in (tmp_path / "used").read_text().splitlines()}


def test_from_a_wheel_a_run_is_trained_resumed_evaluated_and_shown(folder, used, tmp_path):
    place = installed(tmp_path)
    assert (place / "cohort" / "py.typed").is_file()
    installed_here = environment() | {"PYTHONPATH": str(place)}
    flags = [*FLAGS, "--exchange", "in_process", "--epochs", "12", "--run-dir", "my run"]
    process = launch([sys.executable, "-m", "cohort", "train", *flags], folder, installed_here)
    wait_until(lambda: steps_done(folder / "my run") >= 3 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, out + err
    (told,) = re.findall(r"go on with: (.*)", out)

    code, out, err = ended(["bash", "-c", told], folder, installed_here)  # as if it were pasted
    assert (code, err) == (0, ""), out + err
    summary = json.loads((folder / "my run" / "summary.json").read_text())
    assert (summary["status"], summary["steps"]) == ("finished", 48)

    of_wheel = place / "bin" / "cohort"
    evaluate = [of_wheel, "evaluate", "my run", "--trust-code"]
    code, out, err = ended(evaluate, folder, installed_here)
    assert (code, err) == (0, ""), out + err
    assert "mine:slow" in out

    report = [of_wheel, "report", "my run", "--output", "page.html"]
    code, out, err = ended(report, folder, installed_here)
    assert (code, err) == (0, ""), out + err
    assert "mine:slow" in (folder / "page.html").read_text()
    assert used() == {place / "cohort" / "__init__.py"}


@pytest.mark.slow
def test_a_checkout_that_was_never_installed_trains_on_ray(folder, used, tmp_path):
    """Not even its name is known to pip; Ray's processes too take the checkout's code."""
    checkout = tmp_path / "a checkout"
    for name in ("cohort", "scripts"):
        shutil.copytree(ROOT / name, checkout / name)
    alone = environment() | {"PYTHONPATH": str(without_cohort(tmp_path / "libraries"))}
    script = checkout / "scripts" / "launch_cohort.py"
    command = [sys.executable, "-S", script, *FLAGS, "--steps", 2, "--run-dir", "run"]
    code, out, err = ended(command, folder, alone)
    assert (code, err) == (0, ""), out + err
    assert used() == {checkout / "cohort" / "__init__.py"}
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["versions"]["cohort"] == cohort.__version__
    left = {path.name for path in Path(alone["TMPDIR"]).rglob("*")}
    assert not [name for name in left if name.startswith(("cohort", "session"))], left


def ended(command, cwd, environment):
    """Exit code, output and errors of a command that ends by itself."""
    process = launch(command, cwd, environment)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def installed(tmp_path):
    """Where the wheel of this checkout is installed."""
    place = tmp_path / "with a space" / "site"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path / "wheel", ROOT]
    subprocess.run([*pip, *wheel], check=True)
    (file,) = (tmp_path / "wheel").iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", place, file], check=True)
    return place


def without_cohort(folder):
    """All that is installed beside this Python but cohort, nothing of which knows a cohort."""
    folder.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "cohort" not in entry.name:
            (folder / entry.name).symlink_to(entry)
    return folder
