"""The validation split: which images, that nothing else has them, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort.config import DataConfig
from cohort.config_file import to_yaml
from cohort.data.dataset import ImageDataset, Split
from cohort.data.hold_out import class_after_class, parts
from cohort.data.readers import digits
from cohort.data.registry import load_dataset
from cohort.data.statistics import channel_statistics
from cohort.errors import ConfigError
from cohort.run.finished import read_run_data
from cohort.run.folder import RunFolder
from cohort.runtime.config import CohortConfig


def numbered(labels):
    """Images whose only pixel is their number, so that one can see where they went."""
    numbers = np.arange(len(labels), dtype=np.uint8)
    return Split(numbers[:, None, None, None], np.array(labels, dtype=np.int64))


def mine(labels=(0, 1) * 6, **changes):
    return ImageDataset(
        name="mine",
        train=numbered(labels),
        test=numbered([0, 1, 1]),
        classes=("a", "b", "c"),
        mean=(0.5,),
        std=(0.2,),
        **changes,
    )


def numbers(split):
    return split.images.ravel().tolist()


def load(seed=0, **options):
    return load_dataset(DataConfig(**options), seed)


def test_the_last_in_the_order_of_the_files():
    whole = digits.read(DataConfig()).train
    for options in ({}, {"seed": 5}, {"train_subset": 100}, {"data_seed": 9, "train_subset": 7}):
        held = load(validation=37, **options).validation
        np.testing.assert_array_equal(held.images, whole.images[-37:])
        np.testing.assert_array_equal(held.labels, whole.labels[-37:])
    rest = load(validation=37).train
    np.testing.assert_array_equal(rest.images, whole.images[:-37])
    np.testing.assert_array_equal(rest.labels, whole.labels[:-37])
    assert load().validation is None


def test_a_subset_takes_from_the_rest():
    dataset = load(dataset=mine, validation=4, train_subset=8)
    assert numbers(dataset.validation) == [8, 9, 10, 11]
    assert sorted(numbers(dataset.train)) == list(range(8))


def test_where_files_lie_class_after_class_a_fixed_shuffle_decides():
    ordered = lambda: mine([2] * 20 + [0] * 20 + [1] * 20)  # noqa: E731
    dataset = load(dataset=ordered, validation=20)
    assert set(dataset.validation.labels) == set(dataset.train.labels) == {0, 1, 2}
    assert numbers(load(seed=1, dataset=ordered, validation=20).validation) == numbers(
        dataset.validation
    )
    assert set(numbers(load(dataset=ordered, validation=5).validation)) < set(
        numbers(dataset.validation)
    )


@given(st.lists(st.integers(0, 2), min_size=2, max_size=40), st.data())
def test_every_image_is_in_one_of_them_with_its_label_and_in_order(labels, data):
    split = numbered(labels)
    count = data.draw(st.integers(1, len(labels) - 1))
    rest, held = parts(split, count)
    assert len(held) == count
    assert sorted(numbers(rest) + numbers(held)) == list(range(len(labels)))
    for part in (rest, held):
        assert part.labels.tolist() == [labels[number] for number in numbers(part)]
        assert numbers(part) == sorted(numbers(part))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 0, 1, 2], True), ([2, 0, 0], True), ([1, 1], True), ([0, 1, 0], False)],
)
def test_class_after_class(labels, expected):
    assert class_after_class(np.array(labels)) is expected


def test_statistics_are_those_of_what_is_trained_on():
    dataset = load(validation=700)
    assert (dataset.mean, dataset.std) == channel_statistics(dataset.train.images)
    assert dataset.mean != load().mean
    assert load(validation=700, train_subset=50).mean == dataset.mean
    assert load(dataset=mine, validation=3).mean == (0.5,)  # one's own are one's own


def test_a_validation_split_of_ones_own_is_kept():
    own = numbered([2, 2])
    dataset = load(dataset=lambda: mine(validation=own), train_subset=3)
    assert dataset.validation is own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"validation": 12},
            "^--validation is 12; it must be less than 12, the size of the training",
        ),
        (
            {"validation": 4, "train_subset": 9},
            "^--train-subset is 9; it must be at most 8, .* without the 4 of --validation$",
        ),
        ({"validation": 0}, "^--validation is 0; it must be greater than 0$"),
        (
            {"dataset": lambda: mine(validation=numbered([0, 1])), "validation": 2},
            "^--validation is 2, but --dataset mine brings .* own, of 2 images; leave the flag out$",
        ),
    ],
)
def test_refused_in_one_sentence(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(**{"dataset": mine, **options})
    assert "\n" not in str(caught.value)


def test_the_data_seed_shuffles_in_place_of_the_seed():
    subsets = {"train_subset": 100, "test_subset": 50}
    ours, theirs = load(seed=1, data_seed=7, **subsets), load(seed=7, **subsets)
    for which in ("train", "test"):
        a, b = getattr(ours, which), getattr(theirs, which)
        np.testing.assert_array_equal(a.images, b.images)
    zero = load(seed=7, data_seed=0, **subsets)  # 0 is a seed, not the lack of one
    np.testing.assert_array_equal(zero.train.images, load(seed=0, **subsets).train.images)
    assert not np.array_equal(zero.train.images, ours.train.images)


def test_the_data_of_a_finished_run_are_split_as_it_had_them(tmp_path):
    config = CohortConfig(seed=3, data_seed=8, validation=30, train_subset=40)
    folder = RunFolder(tmp_path)
    folder.config.write_text(to_yaml(config))
    found = read_run_data(folder, None)
    assert (found.data_seed, found.validation) == (8, 30)
    again, first = load_dataset(found, found.seed), load_dataset(config, config.seed)
    np.testing.assert_array_equal(again.validation.images, first.validation.images)
    np.testing.assert_array_equal(again.train.images, first.train.images)
