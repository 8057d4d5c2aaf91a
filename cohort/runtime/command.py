"""``cohort train``, as the command line, studies and ``resume`` know it. Imports no torch."""

from typing import TYPE_CHECKING

from cohort.run.command import Command
from cohort.runtime.config import CohortConfig, resolve

if TYPE_CHECKING:
    from cohort.data.dataset import ImageDataset
    from cohort.run.start import Run


class Train(Command[CohortConfig]):
    """Deep Mutual Learning: K students that learn the same task and teach each other."""

    name, key = "train", "launch_cohort"
    config = CohortConfig

    def resolve(self, config: CohortConfig) -> CohortConfig:
        """The config with what the data set's recipe says filled in."""
        return resolve(config)

    def prepare(self, config: CohortConfig, dataset: "ImageDataset | None" = None) -> "Run":
        """Read the data and try out the networks."""
        from cohort.runtime.train import prepare

        return prepare(config, dataset)


TRAIN = Train()
