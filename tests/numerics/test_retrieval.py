"""Ranking against a slow, obvious implementation, and against cases made by hand."""

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.metrics import retrieval as module
from cohort.metrics.retrieval import Pictures, distances, pooled, rank, retrieval

NAMES = ("map", "map_trapezoid", "rank1", "rank5", "rank10", "unmatched_queries")


def pictures(features, identities, cameras):
    features = torch.tensor(features, dtype=torch.float32)
    return Pictures(features, torch.tensor(identities), torch.tensor(cameras))


def line(identities, cameras):
    """A gallery that lies on a line, each further from a query at 0 than the one before."""
    return pictures([[1.0 + n] for n in range(len(identities))], identities, cameras)


def somebody(identity=7, camera=1):
    return pictures([[0.0]], [identity], [camera])


def random_pictures(seed, count, *, people, dimensions=3, distinct=None):
    """Those of few people and cameras, junk and distractors among them; many ties if few are distinct."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(distinct or count, dimensions))
    if distinct:
        features = features[random.integers(0, distinct, count)]
    return pictures(features, random.integers(-1, people + 1, count), random.integers(1, 4, count))


def slowly(query, gallery, distance="euclidean"):
    """A query, a picture and a hit at a time."""
    plain, trapezoid, firsts, unmatched = [], [], [], 0
    for feature, identity, camera in zip(*map(np.asarray, query), strict=True):
        ranked = []
        for place, other in enumerate(zip(*map(np.asarray, gallery), strict=True)):
            if other[1] == -1 or (other[1] == identity and other[2] == camera):
                continue
            far = np.float32(far_apart(feature, other[0], distance))
            ranked.append((far, place, other[1] == identity and identity > 0))
        right = [hit for _, _, hit in sorted(ranked, key=lambda each: each[:2])]
        if not any(right):
            unmatched += 1
            continue
        firsts.append(right.index(True))
        plain.append(np.mean([np.mean(right[: n + 1]) for n, hit in enumerate(right) if hit]))
        trapezoid.append(official_average_precision(right))
    return {
        "map": np.mean(plain),
        "map_trapezoid": np.mean(trapezoid),
        **{f"rank{n}": np.mean([first < n for first in firsts]) for n in (1, 5, 10)},
        "unmatched_queries": unmatched,
    }  # fmt: skip


def far_apart(one, other, distance):
    one, other = one.astype(np.float64), other.astype(np.float64)
    if distance == "euclidean":
        return ((one - other) ** 2).sum()
    return 1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def official_average_precision(right):
    """Area under the curve as the loop of Market-1501's evaluation code sums it."""
    area, recall_before, precision_before, found = 0.0, 0.0, 1.0, 0
    for number, hit in enumerate(right):
        found += hit
        recall, precision = found / sum(right), found / (number + 1)
        area += (recall - recall_before) * (precision_before + precision) / 2
        recall_before, precision_before = recall, precision
    return area


def test_examples_in_docstrings_run():
    results = doctest.testmod(module)
    assert results.attempted >= 15
    assert results.failed == 0


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    people=st.integers(1, 6),
    distinct=st.sampled_from([None, 4]),
    distance=st.sampled_from(["euclidean", "cosine"]),
)
def test_it_equals_a_slow_obvious_implementation(seed, people, distinct, distance):
    gallery = random_pictures(seed, 40, people=people, distinct=distinct)
    query = random_pictures(seed + 1, 12, people=people)
    query.identities_N[0], query.cameras_N[0] = 1, 1  # one at least has a match
    gallery.identities_N[0], gallery.cameras_N[0] = 1, 2
    found, expected = retrieval(query, gallery, distance), slowly(query, gallery, distance)
    assert tuple(found) == NAMES
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_blocks_change_nothing(distance, monkeypatch):
    query, gallery = (random_pictures(n, 60, people=5, dimensions=16) for n in (0, 1))
    whole = retrieval(query, gallery, distance)
    monkeypatch.setattr(module, "BLOCK", 7)
    monkeypatch.setattr(module, "GALLERY_BLOCK", 11)
    assert retrieval(query, gallery, distance) == whole


def test_both_average_precisions_by_hand():
    found = retrieval(somebody(), line([7, 3, 4, 7, 5], [2] * 5))
    assert found["map"] == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert found["map_trapezoid"] == pytest.approx((1 + (1 / 3 + 2 / 4) / 2) / 2)
    assert (found["rank1"], found["rank5"]) == (1, 1)


@pytest.mark.parametrize(
    ("identities", "cameras", "place"),
    [
        ([-1, -1, 7], [2, 1, 2], 1),  # junk is passed over
        ([7, 7, 7], [1, 1, 2], 1),  # and so are pictures by the same camera
        ([0, 0, 7], [1, 2, 2], 3),  # distractors count as wrong
        ([3, 3, 7], [1, 2, 2], 3),  # as does anybody else, by whichever camera
    ],
)
def test_who_is_ranked(identities, cameras, place):
    found = retrieval(somebody(), line(identities, cameras))
    assert found["map"] == pytest.approx(1 / place)
    assert found["rank1"] == (place == 1)


def test_a_query_without_a_match_is_counted_apart():
    matched, unmatched = somebody(7), somebody(9)
    both = Pictures(*(torch.cat(pair) for pair in zip(matched, unmatched, strict=True)))
    gallery = line([3, 7, 9], [2, 2, 1])
    assert retrieval(both, gallery) == {**retrieval(matched, gallery), "unmatched_queries": 1}
    with pytest.raises(ValueError, match="no query has a picture of the same identity by another"):
        retrieval(unmatched, gallery)


@pytest.mark.parametrize("identity", [0, -1])
def test_nobody_known_is_nobody_to_find(identity):
    both = pictures([[0.0], [0.0]], [identity, 7], [1, 1])
    found = retrieval(both, line([identity, 7], [2, 2]))
    assert found["unmatched_queries"] == 1


def test_ties_stand_in_the_order_of_the_gallery():
    """Equal pictures are equally far, wherever they lie in a block of the product."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(1, 300, generator=random)
    gallery = Pictures(features.repeat(101, 1), torch.arange(101) + 1, torch.full((101,), 2))
    query = Pictures(torch.randn(3, 300, generator=random), *[torch.ones(3).long()] * 2)
    for distance in ("euclidean", "cosine"):
        order_QG, _ = rank(query, gallery, distance)
        assert order_QG.tolist() == [list(range(101))] * 3
        assert len(distances(features, gallery.features_ND, distance).unique()) == 1


def in_float64(some):
    return some._replace(features_ND=some.features_ND.double())


def test_what_does_not_matter():
    query, gallery = (in_float64(random_pictures(n, 50, people=4, dimensions=8)) for n in (2, 3))
    before = {name: retrieval(query, gallery, name) for name in ("euclidean", "cosine")}
    random = torch.Generator().manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(8, 8, generator=random, dtype=torch.float64))
    scales = torch.linspace(0.5, 3, 50)[:, None]
    for name, change in (
        ("euclidean", lambda x: x @ turn + 5),
        ("euclidean", lambda x: 100 * x),
        ("cosine", lambda x: x @ turn * scales),
    ):
        moved = [each._replace(features_ND=change(each.features_ND)) for each in (query, gallery)]
        assert retrieval(*moved, name) == pytest.approx(before[name], abs=1e-12)
    shuffled = gallery.part(torch.randperm(50, generator=torch.Generator().manual_seed(0)))
    assert retrieval(query, shuffled) == pytest.approx(before["euclidean"], abs=1e-12)


def test_more_pictures_of_the_same_person_and_camera_are_pooled():
    query = pictures([[1.0, 0.0], [5.0, 5.0], [8.0, 8.0]], [7, 7, 9], [1, 2, 1])
    more = pictures([[4.0, 3.0], [1.0, 3.0], [0.0, 1.0], [9.0, 9.0]], [7, 7, 7, 5], [1, 1, 2, 1])
    found = pooled(query, more)
    assert found.features_ND.tolist() == [[2.0, 2.0], [2.5, 3.0], [8.0, 8.0]]
    assert found.identities_N is query.identities_N


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"got \[1, 2\] and \[1, 3\]"):
        distances(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="queries have 2 features, but more pictures of them 3"):
        pooled(pictures([[0, 0]], [1], [1]), pictures([[0, 0, 0]], [1], [1]))
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="not finite"):
            distances(torch.full((1, 2), bad), torch.ones(3, 2))


def test_without_a_query_there_is_nothing_to_measure():
    nobody = Pictures(torch.zeros(0, 2), *[torch.zeros(0, dtype=torch.int64)] * 2)
    gallery = Pictures(torch.zeros(1, 2), torch.tensor([1]), torch.tensor([1]))
    with pytest.raises(ValueError, match="there is no query"):
        retrieval(nobody, gallery)
