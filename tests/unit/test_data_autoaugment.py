"""AutoAugment and Cutout: per example, from seeds of their own, and nothing else disturbed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from cohort.data.autoaugment import auto_augment
from cohort.data.cutout import cut_out, draw_centres


def random_images(*shape, seed=0):
    """Not of full contrast, which AutoContrast would leave as it is."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(60, 180, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
def test_is_torchvisions_policy_from_each_examples_seed(channels):
    images = random_images(30, channels, 20, 18)  # so small a one as 8 x 8 is never equalised
    got = auto_augment(images, range(30))
    policy = AutoAugment(AutoAugmentPolicy.CIFAR10, fill=128)
    with torch.random.fork_rng(devices=[]):
        for seed, (image, changed) in enumerate(zip(images, got, strict=True)):
            torch.manual_seed(seed)
            assert torch.equal(policy(image), changed)
    assert (got.dtype, got.shape) == (images.dtype, images.shape)
    differing = (got != images).flatten(1).any(1).sum()
    assert 15 < differing < 30  # a sub-policy may well do nothing


def test_an_example_does_not_depend_on_its_neighbours():
    images = random_images(8, 3, 9, 8)
    got = auto_augment(images, range(8))
    assert torch.equal(auto_augment(images[5:], range(5, 8)), got[5:])
    assert not torch.equal(auto_augment(images[5:], range(3)), got[5:])


def test_the_callers_random_state_and_images_are_left_alone():
    images = random_images(4, 3, 9, 8)
    before, state = images.clone(), torch.get_rng_state()
    auto_augment(images, range(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)


def one_by_one(images, side, generator):
    """The oracle: the authors' loop, for any side."""
    cut, (height, width) = images.clone(), images.shape[2:]
    centres = draw_centres(len(images), height, width, generator).T.tolist()
    for image, (row, column) in zip(cut, centres, strict=True):
        top, left = row - side // 2, column - side // 2
        bottom, right = np.clip(top + side, 0, height), np.clip(left + side, 0, width)
        image[:, max(top, 0) : bottom, max(left, 0) : right] = 0
    return cut


@given(
    shape=st.tuples(*(st.integers(1, top) for top in (6, 3, 9, 9))),
    side=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_cutout_equals_the_authors_loop(shape, side, seed):
    images = random_images(*shape, seed=seed)
    before = images.clone()
    got = cut_out(images, side, torch.Generator().manual_seed(seed))
    assert torch.equal(got, one_by_one(images, side, torch.Generator().manual_seed(seed)))
    assert got.dtype == torch.uint8
    assert torch.equal(images, before)


def test_cutout_is_centred_uniformly_and_clipped_at_the_border():
    images = torch.full((20_000, 1, 6, 5), 255, dtype=torch.uint8)
    black = cut_out(images, 4, torch.Generator().manual_seed(0)) == 0
    areas = black.flatten(1).sum(1)
    assert areas.max() == 16
    assert areas.min() == 4  # a centre at 0 shows rows 0 and 1 only, two of four
    # A row is black if its distance to the centre is in -2…1: four of six centres inside.
    rows = black[:, 0].any(2).float().mean(0)
    expected = torch.tensor([3, 4, 4, 4, 3, 2]) / 6
    torch.testing.assert_close(rows, expected, rtol=0, atol=0.02)
