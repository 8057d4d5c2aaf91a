"""The file of a study: read, checked, and written again. Imports neither torch nor ray."""

from pathlib import Path

from cohort.tuning.commands import Command as Command
from cohort.tuning.report import BarsFigure as BarsFigure
from cohort.tuning.report import HeatmapFigure as HeatmapFigure
from cohort.tuning.report import LinesFigure as LinesFigure
from cohort.tuning.report import NoiseFigure as NoiseFigure
from cohort.tuning.report import Report as Report
from cohort.tuning.sections import Asha as Asha
from cohort.tuning.sections import GridSearch as GridSearch
from cohort.tuning.sections import Median as Median
from cohort.tuning.sections import NoScheduler as NoScheduler
from cohort.tuning.sections import OptunaSearch as OptunaSearch
from cohort.tuning.sections import Pbt as Pbt
from cohort.tuning.sections import PreparedRun as PreparedRun
from cohort.tuning.sections import RandomSearch as RandomSearch
from cohort.tuning.sections import Resources as Resources
from cohort.tuning.sections import Study as Study


def load_study(path: str | Path, *, smoke: bool = False) -> Study:
    """A study from its YAML file."""
    raise NotImplementedError


def to_yaml(study: Study) -> str:
    """The YAML text of a study."""
    raise NotImplementedError
