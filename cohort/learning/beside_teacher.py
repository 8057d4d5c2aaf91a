"""What is run on a training batch when a network has exits, or a teacher beside it.

Modules of their own, because a data-parallel wrapper only sees what goes through ``forward``.
"""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from cohort.models.cut import CutNetwork
from cohort.models.early_exit import MultiExitStudent
from cohort.models.multi_exit import ExitOutputs
from cohort.models.normalised import Normalised
from cohort.models.regressor import Regressors
from cohort.objectives.classic import BesideTeacher


class AllExits(nn.Module):
    """Every exit of a student, for its objective."""

    def __init__(self, student: MultiExitStudent) -> None:
        super().__init__()
        self.student = student

    def forward(self, x_BCHW: Tensor) -> ExitOutputs:
        """Logits and features of all exits."""
        return self.student.outputs(x_BCHW)


class BesideFrozenTeacher(nn.Module):
    """A student and its teacher on the same batch, with their maps if both are cut into sections.

    The teacher is in evaluation mode and is no submodule: it is neither trained nor saved.

    Args:
        student: normalises pixels.
        teacher: does too, and may do so otherwise.
        cuts: the networks of both, cut at as many places, if hints are compared.
        regressors: from the student's maps to the teacher's channels (FitNets).
    """

    def __init__(
        self,
        student: Normalised,
        teacher: Normalised,
        cuts: tuple[CutNetwork, CutNetwork] | None = None,
        regressors: Regressors | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.regressors = regressors
        self._frozen = (teacher, cuts)  # in a tuple, out of torch's sight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What ``to`` and its like do, to the teacher as well."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        teacher, cuts = self._frozen
        for hidden in (teacher, *(cuts or ())):
            hidden._apply(fn, recurse)
        return self

    def forward(self, x_BCHW: Tensor) -> BesideTeacher:
        """Logits and maps of both."""
        teacher, cuts = self._frozen
        if cuts is None:
            with torch.no_grad():
                taught_BC = teacher(x_BCHW)
            return BesideTeacher(self.student(x_BCHW), (), taught_BC, ())
        with torch.no_grad():
            teacher_maps, taught_BC = cuts[1].with_maps(teacher.normalise(x_BCHW))
        maps, logits_BC = cuts[0].with_maps(self.student.normalise(x_BCHW))
        if self.regressors is not None:
            maps = self.regressors(maps)
        return BesideTeacher(logits_BC, maps, taught_BC, teacher_maps)
