"""Self-distillation made ready: the student, what is run beside it in training, and its objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cohort.analysis.cost import exit_costs
from cohort.analysis.exits import DEEPEST, exit_lines, report_exits
from cohort.jobs.job import STUDENT, Evaluation, Job
from cohort.jobs.self_distill.config import WITH_EXITS, Method, SelfDistillConfig
from cohort.jobs.self_distill.hints import beside_teacher
from cohort.jobs.teacher import TeacherFiles
from cohort.learning.beside_heads import TrainedWithHeads
from cohort.learning.beside_teacher import AllExits, BesideFrozenTeacher
from cohort.learning.build import heads_for, student_for
from cohort.learning.data_parallel import Workers
from cohort.learning.learner import Learner
from cohort.learning.student_files import own_factory, trained_student
from cohort.models.early_exit import MultiExitStudent
from cohort.models.normalised import Normalised
from cohort.models.spec import WithExits
from cohort.objectives.auxiliary import WithAuxiliary
from cohort.objectives.classic import ClassicDistillation, Hint
from cohort.objectives.mimicry import divergence_of
from cohort.objectives.objective import Objective
from cohort.objectives.self_distillation import DEEP_SUPERVISION, LABELS_ONLY, SelfDistillation
from cohort.run.ending import prefixed

HINTS: Mapping[Method, Hint] = {"kd": "none", "fitnet": "maps", "at": "attention"}


@dataclass(frozen=True)
class SelfDistillJob(Job):
    """A network that is its own teacher, or learns from another one, made ready."""

    config: SelfDistillConfig
    teacher: TeacherFiles | None

    def build_learner(self, workers: Workers, device: torch.device) -> Learner:
        """The learner of one worker at step 0."""
        student = self.student()
        module = self.training_module(student).to(device)  # and with it the student
        return Learner(
            student,
            self.plan,
            self.dataset,
            _objective(self.config, module),
            student=STUDENT,
            forward=module,
            adapters=_adapters(module),
            workers=workers,
        )

    def student(self) -> Normalised:
        """The student at step 0, with exits if the method has some."""
        config, dataset = self.config, self.dataset
        assert config.model is not None, "the config is not resolved"
        with_exits = config.method in WITH_EXITS
        spec = WithExits(config.model, config.places) if with_exits else config.model
        return student_for(dataset, spec, seed=config.seed, student=STUDENT, flag="--model")

    def training_module(self, student: Normalised) -> nn.Module:
        """What is run on a training batch: the student, its exits or heads, or a teacher beside it."""
        if isinstance(student, MultiExitStudent):
            return AllExits(student)
        if self.teacher is None:
            assert self.config.model is not None, "the config is not resolved"
            network, seed = self.config.model, self.config.seed
            heads = heads_for(self.dataset, network, student, seed=seed, student=STUDENT)
            return student if heads is None else heads
        teacher = self.teacher.build()
        return beside_teacher(self.config, student, teacher, self.dataset.image_shape)

    def answer(self, outputs: Sequence[Tensor]) -> Tensor:
        """The deepest exit's log-posterior [N, C]."""
        return outputs[-1]

    def measure(
        self, outputs: Sequence[Tensor], labels_N: Tensor, held_out: Sequence[Tensor] | None
    ) -> Evaluation:
        """Measurements of the deepest exit, of all exits, and of their ensembles by mean posterior.

        A plain network has no ``exits``. With more than three exits, the deepest three are an
        ensemble too (Table 5).
        """
        report = report_exits(outputs, labels_N)
        deepest: dict[str, Any] = dict(report.exits[-1])
        if len(report.exits) > 1:
            names = report.exits[-1]
            deepest["exits"] = {name: [exit_[name] for exit_ in report.exits] for name in names}
        result: Evaluation = {STUDENT: deepest, "ensemble": dict(report.ensemble)}
        if len(report.exits) > DEEPEST:
            result["ensemble_deepest"] = dict(report.deepest)
        return result

    def named_constants(self) -> dict[str, Any]:
        """The method, for summary.json."""
        return {"method": self.config.method}

    def student_details(self, measured: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Every exit's cost beside its measurements, for the student's line in summary.json."""
        exits = measured.pop("exits", None)
        if exits is None:
            return {}
        own = own_factory(self.config.model)
        student = trained_student(folder, own, trust_code=True)  # it was trained here
        assert isinstance(student, MultiExitStudent)
        by_exit = [
            {name: values[index] for name, values in exits.items()}
            for index in range(student.network.num_exits)
        ]
        costs = exit_costs(student, self.dataset.image_shape)
        return {"exits": exit_lines(by_exit, costs, student.network.places)}

    def endings(self, evaluation: Evaluation, concluded: Mapping[str, Any]) -> dict[str, Any]:
        """Measurements of the ensembles of exits, for the end of summary.json."""
        ensembles = ("ensemble", "ensemble_deepest")
        return {name: prefixed(evaluation[name]) for name in ensembles if name in evaluation}


def _adapters(module: nn.Module) -> nn.Module | None:
    """What is trained with the student and not kept, if anything is."""
    if isinstance(module, TrainedWithHeads):
        return module.heads
    return module.regressors if isinstance(module, BesideFrozenTeacher) else None


def _objective(config: SelfDistillConfig, module: nn.Module) -> Objective:
    if isinstance(module, TrainedWithHeads):
        return WithAuxiliary(main=LABELS_ONLY, weight=module.weight)
    if config.method == "none":
        return LABELS_ONLY
    if config.method == "dsn":
        return DEEP_SUPERVISION
    assert config.alpha is not None, "the config is not resolved"
    assert config.temperature is not None
    if config.method == "byot":
        assert config.hint_weight is not None
        return SelfDistillation(
            alpha=config.alpha,
            hint_weight=config.hint_weight,
            hint_distance=config.hint_distance or "sum",
            temperature=config.temperature,
        )
    return ClassicDistillation(
        alpha=config.alpha,
        temperature=config.temperature,
        hint=HINTS[config.method],
        hint_weight=config.hint_weight or 0.0,
        divergence=divergence_of(config.mimicry, config.mimicry_beta),
        standardise=config.standardise,
    )
