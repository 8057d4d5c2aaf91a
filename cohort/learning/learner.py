"""One student: a network, its optimiser, and the two halves of a step, predict and learn.

What happens at a step depends on the weights, the seed and the step alone, never on which process
runs it: the same learner serves the in-process cohort, Ray actors and Ray Train jobs.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from cohort.data.dataset import ImageDataset, Split
from cohort.data.fed import source_of
from cohort.data.source import Source
from cohort.errors import RunError
from cohort.learning.data_parallel import Workers
from cohort.learning.evaluation import answers_over, combined
from cohort.learning.optimizers import build_optimizer
from cohort.learning.plan import TrainingPlan
from cohort.learning.precision import autocast
from cohort.learning.schedule import learning_rate
from cohort.learning.windows import Windows
from cohort.objectives.objective import Objective
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


@dataclass
class Prediction:
    """A forward pass that waits for the peers' posteriors: its graph is alive."""

    step: int
    outputs: Any
    """What the objective takes: logits [B, C], or those of all exits."""
    labels_B: Tensor


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
        inputs: from a step and its images to what ``forward`` is given, if not the images alone:
            perturbed ones too, and what teachers say of them.
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
        inputs: Callable[[int, Tensor], Any] | None = None,
        adapters: nn.Module | None = None,
        workers: Workers | None = None,
        source: Source | None = None,
    ) -> None:
        workers = workers or Workers()
        self.network = network
        self.plan = plan
        self.objective = replace(objective, label_smoothing=plan.label_smoothing)
        self.student = student
        self.forward = workers.parallel(forward or network)
        self.inputs = inputs
        self.adapters = adapters or nn.Identity()
        self.optimizer = build_optimizer(nn.ModuleList([network, self.adapters]), plan)
        self.device = next(network.parameters()).device
        self.source = source or training_source(dataset, plan, self.device, workers)
        self.windows = Windows(plan.log_every, workers.average)
        self._autocast = autocast(plan.precision, self.device)
        self._pending: Prediction | None = None
        self._batch: tuple[int, Tensor, Tensor] | None = None
        self._first_bad = torch.full((), -1, device=self.device)
        network.train()
        self.adapters.train()

    def predict(self, step: int) -> Tensor:
        """Forward on the batch of ``step``, kept for ``learn``; returns the log-posterior [B, C].

        Raises NonFiniteLossError; so does ``learn``, and on a GPU, where looking would stall it,
        ``close_window`` and ``snapshot``.
        """
        outputs = self._forward(step, "predict")
        posterior_BC = self.objective.posterior(outputs)
        self._watch(2 * step, posterior_BC)
        self._pending = Prediction(step, outputs, self._batch_of(step)[1])
        return posterior_BC

    def learn(self, step: int, peers: Sequence[Peer] = ()) -> None:
        """Backward and update for ``step``, from the labels and the peers' log-posteriors [B, C].

        Or sums of them.
        """
        pending = self._pending
        assert pending is not None, f"learn({step}) without a prediction"
        assert pending.step == step, f"learn({step}) after predict({pending.step})"
        self._pending = None
        peers = [peer.to(self.device, non_blocking=True) for peer in peers]
        loss, measurements = self.objective.loss(pending.outputs, pending.labels_B, peers)
        self._watch(2 * step + 1, loss.detach())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(step)
        self.windows.add(step, measurements)
        if self.windows.window_is_full:
            self.close_window()

    @torch.no_grad()
    def repredict(self, step: int) -> Tensor:
        """The log-posterior [B, C] of the same batch after the update (Algorithm 1, re-predict).

        In train mode like the paper's, so batch normalisation sees the batch once more.
        """
        return self.objective.posterior(self._forward(step, "repredict"))

    def close_window(self) -> None:
        """End the window of measurements here, full or not, once its losses are seen to be finite."""
        self._check_finite()
        self.windows.close_window()

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
        self._check_finite()
        optimizer = io.BytesIO()
        torch.save(self.optimizer.state_dict(), optimizer)
        files = {WEIGHTS_FILE: weights_bytes(self.network), OPTIMIZER_FILE: optimizer.getvalue()}
        if self.adapters.state_dict():
            files[ADAPTERS_FILE] = weights_bytes(self.adapters)
        return files

    def restore(self, files: Files) -> None:
        """Continue from a snapshot; a prediction that was waiting is forgotten."""
        self._pending = None
        self._first_bad.fill_(-1)
        self.windows.clear()
        self.network.load_state_dict(safetensors.torch.load(files[WEIGHTS_FILE]))
        if ADAPTERS_FILE in files:
            self.adapters.load_state_dict(safetensors.torch.load(files[ADAPTERS_FILE]))
        state: dict[str, Any] = torch.load(
            io.BytesIO(files[OPTIMIZER_FILE]), map_location=self.device, weights_only=True
        )
        self.optimizer.load_state_dict(state)

    def _update(self, step: int) -> None:
        """Weights after ``step``, from the gradients that they have."""
        groups = self.optimizer.param_groups
        if self.plan.clip_grad_norm is not None:
            trained = [parameter for group in groups for parameter in group["params"]]
            norm = clip_grad_norm_(trained, self.plan.clip_grad_norm)
            self._watch(2 * step + 1, norm)  # one that is not finite makes every weight NaN
        for group in groups:
            group["lr"] = learning_rate(self.plan, step) * group.get("lr_scale", 1.0)
        self.optimizer.step()

    def _forward(self, step: int, purpose: str) -> Any:
        # Dropout and the like draw from (seed, student, step): no random state is carried along.
        # Workers that share a batch draw apart, for their examples are not the same.
        apart = self.source.shard[:1] if self.source.shard[0] else ()
        seed_global(self.device, derive_seed(self.plan.seed, purpose, self.student, step, *apart))
        images, _ = self._batch_of(step)
        try:
            with self._autocast:
                return self.forward(images if self.inputs is None else self.inputs(step, images))
        except ValueError as error:  # torch's batch normalisation of one number
            if "more than 1 value per channel" in str(error):
                raise RunError(LONE_IMAGE) from error
            raise

    def _watch(self, order: int, values: Tensor) -> None:
        """Remember, on the device, the first ``order`` at which values were not finite."""
        fine = torch.isfinite(values).all() | (self._first_bad >= 0)
        self._first_bad = torch.where(fine, self._first_bad, order)
        if self.device.type == "cpu":
            self._check_finite()

    def _check_finite(self) -> None:
        order = int(self._first_bad)
        if order >= 0:
            raise NonFiniteLossError(self.student, order)

    def _batch_of(self, step: int) -> tuple[Tensor, Tensor]:
        if self._batch is None or self._batch[0] != step:
            self._batch = (step, *self.source.batch(step))
        return self._batch[1:]


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
