"""Runs to be analysed that were never trained: networks whose every answer is known, on a few images."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cohort.analysis.groups import Subject
from cohort.data.dataset import ImageDataset, Split
from cohort.run.finished import LoadedRun
from cohort.run.folder import RunFolder

PIXELS = 4


def constant(*posterior: float) -> nn.Module:
    """A linear layer that gives this posterior, whatever the image."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, len(posterior)))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.copy_(torch.tensor([math.log(p) for p in posterior]))
    return network.eval()


def white(*labels: int) -> Split:
    """Images 1 x 2 x 2 of white pixels alone, with these labels."""
    return Split(np.full((len(labels), 1, 2, 2), 255, np.uint8), np.array(labels, np.int64))


def subject(
    students: Sequence[nn.Module],
    labels: Sequence[int] = (0, 0, 0, 1),
    *,
    name: str = "run",
    group: str | None = None,
    seed: int = 0,
    networks: Sequence[str] | None = None,
    folder: Path = Path("nowhere"),
    held_out: bool = False,
    **settings: object,
) -> Subject:
    """A run of these students, whose splits are all the same white images."""
    split = white(*labels)
    classes = tuple("abcdefgh"[: 1 + max(*labels, 1)])
    dataset = ImageDataset(
        name="white",
        train=split,
        test=split,
        classes=classes,
        validation=split if held_out else None,
    )
    run = LoadedRun(
        students=tuple(students),
        dataset=dataset,
        name=name,
        folder=RunFolder(folder),
        trust_code=False,
        numbers=tuple(range(len(students))),
        networks=tuple(networks or ["tiny"] * len(students)),
        settings={"seed": seed, **settings},
    )
    return Subject(run, group or name)
