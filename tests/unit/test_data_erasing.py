"""Random Erasing: the rectangle's size, place and content, and how often."""

import numpy as np
import pytest
import torch

from cohort.data.erasing import AREA, PROPORTIONS, draw_rectangle, erase

BLACK = torch.zeros(4000, 3, 16, 12, dtype=torch.uint8)


def rectangles(height=48, width=32, count=2000):
    random = torch.Generator().manual_seed(0)
    return [draw_rectangle(height, width, random) for _ in range(count)]


def test_its_area_and_proportions_are_the_papers():
    sizes = [
        (rows.stop - rows.start, columns.stop - columns.start) for rows, columns in rectangles()
    ]
    down, across = np.array([size for size in sizes if size != (0, 0)]).T
    assert len(down) > 1950
    area = down * across / (48 * 32)
    assert 0.015 < area.min() < 0.04
    assert 0.3 < area.max() < AREA[1] + 0.02
    proportions = down / across
    assert 0.25 < proportions.min() < 0.5
    assert 2.5 < proportions.max() < PROPORTIONS[1] + 0.5


def test_it_lies_inside_and_everywhere():
    covered = np.zeros((48, 32))
    for rows, columns in rectangles():
        assert 0 <= rows.start <= rows.stop < 49
        assert 0 <= columns.start <= columns.stop < 33
        covered[rows, columns] += 1
    assert covered.min() > 0  # corners too
    assert covered[16:32, 10:22].min() > 0.2 * 2000


def test_where_nothing_fits_nothing_is_erased():
    image = torch.full((1, 3, 1, 1), 7, dtype=torch.uint8)
    assert torch.equal(erase(image, 0.99, [5]), image)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.8])
def test_as_often_as_asked(probability):
    erased = erase(BLACK, probability, range(4000)).flatten(1).any(1)
    assert erased.float().mean() == pytest.approx(probability, abs=0.03)


def test_it_is_filled_with_noise_and_the_rest_is_as_it_was():
    images = torch.randint(0, 256, (50, 3, 32, 24), dtype=torch.uint8)
    before = images.clone()
    erased = erase(images, 0.999, range(50))
    assert torch.equal(images, before)
    inside = []
    for image, was in zip(erased, images, strict=True):
        changed = (image != was).any(0)
        rows, columns = (torch.nonzero(changed.any(side)).flatten() for side in (1, 0))
        box = image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert changed.sum() > 0.97 * box[0].numel()
        inside.append(box.flatten())
    values = torch.cat(inside).float()
    assert values.mean() == pytest.approx(127.5, abs=3)
    assert values.std() == pytest.approx(73.9, abs=2)


def test_each_draws_from_its_own_seed():
    together = erase(BLACK[:6], 0.9, range(6))
    apart = [erase(BLACK[:1], 0.9, [seed]) for seed in range(6)]
    assert torch.equal(together, torch.cat(apart))
    assert len({image.numpy().tobytes() for image in together}) == 6
