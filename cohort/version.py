"""The version of this package, and of what results depend on beside it."""

import functools
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__version__ = "0.1.0"
PACKAGES = ("ray", "torch", "torchvision", "numpy")


def versions() -> dict[str, str]:
    """Of Python, of cohort with its commit if it is a checkout, and of the packages that results depend on.

    None of them need be installed: of one that was put on the path without its metadata, the version
    is what it says itself once it is imported; before that no result depends on it, and it is left out.
    """
    found = {package: _version_of(package) for package in PACKAGES}
    ours = {"python": platform.python_version(), "cohort": __version__}
    if (known := commit()) is not None:
        ours["commit"] = known
    return ours | {package: text for package, text in found.items() if text is not None}


@functools.cache
def commit() -> str | None:
    """Of the code that runs, marked if it was changed since; None if it is not from a checkout of its own."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():  # installed, perhaps in a folder of somebody else's checkout
        return None
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        said = getattr(sys.modules.get(package), "__version__", None)
        return None if said is None else str(said)
