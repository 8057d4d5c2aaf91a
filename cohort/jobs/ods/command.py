"""``cohort ods-distill``, as the command line, studies and ``resume`` know it. Imports no torch."""

from typing import TYPE_CHECKING

from cohort.jobs.ods.config import OdsConfig
from cohort.run.command import Command

if TYPE_CHECKING:
    from cohort.data.dataset import ImageDataset
    from cohort.run.start import Run


class OdsDistill(Command[OdsConfig]):
    """ODS distillation: a deep ensemble in one network, its diversity kept."""

    name, key = "ods-distill", "ods_distill"
    config = OdsConfig

    def resolve(self, config: OdsConfig) -> OdsConfig:
        """The config with what teachers, recipe and method say filled in."""
        from cohort.jobs.ods.resolve import resolve

        return resolve(config)

    def prepare(self, config: OdsConfig, dataset: "ImageDataset | None" = None) -> "Run":
        """Read the data and the teachers, try out the network."""
        from cohort.jobs.ods.run import prepare_run

        return prepare_run(config, dataset)


ODS_DISTILL = OdsDistill()
