"""The version of this package, and of what results depend on beside it."""

import platform
from importlib.metadata import version

__version__ = "0.1.0"
PACKAGES = ("ray", "torch", "torchvision", "numpy")


def versions() -> dict[str, str]:
    """Of Python, of cohort, which need not be installed, and of the packages that results depend on."""
    ours = {"python": platform.python_version(), "cohort": __version__}
    return ours | {package: version(package) for package in PACKAGES}
