"""A feeder serves what each would decode for itself, decodes it once, and keeps little of it."""

import threading
from collections import Counter
from concurrent.futures import Future, wait
from dataclasses import replace

import numpy as np
import pytest
import torch

from cohort.config import DataConfig
from cohort.data.decoding import feeder_of
from cohort.data.fed import FedPictures, FedSource, source_of, through, with_feed
from cohort.data.feeder import AHEAD, BLOCKS, SPREAD, Feeder, free_cores, kept_at_most
from cohort.data.pictures import files
from cohort.data.registry import load_dataset
from cohort.data.source import BatchSource, whole
from cohort.errors import RunError
from cohort.learning.data_parallel import Workers
from tests.support.pictures import make_folder

BATCH = {"batch_size": 8, "seed": 5, "total_steps": 60}
EVERYTHING = {"autoaugment": True, "color_jitter": 0.4, "erasing": 0.5}
EPOCH = 6
"""Steps."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("pictures"), classes=4, train=12, test=5)


@pytest.fixture
def dataset(root):
    return pictures_in(root)


def pictures_in(root, **options):
    config = DataConfig(
        dataset="folder", data_root=str(root), image_size="24x16", feed="node", **options
    )
    return load_dataset(config, 0)


@pytest.fixture
def reads(monkeypatch):
    """How often each file was decoded."""
    counts, read = Counter(), files.read_picture

    def counted(path, *rest):
        counts[path.name, path.parent.name, path.parent.parent.name] += 1
        return read(path, *rest)

    monkeypatch.setattr(files, "read_picture", counted)
    return counts


@pytest.fixture
def make():
    """A feeder of a data set, closed after the test."""
    made = []

    def make(dataset, **options):
        made.append(feeder_of(dataset, **{**BATCH, "decoders": 2, **options}, keep=lambda x: x))
        return made[-1]

    yield make
    for feeder in made:
        feeder.close()


def fed(feed, shard=(0, 1)):
    return FedSource(feed, total_steps=BATCH["total_steps"], device="cpu", shard=shard)


def own(dataset, shard=(0, 1)):
    """Who decodes for himself."""
    source = {key: BATCH[key] for key in ("batch_size", "seed")}
    return BatchSource(
        dataset.train, **source, augmentation=dataset.augmentation, device="cpu", shard=shard
    )


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def settle(feeder):
    wait(feeder.begun())


@pytest.mark.parametrize("options", [{"cutout": 5}, {"crop": "resized", **EVERYTHING}])
@pytest.mark.parametrize("shard", [(0, 1), (1, 2), (3, 4)])
def test_it_serves_what_each_decodes_for_himself(root, make, options, shard):
    dataset = pictures_in(root, **options)
    source = fed(make(dataset), shard)
    for step in (0, 1, 2, 11, 12, 3):  # over the end of an epoch, and back
        assert equal(source.batch(step), own(dataset, shard).batch(step)), step


def test_and_what_lies_in_memory(dataset, make):
    decoded = own(dataset).batch(7)
    split = replace(dataset.train, images=files.pixels_of(dataset.train.images))
    source = {key: BATCH[key] for key in ("batch_size", "seed")}
    remembered = BatchSource(split, **source, augmentation=dataset.augmentation, device="cpu")
    assert equal(fed(make(dataset)).batch(7), remembered.batch(7))
    assert equal(decoded, remembered.batch(7))


def test_a_data_set_with_a_feed_gives_its_learners_their_part_of_it(dataset, make):
    feeder = make(dataset)
    source = source_of(with_feed(dataset, feeder), **BATCH, device="cpu", shard=(1, 2))
    assert isinstance(source, FedSource)
    assert equal(source.batch(4), own(dataset, (1, 2)).batch(4))
    assert isinstance(source_of(dataset, **BATCH, device="cpu", shard=(0, 1)), BatchSource)


def test_it_decodes_a_picture_once_for_all_who_differ_by_some_steps(dataset, make, reads):
    feeder = make(dataset)
    fast, slow = fed(feeder), fed(feeder)
    for step in range(2 * EPOCH):
        fast.batch(step)
        if step >= SPREAD - 1:  # a source asks for a step more than it is at
            slow.batch(step - SPREAD + 1)
    settle(feeder)
    batches = 2 * EPOCH + 1 + AHEAD
    assert sum(reads.values()) == batches * BATCH["batch_size"]


def test_it_stays_a_few_batches_ahead_and_never_goes_beyond_the_run(dataset, make, reads):
    feeder = make(dataset, total_steps=EPOCH)
    feeder.batch(0).result()
    settle(feeder)
    assert sum(reads.values()) == (1 + AHEAD) * BATCH["batch_size"]
    feeder.batch(EPOCH - 1).result()
    settle(feeder)
    assert sum(reads.values()) == EPOCH * BATCH["batch_size"]


def test_it_keeps_so_many_batches_wherever_it_is_asked(dataset, make):
    feeder = make(dataset)
    expected = {step: own(dataset).batch(step)[1] for step in (0, 40, 2, 30)}
    for start in expected:
        for step in range(start, start + SPREAD + 1 + AHEAD):
            labels = feeder.batch(step).result().labels
            if step == start:
                assert labels.tolist() == expected[step].tolist()
            assert len(feeder.begun()) <= kept_at_most()
        assert len(feeder.begun()) == kept_at_most() == SPREAD + 1 + AHEAD


def test_it_goes_as_far_ahead_as_it_is_told_and_keeps_the_more():
    begun = []

    class Decoding:
        def batch(self, step):
            begun.append(step)
            return Future()

    feeder = Feeder(Decoding(), total_steps=200, ahead=10)
    for step in range(50):
        feeder.batch(step)
        assert begun == list(range(step + 11)), "each once, in turn"
    assert len(feeder.begun()) == kept_at_most(10) == SPREAD + 11


def test_whoever_asks_at_the_same_time_gets_the_same_batch(dataset, make, reads):
    feeder = make(dataset, total_steps=1)
    start, got = threading.Barrier(8), []

    def ask():
        start.wait()
        got.append(feeder.batch(0).result())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert all(batch.images is got[0].images for batch in got)
    assert not got[0].images.flags.writeable
    assert sum(reads.values()) == BATCH["batch_size"]


def test_a_picture_that_became_unreadable_is_named_and_tried_again(tmp_path, make):
    root = make_folder(tmp_path, classes=2, train=4, test=2)
    dataset = pictures_in(root)
    broken = root / "train" / "class1" / "0002.jpg"
    good = broken.read_bytes()
    broken.write_bytes(b"no picture")
    feeder = make(dataset, total_steps=1)
    for _ in range(2):
        with pytest.raises(RunError, match=f"^{broken} cannot be read as a picture"):
            feeder.batch(0).result()
    broken.write_bytes(good)
    assert equal(fed(feeder).batch(0), own(dataset).batch(0))


def test_all_evaluate_on_blocks_that_are_decoded_once(dataset, make, reads):
    feeder = make(dataset)
    split = with_feed(dataset, feeder).test
    both = zip(whole(split, "cpu", 6), whole(split, "cpu", 6), strict=True)
    seen = [(one, other) for one, other in both if equal(one, other)]
    assert len(seen) == 4  # of 6, 6, 6 and 2
    assert len(reads) == len(dataset.test) == 20
    assert set(reads.values()) == {1}
    assert equal(map(torch.cat, zip(*(one for one, _ in seen), strict=True)),
                 map(torch.cat, zip(*whole(dataset.test, "cpu", 7), strict=True)))  # fmt: skip


def test_parts_of_a_fed_split_come_through_its_feed(dataset, make):
    split = with_feed(dataset, make(dataset)).test
    part = Workers(1, 2).part_of(split)
    assert isinstance(part.images, FedPictures)
    expected = files.pixels_of(dataset.test.images)
    assert np.array_equal(files.pixels_of(part.images), expected[10:])
    assert np.array_equal(
        files.pixels_of(split.part(np.array([3, 19, 3])).images), expected[[3, 19, 3]]
    )
    plain = through(None, part.images)
    assert type(plain) is files.PictureFiles
    assert np.array_equal(files.pixels_of(plain), expected[10:])


def test_it_keeps_few_blocks(dataset, make):
    feeder = make(dataset)
    for row in range(20):
        feeder.pictures(dataset.test.images[row : row + 1]).result()
    assert len(feeder.begun()) == BLOCKS


def test_cores_that_training_leaves_free_decode():
    assert [free_cores(busy, 8.0) for busy in (2, 7, 8, 20)] == [6, 1, 1, 1]
    assert free_cores(1, 0.0) >= 1
