"""How much gradient reaches each layer: the vanishing that shallow exits are to prevent.

"Be Your Own Teacher" (ICCV 2019, arXiv 1905.08094), section 5: the mean absolute gradient of every
convolution, for a network trained with and one trained without self-distillation.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cohort.analysis.findings import SEED, sample
from cohort.data.dataset import ImageDataset
from cohort.data.source import BatchSource
from cohort.models.early_exit import MultiExitStudent
from cohort.objectives.self_distillation import DEEP_SUPERVISION, SelfDistillation

BATCH = 64
"""Images of which a gradient is the mean, fewer if there are not so many."""

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""The scalar training loss of (network, images [B, C, H, W], labels [B])."""


def gradient_magnitudes(
    network: nn.Module, loss: Loss, batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Mean over batches and elements of |∂L/∂w| for the weight of each convolution and linear layer.

    Args:
        network: run in training mode; parameters, gradients, statistics, modes and the random state
            are left as they were.
        loss: the training loss.
        batches: images and labels on the network's device, at least one pair.

    Returns:
        The magnitude by the layer's module name, in the order in which the network registers them,
        which in ours is the order of the forward pass. A layer that the loss does not depend on
        has 0; frozen layers are left out.

    Raises:
        ValueError: if there is no batch.
    """
    layers = trainable_layers(network)
    weights = list(layers.values())
    sums, count = torch.zeros(len(weights), dtype=torch.float64), 0
    with trial_training(network):
        for images, labels in batches:
            # torch.autograd.grad leaves every .grad alone, unlike backward.
            gradients = torch.autograd.grad(
                loss(network, images, labels), weights, allow_unused=True, materialize_grads=True
            )
            sums += torch.stack([g.abs().double().mean() for g in gradients]).cpu()
            count += 1
    if not count:
        raise ValueError("the gradient over no batches is undefined")
    return dict(zip(layers, (sums / count).tolist(), strict=True))


def trainable_layers(network: nn.Module) -> dict[str, Tensor]:
    """The weights of the convolutions and linear layers that are not frozen, by module name."""
    return {
        name: module.weight
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.requires_grad
    }


@contextmanager
def trial_training(network: nn.Module) -> Iterator[None]:
    """Training mode inside, dropout drawn from a fixed seed; afterwards all is as it was.

    That is every module's mode, every buffer (batch normalisation's running statistics), and the
    random state.
    """
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    devices = {p.device.index for p in network.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=[index for index in devices if index is not None]):
        torch.manual_seed(0)
        network.train()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)


def last_exit_loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of what the network answers: the last exit's if it has several."""
    return F.cross_entropy(network(images), labels)


def loss_of_exits(objective: SelfDistillation) -> Loss:
    """The loss that trains all exits of a student with exits."""

    def loss(student: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        assert isinstance(student, MultiExitStudent)
        return objective.loss(student.outputs(images), labels)[0]

    return loss


def backbone_of(student: nn.Module) -> set[nn.Module]:
    """All modules but those that only the shallow exits use: their branches and classifiers."""
    modules = set(student.modules())
    if not isinstance(student, MultiExitStudent):
        return modules
    network = student.network
    heads = [*network.branches, *network.classifiers[:-1]]
    return modules - {module for head in heads for module in head.modules()}


def losses_of(student: nn.Module, objective: SelfDistillation) -> dict[str, Loss]:
    """The training losses whose gradients are compared, by name; ``objective`` is that of the exits."""
    if not isinstance(student, MultiExitStudent):
        return {"labels": last_exit_loss}
    return {
        "self-distillation": loss_of_exits(objective),
        "labels at every exit": loss_of_exits(DEEP_SUPERVISION),
        "labels at the last exit": last_exit_loss,
    }


def training_batches(
    dataset: ImageDataset, examples: int, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """Full batches of ``examples`` training images at random, augmented as in training."""
    split = sample(dataset.train, examples)
    source = BatchSource(
        split,
        batch_size=min(BATCH, len(split)),
        seed=SEED,
        augmentation=dataset.augmentation,
        device=device,
    )
    return [source.batch(step) for step in range(source.steps_per_epoch)]
