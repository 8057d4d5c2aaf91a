"""Networks by name, and one's own by ``package.module:function``."""

from cohort.models.batch_ensemble import BatchEnsemble as BatchEnsemble
from cohort.models.batch_ensemble import batch_ensemble as batch_ensemble
from cohort.models.deep_resnet import DeepResNet as DeepResNet
from cohort.models.early_exit import EarlyExits as EarlyExits
from cohort.models.early_exit import MultiExitStudent as MultiExitStudent
from cohort.models.exit_outputs import ExitOutputs as ExitOutputs
from cohort.models.families import known_networks as known_networks
from cohort.models.inception_v1 import InceptionV1 as InceptionV1
from cohort.models.members import MembersStudent as MembersStudent
from cohort.models.mobilenet import MobileNet as MobileNet
from cohort.models.multi_exit import MultiExit as MultiExit
from cohort.models.normalised import Normalised as Normalised
from cohort.models.pyramidnet import PyramidNet as PyramidNet
from cohort.models.registry import build_network as build_network
from cohort.models.registry import build_student as build_student
from cohort.models.registry import check_network as check_network
from cohort.models.resnet import ResNet as ResNet
from cohort.models.vgg import VGG as VGG
from cohort.models.wide_resnet import WideResNet as WideResNet
from cohort.with_exits import WithExits as WithExits
from cohort.with_members import WithMembers as WithMembers
