"""What a run says before anything is measured: what is waited for, and where its folder is."""

from cohort.config import RunConfig
from cohort.data.registry import dataset_label
from cohort.run.folder import RunFolder
from cohort.run.ready import Run


class Beginning:
    """A line for each thing that takes its time, printed before it does.

    Args:
        verbose: whether anybody is told.
    """

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose
        self.said: list[str] = []

    def reads(self, config: RunConfig) -> None:
        """The data are read next."""
        self._say(f"reading {dataset_label(config)}")

    def goes_into(self, folder: RunFolder) -> None:
        """The run writes into this folder."""
        self._say(f"run folder: {folder.given}")

    def starts_ray(self, what: str | None) -> None:
        """A Ray is started or joined next, if there is anything to wait for."""
        if what is not None:
            self._say(what)

    def starts(self, run: Run) -> None:
        """Who learns is started next."""
        self._say(run.greeting)

    def _say(self, text: str) -> None:
        self.said.append(text)
        if self.verbose:
            print(text, flush=True)
