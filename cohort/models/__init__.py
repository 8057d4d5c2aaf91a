"""Networks by name, and one's own by ``package.module:function``."""

from cohort.models.inception_v1 import InceptionV1 as InceptionV1
from cohort.models.mobilenet import MobileNet as MobileNet
from cohort.models.normalised import Normalised as Normalised
from cohort.models.registry import build_network as build_network
from cohort.models.registry import build_student as build_student
from cohort.models.registry import check_network as check_network
from cohort.models.registry import known_networks as known_networks
from cohort.models.resnet import ResNet as ResNet
from cohort.models.wide_resnet import WideResNet as WideResNet
