"""data.json: what a run read, written, read again, and compared when it is resumed."""

from dataclasses import replace

import numpy as np
import pytest

from cohort.data.dataset import GALLERY, MORE, QUERY, ImageDataset, Search
from cohort.errors import ConfigError
from cohort.run.data_card import DataCard, changes, check_unchanged, read_data_card, write_data_card
from cohort.run.folder import RunFolder
from tests.support.splits import random_split


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run").make()


@pytest.fixture
def dataset():
    return ImageDataset(
        name="mine",
        train=random_split(8, classes=2),
        test=random_split(5, classes=2),
        classes=("ä", "b"),
        notes=("mind the gap",),
        skipped=("train/a/1.jpg",),
    )


def test_what_is_written_is_read(folder, dataset):
    write_data_card(folder, replace(dataset, validation=random_split(3, classes=2)))
    card = read_data_card(folder)
    assert set(card.labels_sha256) == {"train", "test", "validation"}
    assert replace(card, labels_sha256={}) == DataCard(
        classes=("ä", "b"),
        image_shape=(1, 8, 8),
        counts={"train": 8, "test": 5, "validation": 3},
        skipped=("train/a/1.jpg",),
        notes=("mind the gap",),
    )


def test_the_queries_of_a_search_are_counted(folder, dataset):
    split = random_split(5, classes=2)
    roles = np.array([QUERY, GALLERY, QUERY, GALLERY, MORE], np.int8)
    search = Search(split.images, split.labels, cameras=split.labels, roles=roles)
    write_data_card(folder, replace(dataset, test=search))
    assert read_data_card(folder).counts == {"train": 8, "test": 5, "queries": 2}


def test_other_labels_are_seen_but_not_another_order_of_the_classes(folder, dataset):
    write_data_card(folder, dataset)
    assert changes(folder, dataset) == ()
    assert changes(folder, dataset.in_order_of(("b", "ä"))) == ()
    moved = dataset.train.labels.copy()
    moved[3] = 1 - moved[3]
    other = replace(dataset, train=replace(dataset.train, labels=moved))
    (said,) = changes(folder, other)
    assert said.startswith("its data have changed: the images in train have other labels")
    with pytest.raises(ConfigError, match=r"other labels.*; put them back, or start a new run"):
        check_unchanged(folder, other)


def test_runs_of_older_versions_have_none(folder, dataset):
    assert read_data_card(folder) is None
    check_unchanged(folder, dataset)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "does not describe a run's data"),
        ("[]", "does not describe a run's data"),
        ('{"classes": []}', "does not describe a run's data: image_shape is missing"),
        ('{"format": 2}', "is of format 2, but this version"),
    ],
)
def test_what_is_no_card_is_named(folder, text, message):
    folder.data.write_text(text)
    with pytest.raises(ConfigError, match=f"^{folder.data} {message}"):
        read_data_card(folder)


def test_a_run_goes_on_with_as_many_images_as_it_began_with(folder, dataset):
    write_data_card(folder, dataset)
    check_unchanged(folder, replace(dataset, notes=("x",)))
    for changed, message in [
        ({"train": random_split(7, classes=2)}, "7 images in train, where the run began with 8; "),
        (
            {"validation": random_split(2, classes=2)},
            "2 images in validation, where the run began with 0; ",
        ),
    ]:
        with pytest.raises(ConfigError, match=f"^--resume {folder.path}: .*: {message}"):
            check_unchanged(folder, replace(dataset, **changed))
