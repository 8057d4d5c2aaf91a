"""One student: a network, its optimiser, and the two halves of a step, predict and learn.

What happens at a step depends on the weights, the seed and the step alone, never on which process
runs it: the same learner serves the in-process cohort, Ray actors and Ray Train jobs.

A half is in two parts. One differs from step to step and is Python: random seeds, the batch, the
learning rate. The other, ``look`` and ``improve``, reads and writes tensors alone, and waits for no
GPU, so that it can be captured once and replayed (``cohort.learning.capture``).
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from cohort.data.dataset import ImageDataset, Split
from cohort.data.fed import source_of
from cohort.data.source import Source
from cohort.errors import RunError
from cohort.learning.compiling import compiled
from cohort.learning.data_parallel import Workers
from cohort.learning.evaluation import answers_over, combined
from cohort.learning.inputs import Drawn, Inputs
from cohort.learning.optimizers import build_optimizer, load_state, saved_state, set_rates, update
from cohort.learning.plan import TrainingPlan
from cohort.learning.precision import autocast
from cohort.learning.schedule import learning_rate
from cohort.learning.windows import Windows
from cohort.objectives.objective import Measurements, Objective
from cohort.objectives.peer_sum import Peer
from cohort.seeding import derive_seed, seed_global

WEIGHTS_FILE = "model.safetensors"
OPTIMIZER_FILE = "optimizer.pt"
ADAPTERS_FILE = "adapters.safetensors"
LONE_IMAGE = (
    "--batch-size leaves one image to a batch normalisation, and the network has shrunk it to a "
    "single pixel, which has no variance; make it greater"
)
Files = dict[str, bytes]


class NonFiniteLossError(RunError):
    """A student's loss became infinite or NaN: further training would only spread it.

    ``order`` tells cause from consequence: a student whose own posterior is not finite at a step
    comes before the peers whose loss it spoils there.
    """

    def __init__(self, student: int, order: int) -> None:
        super().__init__(
            f"student {student}: the loss is not finite at step {order // 2}; "
            "lower --lr or the weight of a loss term, or look at the data"
        )
        self.student = student
        self.order = order

    def __reduce__(self) -> tuple[type["NonFiniteLossError"], tuple[int, int]]:
        return type(self), (self.student, self.order)


class Given(NamedTuple):
    """What a step is given from outside: tensors, and what tells one way to compute from another."""

    images_BCHW: Tensor
    """Float32, in [0, 1]."""
    labels_B: Tensor
    drawn: Drawn = Drawn()
    """For the learner's ``inputs``."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that it has."""
        return self.images_BCHW, self.labels_B, *self.drawn.tensors

    def of_tensors(self, tensors: Sequence[Tensor]) -> "Given":
        """The same with other ``tensors``."""
        images_BCHW, labels_B, *drawn = tensors
        return Given(images_BCHW, labels_B, Drawn(self.drawn.way, tuple(drawn)))


class Prediction(NamedTuple):
    """A forward pass that waits for the peers' posteriors: its graph is alive."""

    outputs: Any
    """What the objective takes: logits [B, C], or those of all exits."""
    labels_B: Tensor
    posterior_BC: Tensor
    """What peers see: detached, logarithmic."""
    fine: Tensor
    """Whether it is finite."""


class Learned(NamedTuple):
    """What an update measured."""

    measurements: Measurements
    fine: tuple[Tensor, ...]
    """Whether the posterior, and the loss and the gradient, were finite; of a CPU none: it has looked."""


class Learner:
    """Predicts on the batch of a step, then learns from it and from the peers' posteriors.

    Args:
        network: the student, pixels to logits, where it is to be trained; what is evaluated and kept.
        plan: how it is trained.
        dataset: what it is trained on; its batches come through its feed, if it has one.
        objective: the loss of what ``forward`` gives, its labels smoothed as the plan says.
        student: number of the student; dropout draws from (seed, student, step).
        forward: what is run on a training batch, if more than the network: all exits of it, a teacher
            beside it. Float32 [B, C, H, W] in.
        inputs: what ``forward`` is given of a step's images, if not these alone: perturbed ones too,
            and what teachers say of them.
        adapters: modules that are trained with the network but not kept, such as regressors.
        workers: of a data-parallel job, as this one sees them: it learns from its shard of each batch,
            and gradients and measurements are averaged over all.
        source: of its batches, if it shares one with others; else one of its own.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: TrainingPlan,
        dataset: ImageDataset,
        objective: Objective,
        *,
        student: int,
        forward: nn.Module | None = None,
        inputs: Inputs | None = None,
        adapters: nn.Module | None = None,
        workers: Workers | None = None,
        source: Source | None = None,
    ) -> None:
        workers = workers or Workers()
        self.network = network
        self.plan = plan
        self.objective = replace(objective, label_smoothing=plan.label_smoothing)
        self.student = student
        whole = forward or network
        self.forward = compiled(whole) if plan.compile else workers.parallel(whole)
        self.inputs = inputs
        self.adapters = adapters or nn.Identity()
        self.optimizer = build_optimizer(nn.ModuleList([network, self.adapters]), plan)
        self.device = next(network.parameters()).device
        self.source = source or training_source(dataset, plan, self.device, workers)
        self.windows = Windows(plan.log_every, workers.average)
        self._autocast = autocast(plan.precision, self.device)
        self._pending: tuple[int, Prediction] | None = None
        self._given: tuple[int, Given] | None = None
        self._step = -1
        self._rate: float | None = None
        network.train()
        self.adapters.train()

    def predict(self, step: int) -> Tensor:
        """Forward on the batch of ``step``, kept for ``learn``; returns the log-posterior [B, C].

        Raises NonFiniteLossError; so does ``learn``, and on a GPU, where looking would stall it,
        ``close_window`` and ``snapshot``.
        """
        self.begin(step)
        self.seed("predict", step)
        prediction = self.look(self.given(step))
        self._pending = step, prediction
        return prediction.posterior_BC

    def learn(self, step: int, peers: Sequence[Peer] = ()) -> None:
        """Backward and update for ``step``, from the labels and the peers' log-posteriors [B, C].

        Or sums of them.
        """
        pending = self._pending
        assert pending is not None, f"learn({step}) without a prediction"
        assert pending[0] == step, f"learn({step}) after predict({pending[0]})"
        self._pending = None
        peers = [peer.to(self.device, non_blocking=True) for peer in peers]
        self.note(step, self.improve(pending[1], peers))

    def repredict(self, step: int) -> Tensor:
        """The log-posterior [B, C] of the same batch after the update (Algorithm 1, re-predict).

        In train mode like the paper's, so batch normalisation sees the batch once more.
        """
        self.seed("repredict", step)
        return self.look_again(self.given(step))

    def read(self, source: Source) -> None:
        """Take the batches from another source from now on."""
        self.source = source
        self._given = None

    # What differs from step to step

    def begin(self, step: int) -> None:
        """What comes is of ``step``: its learning rate is set."""
        self._step = step
        rate = learning_rate(self.plan, step)
        if rate != self._rate:
            set_rates(self.optimizer, rate)
            self._rate = rate

    def seed(self, purpose: str, step: int) -> None:
        """Let dropout and the like draw from (seed, student, step): no random state is carried along."""
        # Workers that share a batch draw apart, for their examples are not the same.
        apart = self.source.shard[:1] if self.source.shard[0] else ()
        seed_global(self.device, derive_seed(self.plan.seed, purpose, self.student, step, *apart))

    def given(self, step: int) -> Given:
        """The batch of a step, and what is drawn beside it; the newest is kept."""
        if self._given is None or self._given[0] != step:
            images, labels = self.source.batch(step)
            drawn = Drawn() if self.inputs is None else self.inputs.draw(step, images)
            self._given = step, Given(images, labels, drawn)
        return self._given[1]

    def note(self, step: int, learned: Learned) -> None:
        """Take the measurements of ``step`` into their window."""
        self.windows.add(step, learned.measurements, learned.fine)
        if self.windows.window_is_full:
            self.close_window()

    # What is the same at every step

    def look(self, given: Given) -> Prediction:
        """Forward, and the log-posterior that peers see."""
        outputs = self._forward(given)
        posterior_BC = self.objective.posterior(outputs)
        return Prediction(outputs, given.labels_B, posterior_BC, self._fine(0, posterior_BC))

    def improve(self, prediction: Prediction, peers: Sequence[Peer]) -> Learned:
        """Backward and update, from the labels and the peers' log-posteriors [B, C] on the device."""
        loss, measurements = self.objective.loss(prediction.outputs, prediction.labels_B, peers)
        fine = self._fine(1, loss.detach())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.plan.clip_grad_norm is not None:
            groups = self.optimizer.param_groups
            trained = [parameter for group in groups for parameter in group["params"]]
            norm = clip_grad_norm_(trained, self.plan.clip_grad_norm)
            fine = fine & self._fine(1, norm)  # one that is not finite makes every weight NaN
        update(self.optimizer)
        looked = self.device.type == "cpu"
        return Learned(measurements, () if looked else (prediction.fine, fine))

    @torch.no_grad()
    def look_again(self, given: Given) -> Tensor:
        """The log-posterior [B, C] of the same batch, without a graph."""
        return self.objective.posterior(self._forward(given))

    # Between steps

    def close_window(self) -> None:
        """End the window of measurements here, full or not, once its losses are seen to be finite."""
        self._refuse(self.windows.close_window())

    def answer_over(self, split: Split) -> Tensor:
        """What a split asks of the network, in evaluation mode, in fp32, and on the CPU.

        The log-posterior [N, C] at T = 1, of the deepest exit, or the mean of a batch ensemble's
        members; of a ``Search`` the features [N, D].
        """
        return combined(self.network, self.answers_over(split))

    def answers_over(self, split: Split) -> list[Tensor]:
        """The same of all exits, shallowest first, or of all members; features are the network's alone."""
        return answers_over(self.network, split, self.device)

    def snapshot(self) -> Files:
        """Everything that the next step depends on, as files. Not between predict and learn."""
        assert self._pending is None, "a snapshot between predict and learn would lose the graph"
        self._refuse(self.windows.first_bad())
        optimizer = io.BytesIO()
        torch.save(saved_state(self.optimizer), optimizer)
        files = {WEIGHTS_FILE: weights_bytes(self.network), OPTIMIZER_FILE: optimizer.getvalue()}
        if self.adapters.state_dict():
            files[ADAPTERS_FILE] = weights_bytes(self.adapters)
        return files

    def restore(self, files: Files) -> None:
        """Continue from a snapshot; a prediction that was waiting is forgotten."""
        self._pending = None
        self.windows.clear()
        self.network.load_state_dict(safetensors.torch.load(files[WEIGHTS_FILE]))
        if ADAPTERS_FILE in files:
            self.adapters.load_state_dict(safetensors.torch.load(files[ADAPTERS_FILE]))
        state: dict[str, Any] = torch.load(
            io.BytesIO(files[OPTIMIZER_FILE]), map_location=self.device, weights_only=True
        )
        load_state(self.optimizer, state)
        self._rate = None

    def _forward(self, given: Given) -> Any:
        images, _, drawn = given
        try:
            with self._autocast:
                return self.forward(
                    images if self.inputs is None else self.inputs.of(images, drawn)
                )
        except ValueError as error:  # torch's batch normalisation of one number
            if "more than 1 value per channel" in str(error):
                raise RunError(LONE_IMAGE) from error
            raise

    def _fine(self, half: int, values: Tensor) -> Tensor:
        """Whether values of this half of the step are finite; the CPU looks, a GPU is not stalled."""
        fine = torch.isfinite(values).all()
        if self.device.type == "cpu" and not fine:
            self._refuse(2 * self._step + half)
        return fine

    def _refuse(self, order: int | None) -> None:
        if order is not None:
            raise NonFiniteLossError(self.student, order)


def training_source(
    dataset: ImageDataset, plan: TrainingPlan, device: torch.device, workers: Workers | None = None
) -> Source:
    """The batches of a plan, on a device: from the data set's feed, if it has one; a worker's shard."""
    workers = workers or Workers()
    return source_of(
        dataset,
        batch_size=plan.batch_size,
        seed=plan.seed,
        total_steps=plan.total_steps,
        device=device,
        shard=(workers.rank, workers.size),
    )


def weights_bytes(network: nn.Module) -> bytes:
    """Parameters and buffers as a safetensors file; tied weights are written out one by one."""
    state = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
    return safetensors.torch.save(state)
