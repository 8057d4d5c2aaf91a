"""Pictures in class-per-directory folders."""

import numpy as np
import pytest
from PIL import Image

from cohort.config import DataConfig
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError


def save(path, colour=(255, 0, 0), size=(12, 12), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def root(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for i in range(count):
            save(tmp_path / split / "red" / f"{i}.png", (255, 0, 0), (12 + i, 12))
            save(tmp_path / split / "blue" / f"{i}.png", (0, 0, 255), (8, 20 + i))
    return tmp_path


def read(root, **options):
    return load_dataset(DataConfig(dataset="folder", data_root=str(root), **options), seed=0)


def test_reads_classes_by_name_and_pictures_of_any_shape(root):
    dataset = read(root, image_size=8)
    assert dataset.classes == ("blue", "red")
    assert dataset.image_shape == (3, 8, 8)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.train.images[:, :, 4, 4].tolist() == [[0, 0, 255]] * 3 + [[255, 0, 0]] * 3
    assert dataset.augmentation.padding == 1
    assert dataset.augmentation.flip


def test_pictures_of_every_class_are_held_out(root):
    for i in range(30):
        save(root / "train" / "red" / f"more{i}.png")
        save(root / "train" / "blue" / f"more{i}.png")
    dataset = read(root, image_size=8, validation=20)
    assert len(dataset.train) == 46
    assert set(dataset.validation.labels) == {0, 1}


def test_32_pixels_unless_told_and_val_for_test(root):
    (root / "test").rename(root / "val")
    dataset = read(root)
    assert dataset.image_shape == (3, 32, 32)
    assert len(dataset.test) == 4


def test_the_middle_of_a_wide_picture_is_kept(root):
    picture = np.zeros((8, 24, 3), dtype=np.uint8)
    picture[:, 8:16] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    Image.fromarray(picture).save(root / "train" / "blue" / "0.png")
    got = read(root, image_size=8).train.images[0]
    np.testing.assert_array_equal(got, picture[:, 8:16].transpose(2, 0, 1))


def test_grey_pictures_become_rgb(root):
    save(root / "train" / "blue" / "0.png", 100, mode="L")
    assert read(root, image_size=8).train.images[0, :, 0, 0].tolist() == [100] * 3


def test_truncated_picture_is_named(root):
    path = root / "train" / "red" / "1.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ConfigError, match=f"^{path} cannot be read as a picture"):
        read(root)


def test_something_else_called_a_picture_is_named(root):
    path = root / "test" / "red" / "1.png"
    path.write_text("hello")
    with pytest.raises(ConfigError, match=f"^{path} cannot be read as a picture"):
        read(root)


@pytest.mark.parametrize(
    ("gone", "message"),
    [("train", "has no directory train/; "), ("test", "has no directory test/ or val/; ")],
)
def test_a_split_that_is_missing(root, gone, message):
    (root / gone).rename(root / "elsewhere")
    with pytest.raises(ConfigError, match=f"--data-root {root} {message}"):
        read(root)


def test_a_split_without_classes(root):
    (root / "val").mkdir()
    (root / "test").rename(root / "elsewhere")
    with pytest.raises(ConfigError, match=f"{root / 'val'} holds no class directories"):
        read(root)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_without_pictures(root, split):
    (root / "train" / "green").mkdir()
    (root / "test" / "green").mkdir()
    save(root / ({"train": "test", "test": "train"}[split]) / "green" / "0.png")
    with pytest.raises(ConfigError, match=f"{root / split} holds no pictures of the class green"):
        read(root)


@pytest.mark.parametrize(("split", "other"), [("train", "test"), ("test", "train")])
def test_classes_must_match(root, split, other):
    save(root / split / "green" / "0.png")
    with pytest.raises(ConfigError, match=f"{root / split} has the class 'green', which {root}"):
        read(root)
