"""Names, one's own functions, subsets, and a sentence for everything that can be wrong."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from cohort.config import DataConfig
from cohort.data.dataset import GALLERY, QUERY, Augmentation, ImageDataset, Search, Split
from cohort.data.recipes import RECIPES
from cohort.data.registry import known_datasets, load_dataset
from cohort.errors import ConfigError


def make_split(count):
    return Split(np.zeros((count, 3, 6, 6), dtype=np.uint8), np.arange(count) % 2)


def mine():
    return ImageDataset(
        name="mine",
        train=make_split(9),
        test=make_split(5),
        classes=("a", "b"),
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
    )


def load(seed=0, **options):
    return load_dataset(DataConfig(**options), seed)


def expect_refused(message, **options):
    with pytest.raises(ConfigError, match=message) as caught:
        load(**options)
    assert "\n" not in str(caught.value)


def test_known_datasets():
    assert known_datasets() == (
        *("digits", "cifar10", "cifar100", "tiny-imagenet", "imagenet", "market1501"),
        *("folder", "synthetic", "synthetic-people"),
    )
    assert set(RECIPES) <= set(known_datasets())


def test_unknown_name_lists_the_known_and_guesses():
    message = r"--dataset is 'cifar101' \(did you mean 'cifar10.*\); it must be one of digits, "
    expect_refused(message, dataset="cifar101")
    expect_refused("--dataset is 'xyz'; it must be one of", dataset="xyz")
    expect_refused("--dataset is '<own>', a function that only the program", dataset="<own>")


def test_flags_that_would_do_nothing_are_refused():
    expect_refused("--image-size is 64; --dataset digits has images of a fixed size", image_size=64)
    expect_refused("--download was given; --dataset digits has no download", download=True)
    expect_refused("--download was given; --dataset synthetic", dataset="synthetic", download=True)
    expect_refused("--image-size is 9; --dataset .*mine ", dataset=mine, image_size=9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feed": "node"}, "--feed is node; --dataset digits has its images in memory"),
        ({"decoders": 2}, "--decoders is 2; --dataset digits has its images in memory"),
        (
            {"skip_broken": True},
            "--skip-broken was given; --dataset digits has its images in memory",
        ),
        ({"distance": "cosine"}, "--distance is cosine; --dataset digits is tested by its classes"),
        ({"crop": "resized"}, "--crop is resized, which cuts .* in memory, so use shift or none"),
        (
            {"crop": "shift", "dataset": mine},
            "--crop is shift; --dataset .*mine does not say by how",
        ),
        (
            {"padding": "zeros", "dataset": mine},
            "--padding is zeros; the pictures of .*not shifted",
        ),
        ({"padding": "zeros", "crop": "none"}, "--padding is zeros; the pictures of .*not shifted"),
    ],
)
def test_flags_that_would_do_nothing_for_what_was_read_are_refused(options, message):
    expect_refused(f"^{message}", **options)


def test_a_crop_of_ones_own_that_needs_files():
    def cut():
        return replace(mine(), augmentation=Augmentation(crop="resized"))

    expect_refused("^--dataset mine has the crop resized, which cuts .* so use shift", dataset=cut)
    assert load(dataset=cut, crop="none").augmentation.crop == "none"


def test_sizes_are_of_files_height_by_width():
    message = "^--image-size is 8x16; synthetic pictures are square, so it must be N$"
    expect_refused(message, dataset="synthetic", image_size="8x16")


def test_subsets_are_the_first_of_a_seeded_shuffle():
    everything = load()
    half, quarter = load(train_subset=700), load(train_subset=350, test_subset=10)
    np.testing.assert_array_equal(half.train.images[:350], quarter.train.images)
    assert (len(half.test), len(quarter.test)) == (360, 10)
    assert not np.array_equal(load(seed=1, train_subset=350).train.images, quarter.train.images)
    assert half.mean == everything.mean
    rows = {row.tobytes() for row in everything.train.images}
    assert all(row.tobytes() in rows for row in half.train.images)


def test_a_subset_larger_than_the_split_is_refused():
    expect_refused("--train-subset is 1438; it must be at most 1437", train_subset=1438)
    expect_refused("--test-subset is 361; it must be at most 360", test_subset=361)


def test_augmentation_flags_come_on_top_of_the_data_sets_own():
    own = load().augmentation
    assert (own.autoaugment, own.cutout) == (False, 0)
    assert load(autoaugment=True).augmentation == replace(own, autoaugment=True)
    assert load(cutout=8).augmentation == replace(own, cutout=8)
    more = {"color_jitter": 0.4, "erasing": 0.5, "crop": "none"}
    assert load(**more).augmentation == replace(own, **more)
    assert load(padding="reflect").augmentation == replace(own, padding_mode="reflect")
    wide = lambda: replace(mine(), augmentation=Augmentation(padding=8, padding_mode="zeros"))  # noqa: E731
    assert load(dataset=wide, padding="zeros").augmentation.padding == 8
    expect_refused("^--padding is reflect; .* shifted by up to 8", dataset=wide, padding="reflect")
    theirs = Augmentation(padding=1, autoaugment=True, cutout=2)
    dataset = lambda: replace(mine(), augmentation=theirs)  # noqa: E731
    assert load(dataset=dataset).augmentation == theirs
    assert load(dataset=dataset, cutout=5).augmentation == replace(theirs, cutout=5)


def test_augmentation_flags_that_do_not_fit_the_images_are_refused():
    expect_refused("^--cutout is 9; it must be at most 8, the size of the images", cutout=9)
    four = Split(np.zeros((9, 4, 6, 6), dtype=np.uint8), np.arange(9) % 2)

    def of_four_channels():
        return replace(mine(), train=four, test=four, mean=(0.5,) * 4, std=(0.2,) * 4)

    message = "^--autoaugment was given; it takes images of 1 or 3 channels, .* have 4$"
    expect_refused(message, dataset=of_four_channels, autoaugment=True)
    message = "^--color-jitter is 0.4; it takes images of 1 or 3 channels, and those of .* have 4$"
    expect_refused(message, dataset=of_four_channels, color_jitter=0.4)

    def always():
        return replace(of_four_channels(), augmentation=Augmentation(autoaugment=True))

    message = "^--dataset .*mine cannot be augmented: AutoAugment takes images of 1 or 3 channels"
    expect_refused(message, dataset=always)


def test_ones_own_callable():
    assert load(dataset=mine).name == "mine"


def test_ones_own_module_in_the_current_directory_with_root(tmp_path, monkeypatch):
    (tmp_path / "my_pictures.py").write_text(
        "from dataclasses import replace\n"
        "from cohort.data.readers.synthetic import read\n"
        "from cohort.config import DataConfig\n"
        "class Nested:\n"
        "    @staticmethod\n"
        "    def dataset(root):\n"
        "        return replace(read(DataConfig(image_size=4)), name=root)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    assert load(dataset="my_pictures:Nested.dataset", data_root="there").name == "there"
    expect_refused("has no 'nothing'", dataset="my_pictures:nothing")
    expect_refused("must have the form package.module:function", dataset="my_pictures:")
    expect_refused("importing no_such_module failed", dataset="no_such_module:f")


def test_ones_own_function_that_fails_or_returns_something_else():
    def broken():
        raise OSError("lost\nand gone")

    expect_refused("--dataset <broken> failed .OSError: lost and gone", dataset=broken)
    expect_refused("failed .TypeError: .*missing 1 required", dataset=lambda where: mine())
    expect_refused("returned int; it must return", dataset=lambda: 3)


def test_a_config_error_of_ones_own_passes_as_it_is():
    def picky():
        raise ConfigError("--data-root is empty")

    expect_refused("^--data-root is empty$", dataset=picky)


def with_train(**arrays):
    return {"train": replace(make_split(9), **arrays)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("a",)}, "has 1 classes; it must have at least 2"),
        (with_train(images=np.zeros((9, 3, 6, 6))), "train.images float64 .*; it must be .* uint8"),
        (with_train(images=np.zeros((9, 6, 6), dtype=np.uint8)), r"\(9, 6, 6\); it must be"),
        (with_train(images=[1, 2]), "train.images list"),
        (with_train(labels=np.zeros(9, dtype=np.int32)), "train.labels int32 .*int64"),
        (with_train(labels=np.arange(8) % 2), "9 images and 8 labels in train"),
        (with_train(labels=np.full(9, 2)), "the label 2 in train; labels must lie in 0…1"),
        (with_train(labels=np.full(9, -1)), "the label -1 in train"),
        ({"test": Split(np.zeros((2, 3, 5, 6), np.uint8), np.zeros(2, int))}, "must be .*as train"),
        ({"test": make_split(0)}, "0 images and 0 labels in test"),
        ({"validation": make_split(0)}, "0 images and 0 labels in validation"),
        (
            {"validation": Split(np.zeros((2, 3, 6, 5), np.uint8), np.zeros(2, int))},
            r"validation images of shape \(3, 6, 5\); they must be \(3, 6, 6\) as train",
        ),
        ({"mean": (0.5,)}, "has mean .* it must be 3 finite numbers"),
        ({"std": (0.2, float("nan"), 0.2)}, "has std .* it must be 3 finite numbers"),
        ({"std": (0.2, 0.0, 0.2)}, "each must be greater than 0"),
        ({"augmentation": Augmentation(padding=6)}, "cannot be augmented: reflect padding is 6"),
        ({"augmentation": Augmentation(padding_mode="wrap")}, "padding_mode reflect or zeros"),
        ({"augmentation": Augmentation(cutout=7)}, "cutout is 7; it must be at most .* 6 x 6"),
        ({"augmentation": Augmentation(cutout=-1)}, "cutout must be 0 or more"),
        ({"augmentation": Augmentation(erasing=1.0)}, "erasing and color_jitter must be from 0 to"),
    ],
)
def test_ones_own_is_validated(changes, message):
    expect_refused(f"^--dataset .*mine .*{message}", dataset=lambda: replace(mine(), **changes))


def search(**changes):
    images, people = np.zeros((4, 3, 6, 6), np.uint8), np.array([7, 7, 0, -1])
    arrays = {
        "cameras": np.array([1, 2, 3, 4]),
        "roles": np.array([QUERY, GALLERY, GALLERY, GALLERY], np.int8),
    }
    return Search(images, people, **arrays) if not changes else replace(search(), **changes)


def test_identities_to_look_for_are_no_classes():
    dataset = load(dataset=lambda: replace(mine(), test=search()), distance="cosine")
    assert dataset.test.labels.tolist() == [7, 7, 0, -1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cameras": np.zeros(4)}, r"test.cameras float64 \(4,\); it must be a NumPy array int64"),
        ({"cameras": np.zeros(3, int)}, r"test.cameras int64 \(3,\); it must be .* int64 \(4,\)"),
        ({"roles": np.zeros(4, int)}, "test.roles int64 .*; it must be a NumPy array int8"),
        ({"roles": np.full(4, QUERY, np.int8)}, "has no gallery images in test"),
        ({"roles": np.full(4, GALLERY, np.int8)}, "has no queries in test"),
        ({"roles": np.array([1, 0, 0, 3], np.int8)}, "has other roles in test than GALLERY"),
        ({"labels": np.array([7, 7, 0, -2])}, "has the identity -2 in test"),
        ({"labels": np.array([0, 7, 0, -1])}, "looks for nobody in test: a query's identity"),
        ({"labels": np.arange(3)}, "4 images and 3 labels in test"),
    ],
)
def test_a_search_of_ones_own_is_validated(changes, message):
    test = search(**changes)
    expect_refused(f"^--dataset .*mine .*{message}", dataset=lambda: replace(mine(), test=test))
