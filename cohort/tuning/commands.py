"""The commands that a study's trials run, and their configs. Imports neither torch nor ray."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from cohort.config import RunConfig
from cohort.config_file import validate
from cohort.jobs.ods.config import OdsConfig
from cohort.jobs.self_distill.config import SelfDistillConfig
from cohort.runtime.config import CohortConfig

Command = Literal["launch_cohort", "self_distill", "ods_distill"]
COMMANDS: tuple[Command, ...] = get_args(Command)

CONFIGS: Mapping[Command, type[RunConfig]] = {
    "launch_cohort": CohortConfig,
    "self_distill": SelfDistillConfig,
    "ods_distill": OdsConfig,
}


def build_config(command: Command, values: Mapping[str, Any], where: str) -> RunConfig:
    """The config of a command; ConfigErrors begin with ``where``."""
    return validate(values, CONFIGS[command], {}, where)
