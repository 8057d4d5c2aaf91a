"""CIFAR: a tiny set in the official format stands in for the files that CI does not have."""

import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets

from cohort.config import DataConfig
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError

PIXELS = {
    "train": np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8),
    "test": np.random.default_rng(1).integers(0, 256, (4, 3072), dtype=np.uint8),
}
LABELS = {"train": [0, 1, 2, 0, 1, 2], "test": [2, 1, 0, 1]}


def write(folder, name, content):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(pickle.dumps(content))
    return hashlib.md5((folder / name).read_bytes()).hexdigest()


def write_all(root):
    """All files of the stand-in for CIFAR-100; {name: md5}."""
    folder = root / "cifar-100-python"
    sums = {
        part: write(folder, part, {"data": PIXELS[part], "fine_labels": LABELS[part]})
        for part in ("train", "test")
    }
    return {**sums, "meta": write(folder, "meta", {"fine_label_names": ["ape", "bee", "cow"]})}


@pytest.fixture
def root(tmp_path, monkeypatch):
    sums = write_all(tmp_path)
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", sums["test"]]])
    meta = {"filename": "meta", "key": "fine_label_names", "md5": sums["meta"]}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    return tmp_path


def read(root, **options):
    return load_dataset(DataConfig(dataset="cifar100", data_root=str(root), **options), seed=0)


def test_reads_what_was_written(root):
    dataset = read(root)
    np.testing.assert_array_equal(dataset.train.images, PIXELS["train"].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(dataset.test.images, PIXELS["test"].reshape(-1, 3, 32, 32))
    assert dataset.train.images.flags.c_contiguous
    assert dataset.train.labels.tolist() == LABELS["train"]
    assert dataset.test.labels.tolist() == LABELS["test"]
    assert dataset.classes == ("ape", "bee", "cow")
    augmentation = dataset.augmentation
    assert (augmentation.padding, augmentation.padding_mode, augmentation.flip) == (
        4,
        "reflect",
        True,
    )


def test_the_last_images_are_held_out_and_the_published_statistics_stay(root):
    whole, dataset = read(root), read(root, validation=2)
    np.testing.assert_array_equal(dataset.validation.images, whole.train.images[4:])
    np.testing.assert_array_equal(dataset.train.images, whole.train.images[:4])
    assert (dataset.mean, dataset.std) == (whole.mean, whole.std)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_missing_file_is_named(root, name):
    path = root / "cifar-100-python" / name
    path.unlink()
    with pytest.raises(ConfigError, match=f"{path} is missing; pass --download, or unpack cifar"):
        read(root)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_damaged_file_is_named(root, name):
    path = root / "cifar-100-python" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=f"^{path} is damaged") as caught:
        read(root)
    assert "\n" not in str(caught.value)


def test_cifar10_that_is_not_there(tmp_path):
    config = DataConfig(dataset="cifar10", data_root=str(tmp_path))
    with pytest.raises(ConfigError, match=r"does not hold cifar10: .*data_batch_1 is missing"):
        load_dataset(config, seed=0)


def test_download_without_a_network(root, monkeypatch):
    def offline(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(datasets.cifar, "download_and_extract_archive", offline)
    assert len(read(root, download=True).train) == 6  # all there: nothing to fetch
    (root / "cifar-100-python" / "test").unlink()
    with pytest.raises(ConfigError, match=r"--download could not fetch https.*no route to host"):
        read(root, download=True)


def test_download_repairs(root, monkeypatch):
    monkeypatch.setattr(
        datasets.cifar, "download_and_extract_archive", lambda url, root, **_: write_all(Path(root))
    )
    (root / "cifar-100-python" / "train").write_bytes(b"half of i")
    assert len(read(root, download=True).train) == 6


@pytest.mark.data
@pytest.mark.skipif(not Path("data/cifar-100-python").is_dir(), reason="no CIFAR-100 in data/")
def test_real_cifar100():
    dataset = read("data")
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (50_000, 10_000, 100)
    assert dataset.mean == (0.5071, 0.4865, 0.4409)
    assert dataset.std == (0.2673, 0.2564, 0.2762)
    assert (dataset.classes[0], dataset.classes[-1]) == ("apple", "worm")
    assert set(np.bincount(dataset.train.labels)) == {500}
