"""Every random number of a run is a pure function of the run's seed and of what it is for.

Nothing carries a random state from step to step, so a student can be rebuilt, restarted or moved
to another machine at any step without one.
"""

import hashlib

import torch


def derive_seed(seed: int, *purpose: int | str) -> int:
    """A 63-bit seed for one purpose, for example ``derive_seed(0, "augment", step)``.

    Stable over processes, machines and Python versions; different purposes give independent seeds.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: int | str) -> torch.Generator:
    """A CPU generator seeded for one purpose.

    Random numbers are always drawn on the CPU and moved, so that a GPU sees the same ones.
    """
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


def seed_global(device: torch.device, seed: int) -> None:
    """Seed torch's global generators that a network on ``device`` draws from.

    ``torch.manual_seed`` does the same, and for each kind of accelerator that is not there it also
    formats the stack of calls, at every step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
