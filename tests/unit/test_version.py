"""The versions that a summary and a benchmark write down, installed or not."""

import importlib.metadata
import json
import platform
import sys

import numpy
import torch

import cohort.version
from cohort.version import versions


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
