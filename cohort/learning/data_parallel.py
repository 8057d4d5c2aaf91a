"""Several workers that learn one network from one batch, each from its part of the examples.

The global batch, and with it the learning rate, is the same whatever the number of workers: worker
r of W takes the r-th W-th of it. Gradients are averaged, and batch normalisation sees the whole
batch, so W workers follow one worker's loss up to the order of summation.

Shapes: N examples, C channels or classes, W workers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from cohort.data.dataset import Split

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Workers:
    """The workers of a job as one of them sees them. One worker needs no process group."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def leads(self) -> bool:
        """Whether this worker speaks for all."""
        return self.rank == 0

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module, its gradients averaged over all workers in every backward pass."""
        if self.size == 1 or not any(p.requires_grad for p in module.parameters()):
            return module
        # Batch statistics are either the same everywhere or not looked at before an evaluation. A
        # layer may be of no use, always or at some steps; others wait for its gradient in vain.
        return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)

    def average(self, values: Tensor) -> Tensor:
        """The mean over all workers of a tensor that each of them has."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.size
        return values

    def agree(self, wish: bool, device: torch.device) -> bool:
        """Whether any worker has the wish: all get the same answer."""
        if self.size == 1:
            return wish
        return bool(self.average(torch.tensor(float(wish), device=device)) > 0)

    def part_of(self, split: Split) -> Split:
        """This worker's part of a split to evaluate; the parts follow each other by rank."""
        bounds = np.linspace(0, len(split), self.size + 1).astype(int)
        return split.part(slice(bounds[self.rank], bounds[self.rank + 1]))

    def gather(self, part: Tensor) -> Tensor:
        """The parts [N_r, ...] of all workers, concatenated in the order of ranks."""
        if self.size == 1:
            return part
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, part)
        return torch.cat(parts)

    def synchronise_buffers(self, network: nn.Module) -> None:
        """Give everybody the leader's buffers: batch statistics differ where each keeps its own."""
        if self.size > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)


class SynchronisedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the examples of all workers; torch's own works on GPUs only.

    In evaluation mode it is torch's. Every worker must have equally many examples.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, ...], normalised by mean and variance over all workers' N, ...."""
        if not self.training and self.running_mean is not None:
            return super().forward(x)
        mean_C, variance_C = _moments_over_workers(x.float())
        self._keep(mean_C.detach(), variance_C.detach(), x.numel() // x.shape[1])
        scale_C = torch.rsqrt(variance_C + self.eps)
        shift_C = -mean_C * scale_C
        if self.affine:
            scale_C, shift_C = scale_C * self.weight, shift_C * self.weight + self.bias
        per_channel = (-1, *[1] * (x.ndim - 2))
        return (x * scale_C.view(per_channel) + shift_C.view(per_channel)).to(x.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions."""

    @torch.no_grad()
    def _keep(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        """Move the running statistics as torch does, with the unbiased variance."""
        if self.running_mean is None or not self.training:
            return
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        count *= dist.get_world_size()
        self.num_batches_tracked += 1
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean_C, momentum)
        self.running_var.lerp_(variance_C * count / max(count - 1, 1), momentum)


def _moments_over_workers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] over all workers, with gradients to everybody's x."""
    over = [dim for dim in range(x.ndim) if dim != 1]
    variance_C, mean_C = torch.var_mean(x, dim=over, correction=0)
    workers, rank = dist.get_world_size(), dist.get_rank()
    # A gather as a sum in which every other row is zero: its backward is a sum as well.
    mine_21C = torch.stack([mean_C, variance_C])[:, None]
    all_2WC: Tensor = all_reduce(  # type: ignore[no-untyped-call]
        F.pad(mine_21C, (0, 0, rank, workers - 1 - rank))
    )
    means_WC, variances_WC = all_2WC
    mean_C = means_WC.mean(dim=0)
    # Not E[x²] − E[x]², which cancels.
    variance_C = (variances_WC + (means_WC - mean_C) ** 2).mean(dim=0)
    return mean_C, variance_C


@contextmanager
def synchronised_batch_norm(network: nn.Module, workers: Workers) -> Iterator[None]:
    """Inside, every batch norm of the network sees all workers' examples.

    The modules stay the same objects, so that whoever shares them, shares this too.
    """
    layers = [m for m in network.modules() if type(m) in BATCH_NORMS and workers.size > 1]
    before = [type(layer) for layer in layers]
    for layer in layers:
        layer.__class__ = SynchronisedBatchNorm
    try:
        yield
    finally:
        for layer, cls in zip(layers, before, strict=True):
            layer.__class__ = cls
