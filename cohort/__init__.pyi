"""The public names of cohort and where each is defined: for type checkers, and read when one is used."""

from cohort.commands import resume as resume
from cohort.data.dataset import Augmentation as Augmentation
from cohort.data.dataset import ImageDataset as ImageDataset
from cohort.data.dataset import Split as Split
from cohort.errors import ConfigError as ConfigError
from cohort.errors import RunError as RunError
from cohort.jobs.ods.config import OdsConfig as OdsConfig
from cohort.jobs.ods.run import ods_distill as ods_distill
from cohort.jobs.self_distill.config import SelfDistillConfig as SelfDistillConfig
from cohort.jobs.self_distill.run import self_distill as self_distill
from cohort.learning.export import export_exit as export_exit
from cohort.learning.student_files import load_student as load_student
from cohort.models.early_exit import MultiExitStudent as MultiExitStudent
from cohort.models.members import MembersStudent as MembersStudent
from cohort.models.spec import WithExits as WithExits
from cohort.models.spec import WithMembers as WithMembers
from cohort.run.start import Result as Result
from cohort.runtime.config import CohortConfig as CohortConfig
from cohort.runtime.train import train_cohort as train_cohort
from cohort.tuning.file.load import load_study as load_study
from cohort.tuning.on_ray.run import run_study as run_study
from cohort.tuning.study import Study as Study
from cohort.version import __version__ as __version__
