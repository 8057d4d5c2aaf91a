"""What ``scripts/sweep.py`` is asked for. Imports no torch, so that ``--help`` is fast."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Which study, at which size, and where."""

    study: str
    """The YAML file of the study."""
    smoke: bool = False
    resume: bool = False
    study_dir: str | None = None
    """None: ``cohort.tuning.folder.default_path`` of the study's name."""
    address: str | None = None
    data_root: str | None = None
    """In place of the study's own, for all trials and prepared runs."""
