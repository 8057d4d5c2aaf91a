"""From the CPU to a GPU without waiting for it."""

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device: itself if it is there, else a copy, which is not waited for.

    The memory that is copied from is pinned for it: torch keeps a pool of such, and gives none of it
    away again before the copy is done.
    """
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
