"""The student around a network, of the class that the network asks for."""

from collections.abc import Sequence

from torch import nn

from cohort.models.batch_ensemble import BatchEnsemble
from cohort.models.early_exit import MultiExitStudent
from cohort.models.members import MembersStudent
from cohort.models.multi_exit import MultiExit
from cohort.models.normalised import Normalised


def normalised(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> Normalised:
    """A MultiExitStudent of a network with exits, a MembersStudent of a batch ensemble."""
    if isinstance(network, MultiExit):
        return MultiExitStudent(network, mean, std)
    if isinstance(network, BatchEnsemble):
        return MembersStudent(network, mean, std)
    return Normalised(network, mean, std)
