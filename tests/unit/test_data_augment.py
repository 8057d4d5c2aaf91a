"""Augmentation, as on a CPU and as on a GPU, equals pad, crop and flip of one example after another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from cohort.data.augment import all_at_once, augment, draw
from cohort.data.dataset import Augmentation


def oracle(images, augmentation, generator):
    """What the paper's pipeline does, example by example."""
    padding, size = augmentation.padding, images.shape[2:]
    mode = {"reflect": "reflect", "zeros": "constant"}[augmentation.padding_mode]
    result = []
    for image, (top, left, mirror) in zip(
        images, draw(len(images), augmentation, generator).T.tolist(), strict=True
    ):
        padded = F.pad(image[None].float(), (padding,) * 4, mode=mode)[0]
        y, x = padding + top, padding + left
        crop = padded[:, y : y + size[0], x : x + size[1]]
        result.append(crop.flip(2) if mirror else crop)
    return torch.stack(result).to(torch.uint8)


@given(
    shape=st.tuples(*(st.integers(1, top) for top in (5, 3, 9, 9))),
    padding=st.integers(0, 4),
    mode=st.sampled_from(["reflect", "zeros"]),
    flip=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_equals_pad_crop_flip(shape, padding, mode, flip, seed):
    if mode == "reflect":
        padding = min(padding, min(shape[2:]) - 1)
    augmentation = Augmentation(padding=padding, padding_mode=mode, flip=flip)
    images = torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    want = oracle(images, augmentation, torch.Generator().manual_seed(seed))
    moves = draw(len(images), augmentation, torch.Generator().manual_seed(seed))
    for got in (
        augment(images, augmentation, torch.Generator().manual_seed(seed)),
        all_at_once(images, augmentation, moves),  # as on a GPU
    ):
        assert got.dtype == torch.uint8
        assert torch.equal(got, want)


def test_draws_every_shift_and_both_flips_alike():
    shifts = draw(30_000, Augmentation(padding=2, flip=True), torch.Generator().manual_seed(0))
    for row, values in zip(shifts, (5, 5, 2), strict=True):
        counts = (row - row.min()).bincount()
        assert len(counts) == values
        assert counts.min() > 0.95 * 30_000 / values
    assert shifts[:2].min() == -2
    assert not torch.equal(shifts[0], shifts[1])


def test_without_augmentation_nothing_changes():
    images = torch.randint(0, 256, (4, 3, 6, 5), dtype=torch.uint8)
    assert torch.equal(augment(images, Augmentation(), torch.Generator()), images)


@pytest.mark.parametrize("crop", ["none", "resized"])
def test_what_is_not_to_be_shifted_stays(crop):
    images = torch.randint(0, 256, (8, 3, 6, 5), dtype=torch.uint8)
    still = Augmentation(crop=crop, padding=3)
    assert torch.equal(augment(images, still, torch.Generator()), images)
    mirrored = augment(images, Augmentation(crop=crop, padding=3, flip=True), torch.Generator())
    same, other = ((mirrored == each).flatten(1).all(1) for each in (images, images.flip(3)))
    assert (same ^ other).all()


def test_the_input_is_left_alone():
    images = torch.randint(0, 256, (4, 3, 6, 5), dtype=torch.uint8)
    before = images.clone()
    augment(images, Augmentation(padding=2, flip=True), torch.Generator())
    assert torch.equal(images, before)


def test_reflection_needs_an_image_larger_than_the_padding():
    images = torch.zeros(1, 1, 8, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"reflect padding is 4; it must be less than .* 8 x 4"):
        augment(images, Augmentation(padding=4), torch.Generator())
