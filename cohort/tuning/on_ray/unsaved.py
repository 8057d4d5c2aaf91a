"""What Ray Tune would save with an experiment, and need not."""

from typing import Any


class Unsaved:
    """Pickles as nothing: a study goes on from its run folders, not from Tune's notes.

    Tune pickles searchers and callbacks when it starts, and ours hold a terminal and open files.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}
