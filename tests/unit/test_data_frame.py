"""How pictures of any size become one size, and files that are as if they were an array."""

import pickle
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import RandomResizedCrop

from cohort.data.pictures.files import PictureFiles
from cohort.data.pictures.frame import AREA, DRAWS, PROPORTIONS, Frame
from cohort.data.pictures.viewer import read_picture
from tests.support.pictures import make_folder

SIDES = st.integers(1, 60)


@given(width=SIDES, height=SIDES, to=st.tuples(SIDES, SIDES))
@example(width=7, height=25, to=(7, 25))  # 7 / 25 * 25 is more than 7
def test_covers_as_pillow_fits(width, height, to):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(pixels)
    box = Frame(to[1], to[0]).box(width, height)
    got = picture.resize(to, Image.Resampling.BILINEAR, box)
    right = ImageOps.fit(picture, to, Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(got, right)


def test_no_rounding_leads_out_of_the_picture():
    for width, height, part in product(range(1, 130), range(1, 130), (1.0, 224 / 256)):
        for shape in ((height, width), (2 * height, 2 * width), (128, 64), (10, 7)):
            left, top, right, bottom = Frame(*shape, part=part).box(width, height)
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


def test_a_part_of_the_middle_and_the_whole_stretched():
    assert Frame(10, 10, part=0.5).box(40, 20) == (15, 5, 25, 15)
    assert Frame(10, 10, fit="stretch").box(40, 20) == (0, 0, 40, 20)


@given(width=SIDES, height=SIDES, seed=st.integers(0, 99))
def test_a_random_box_lies_in_the_picture(width, height, seed):
    draws = np.random.default_rng(seed).random(DRAWS)
    left, top, right, bottom = Frame(8, 8).random_box(width, height, draws)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_random_boxes_are_spread_as_torchvisions():
    random, size = np.random.default_rng(0), (500, 375)
    ours = np.array([Frame(8, 8).random_box(*size, random.random(DRAWS)) for _ in range(3000)])
    torch.manual_seed(0)
    blank = torch.zeros(3, size[1], size[0])
    drawn = [RandomResizedCrop.get_params(blank, AREA, PROPORTIONS) for _ in range(3000)]
    top, left, height, width = np.array(drawn).T
    theirs = np.stack([left, top, left + width, top + height], 1)
    for share in (0.1, 0.5, 0.9):
        one, other = (np.quantile(boxes, share, axis=0) for boxes in (ours, theirs))
        np.testing.assert_allclose(one, other, atol=14)


@pytest.mark.parametrize(("size", "box"), [((90, 3), (43, 0, 47, 3)), ((3, 90), (0, 43, 3, 47))])
def test_where_no_random_box_fits_the_middle_is_taken(size, box):
    assert Frame(8, 8).random_box(*size, np.full(DRAWS, 0.99)) == box


@pytest.fixture
def files(tmp_path):
    make_folder(tmp_path, classes=1, train=5, size=(20, 30))
    names = [f"train/class0/000{k}.jpg" for k in range(5)]
    return PictureFiles.of(tmp_path, names, Frame(8, 12))


def test_files_are_as_an_array(files):
    pixels = files.begin()()
    assert files.shape == pixels.shape == (5, 3, 8, 12)
    one = read_picture(files.path(3), files.frame)
    np.testing.assert_array_equal(pixels[3], one.transpose(2, 0, 1))
    for rows in (slice(1, 4), np.array([4, 0]), np.arange(5) % 2 == 0):
        np.testing.assert_array_equal(files[rows].begin()(), pixels[rows])
    again = pickle.loads(pickle.dumps(files))
    np.testing.assert_array_equal(again.begin()(), pixels)


def test_each_may_be_cut_in_its_own_way(files):
    cuts = np.random.default_rng(0).random((5, DRAWS))
    pixels = files.begin(cuts)()
    for row, cut in enumerate(cuts):
        one = read_picture(files.path(row), files.frame, cut)
        np.testing.assert_array_equal(pixels[row], one.transpose(2, 0, 1))
    assert (pixels != files.begin()()).any((1, 2, 3)).all()


def test_names_that_are_not_text(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    (tmp_path / "a.png").rename(tmp_path / name)
    pixels = PictureFiles.of(tmp_path, [name], Frame(2, 2)).begin()()
    assert pixels[0, :, 0, 0].tolist() == [255, 0, 0]
