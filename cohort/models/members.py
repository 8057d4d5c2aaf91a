"""A batch ensemble that takes pixels as they are, and answers as one network.

Shapes: B batch, C classes, M members.
"""

import math

from torch import Tensor

from cohort.errors import ConfigError
from cohort.models.batch_ensemble import BatchEnsemble
from cohort.models.normalised import Normalised


class MembersStudent(Normalised):
    """Takes pixels in [0, 1] to the logits of every member, or to the logarithm of their mean posterior."""

    network: BatchEnsemble

    @property
    def num_members(self) -> int:
        """How many members there are, M."""
        return self.network.members

    def of_members(self, x_BCHW: Tensor) -> Tensor:
        """Logits [M, B, C] of every member, in one pass."""
        logits_MBC: Tensor = self.network(self.normalise(x_BCHW))
        return logits_MBC

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logarithm of the members' mean posterior, [B, C] in float32: its softmax is that mean."""
        log_posterior_MBC = self.of_members(x_BCHW).float().log_softmax(dim=2)
        return log_posterior_MBC.logsumexp(dim=0) - math.log(self.num_members)

    def features(self, x_BCHW: Tensor) -> Tensor:
        """Refused with ConfigError: every member has features of its own."""
        raise ConfigError(
            f"a student with {self.num_members} members has no features of its own to compare people "
            "by; take one of them, member_alone(m), or train a network without +members"
        )

    def member_alone(self, member: int) -> Normalised:
        """A plain student that gives the logits of one member, 0 to M - 1, of copies of the modules.

        Raises ConfigError if there is no such member.
        """
        return self.around(self.network.member_alone(member))
