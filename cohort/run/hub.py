"""A folder that is shared as a new repository of the Hugging Face hub."""

import importlib.util
import re
from pathlib import Path
from typing import Any

from cohort.errors import ConfigError, RunError
from cohort.imports import one_line

NAME = re.compile(r"[\w.-]+/[\w.-]+")


def check_hub(repository: str) -> None:
    """Raise ConfigError for a name that no repository has, or if the package is not installed."""
    if not NAME.fullmatch(repository):
        raise ConfigError(f"--to-hub is {repository!r}; it must be OWNER/NAME")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError(
            "--to-hub needs a package that is not installed: pip install 'cohort[hub]'"
        )


def push(folder: Path, repository: str, *, public: bool, api: Any = None) -> str:
    """Upload a folder into a new repository, by the login of ``hf auth login``; returns its address.

    Args:
        folder: what ``share`` wrote.
        repository: OWNER/NAME, which must not exist.
        public: whether everybody can see it.
        api: an ``HfApi``; by default one with the user's own login.

    Raises:
        RunError: if the hub refuses, or does not answer.
    """
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    try:
        url = api.create_repo(repository, private=not public, exist_ok=False)
        api.upload_folder(
            repo_id=repository, folder_path=str(folder), commit_message="Share a trained student"
        )
    except (OSError, ValueError) as error:  # the hub's own errors are OSErrors
        raise RunError(f"--to-hub {repository} cannot be written: {one_line(error)}") from error
    return str(url)
