"""The version of this package, and of what results depend on beside it."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"
PACKAGES = ("ray", "torch", "torchvision", "numpy")


def versions() -> dict[str, str]:
    """Of Python, of cohort, and of the packages that results depend on.

    None of them need be installed: of one that was put on the path without its metadata, the version
    is what it says itself once it is imported; before that no result depends on it, and it is left out.
    """
    found = {package: _version_of(package) for package in PACKAGES}
    ours = {"python": platform.python_version(), "cohort": __version__}
    return ours | {package: text for package, text in found.items() if text is not None}


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        said = getattr(sys.modules.get(package), "__version__", None)
        return None if said is None else str(said)
