"""A batch is a function of (seed, step) and of nothing else."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cohort.data.dataset import Augmentation, Split
from cohort.data.source import BatchSource, as_tensor, to_float, whole
from cohort.errors import ConfigError

N, B = 23, 4
AUGMENTATION = Augmentation(padding=2, flip=True)
EVERYTHING = Augmentation(
    padding=2, flip=True, autoaugment=True, color_jitter=0.4, cutout=3, erasing=0.5
)


def make_split(count=N, size=6):
    """Labels are serial numbers, so that a batch tells which images it holds."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return Split(images, np.arange(count))


def make_source(
    split=None, seed=0, augmentation=AUGMENTATION, device="cpu", batch_size=B, shard=(0, 1)
):
    return BatchSource(
        split or make_split(),
        batch_size=batch_size,
        seed=seed,
        augmentation=augmentation,
        device=device,
        shard=shard,
    )


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@given(
    steps=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    seed=st.integers(0, 9),
    augmentation=st.sampled_from([AUGMENTATION, EVERYTHING]),
)
def test_a_batch_does_not_depend_on_what_was_asked_before(steps, seed, augmentation):
    options = {"seed": seed, "augmentation": augmentation}
    wandering = make_source(**options)
    for step in steps:
        assert equal(wandering.batch(step), make_source(**options).batch(step))


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_an_epoch_visits_distinct_images_in_full_batches(epoch):
    source = make_source()
    assert source.steps_per_epoch == N // B
    first = epoch * source.steps_per_epoch
    labels = [source.batch(first + i)[1] for i in range(source.steps_per_epoch)]
    assert {len(part) for part in labels} == {B}
    assert len(set(torch.cat(labels).tolist())) == N // B * B


def test_images_left_over_by_one_epoch_are_seen_in_others():
    source = make_source()
    seen = torch.cat([source.batch(step)[1] for step in range(10 * source.steps_per_epoch)])
    assert set(seen.tolist()) == set(range(N))


def test_seed_epoch_and_step_each_change_the_batch():
    source = make_source()
    assert not torch.equal(source.batch(0)[1], make_source(seed=1).batch(0)[1])
    assert not torch.equal(source.batch(0)[1], source.batch(source.steps_per_epoch)[1])
    one_image = make_split(count=1)
    pictures = make_source(one_image, batch_size=1)
    assert len({pictures.batch(step)[0].numpy().tobytes() for step in range(10)}) > 5


def test_images_belong_to_their_labels_and_lie_between_0_and_1():
    split = make_split()
    x, y = make_source(split, augmentation=Augmentation()).batch(3)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    np.testing.assert_allclose(x.numpy(), split.images[y.numpy()] / 255, rtol=1e-6)


def test_all_256_values_map_into_the_unit_interval():
    values = to_float(torch.arange(256, dtype=torch.uint8))
    assert (values[0].item(), values[-1].item()) == (0.0, 1.0)
    assert (values.diff() > 0).all()


def test_more_images_a_batch_than_there_are():
    with pytest.raises(ConfigError, match="--batch-size is 24; it must be at most 23"):
        make_source(batch_size=24)


def test_whole_yields_everything_once_in_order():
    split = make_split()
    xs, ys = zip(*whole(split, "cpu", 5), strict=True)
    assert [len(y) for y in ys] == [5, 5, 5, 5, 3]
    assert torch.equal(torch.cat(ys), torch.arange(N))
    assert torch.equal(torch.cat(xs), to_float(torch.from_numpy(split.images)))


def test_read_only_arrays_are_shared_without_a_copy_or_a_warning():
    split = make_split()
    for array in (split.images, split.labels):
        array.setflags(write=False)
    assert as_tensor(split.images).data_ptr() == split.images.ctypes.data
    before = split.images.copy()
    make_source(split).batch(0)
    np.testing.assert_array_equal(split.images, before)


def test_batches_of_older_versions_are_still_the_same():
    """Runs are resumed by recomputing their batches: the bits of a step must never change."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (50, 3, 12, 12), dtype=np.uint8), np.arange(50))
    source = make_source(split, 1, Augmentation(padding=4, flip=True), batch_size=16)
    digest = hashlib.sha256()
    for step in (0, 1, 7, source.steps_per_epoch):
        for part in source.batch(step):
            digest.update(part.numpy().tobytes())
    assert digest.hexdigest()[:16] == "2557287ebfc84d0b"


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(),
        AUGMENTATION,
        Augmentation(padding=1, padding_mode="zeros"),
        Augmentation(autoaugment=True),
        Augmentation(cutout=2),
        Augmentation(color_jitter=0.4),
        Augmentation(erasing=0.5),
        EVERYTHING,
    ],
)
@pytest.mark.parametrize("size", [2, 4, 8])
def test_shards_together_are_the_whole_batch(augmentation, size):
    options = {"augmentation": augmentation, "batch_size": 8, "seed": 3}
    shards = [make_source(shard=(rank, size), **options) for rank in range(size)]
    whole_batches = make_source(**options)
    for step in range(4):
        parts = [shard.batch(step) for shard in shards]
        assert {len(labels) for _, labels in parts} == {8 // size}
        together = [torch.cat(part) for part in zip(*parts, strict=True)]
        assert equal(together, whole_batches.batch(step))


def test_a_batch_divides_by_its_shards():
    with pytest.raises(AssertionError, match="8 images do not divide by 3"):
        make_source(batch_size=8, shard=(0, 3))


def test_every_option_changes_the_pixels_and_only_its_own():
    """The draws of one option do not move those of another."""
    options = {"batch_size": 20, "split": make_split(20, 8)}
    plain = make_source(**options).batch(0)[0]
    cut = make_source(augmentation=Augmentation(padding=2, flip=True, cutout=3), **options)
    pixels = cut.batch(0)[0]
    black = pixels == 0
    assert torch.equal(pixels[~black], plain[~black])
    assert not torch.equal(pixels, plain)
    automatic = Augmentation(padding=2, flip=True, autoaugment=True)
    one = make_source(augmentation=automatic, **options).batch(0)[0]
    same = (one == plain).flatten(1).all(1)
    assert 0 < same.sum() < 20  # those whose sub-policy did nothing are where they were


def test_cutout_comes_last():
    """Nothing recolours the square: it is black whatever AutoAugment did."""
    split = Split(np.full((20, 3, 8, 8), 200, dtype=np.uint8), np.arange(20))
    both = Augmentation(autoaugment=True, cutout=4)
    pixels = make_source(split, augmentation=both, batch_size=20).batch(0)[0]
    only = make_source(split, augmentation=Augmentation(cutout=4), batch_size=20).batch(0)[0]
    assert (pixels[only == 0] == 0).all()


@pytest.mark.parametrize("augmentation", [AUGMENTATION, EVERYTHING])
def test_augmentation_leaves_the_global_random_state_alone(augmentation):
    state = torch.get_rng_state()
    make_source(augmentation=augmentation).batch(5)
    assert torch.equal(torch.get_rng_state(), state)


def test_autoaugment_differs_from_step_to_step_and_place_to_place():
    image = 60 + make_split(1, 20).images // 2  # leaves contrast to gain
    split = Split(np.repeat(image, 20, axis=0), np.arange(20))
    source = make_source(split, augmentation=Augmentation(autoaugment=True), batch_size=20)
    here, there = ([image.numpy().tobytes() for image in source.batch(s)[0]] for s in range(2))
    assert len(set(here)) > 5  # of 20: a quarter stays as it is, another is only equalised
    assert sum(one != other for one, other in zip(here, there, strict=True)) > 10


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(
    "options",
    [{}, {"cutout": 3}, {"color_jitter": 0.4, "erasing": 0.5}, {"autoaugment": True, "cutout": 3}],
)
@pytest.mark.parametrize("mode", ["reflect", "zeros"])
def test_a_gpu_gets_the_same_bits(mode, options):
    augmentation = Augmentation(padding=2, padding_mode=mode, flip=True, **options)
    on_gpu = make_source(augmentation=augmentation, device="cuda")
    on_cpu = make_source(augmentation=augmentation)
    for step in range(12):
        assert equal([part.cpu() for part in on_gpu.batch(step)], on_cpu.batch(step))
