"""What is a picture, what is a class, and what is told of the rest; broken ones; memory or files."""

import os

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import folder as torchvision_folder

from cohort import machine
from cohort.config import DataConfig
from cohort.data.dataset import ImageDataset, Split
from cohort.data.pictures import placing
from cohort.data.pictures.files import PictureFiles
from cohort.data.pictures.frame import Frame
from cohort.data.pictures.listing import find_classes, is_picture, list_pictures, pictures_in
from cohort.data.registry import load_dataset
from cohort.errors import ConfigError
from tests.support.pictures import make_folder


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path, classes=2, train=6, test=3, size=(12, 12))


def read(root, **options):
    config = DataConfig(dataset="folder", data_root=str(root), image_size=12, **options)
    return load_dataset(config, seed=0)


def refused(root, **options):
    with pytest.raises(ConfigError) as caught:
        read(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def truncate(path, part=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


# Listing


def test_what_pillow_reads_is_a_picture_and_what_it_hands_on_is_not():
    for name in (
        "a.jpg",
        "A.JPEG",
        "b.jfif",
        "c.gif",
        "d.avif",
        "e.webp",
        "f.TIFF",
        "g.bmp",
        "h.mpo",
    ):
        assert is_picture(name), name
    for name in (".a.jpg", ".jpg", "jpg", "a.txt", "b.mp4", "c.pdf", "d.eps", "e.h5", "Thumbs.db"):
        assert not is_picture(name), name


def test_the_order_is_torchvisions_as_ever(root):
    """Runs of older versions are resumed on the same files in the same order."""
    home = root / "train"
    for name in ("b/2.png", "b-c/1.png", "B/3.png", "b/c/0.png", "10.png", "9.png"):
        path = home / "class1" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (12, 12)).save(path)
    elsewhere = root / "elsewhere"
    (home / "class0").rename(elsewhere)
    (home / "class0").symlink_to(elsewhere)
    classes = find_classes(home)
    listing = list_pictures(home, classes)
    indices = {name: k for k, name in enumerate(classes)}
    before = torchvision_folder.make_dataset(home, indices, torchvision_folder.IMG_EXTENSIONS)
    got = [str(home / name) for name in listing.names]
    assert list(map(os.path.normpath, got)) == [path for path, _ in before]
    assert listing.labels == [label for _, label in before]


@pytest.mark.timeout(60)
def test_links_that_lead_back_and_pipes_are_left_out(root):
    """The walk would not end, or count a picture many times over; a pipe would be waited for."""
    home = root / "train"
    before = list_pictures(home, find_classes(home)).names
    (home / "class0" / "self").symlink_to(home / "class0")
    (home / "class0" / "up").symlink_to("..")
    (home / "class1" / "inner").mkdir()
    (home / "class1" / "inner" / "back").symlink_to("../../class1")
    os.mkfifo(home / "class1" / "zz.png")
    listing = list_pictures(home, find_classes(home))
    assert listing.names == before
    assert listing.left_out == {"class1": {"a pipe or device": 1}}
    assert listing.notes[1] == (
        f"{home}: 3 links were not followed, to folders whose pictures are read already: "
        "class0/self, class0/up, class1/inner/back"
    )
    (home / "class0" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(ConfigError, match=r"gone\.png cannot be read as a picture: No such file"):
        read(root)


def test_two_classes_that_link_to_each_other_are_walked_once(root):
    home = root / "train"
    (home / "class0" / "other").symlink_to("../class1")
    (home / "class1" / "other").symlink_to("../class0")
    assert len(list_pictures(home, find_classes(home)).names) == 2 * 12


@pytest.mark.timeout(60)
def test_folders_that_all_link_to_one_another_are_read_once(root):
    """On every way through ten of them there are as many as ten factorial."""
    rooms = [root / "train" / "class0" / f"room{number}" for number in range(10)]
    for room in rooms:
        room.mkdir()
        Image.new("RGB", (9, 9)).save(room / "x.png")
    for room in rooms:
        for other in rooms:
            if other != room:
                (room / f"to-{other.name}").symlink_to(other)
    (root / "train" / "class1" / "rooms").symlink_to(rooms[3])
    listing = list_pictures(root / "train", ["class0", "class1"])
    read = [name for name in listing.names if name.endswith("x.png")]
    assert read[:10] == [f"class0/{room.name}/x.png" for room in rooms]
    assert read[10] == "class1/rooms/x.png"
    assert {os.path.realpath(root / "train" / name) for name in read[10:]} == {
        os.path.realpath(room / "x.png") for room in rooms
    }
    assert len(read) == 20


def test_what_is_hidden_is_neither_class_nor_picture(root):
    for split in ("train", "test"):
        for folder in (".ipynb_checkpoints", "class0/.cache"):
            (root / split / folder).mkdir()
            Image.new("RGB", (9, 9)).save(root / split / folder / "x.png")
    Image.new("RGB", (9, 9)).save(root / "train" / "class1" / "._0000.jpg", "JPEG")
    dataset = read(root)
    assert dataset.classes == ("class0", "class1")
    assert (len(dataset.train), len(dataset.test), dataset.notes) == (12, 6, ())


def test_gif_and_jfif_are_read_with_the_others(root):
    for number, (ending, kind) in enumerate([("gif", "GIF"), ("jfif", "JPEG"), ("avif", "AVIF")]):
        path = root / "train" / "class0" / f"000{number}.jpg"
        with Image.open(path) as picture:
            picture.save(path.with_suffix(f".{ending}"), kind)
        path.unlink()
    dataset = read(root)
    assert np.bincount(dataset.train.labels).tolist() == [6, 6]
    assert dataset.notes == ()


def test_files_that_are_left_out_are_counted_by_class(root):
    for name in ("a.mp4", "b.mp4", "c.TXT"):
        (root / "train" / "class0" / name).touch()
    (root / "train" / "class1" / "noextension").touch()
    (root / "train" / "class1" / "Thumbs.db").touch()
    (note,) = read(root).notes
    assert note == (
        f"{root / 'train'}: 4 files were left out whose extensions are none of a picture (.mp4, .txt, "
        "none), by class: class0 3, class1 1"
    )


def test_a_class_of_nothing_but_other_files_is_refused_with_the_reason(root):
    for path in (root / "test" / "class1").iterdir():
        path.rename(path.with_suffix(".jpg_"))
    assert refused(root) == (
        f"{root / 'test'} holds no pictures of the class class1; {root / 'test'}: 3 files were left out "
        "whose extensions are none of a picture (.jpg_), by class: class1 3"
    )


def test_pictures_of_a_folder_alone(root):
    (root / "train" / "class0" / "x.txt").touch()
    assert pictures_in(root / "train" / "class0") == [f"000{k}.jpg" for k in range(6)]
    assert pictures_in(root / "train") == []


@pytest.mark.parametrize("folder", ["train", "train/class1"])
def test_a_folder_that_cannot_be_read(root, monkeypatch, folder):
    def closed(path, real):
        if str(path) == str(root / folder):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    for name in ("listdir", "scandir"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path, real=real: closed(path, real))
    assert refused(root) == f"{root / folder} cannot be read: Permission denied"


def test_training_pictures_that_are_all_one(root):
    for path in (root / "train").rglob("*.jpg"):
        Image.new("RGB", (12, 12)).save(path)
    message = "the training images are identical, all 12 that were compared of 12"
    assert read(root).notes == read(root, feed="node").notes == (message,)


# Broken files


@pytest.mark.parametrize("where", ["memory", "node"])
def test_all_broken_files_are_named(root, where):
    truncate(root / "train" / "class0" / "0001.jpg")
    truncate(root / "train" / "class1" / "0003.jpg")
    (root / "test" / "class0" / "0000.jpg").write_text("<html>404</html>")
    said = refused(root, feed=where)
    assert said.startswith("3 pictures cannot be read: ")
    for name in ("train/class0/0001.jpg", "train/class1/0003.jpg", "test/class0/0000.jpg"):
        assert f"{root / name} (" in said
    assert said.endswith("repair or remove them, or start again with --skip-broken")


def test_of_many_broken_files_ten_are_named(root):
    for path in [*root.rglob("class0/*.jpg"), *root.rglob("class1/*.jpg")]:
        path.write_bytes(b"")
    said = refused(root)
    assert said.startswith("18 pictures cannot be read: ")
    assert said.count("(its format is not known)") == 10
    assert " and 8 more; " in said


@pytest.mark.parametrize("where", ["memory", "node"])
def test_broken_files_are_skipped_if_asked(root, where):
    whole = read(root, feed=where).train
    truncate(broken := root / "train" / "class0" / "0001.jpg")
    truncate(other := root / "test" / "class1" / "0002.jpg")
    dataset = read(root, feed=where, skip_broken=True)
    assert (len(dataset.train), len(dataset.test)) == (11, 5)
    assert dataset.skipped == (str(broken), str(other))
    assert dataset.notes == (f"2 pictures that cannot be read were left out: {broken}, {other}",)
    left = [row for row in range(12) if row != 1]
    assert dataset.train.labels.tolist() == whole.labels[left].tolist()
    decoded = (
        placing.decoded_all(dataset.train.images)[0] if where == "node" else dataset.train.images
    )
    before = (
        placing.decoded_all(whole.images[np.array(left)])[0]
        if where == "node"
        else whole.images[left]
    )
    np.testing.assert_array_equal(decoded, before)


def test_a_class_that_loses_all_its_pictures_is_refused(root):
    for path in (root / "train" / "class0").iterdir():
        truncate(path)
    said = refused(root, skip_broken=True)
    assert said.startswith(
        "--skip-broken leaves no pictures in train of class0: 6 pictures cannot "
    )


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "tif", "bmp"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.99])
def test_a_glance_sees_files_that_were_cut_off(tmp_path, ending, part):
    from cohort.data.pictures.broken import decode, glance
    from cohort.data.pictures.viewer import BrokenPictureError

    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(path := tmp_path / f"x.{ending}")
    glance(path)
    decode(path)
    truncate(path, part)
    with pytest.raises(BrokenPictureError):
        glance(path)


def test_a_jpeg_with_something_behind_its_end_is_whole(root):
    path = root / "train" / "class0" / "0001.jpg"
    path.write_bytes(path.read_bytes() + b"a phone's notes")
    assert len(read(root, feed="node").train) == 12


# Memory or files


def test_small_splits_are_decoded_into_memory_and_large_ones_stay(root, monkeypatch):
    size = 3 * 12 * 12
    kept = {
        4 * 12 * size: (False, False),
        4 * 12 * size - 1: (True, False),
        4 * 6 * size - 1: (True, True),
    }
    for memory, in_files in kept.items():
        monkeypatch.setattr(placing, "memory", lambda memory=memory: memory)
        dataset = read(root)
        splits = (dataset.train, dataset.test)
        assert tuple(isinstance(split.images, PictureFiles) for split in splits) == in_files


def test_ones_own_data_may_be_files(root):
    def mine():
        names = [f"train/class{k % 2}/000{k // 2}.jpg" for k in range(12)]
        split = Split(PictureFiles.of(root, names, Frame(12, 12)), np.arange(12) % 2)
        few = split.part(slice(4))
        return ImageDataset(name="mine", train=split, test=few, classes=("a", "b"))

    dataset = load_dataset(DataConfig(dataset=mine), seed=0)
    right = read(root).train
    np.testing.assert_array_equal(dataset.train.images[::2], right.images[:6])
    assert len(dataset.mean) == 3
    truncate(broken := root / "train" / "class1" / "0002.jpg")
    with pytest.raises(ConfigError, match=f"^{broken} cannot be read as a picture"):
        load_dataset(DataConfig(dataset=mine, feed="node"), seed=0)


def test_the_same_pixels_from_memory_and_from_files(root):
    decoded, in_files = read(root, feed="memory"), read(root, feed="node")
    assert (decoded.mean, decoded.std) == (in_files.mean, in_files.std)
    for split, other in zip(decoded.splits.values(), in_files.splits.values(), strict=True):
        assert isinstance(other.images, PictureFiles)
        np.testing.assert_array_equal(split.images, other.images.begin()())


def test_what_does_not_fit_into_memory_is_refused_with_sizes(root, monkeypatch):
    monkeypatch.setattr(placing, "memory", lambda: 7000)
    assert refused(root, feed="memory").startswith(
        "--feed is memory, but the pictures would take 0.0 GiB and this machine has 0.0 GiB"
    )


def test_training_pictures_that_are_cut_anew_stay_in_their_files(root):
    dataset = read(root, crop="resized")
    assert isinstance(dataset.train.images, PictureFiles)
    assert isinstance(dataset.test.images, np.ndarray)
    said = refused(root, crop="resized", feed="memory")
    assert said.startswith("--feed is memory, but --crop is resized, which cuts each picture anew")


def test_decoders_need_something_to_decode(root):
    assert read(root, feed="node", decoders=2).num_classes == 2
    assert refused(root, decoders=2).startswith(
        "--decoders is 2, but the pictures are decoded into"
    )


@pytest.mark.parametrize("size", [100_000, "999999x100"])
def test_a_size_that_no_picture_has_is_refused(root, size):
    with pytest.raises(ConfigError, match=f"--image-size is {size}; .* the most that are read"):
        load_dataset(DataConfig(dataset="folder", data_root=str(root), image_size=size), seed=0)


def test_a_containers_limit_is_its_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "LIMITS", ())
    whole = machine.memory()
    (tmp_path / "limit").write_text("4096\n")
    (tmp_path / "none").write_text("max\n")
    for name, size in (("limit", 4096), ("none", whole), ("missing", whole)):
        monkeypatch.setattr(machine, "LIMITS", (str(tmp_path / name),))
        assert machine.memory() == size
