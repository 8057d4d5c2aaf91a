"""Tiny-ImageNet, ImageNet and Market-1501 in the layouts of their authors, with few pictures."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
import scipy.io
from PIL import Image
from torchvision.datasets import imagenet as torchvision_imagenet

from cohort.config import DataConfig
from cohort.data.dataset import GALLERY, MORE, QUERY, Search
from cohort.data.pictures.files import PictureFiles
from cohort.data.pictures.listing import counts_note
from cohort.data.readers import imagenet, market1501, tiny_imagenet
from cohort.data.recipes import ods_recipe, recipe_for, self_distillation_recipe
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError
from tests.support.pictures import (
    MARKET,
    TINY,
    make_imagenet,
    make_market,
    make_tiny_imagenet,
    pattern,
    wnid,
)

MAKERS = {"tiny-imagenet": make_tiny_imagenet, "imagenet": make_imagenet, "market1501": make_market}


def read(root, name, seed=0, **options):
    return load_dataset(DataConfig(dataset=name, data_root=str(root), **options), seed=seed)


def refused(root, name, **options):
    with pytest.raises(ConfigError) as caught:
        read(root, name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", MAKERS)
def test_where_they_do_not_lie(tmp_path, name):
    assert refused(tmp_path, name).startswith(f"--data-root {tmp_path} ")


@pytest.mark.parametrize("name", MAKERS)
def test_counts_other_than_published_are_told(tmp_path, name):
    (note,) = read(MAKERS[name](tmp_path), name, image_size=16).notes
    assert note.startswith("this is not the whole of ")
    assert f"instead of {PUBLISHED[name]}" in note


PUBLISHED = {"tiny-imagenet": 100_000, "imagenet": 1_281_167, "market1501": 12_936}


def test_published_counts_need_no_words():
    for module in (tiny_imagenet, imagenet, market1501):
        assert counts_note("it", module.PUBLISHED, module.PUBLISHED) == ()
    assert market1501.PUBLISHED["gallery images"] == 19_732


# Tiny-ImageNet


def test_tiny_imagenet(tmp_path):
    make_tiny_imagenet(tmp_path, classes=3, train=8, val=2)
    dataset = read(tmp_path, "tiny-imagenet")
    assert dataset.classes == tuple(wnid(k) for k in range(3))
    assert dataset.image_shape == (3, 64, 64)
    assert dataset.train.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert dataset.test.labels.tolist() == [0, 1, 2, 0, 1, 2]  # as val_annotations.txt has it
    augmentation = dataset.augmentation
    assert (augmentation.shift, augmentation.padding_mode, augmentation.flip) == (
        4,
        "reflect",
        True,
    )
    grey = dataset.train.images[7]
    assert (grey == grey[:1]).all()
    for label, image in zip(dataset.test.labels[:3], dataset.test.images, strict=False):
        right = np.asarray(pattern(label, 64, 64, 8)).transpose(2, 0, 1).astype(int)
        assert abs(image - right).mean() < 20  # JPEG; of another class it is 60
    itself = read(tmp_path / TINY, "tiny-imagenet")
    np.testing.assert_array_equal(itself.train.images, dataset.train.images)


def test_tiny_imagenets_list_is_checked(tmp_path):
    file = make_tiny_imagenet(tmp_path) / TINY / "val" / "val_annotations.txt"
    whole = file.read_text()
    file.write_text(whole + "val_9.JPEG\tn1\t0\t0\n")
    assert f"{file}: line 25 is 'val_9.JPEG\\tn1\\t0\\t0'; it must name" in refused(
        tmp_path, "tiny-imagenet"
    )
    file.write_text(whole + f"nowhere.JPEG\t{wnid(0)}\t0\n")
    said = refused(tmp_path, "tiny-imagenet")
    assert f"{TINY}/val/images/nowhere.JPEG cannot be read as a picture: No such file" in said
    assert len(read(tmp_path, "tiny-imagenet", skip_broken=True).test) == 24


# ImageNet


def test_imagenet(tmp_path):
    make_imagenet(tmp_path, classes=2, train=6, val=2, size=(60, 80))
    dataset = read(tmp_path, "imagenet")
    assert dataset.classes == (wnid(0), wnid(1))
    assert dataset.image_shape == (3, 224, 224)
    assert (len(dataset.train), dataset.test.labels.tolist()) == (12, [0, 0, 1, 1])
    assert (dataset.mean, dataset.std) == (imagenet.MEAN, imagenet.STD)
    assert isinstance(dataset.train.images, PictureFiles)
    assert (dataset.augmentation.crop, dataset.augmentation.shift) == ("resized", 0)
    with Image.open(tmp_path / "val" / wnid(0) / f"{wnid(0)}_1.JPEG") as picture:
        side = 60 * 224 / 256  # resized to 256 at its shorter side, and 224 of the middle cut out
        box = (40 - side / 2, 30 - side / 2, 40 + side / 2, 30 + side / 2)
        right = picture.resize((224, 224), Image.Resampling.BILINEAR, box)
    np.testing.assert_array_equal(dataset.test.images[1].transpose(1, 2, 0), right)


def test_imagenet_shifted_in_memory_if_asked(tmp_path):
    dataset = read(make_imagenet(tmp_path), "imagenet", image_size=32, crop="shift")
    assert isinstance(dataset.train.images, np.ndarray)
    assert dataset.augmentation.shift == 4


def pack(path, files, mode="w"):
    """A tar archive of bytes by name; its MD5."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


def make_archives(root, source):
    """The three archives of ILSVRC 2012 with the pictures of ``source``; their MD5 sums by part."""
    classes = sorted(path.name for path in (source / "train").iterdir())
    inner = {}
    for name in classes:
        files = {path.name: path.read_bytes() for path in (source / "train" / name).iterdir()}
        pack(root / "inner.tar", files)
        inner[f"{name}.tar"] = (root / "inner.tar").read_bytes()
    (root / "inner.tar").unlink()
    pictures = [
        (k, path) for k, name in enumerate(classes) for path in (source / "val" / name).iterdir()
    ]
    pictures.sort(key=lambda each: each[1].name[-6])  # class after class would be too easy
    val = {
        f"ILSVRC2012_val_{n:08d}.JPEG": path.read_bytes() for n, (_, path) in enumerate(pictures, 1)
    }
    synsets = [(k + 1, name, f"thing {k}, it", "gloss", 0, 0) for k, name in enumerate(classes)]
    kinds = [
        ("id", "O"),
        ("wnid", "O"),
        ("words", "O"),
        ("gloss", "O"),
        ("children", "O"),
        ("n", "O"),
    ]
    meta = io.BytesIO()
    scipy.io.savemat(meta, {"synsets": np.array(synsets, dtype=kinds)})
    truth = "".join(f"{k + 1}\n" for k, _ in pictures)
    home = "ILSVRC2012_devkit_t12/data"
    devkit = {
        f"{home}/meta.mat": meta.getvalue(),
        f"{home}/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    }
    return {
        "train": pack(root / "ILSVRC2012_img_train.tar", inner),
        "val": pack(root / "ILSVRC2012_img_val.tar", val),
        "devkit": pack(root / "ILSVRC2012_devkit_t12.tar.gz", devkit, "w:gz"),
    }


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """A folder of archives, for whose MD5 sums torchvision takes theirs; and where the same lie open."""
    source = make_imagenet(tmp_path / "open", classes=2, train=4, val=3, size=(20, 24))
    (root := tmp_path / "root").mkdir()
    for part, md5 in make_archives(root, source).items():
        name, _ = torchvision_imagenet.ARCHIVE_META[part]
        monkeypatch.setitem(torchvision_imagenet.ARCHIVE_META, part, (name, md5))
    return root, source


def test_imagenets_archives_are_unpacked(archives):
    root, _ = archives
    (root / "train.partial").mkdir()  # where somebody pulled the plug
    (root / "train.partial" / "n1.tar").touch()
    options = {"image_size": 20, "crop": "none"}
    from_archives, right = (read(each, "imagenet", **options) for each in archives)
    assert from_archives.classes == right.classes
    np.testing.assert_array_equal(from_archives.train.labels, right.train.labels)
    np.testing.assert_array_equal(from_archives.train.images, right.train.images)
    for label in range(2):
        images = [each.test.images[each.test.labels == label] for each in (from_archives, right)]
        assert {each.tobytes() for each in images[0]} == {each.tobytes() for each in images[1]}
    assert not list(root.glob("*.partial"))
    assert read(root, "imagenet", **options).classes == right.classes  # from folders, now


def test_a_damaged_archive_is_named(archives):
    root, _ = archives
    (root / "ILSVRC2012_img_val.tar").write_bytes(b"half")
    said = refused(root, "imagenet")
    assert "which cannot be unpacked: The archive ILSVRC2012_img_val.tar is not present" in said
    assert not (root / "val").exists()
    (root / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    (root / "meta.bin").unlink()
    assert "The archive ILSVRC2012_devkit_t12.tar.gz is not present" in refused(root, "imagenet")


# Market-1501


def test_market1501(tmp_path):
    make_market(tmp_path, identities=4, test_identities=3, cameras=2, pictures=2, more=True)
    dataset = read(tmp_path, "market1501")
    assert dataset.image_shape == (3, 224, 224)
    assert dataset.classes == ("0002", "0004", "0006", "0008")
    assert dataset.train.labels.tolist() == [k for k in range(4) for _ in range(4)]
    test = dataset.test
    assert isinstance(test, Search)
    counts = {role: int((test.roles == role).sum()) for role in (QUERY, GALLERY, MORE)}
    # Of gt_bbox, those of a training identity are none of a query's.
    assert counts == {QUERY: 6, GALLERY: 12 + 4 + 3, MORE: 12}
    queries = test.part(test.roles == QUERY)
    assert queries.labels.tolist() == [1, 1, 3, 3, 5, 5]
    assert queries.cameras.tolist() == [1, 2, 1, 2, 1, 2]
    gallery = test.part(test.roles == GALLERY)
    assert np.bincount(gallery.labels + 1).tolist() == [
        3,
        4,
        4,
        0,
        4,
        0,
        4,
    ]  # junk, distractors, people
    assert (dataset.augmentation.shift, dataset.augmentation.flip) == (0, True)
    with Image.open(tmp_path / MARKET / "query" / "0003_c2s1_000002_00.jpg") as picture:
        right = picture.resize((224, 224), Image.Resampling.BILINEAR)  # the whole of it, stretched
    np.testing.assert_array_equal(queries.images[3].transpose(1, 2, 0), right)
    assert "4 training identities instead of 751" in dataset.notes[0]
    assert "3 junk images instead of 3819" in dataset.notes[0]


def test_market1501_without_gt_bbox_and_in_its_own_folder(tmp_path):
    make_market(tmp_path)
    dataset = read(tmp_path / MARKET, "market1501", image_size="128x64", feed="node")
    assert dataset.image_shape == (3, 128, 64)
    assert not (dataset.test.roles == MORE).any()


def test_a_query_is_not_more_of_itself(tmp_path):
    home = make_market(tmp_path, more=True) / MARKET
    more = read(tmp_path, "market1501", image_size=8).test.roles.tolist().count(MORE)
    name = "0001_c1s1_000003_00.jpg"
    (home / "gt_bbox" / name).write_bytes((home / "query" / name).read_bytes())
    again = read(tmp_path, "market1501", image_size=8).test.roles.tolist().count(MORE)
    assert again == more


def test_names_that_say_nothing_are_named(tmp_path):
    home = make_market(tmp_path) / MARKET
    picture = next((home / "query").glob("*.jpg"))
    for folder, name, message in [
        ("bounding_box_test", "somebody.jpg", "its name does not say who is on it"),
        (
            "bounding_box_train",
            "0000_c1s1_000001_00.jpg",
            "holds 0000_c1s1_000001_00.jpg, which is",
        ),
        (
            "query",
            "-1_c1s1_000001_00.jpg",
            "holds -1_c1s1_000001_00.jpg, which is a picture of nobody",
        ),
    ]:
        (place := home / folder / name).write_bytes(picture.read_bytes())
        said = refused(tmp_path, "market1501")
        assert said.startswith(str(home / folder))
        assert message in said
        place.unlink()


def test_a_subset_of_a_search_is_of_its_queries(tmp_path):
    make_market(tmp_path, more=True)
    options = {"image_size": 8, "test_subset": 4}
    whole, some = (
        read(tmp_path, "market1501", image_size=8).test,
        read(tmp_path, "market1501", **options),
    )
    test = some.test
    gallery = whole.part(whole.roles == GALLERY)
    np.testing.assert_array_equal(test.part(test.roles == GALLERY).images, gallery.images)
    queries = test.part(test.roles == QUERY)
    assert len(queries) == 4
    wanted = set(zip(queries.labels, queries.cameras, strict=True))
    more = test.part(test.roles == MORE)
    assert set(zip(more.labels, more.cameras, strict=True)) == wanted
    assert len(more) == 2 * 4
    same, other = (read(tmp_path, "market1501", seed, **options).test for seed in (0, 1))
    np.testing.assert_array_equal(same.labels, test.labels)
    assert not np.array_equal(other.labels, test.labels)
    said = refused(tmp_path, "market1501", test_subset=99)
    assert said == "--test-subset is 99; it must be at most 18, the number of queries"


def test_pictures_of_people_are_held_out_as_of_any_class(tmp_path):
    make_market(tmp_path)
    dataset = read(tmp_path, "market1501", image_size=8, validation=20)
    assert (len(dataset.train), len(dataset.validation)) == (52, 20)
    assert len(np.unique(dataset.validation.labels)) > 4


# Recipes


def test_market1501_is_learned_as_in_the_paper():
    recipe = recipe_for("market1501")
    assert (recipe.lr, recipe.optimizer, recipe.lr_schedule) == (2e-4, "adam", "constant")
    steps = recipe.epochs * (market1501.PUBLISHED["training images"] // recipe.batch_size)
    assert abs(steps - 100_000) < 808


def test_tiny_imagenet_is_learned_as_cifar_is():
    for recipe in (recipe_for, self_distillation_recipe, ods_recipe):
        assert recipe("tiny-imagenet") == recipe("cifar100")


def test_imagenet_is_learned_for_90_epochs_by_a_resnet_50():
    recipe = self_distillation_recipe("imagenet")
    assert recipe == recipe_for("imagenet")
    assert (recipe.network, recipe.epochs, recipe.batch_size) == ("resnet50", 90, 256)
