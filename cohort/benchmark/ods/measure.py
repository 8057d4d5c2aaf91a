"""What a step of ODS distillation costs beside simpler ones, interleaved, and what its parts cost."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

from cohort.analysis.turns import seconds_of, time_rounds, wait
from cohort.benchmark.device import device_for
from cohort.benchmark.ods.config import METHODS, PARTS, OdsBenchConfig, OdsMethod
from cohort.config import Perturbation
from cohort.learning.optimizers import build_optimizer
from cohort.learning.plan import TrainingPlan
from cohort.learning.precision import autocast
from cohort.learning.teachers import Teachers
from cohort.learning.teaching import member_logits
from cohort.models.normalised import Normalised
from cohort.models.registry import build_student
from cohort.objectives.ods import BesideEnsemble, EnsembleDistillation
from cohort.objectives.perturbation import InputPerturbation
from cohort.seeding import generator

KINDS: Mapping[OdsMethod, Perturbation] = {
    "kd": "none",
    "gaussian": "gaussian",
    "ods": "ods",
    "conf_ods": "conf_ods",
}
TEMPERATURE = 4.0
"""It costs what any other does."""
PLAN = TrainingPlan(
    batch_size=1, lr=1e-4, weight_decay=5e-4, optimizer="sgd", lr_schedule="constant",
    steps_per_epoch=1, schedule_steps=1, total_steps=1, log_every=1, eval_every=1, checkpoint_every=1,
)  # fmt: skip
"""For the optimiser, which costs the same at any rate; nothing else is looked at."""

PartDone = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds, round by round, and multiply-adds of one step."""

    round_seconds: dict[OdsMethod, list[float]]
    part_seconds: dict[str, list[float]]
    """By part of a step of ``ods``, in rounds of their own: a GPU has to be waited for at each part."""
    multiply_adds: dict[OdsMethod, dict[str, int]]
    """By method and part, those in convolutions and linear layers."""


@dataclass(kw_only=True)
class Step:
    """One way to learn, taken apart; what it does not need, it does not do."""

    student: nn.Module
    optimizer: Optimizer
    images_BCHW: Tensor
    labels_B: Tensor
    autocast: torch.autocast
    teachers: Teachers | None
    perturbation: InputPerturbation

    def __call__(self, step: int, part_done: PartDone = lambda part: None) -> None:
        """Carry out a step, and say when each of ``PARTS`` is done."""
        clean_BCHW = self.images_BCHW
        with self.autocast:
            perturbed_BCHW = self._perturbed(step)
            part_done("perturbation")
            taught = None if self.teachers is None else self.teachers.log_posteriors(perturbed_BCHW)
            part_done("teachers")
            clean_MBC = perturbed_MBC = member_logits(self.student, clean_BCHW)
            part_done("clean")
            if perturbed_BCHW is not clean_BCHW:
                perturbed_MBC = member_logits(self.student, perturbed_BCHW)
            part_done("perturbed")
        self._update(BesideEnsemble(clean_MBC, perturbed_MBC, taught))
        part_done("update")

    def _perturbed(self, step: int) -> Tensor:
        images_BCHW = self.images_BCHW
        if self.teachers is None:
            return images_BCHW
        chosen = self.perturbation.chosen_teacher(0, step, len(self.teachers))
        teacher = self.teachers.one(chosen)
        # A view, which costs nothing: a module that is given a leaf cannot have its operations counted.
        return self.perturbation(
            images_BCHW, lambda x_BCHW: teacher(x_BCHW.view_as(x_BCHW)), seed=0, step=step
        )

    def _update(self, outputs: BesideEnsemble) -> None:
        objective = EnsembleDistillation(
            method="labels" if self.teachers is None else "one_to_one",
            alpha=0.9,
            temperature=TEMPERATURE,
        )
        loss, _ = objective.loss(outputs, self.labels_B)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def measure_ods(config: OdsBenchConfig) -> Measured:
    """Run the benchmark. Raises ConfigError if a network cannot be built as configured."""
    with device_for(config) as device:
        steps = build_steps(config, device)
        multiply_adds = {method: count(step) for method, step in steps.items()}
        timed = partial(time_rounds, rounds=config.rounds, steps=config.steps, seed=config.seed)
        methods = {method: partial(time_steps, step, device) for method, step in steps.items()}
        parts = timed({"ods": partial(time_parts, steps["ods"], device)})["ods"]
        return Measured(
            round_seconds=timed(methods),
            part_seconds={part: [seconds[part] for seconds in parts] for part in PARTS},
            multiply_adds=multiply_adds,
        )


def build_steps(config: OdsBenchConfig, device: torch.device) -> dict[OdsMethod, Step]:
    """A step of every method, each with a student of its own; all share batch and frozen teachers."""
    draw = generator(config.seed, "benchmark")
    shape = config.batch_size, 3, config.image_size, config.image_size
    images_BCHW = torch.rand(shape, generator=draw).to(device)
    labels_B = torch.randint(config.classes, (config.batch_size,), generator=draw).to(device)
    ensemble = [build(config, config.model, 1 + j) for j in range(config.members)]
    teachers = Teachers(ensemble, stacked=config.stacked_teachers).to(device)

    def step(method: OdsMethod) -> Step:
        network = config.model if method == "single" else f"{config.model}+members={config.members}"
        student = build(config, network, 0).to(device).train()
        return Step(
            student=student,
            optimizer=build_optimizer(student, PLAN),
            images_BCHW=images_BCHW,
            labels_B=labels_B,
            autocast=autocast(config.precision, device),
            teachers=teachers if method in KINDS else None,
            perturbation=InputPerturbation(kind=KINDS.get(method, "none"), temperature=TEMPERATURE),
        )

    return {method: step(method) for method in METHODS}


def build(config: OdsBenchConfig, network: str, number: int) -> Normalised:
    """A network with random weights: what it knows changes no time."""
    return build_student(
        network,
        num_classes=config.classes,
        image_shape=(3, config.image_size, config.image_size),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        seed=config.seed,
        student=number,
        flag="--model",
    )


def count(step: Step) -> dict[str, int]:
    """Multiply-adds of each part of a step."""
    totals = [0]
    with FlopCounterMode(display=False) as counter:
        step(0, lambda part: totals.append(counter.get_total_flops() // 2))
    return {part: totals[i + 1] - totals[i] for i, part in enumerate(PARTS)}


def time_steps(step: Step, device: torch.device, numbers: range) -> float:
    """Seconds for these steps."""

    def work() -> None:
        for number in numbers:
            step(number)

    return seconds_of(work, device)


def time_parts(step: Step, device: torch.device, numbers: range) -> dict[str, float]:
    """Seconds for each part of these steps."""
    seconds = dict.fromkeys(PARTS, 0.0)
    last = time.perf_counter()

    def part_done(part: str) -> None:
        nonlocal last
        wait(device)
        now = time.perf_counter()
        seconds[part] += now - last
        last = now

    for number in numbers:
        step(number, part_done)
    return seconds
