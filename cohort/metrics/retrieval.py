r"""How well people are found again by their pictures' features: pure functions.

The rules are those of Market-1501 (Zheng et al., "Scalable person re-identification: a benchmark",
ICCV 2015). The gallery is ranked by its distance to each query. Pictures that show no person (junk,
identity -1) and those of the query's own identity and camera are left out; those of other people
(distractors, identity 0, among them) stay and count as wrong. A query that has no right picture
left is not counted.

Shapes: N pictures, Q queries, G gallery pictures, D features, B queries of a block, H hits.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cohort.config import Distance

BLOCK = 256
"""Queries that are ranked at a time."""
GALLERY_BLOCK = 4096
"""Gallery pictures whose features are widened to float64 at a time."""
RANKS = (1, 5, 10)
ROUNDING = 1e-12
"""Of squared lengths: less is the rounding error of a difference between equal pictures."""


class Pictures(NamedTuple):
    """Pictures as they are compared: what a network makes of each, who it shows, and who took it."""

    features_ND: Tensor
    identities_N: Tensor
    """int64; 0 for distractors, -1 for junk."""
    cameras_N: Tensor
    """int64."""

    def part(self, rows: Tensor | slice) -> "Pictures":
        """Some of them: those of a mask, of indices, or of a slice."""
        return Pictures(*(each[rows] for each in self))

    def to(self, device: torch.device) -> "Pictures":
        """The same on a device."""
        return Pictures(*(each.to(device) for each in self))


def distances(query_QD: Tensor, gallery_GD: Tensor, distance: Distance = "euclidean") -> Tensor:
    r"""Distance of every query to every gallery picture, float32 [Q, G]; of the Euclidean one its square.

    .. math:: \lVert q - g \rVert^2 \qquad 1 - \frac{q \cdot g}{\lVert q \rVert \lVert g \rVert}

    Computed in float64, a part of the gallery at a time, then rounded: equal pictures are equally far.
    A picture whose features are all 0 has cosine distance 1 to all.

    Args:
        query_QD: features of the queries.
        gallery_GD: features of the gallery, on the same device.
        distance: ``euclidean`` or ``cosine``.

    Raises:
        ValueError: if the features are not equally many, or not finite.

    Example:
        >>> distances(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[ 0., 25.]])
    """
    if query_QD.ndim != 2 or gallery_GD.ndim != 2 or query_QD.shape[1] != gallery_GD.shape[1]:
        raise ValueError(
            f"expected features [Q, D] and [G, D], got {list(query_QD.shape)} and "
            f"{list(gallery_GD.shape)}"
        )
    measure, wide_QD = _cosine if distance == "cosine" else _squared_euclidean, query_QD.double()
    parts = [
        measure(wide_QD, part.double()).float() for part in torch.split(gallery_GD, GALLERY_BLOCK)
    ]
    distance_QG = torch.cat(parts, dim=1)
    if distance_QG.numel() and not distance_QG.amax().isfinite():  # NaN is the greatest
        raise ValueError("features that are not finite have no distance")
    return distance_QG


def _squared_euclidean(query_QD: Tensor, gallery_GD: Tensor) -> Tensor:
    lengths_QG = query_QD.square().sum(1)[:, None] + gallery_GD.square().sum(1)
    squared_QG = torch.addmm(lengths_QG, query_QD, gallery_GD.T, alpha=-2)
    return squared_QG.masked_fill_(squared_QG < lengths_QG.mul_(ROUNDING), 0)


def _cosine(query_QD: Tensor, gallery_GD: Tensor) -> Tensor:
    unit_QD, unit_GD = (
        each_ND / each_ND.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        for each_ND in (query_QD, gallery_GD)
    )
    cosine_QG = torch.addmm(torch.ones(1, 1).to(unit_QD), unit_QD, unit_GD.T, alpha=-1)
    return cosine_QG.masked_fill_(cosine_QG < ROUNDING, 0)


def left_out(query: Pictures, gallery: Pictures) -> Tensor:
    """Which gallery pictures are not ranked for a query, bool [Q, G]: junk, and its person's by its camera.

    Example:
        >>> query = Pictures(torch.zeros(1, 1), torch.tensor([7]), torch.tensor([1]))
        >>> gallery = Pictures(
        ...     torch.zeros(4, 1), torch.tensor([7, 7, -1, 0]), torch.tensor([1, 2, 2, 1])
        ... )
        >>> left_out(query, gallery)
        tensor([[ True, False,  True, False]])
    """
    same_person = query.identities_N[:, None] == gallery.identities_N
    same_camera = query.cameras_N[:, None] == gallery.cameras_N
    return same_person & same_camera | (gallery.identities_N == -1)


def rank(
    query: Pictures, gallery: Pictures, distance: Distance = "euclidean"
) -> tuple[Tensor, Tensor]:
    """The gallery by its distance to each query, nearest first, int64 [Q, G], and how many count, [Q].

    Pictures that are equally far (in float32) stay in the gallery's order. What is ``left_out``
    stands at the end, behind those that count. Takes 12 bytes a pair: for few queries; ``retrieval``
    ranks any number.

    Raises:
        ValueError: as ``distances`` does.

    Example:
        >>> query = Pictures(torch.zeros(1, 1), torch.tensor([7]), torch.tensor([1]))
        >>> gallery = Pictures(
        ...     torch.tensor([[0.0], [3.0], [2.0]]), torch.tensor([7, 7, 0]), torch.tensor([1, 2, 1])
        ... )
        >>> rank(query, gallery)
        (tensor([[2, 1, 0]]), tensor([2]))
    """
    out_QG = left_out(query, gallery)
    distance_QG = distances(query.features_ND, gallery.features_ND, distance)
    order_QG = distance_QG.masked_fill_(out_QG, torch.inf).argsort(dim=1, stable=True)
    return order_QG, (~out_QG).sum(1)


class Hits(NamedTuple):
    """Where the right pictures of each query stand in its ranking; H of all queries together."""

    query_H: Tensor
    """Number of the query, ascending."""
    place_H: Tensor
    """Place in its ranking, 0 the nearest, ascending for each query."""
    count_Q: Tensor
    """How many right pictures each query has."""


def find_hits(query: Pictures, gallery: Pictures, distance: Distance = "euclidean") -> Hits:
    """Rank the gallery for every query, ``BLOCK`` at a time, and keep where the right pictures are.

    A block takes about 30 bytes for each of its pairs; time and memory on two cores:
    ``docs/people.md``.

    Raises:
        ValueError: as ``distances`` does.
    """
    gallery = gallery.part(gallery.identities_N != -1)
    found = list(_hits_of_blocks(query, gallery, distance))
    return Hits(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _hits_of_blocks(
    query: Pictures, gallery: Pictures, distance: Distance
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for start in range(0, len(query.identities_N), BLOCK):
        block = query.part(slice(start, start + BLOCK))
        order_BG, counted_B = rank(block, gallery, distance)
        identities_B1 = block.identities_N[:, None]
        # Nobody is looked for who is a distractor or junk: whoever they show is not known.
        right_BG = (gallery.identities_N[order_BG] == identities_B1) & (identities_B1 > 0)
        places_G = torch.arange(order_BG.shape[1], device=order_BG.device)
        right_BG &= places_G < counted_B[:, None]
        query_H, place_H = right_BG.nonzero(as_tuple=True)
        yield query_H + start, place_H, right_BG.sum(1)


def average_precisions(hits: Hits) -> tuple[Tensor, Tensor]:
    r"""Average precision of each query by both definitions in use, float64 [Q]; NaN without a right picture.

    The mean of the precisions at the hits, as most Python code has it, and the area under the curve
    of precision over recall by the trapezoidal rule of the Oxford buildings benchmark, as Market-1501's
    official code has it, and so "Deep Mutual Learning". With hit :math:`i = 1 … m` at rank
    :math:`r_i = 1, 2, …`:

    .. math:: \frac{1}{m} \sum_i \frac{i}{r_i}
        \qquad \frac{1}{m} \sum_i \frac{1}{2} \left( \frac{i}{r_i} + \frac{i-1}{r_i-1} \right)

    where :math:`\frac{0}{0} = 1`. The second is never the greater one by more than rounding.

    Example:
        >>> ranked = Hits(torch.tensor([0, 0]), torch.tensor([0, 3]), torch.tensor([2]))
        >>> average_precisions(ranked)  # (1/1 + 2/4) / 2, and (1 + (2/4 + 1/3) / 2) / 2
        (tensor([0.7500], dtype=torch.float64), tensor([0.7083], dtype=torch.float64))

    Reference:
        Philbin et al., "Object retrieval with large vocabularies and fast spatial matching", CVPR
        2007; Zheng et al., "Scalable person re-identification: a benchmark", ICCV 2015.
    """
    query_H, place_H, count_Q = hits
    first_Q = count_Q.cumsum(0) - count_Q
    before_H = torch.arange(len(query_H), device=query_H.device) - first_Q[query_H]
    after_H = (before_H + 1).double() / (place_H + 1)
    until_H = torch.where(place_H > 0, before_H.double() / place_H.clamp_min(1), 1.0)
    sums = (
        torch.zeros(len(count_Q), dtype=torch.float64, device=query_H.device).index_add_(
            0, query_H, each_H
        )
        for each_H in (after_H, (after_H + until_H) / 2)
    )
    plain_Q, trapezoid_Q = (sum_Q / count_Q for sum_Q in sums)
    return plain_Q, trapezoid_Q


def first_places(hits: Hits) -> Tensor:
    """Place of the first right picture of each query that has one, 0 the nearest, int64.

    Example:
        >>> first_places(Hits(torch.tensor([0, 0, 2]), torch.tensor([1, 3, 0]), torch.tensor([2, 0, 1])))
        tensor([1, 0])
    """
    first_Q = hits.count_Q.cumsum(0) - hits.count_Q
    return hits.place_H[first_Q[hits.count_Q > 0]]


def retrieval(
    query: Pictures, gallery: Pictures, distance: Distance = "euclidean"
) -> dict[str, float]:
    r"""How well people are found: map, map_trapezoid, rank1, rank5, rank10, unmatched_queries.

    ``map`` and ``map_trapezoid`` are means of ``average_precisions``; ``rank5`` is the share of queries
    with a right picture among the nearest five (CMC); ``unmatched_queries`` counts those that have no
    right picture in the gallery, of which nothing is measured.

    Args:
        query: who is looked for.
        gallery: where, on the same device.
        distance: between features, ``euclidean`` or ``cosine``.

    Raises:
        ValueError: as ``distances`` does, and if there is no query, or none has a right picture.

    Example:
        >>> query = Pictures(torch.zeros(1, 1), torch.tensor([7]), torch.tensor([1]))
        >>> gallery = Pictures(
        ...     torch.tensor([[1.0], [2.0]]), torch.tensor([0, 7]), torch.tensor([2, 2])
        ... )
        >>> found = retrieval(query, gallery)
        >>> found["map"], found["map_trapezoid"], found["rank1"], found["rank5"]
        (0.5, 0.25, 0.0, 1.0)
    """
    if not len(query.identities_N):
        raise ValueError("there is no query")
    hits = find_hits(query, gallery, distance)
    matched_Q = hits.count_Q > 0
    if not matched_Q.any():
        raise ValueError("no query has a picture of the same identity by another camera")
    plain_Q, trapezoid_Q = (each_Q[matched_Q] for each_Q in average_precisions(hits))
    first = first_places(hits)
    return {
        "map": float(plain_Q.mean()),
        "map_trapezoid": float(trapezoid_Q.mean()),
        **{f"rank{count}": float((first < count).double().mean()) for count in RANKS},
        "unmatched_queries": int((~matched_Q).sum()),
    }


def pooled(query: Pictures, more: Pictures) -> Pictures:
    """Each query with the mean features of itself and of all ``more`` of its identity and camera.

    That is Market-1501's multi query, pooled by the mean.

    Raises:
        ValueError: if the features are not equally many.

    Example:
        >>> query = Pictures(torch.tensor([[1.0]]), torch.tensor([7]), torch.tensor([1]))
        >>> more = Pictures(
        ...     torch.tensor([[3.0], [9.0]]), torch.tensor([7, 7]), torch.tensor([1, 2])
        ... )
        >>> pooled(query, more).features_ND
        tensor([[2.]])
    """
    if query.features_ND.shape[1] != more.features_ND.shape[1]:
        raise ValueError(
            f"queries have {query.features_ND.shape[1]} features, but more pictures of them "
            f"{more.features_ND.shape[1]}"
        )
    whose = torch.stack([torch.cat([query.identities_N, more.identities_N]),
                         torch.cat([query.cameras_N, more.cameras_N])], dim=1)  # fmt: skip
    _, group_N = torch.unique(whose, dim=0, return_inverse=True)
    own_Q, other_M = group_N[: len(query.identities_N)], group_N[len(query.identities_N) :]
    shape = int(group_N.max()) + 1, more.features_ND.shape[1]
    sum_KD = more.features_ND.new_zeros(shape).index_add_(0, other_M, more.features_ND)
    count_K = torch.bincount(other_M, minlength=shape[0])
    mean_QD = (query.features_ND + sum_KD[own_Q]) / (count_K[own_Q] + 1)[:, None]
    return query._replace(features_ND=mean_QD)
