"""Data sets that need no files, their statistics and their recipes."""

import hashlib

import numpy as np
import pytest

from cohort.config import DataConfig
from cohort.data.pictures import placing
from cohort.data.readers import digits, synthetic
from cohort.data.recipes import recipe_for
from cohort.data.registry import load_dataset
from cohort.data.statistics import channel_statistics
from cohort.data.validate import validate
from cohort.errors import ConfigError


def digest(split):
    return hashlib.sha256(split.images.tobytes() + split.labels.tobytes()).hexdigest()[:16]


def test_digits():
    dataset = digits.read(DataConfig())
    validate(dataset)
    assert (len(dataset.train), len(dataset.test)) == (1437, 360)
    assert dataset.image_shape == (1, 8, 8)
    assert (dataset.train.images.min(), dataset.train.images.max()) == (0, 255)
    assert dataset.classes == tuple("0123456789")


def test_digits_test_split_is_stratified_and_always_the_same():
    dataset = digits.read(DataConfig())
    shares = np.bincount(dataset.test.labels) / np.bincount(dataset.train.labels)
    np.testing.assert_allclose(shares, 360 / 1437, rtol=0.05)
    assert digest(dataset.test) == "a0e393eac9d7f86e"


def test_synthetic_is_the_same_everywhere():
    dataset = synthetic.read(DataConfig(dataset="synthetic"))
    validate(dataset)
    assert (len(dataset.train), len(dataset.test)) == (2000, 500)
    assert dataset.image_shape == (3, 32, 32)
    assert digest(dataset.test) == "dc90ca55d8af7ebf"


@pytest.mark.parametrize("size", [1, 5, 16])
def test_synthetic_of_any_size(size):
    dataset = synthetic.read(DataConfig(dataset="synthetic", image_size=size))
    validate(dataset)
    assert dataset.image_shape == (3, size, size)


def test_synthetic_can_be_learned():
    dataset = synthetic.read(DataConfig(dataset="synthetic", image_size=8))
    train, test = dataset.train, dataset.test
    means = np.stack([train.images[train.labels == k].mean(0) for k in range(10)])
    distances = ((test.images[:, None] - means) ** 2).sum((2, 3, 4))
    assert (distances.argmin(1) == test.labels).mean() > 0.5


def test_channel_statistics_are_those_of_numpy():
    images = np.random.default_rng(0).integers(0, 256, (1500, 2, 3, 5), dtype=np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), atol=5.1e-5)
    np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)), atol=5.1e-5)
    assert all(round(value, 4) == value for value in mean + std)


def test_a_constant_channel_has_no_standard_deviation_of_zero():
    assert channel_statistics(np.full((4, 1, 2, 2), 51, dtype=np.uint8)) == ((0.2,), (1.0,))


def test_recipes():
    assert recipe_for("cifar10") == recipe_for("cifar100")
    cifar = recipe_for("cifar100")
    assert (cifar.network, cifar.epochs, cifar.batch_size) == ("resnet32", 200, 64)
    assert (cifar.lr, cifar.weight_decay) == (0.1, 5e-4)
    assert (cifar.optimizer, cifar.lr_schedule) == ("sgd", "step")
    assert recipe_for("digits").network == "resnet8"
    assert recipe_for("mine:dataset") == recipe_for(lambda: None) == recipe_for("folder")


@pytest.mark.parametrize(
    ("dataset", "size", "words"),
    [
        (
            "synthetic",
            9000,
            "is 9000, of which 2500 pictures would take 565.8 GiB, and this machine has",
        ),
        ("synthetic", 100_000, "is 100000; a picture of 100000 x 100000 has more than"),
        ("synthetic-people", "9000x9", "is 9000x9, of which 1356 pictures would take 0.3 GiB, and"),
    ],
)
def test_pictures_that_memory_does_not_hold_are_not_made(monkeypatch, dataset, size, words):
    monkeypatch.setattr(placing, "memory", lambda: 2**28)
    with pytest.raises(ConfigError, match=f"^--image-size {words}"):
        load_dataset(DataConfig(dataset=dataset, image_size=size), seed=0)
