"""The versions that a summary and a benchmark write down, installed or not."""

import importlib.metadata
import json
import platform
import subprocess
import sys
from functools import partial

import numpy
import pytest
import torch

import cohort.version
from cohort.version import commit, versions


@pytest.fixture(autouse=True)
def no_checkout(monkeypatch):
    monkeypatch.setattr(cohort.version, "commit", lambda: None)


def test_a_checkout_knows_its_commit(tmp_path, monkeypatch):
    """And a package that merely lies in a folder of another checkout knows none."""
    known = commit.__wrapped__
    git = partial(subprocess.run, check=True, cwd=tmp_path, capture_output=True, text=True)
    git(["git", "init", "-q"])
    (tmp_path / "cohort").mkdir()
    module = tmp_path / "cohort" / "version.py"
    module.write_text("")
    monkeypatch.setattr(cohort.version, "__file__", str(module))
    assert known() is None, "there is none yet"
    git(["git", "add", "-A"])
    who = ["-c", "user.name=a", "-c", "user.email=b@c"]
    git(["git", *who, "commit", "-qm", "first", "--no-gpg-sign"])
    expected = git(["git", "rev-parse", "HEAD"]).stdout.strip()
    assert known() == expected
    module.write_text("x = 1")
    assert known() == f"{expected}-dirty"
    monkeypatch.setattr(
        cohort.version, "__file__", str(tmp_path / "venv" / "cohort" / "version.py")
    )
    assert known() is None
    monkeypatch.setattr(cohort.version, "commit", lambda: expected)
    assert versions()["commit"] == expected


def test_installed_packages_are_known_by_their_metadata():
    found = versions()
    assert list(found) == ["python", "cohort", "ray", "torch", "torchvision", "numpy"]
    assert found["python"] == platform.python_version()
    assert found["ray"] == importlib.metadata.version("ray")


def test_packages_without_metadata_say_it_themselves_if_they_are_used(monkeypatch):
    """As on a machine where they, and this package, only lie on the path."""

    def nothing_installed(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(cohort.version, "version", nothing_installed)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    assert json.loads(json.dumps(versions())) == {
        "python": platform.python_version(),
        "cohort": cohort.__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
