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

    @property
    def to_resume(self) -> str:
        """The command line that goes on with the study."""
        places = {"study-dir": self.study_dir, "address": self.address, "data-root": self.data_root}
        given = [f"--{flag} {value}" for flag, value in places.items() if value is not None]
        smoke = ["--smoke"] if self.smoke else []
        return " ".join(["python scripts/sweep.py", self.study, *smoke, "--resume", *given])
