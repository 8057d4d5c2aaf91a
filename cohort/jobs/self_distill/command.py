"""``cohort self-distill``, as the command line, studies and ``resume`` know it. Imports no torch."""

from typing import TYPE_CHECKING

from cohort.jobs.self_distill.config import SelfDistillConfig, resolve
from cohort.run.command import Command

if TYPE_CHECKING:
    from cohort.data.dataset import ImageDataset
    from cohort.run.start import Run


class SelfDistill(Command[SelfDistillConfig]):
    """Be Your Own Teacher: a network with exits that is its own teacher."""

    name, key = "self-distill", "self_distill"
    config = SelfDistillConfig

    def resolve(self, config: SelfDistillConfig) -> SelfDistillConfig:
        """The config with what recipe and method say filled in."""
        return resolve(config)

    def prepare(self, config: SelfDistillConfig, dataset: "ImageDataset | None" = None) -> "Run":
        """Read the data and the teacher, try out the network."""
        from cohort.jobs.self_distill.run import prepare_run

        return prepare_run(config, dataset)


SELF_DISTILL = SelfDistill()
