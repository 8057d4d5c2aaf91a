"""The student as it was when it did best on the validation split; travels with every checkpoint."""

import json
from dataclasses import dataclass
from typing import Any, Self

from cohort.learning.learner import Files

BEST_WEIGHTS = "best.safetensors"
BEST_NOTES = "best.json"


@dataclass(frozen=True, kw_only=True)
class Best:
    """Weights at ``step``, chosen by validation accuracy, and among equals by NLL."""

    step: int
    validation: dict[str, Any]
    """The student's measurements on the validation split."""
    test: dict[str, Any]
    """Those on the test split, which chose nothing."""
    weights: bytes

    def is_beaten_by(self, validation: dict[str, Any]) -> bool:
        """Whether other measurements on the validation split are better."""
        return _merit(validation) > _merit(self.validation)

    def files(self) -> Files:
        """As it lies in a checkpoint."""
        notes = {"step": self.step, "validation": self.validation, "test": self.test}
        return {BEST_WEIGHTS: self.weights, BEST_NOTES: json.dumps(notes).encode()}

    @classmethod
    def of_files(cls, files: Files) -> Self | None:
        """From a checkpoint; None if it has none."""
        if BEST_NOTES not in files:
            return None
        return cls(**json.loads(files[BEST_NOTES]), weights=files[BEST_WEIGHTS])


def _merit(measured: dict[str, Any]) -> tuple[float, float]:
    return measured["accuracy"], -measured["nll"]
