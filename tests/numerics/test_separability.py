"""Sums of squares against NumPy and analysis of variance, the scatter against a plain SVD."""

import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_selection import f_classif

from cohort.analysis import separability as module
from cohort.analysis.separability import features_over, pca_scatter, separability
from tests.support.exits import tiny_student
from tests.support.splits import random_split


def clouds(examples=60, features=6, classes=4, seed=0):
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (examples,), generator=random)
    centres = 3 * torch.randn(classes, features, generator=random)
    return centres[labels] + torch.randn(examples, features, generator=random) + 100, labels


def test_examples_in_docstrings_run():
    results = doctest.testmod(module)
    assert results.attempted >= 1
    assert results.failed == 0


def test_against_numpy():
    features, labels = clouds()
    found = separability(features, labels)
    f, y = features.double().numpy(), labels.numpy()
    of_class = {c: f[y == c] for c in np.unique(y)}
    within = sum(((rows - rows.mean(0)) ** 2).sum() for rows in of_class.values())
    between = sum(len(rows) * ((rows.mean(0) - f.mean(0)) ** 2).sum() for rows in of_class.values())
    assert found.within == pytest.approx(within)
    assert found.between == pytest.approx(between)
    assert found.ratio == pytest.approx(within / between)


def test_one_feature_is_an_analysis_of_variance():
    features, labels = clouds(features=1)
    found = separability(features, labels)
    (f_statistic,), _ = f_classif(features.double().numpy(), labels.numpy())
    classes, examples = len(labels.unique()), len(labels)
    ours = (found.between / (classes - 1)) / (found.within / (examples - classes))
    assert ours == pytest.approx(f_statistic)


@given(st.integers(2, 50), st.integers(1, 8), st.integers(1, 6), st.integers(0, 1000))
def test_the_parts_add_up_and_do_not_see_shifts_or_label_names(examples, features, classes, seed):
    f, y = clouds(examples, features, classes, seed)
    found = separability(f, y)
    total = float((f.double() - f.double().mean(0)).square().sum())
    assert found.within + found.between == pytest.approx(total, rel=1e-9, abs=1e-9)
    moved = separability(f.double() - 17, 3 * y + 2)
    assert moved.within == pytest.approx(found.within, rel=1e-6, abs=1e-6)
    assert moved.between == pytest.approx(found.between, rel=1e-6, abs=1e-6)


def test_classes_with_one_mean_cannot_be_told_apart():
    found = separability(torch.tensor([[0.0], [2.0], [0.0], [2.0]]), torch.tensor([0, 0, 1, 1]))
    assert (found.within, found.between) == (4, 0)
    assert math.isinf(found.ratio)


def test_features_of_every_exit_and_nothing_changed():
    student, split = tiny_student().train(), random_split(300)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    features = features_over(student, split, torch.device("cpu"))
    assert student.training
    assert all(torch.equal(t, before[name]) for name, t in student.state_dict().items())
    images = torch.from_numpy(split.images).float() / 255
    with torch.no_grad():
        expected = student.eval().outputs(images).features
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_scatter_is_the_svd_of_the_chosen():
    features, labels = clouds(100, 6, 14)
    scatter = pca_scatter(features, labels)
    assert scatter.labels_N.unique().tolist() == labels.unique().tolist()[:10]
    chosen = features[torch.isin(labels, scatter.labels_N)].double().numpy()
    centred = chosen - chosen.mean(0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:2].T
    np.testing.assert_allclose(np.abs(scatter.coordinates_N2.numpy()), np.abs(expected), atol=1e-9)
    shares = (lengths**2 / (lengths**2).sum())[:2]
    assert scatter.explained == pytest.approx(tuple(shares))


def test_classes_of_ones_own():
    features, labels = clouds(50, 3, 5)
    scatter = pca_scatter(features, labels, classes=[4, 1])
    assert scatter.labels_N.tolist() == [y for y in labels.tolist() if y in (1, 4)]
    assert scatter.coordinates_N2.shape == (len(scatter.labels_N), 2)
