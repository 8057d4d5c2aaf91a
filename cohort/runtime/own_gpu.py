"""Which GPU is an actor's own, where it sees all of its node.

Ray hides from an actor all GPUs but its own, by CUDA_VISIBLE_DEVICES. NCCL then finds that every
process has another device 0: the first operation takes seconds to minutes, or hangs, on machines
whose GPUs are linked (nccl issue 1749, ray issue 61073, vllm pull request 26709). Switching off what
suffers from it (NCCL_CUMEM_ENABLE=0, NCCL_NVLS_ENABLE=0) did not keep large operations from hanging
there, and cuMem switched off has hangs of its own (nccl issue 1721). So actors see all GPUs, as
processes that torchrun starts do, and each computes on the one that Ray gave it.
"""

import os
from collections.abc import Sequence
from typing import Any

import ray
import torch

from cohort.runtime import private_ray

VISIBLE = "CUDA_VISIBLE_DEVICES"


def environment(device: str) -> dict[str, Any]:
    """What an actor's options say of its environment: with a GPU, that it sees all of its node."""
    if device != "cuda":
        return {}  # an environment of its own would cost a process that Ray has started ahead
    return {"runtime_env": {"env_vars": {private_ray.ALL_GPUS: "1"}}}


def own_device(device: str) -> torch.device:
    """The device of the actor that asks: its GPU, which also becomes the one that torch means by "cuda"."""
    if device != "cuda":
        return torch.device(device)
    own = torch.device("cuda", index_of(ray.get_gpu_ids(), os.environ.get(VISIBLE)))
    torch.cuda.set_device(own)
    return own


def index_of(gpus: Sequence[int | str], visible: str | None) -> int:
    """Torch's number of an actor's first GPU.

    Torch numbers those that are visible from 0, and Ray names them as CUDA_VISIBLE_DEVICES does:
    by numbers of the machine, or by UUIDs.

    Args:
        gpus: what Ray gave the actor, at least one.
        visible: CUDA_VISIBLE_DEVICES in the actor's process; None if all GPUs are visible.

    Example:
        >>> index_of([3], None), index_of(["3"], "2,3"), index_of(["3"], "3")
        (3, 1, 0)
    """
    if visible is None:
        return int(gpus[0])
    return [name.strip() for name in visible.split(",")].index(str(gpus[0]))
