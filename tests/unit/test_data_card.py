"""data.json: what a run read, written, read again, and compared when it is resumed."""

from dataclasses import replace

import numpy as np
import pytest

from cohort.data.dataset import GALLERY, MORE, QUERY, ImageDataset, Search
from cohort.errors import ConfigError
from cohort.run.data_card import DataCard, check_as_many, read_data_card, write_data_card
from cohort.run.folder import RunFolder
from tests.support.splits import random_split


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run")


@pytest.fixture
def dataset():
    return ImageDataset(
        name="mine",
        train=random_split(8),
        test=random_split(5),
        classes=("ä", "b"),
        notes=("mind the gap",),
        skipped=("train/a/1.jpg",),
    )


def test_what_is_written_is_read(folder, dataset):
    write_data_card(folder, replace(dataset, validation=random_split(3)))
    assert read_data_card(folder) == DataCard(
        classes=("ä", "b"),
        image_shape=(1, 8, 8),
        counts={"train": 8, "test": 5, "validation": 3},
        skipped=("train/a/1.jpg",),
        notes=("mind the gap",),
    )


def test_the_queries_of_a_search_are_counted(folder, dataset):
    split = random_split(5)
    roles = np.array([QUERY, GALLERY, QUERY, GALLERY, MORE], np.int8)
    search = Search(split.images, split.labels, cameras=split.labels, roles=roles)
    write_data_card(folder, replace(dataset, test=search))
    assert read_data_card(folder).counts == {"train": 8, "test": 5, "queries": 2}


def test_runs_of_older_versions_have_none(folder, dataset):
    assert read_data_card(folder) is None
    check_as_many(folder, dataset)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "does not describe a run's data"),
        ("[]", "does not describe a run's data"),
        ('{"classes": []}', "does not describe a run's data: image_shape: "),
        ('{"format": 2}', "is of format 2, but this version"),
    ],
)
def test_what_is_no_card_is_named(folder, text, message):
    folder.data.write_text(text)
    with pytest.raises(ConfigError, match=f"^{folder.data} {message}"):
        read_data_card(folder)


def test_a_run_goes_on_with_as_many_images_as_it_began_with(folder, dataset):
    write_data_card(folder, dataset)
    check_as_many(folder, replace(dataset, notes=(), classes=("c", "d")))
    for changes, message in [
        ({"train": random_split(7)}, "7 images in train, where the run began with 8; "),
        ({"validation": random_split(2)}, "2 images in validation, where the run began with 0; "),
    ]:
        with pytest.raises(ConfigError, match=f"^--resume {folder.path}: .*: {message}"):
            check_as_many(folder, replace(dataset, **changes))
