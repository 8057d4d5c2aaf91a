"""What training needs of a process: torch threads and precision, set for good or given back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cohort.config import Precision
from cohort.learning.precision import in_precision, set_precision


def own_process(threads: int, precision: Precision) -> None:
    """Set up a process that trains and judges for one run, as long as it lives."""
    torch.set_num_threads(threads)
    set_precision(precision)


@contextmanager
def lent_process(threads: int, precision: Precision) -> Iterator[None]:
    """The same inside; afterwards the process has its threads, precision and random state back."""
    before, random_state = torch.get_num_threads(), torch.get_rng_state()
    # A GPU that nobody has used yet has no numbers to give back, and is not to be set up for it.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    of_gpus = torch.cuda.get_rng_state_all() if used else None
    torch.set_num_threads(threads)
    try:
        with in_precision(precision):
            yield
    finally:
        torch.set_num_threads(before)
        torch.set_rng_state(random_state)
        if of_gpus is not None:
            torch.cuda.set_rng_state_all(of_gpus)
