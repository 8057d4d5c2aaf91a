"""A picture of people found again: some queries, and what is most alike to each in the gallery.

Shapes: N pictures, D features.
"""

import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from cohort.analysis.drawing import DOTS_PER_INCH, RUNS, axes_grid
from cohort.config import Distance
from cohort.data.dataset import DISTRACTOR, GALLERY, QUERY, Search
from cohort.data.pictures.files import pixels_of
from cohort.errors import ConfigError
from cohort.files import refuse_uri
from cohort.learning.measuring import pictures_of
from cohort.metrics.retrieval import find_hits, rank

QUERIES, NEAREST = 6, 10
ENDINGS = (".png", ".svg", ".pdf")
RIGHT, WRONG = (RUNS[0], "✓"), (RUNS[1], "✗")
"""Colours that colour-blind readers tell apart, and marks for all others."""
WIDTH = 0.9  # inches of a picture
MOST_UPRIGHT = 2.0
LEGEND = f"{RIGHT[1]} the same person by another camera    {WRONG[1]} somebody else"


def check_file(ranking: str) -> Path:
    """Where a figure goes; ConfigError if nothing can be written there, or nobody would know its format."""
    refuse_uri(ranking, "--ranking")
    path = Path(ranking)
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--ranking is {ranking}; it must end in {', '.join(ENDINGS)}")
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"--ranking is {ranking}; it must be a file in a folder that is there")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"--ranking {ranking} cannot be written: permission denied")
    return path


def draw_ranking(
    search: Search, features_ND: Tensor, distance: Distance, device: torch.device, path: Path
) -> None:
    """Write the figure of a search by features; ConfigError if that cannot be done."""
    figure = ranking_figure(search, features_ND, distance, device)
    undated = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    try:
        with mpl.rc_context({"svg.hashsalt": "cohort"}):  # for the same bytes at every call
            figure.savefig(path, dpi=DOTS_PER_INCH, metadata=undated[path.suffix.lower()])
    except OSError as error:
        raise ConfigError(f"--ranking {path} cannot be written: {error.strerror}") from error


def ranking_figure(
    search: Search,
    features_ND: Tensor,
    distance: Distance,
    device: torch.device,
    *,
    queries: int = QUERIES,
    nearest: int = NEAREST,
) -> Figure:
    """A row per query: the query, then the nearest pictures, as they are ranked when it is measured.

    The queries are spread evenly over those that have a right picture. Every picture has its person's
    number and its camera beside it; of whom nobody is looked for, "other".
    """
    query, gallery, _ = pictures_of(search, features_ND, device)
    matched = find_hits(query, gallery, distance).count_Q.nonzero()[:, 0]
    chosen = matched[torch.linspace(0, len(matched) - 1, min(queries, len(matched))).long()]
    order_QG, counted_Q = rank(query.part(chosen), gallery, distance)
    places = [np.flatnonzero(search.roles == role) for role in (QUERY, GALLERY)]
    asked, found = (search.part(rows) for rows in places)
    columns = 1 + nearest
    upright = min(MOST_UPRIGHT, search.images.shape[2] / search.images.shape[3])
    size = {"width": WIDTH * columns, "height": (WIDTH * upright + 0.2) * len(chosen) + 0.4}
    figure, panels = axes_grid(len(chosen), columns, **size)
    for row, place in enumerate(chosen.tolist()):
        line = panels[row * columns : (row + 1) * columns]
        one = asked.part(slice(place, place + 1))
        _show(line[0], pixels_of(one.images)[0], f"query {_who(one)}", None)
        count = min(nearest, int(counted_Q[row]))
        alike = found.part(order_QG[row, :count].cpu().numpy())
        for number, image in enumerate(pixels_of(alike.images)):
            other = alike.part(slice(number, number + 1))
            colour, mark = RIGHT if other.labels[0] == one.labels[0] else WRONG
            _show(line[1 + number], image, f"{mark} {_who(other)}", colour)
        for axes in line[1 + count :]:
            axes.set_axis_off()
    figure.suptitle(LEGEND, fontsize="small")
    return figure


def _who(one: Search) -> str:
    """Person and camera of a split of one picture."""
    person = int(one.labels[0])
    return f"{'other' if person == DISTRACTOR else person} c{int(one.cameras[0])}"


def _show(axes: Axes, image: npt.NDArray[np.uint8], title: str, frame: str | None) -> None:
    """A picture [C, H, W], framed in a colour if there is one."""
    pixels = image.transpose(1, 2, 0)
    axes.imshow(
        pixels.squeeze(2) if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=255
    )
    axes.set_title(title, fontsize="x-small", color=frame or "black", pad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=frame or "black", linewidth=0.8 if frame is None else 3)
