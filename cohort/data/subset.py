"""Parts of a split for those who want to be quicker: the first of a seeded shuffle."""

import numpy as np
import numpy.typing as npt
import torch

from cohort.config import flag
from cohort.data.dataset import MORE, QUERY, Search, Split
from cohort.errors import ConfigError
from cohort.seeding import generator


def subset(split: Split, count: int | None, key: str, seed: int, without: str = "") -> Split:
    """The first ``count`` examples of a shuffle by ``seed``; all in their own order for None.

    Of a ``Search`` so many queries, and the whole gallery, in their own order. A larger count is
    refused, as ``flag(key)``; ``without`` says what the split no longer holds.
    """
    if count is None:
        return split
    searched = isinstance(split, Search)
    there = int((split.roles == QUERY).sum()) if isinstance(split, Search) else len(split)
    if count > there:
        what = "the number of queries" if searched else f"the size of the split{without}"
        raise ConfigError(f"{flag(key)} is {count}; it must be at most {there}, {what}")
    chosen = torch.randperm(there, generator=generator(seed, key))[:count].numpy()
    return _with_queries(split, chosen) if isinstance(split, Search) else split.part(chosen)


def _with_queries(split: Search, chosen: npt.NDArray[np.int64]) -> Search:
    """The search for some of its queries, which are numbered among themselves."""
    queries = np.flatnonzero(split.roles == QUERY)[chosen]
    kept = split.roles != QUERY
    kept[queries] = True
    wanted = {(split.labels[row], split.cameras[row]) for row in queries}
    for row in np.flatnonzero(split.roles == MORE):
        kept[row] = (split.labels[row], split.cameras[row]) in wanted
    return split.part(kept)
