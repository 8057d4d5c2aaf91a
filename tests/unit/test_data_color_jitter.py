"""Brightness, contrast and saturation against torchvision's, and by hand."""

import pytest
import torch
from torchvision.transforms import functional as oracle

from cohort.data.color_jitter import (
    ONE,
    check_colours,
    draw_factors,
    grey,
    jitter,
    mean_grey,
    moved,
)


def pictures(channels=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    brightest = torch.randint(1, 256, (6, channels, 1, 1), generator=random)
    noise = torch.rand(6, channels, 9, 7, generator=random)
    return (noise * brightest).byte()


@pytest.mark.parametrize("factor", [0.1, 0.6, 1.0, 1.4, 1.9])
def test_each_step_is_torchvisions_rounded(factor):
    images = pictures()
    values, exact = images.int(), images.double() / 255
    own = torch.tensor(round(factor * ONE))
    grey_error = 0.51 * abs(1 - factor)  # what all pixels are moved from is rounded, too
    for origin, by_torchvision, tolerance in [
        (torch.zeros_like(values), oracle.adjust_brightness, 0.51),
        (mean_grey(values), oracle.adjust_contrast, 0.51 + 2 * grey_error),
        (grey(values), oracle.adjust_saturation, 0.51 + grey_error),
    ]:
        got = moved(values, origin, own)
        assert (got - by_torchvision(exact, factor) * 255).abs().max() < tolerance


@pytest.mark.parametrize("channels", [1, 3])
def test_steps_come_in_this_order_each_by_its_own_factor(channels):
    images = pictures(channels)
    got = jitter(images, 0.4, torch.Generator().manual_seed(3))
    brightness, contrast, saturation = draw_factors(6, 0.4, torch.Generator().manual_seed(3))
    for image, result, own in zip(images, got, range(6), strict=True):
        values = image[None].int()
        values = moved(values, torch.zeros_like(values), brightness[own])
        values = moved(values, mean_grey(values), contrast[own])
        if channels == 3:
            values = moved(values, grey(values), saturation[own])
        assert torch.equal(values[0].byte(), result)


def test_by_hand():
    red = torch.tensor([200, 100, 50], dtype=torch.int32).view(1, 3, 1, 1)
    assert grey(red).item() == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert mean_grey(torch.tensor([[[[1, 2], [2, 2]]]], dtype=torch.int32)).item() == 2
    half, double = torch.tensor(ONE // 2), torch.tensor(2 * ONE - 1)
    assert moved(red, torch.zeros_like(red), half).flatten().tolist() == [100, 50, 25]
    assert moved(red, torch.zeros_like(red), double).flatten().tolist() == [255, 200, 100]
    assert moved(red, torch.full_like(red, 120), half).flatten().tolist() == [160, 110, 85]


def test_factors_are_spread_evenly_and_their_draws_are_apart():
    factors = draw_factors(30_000, 0.4, torch.Generator().manual_seed(0)) / ONE
    for row in factors:
        counts = torch.histc(row, 8, min=0.6, max=1.4)
        assert counts.sum() == 30_000
        assert counts.min() > 0.9 * 30_000 / 8
    assert not torch.equal(factors[0], factors[1])


def test_without_strength_nothing_changes():
    images = pictures()
    assert torch.equal(jitter(images, 0.0, torch.Generator()), images)


def test_the_input_is_left_alone():
    images = pictures()
    before = images.clone()
    jitter(images, 0.4, torch.Generator())
    assert torch.equal(images, before)


def test_only_grey_and_rgb_have_colours():
    check_colours(1)
    with pytest.raises(ValueError, match="takes images of 1 or 3 channels, and these have 4"):
        check_colours(4)
