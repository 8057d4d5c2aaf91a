"""Inference of adaptive depth: an example leaves at the first exit that is sure of it.

Be Your Own Teacher — Zhang et al., ICCV 2019 (arXiv 1905.08094): an exit answers an example if its
largest probability reaches a threshold; only the others go deeper.

Shapes: B batch, C classes, E exits, F features, U examples not answered yet.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cohort.errors import ConfigError
from cohort.models.modules import in_mode
from cohort.models.multi_exit import ExitOutputs, MultiExit
from cohort.models.normalised import Normalised


class EarlyExits(NamedTuple):
    """One answer per example, in the order of the batch."""

    logits_BC: Tensor
    """Logits of the exit that answered, float32."""
    exits_B: Tensor
    """The number of that exit, 1 to E, int64."""


class MultiExitStudent(Normalised):
    """Takes pixels in [0, 1] to the logits of any exit, of all, or of the first that is sure."""

    network: MultiExit

    def outputs(self, x_BCHW: Tensor) -> ExitOutputs:
        """Logits [B, C] and features [B, F] of every exit, shallowest first."""
        return self.network.outputs(self.normalise(x_BCHW))

    def forward(self, x_BCHW: Tensor, exit: int | None = None) -> Tensor:
        """Logits [B, C] of one exit, the deepest by default; nothing beyond it is computed.

        Raises ConfigError if there is no such exit.
        """
        x_BCHW = self.normalise(x_BCHW)
        if exit is None:
            logits_BC: Tensor = self.network(x_BCHW)
            return logits_BC
        return self.network.logits_at(x_BCHW, exit)

    def exit_alone(self, exit: int) -> Normalised:
        """A plain network that gives what ``forward(x, exit)`` gives, of this student's modules.

        Raises ConfigError if there is no such exit.
        """
        return self.around(self.network.alone(exit))

    @torch.no_grad()
    def until_confident(self, x_BCHW: Tensor, threshold: float) -> EarlyExits:
        """Answers in evaluation mode, without gradients, each from as shallow an exit as may be.

        An exit answers the examples for which its largest probability is ``threshold`` or more, the
        deepest exit all that are left. Deeper sections and branches are run on the others alone.
        Raises ConfigError if ``threshold`` is not a probability.
        """
        if not 0 <= threshold <= 1:
            raise ConfigError(f"--threshold is {threshold}; it must be between 0 and 1")
        with in_mode(self, training=False):
            return self._descend(self.normalise(x_BCHW), threshold)

    def _descend(self, map_UCHW: Tensor, threshold: float) -> EarlyExits:
        network = self.network
        undecided_U = torch.arange(len(map_UCHW), device=map_UCHW.device)
        exits_B = torch.zeros_like(undecided_U)
        logits_BC = torch.zeros(len(map_UCHW), network.num_classes, device=map_UCHW.device)
        for exit, section in enumerate(network.sections, start=1):
            if not len(undecided_U):
                break
            map_UCHW = section(map_UCHW)
            logits_UC = network.classify(network.features(map_UCHW, exit), exit).float()
            sure_U = logits_UC.softmax(dim=1).amax(dim=1) >= threshold
            if exit == network.num_exits:
                sure_U = torch.ones_like(sure_U)
            logits_BC[undecided_U[sure_U]] = logits_UC[sure_U]
            exits_B[undecided_U[sure_U]] = exit
            undecided_U, map_UCHW = undecided_U[~sure_U], map_UCHW[~sure_U]
        return EarlyExits(logits_BC, exits_B)
