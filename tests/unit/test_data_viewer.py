"""What is read of a file is what a viewer shows: one test a kind of picture, the right value known."""

import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from cohort.data.pictures.frame import Frame
from cohort.data.pictures.viewer import BrokenPictureError, pillow, read_picture

H, W = 6, 8
ORIENTATION = 0x0112


def noise(*shape, high=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, high, shape, dtype)


def read(path):
    """The whole picture, in its own size."""
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture)
    return read_picture(path, Frame(upright.height, upright.width))


def png(path, pixels, colour_type, depth, **chunks):
    """A PNG of [H, W, C] by hand, as Pillow writes none: 16 bits, transparent colours."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2" if depth == 16 else np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(chunk(kind.encode(), data) for kind, data in chunks.items())
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )
    return path


def grey(values):
    """As RGB."""
    return np.repeat(np.asarray(values)[..., None], 3, axis=-1)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_upright(tmp_path, ending, orientation):
    path, exif = tmp_path / f"x.{ending}", Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(noise(H, W, 3)).save(path, exif=exif)
    with Image.open(path) as picture:
        right = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    got = read(path)
    assert got.shape == ((H, W, 3) if orientation < 5 else (W, H, 3))
    np.testing.assert_array_equal(got, right)


def test_a_phones_picture_lies_on_its_side(tmp_path):
    """Orientation 6 by hand: what is stored first is the top of the right edge."""
    pixels, exif = noise(H, W, 3), Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "x.png"), pixels)


def test_a_tag_that_makes_no_sense_turns_nothing(tmp_path):
    pixels, exif = noise(H, W, 3), Image.Exif()
    exif[ORIENTATION] = 77
    Image.fromarray(pixels).save(tmp_path / "odd.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "odd.png"), pixels)
    Image.fromarray(pixels).save(tmp_path / "bad.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    got = read_picture(tmp_path / "bad.png", Frame(H, W))
    np.testing.assert_array_equal(got, pixels)


def test_tags_that_are_cut_off_are_no_ones_business(tmp_path):
    """Some of ImageNet's are; Pillow reads those that are there, and warns of the others."""
    tag = struct.pack("<HHIHH", ORIENTATION, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 3) + tag  # one of the three that it promises
    Image.new("RGB", (W, H), "red").save(tmp_path / "x.jpg", exif=exif)
    pillow.cache_clear()
    assert (read_picture(tmp_path / "x.jpg", Frame(W, H))[..., 0] > 250).all()


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_grey_is_scaled(tmp_path, ending):
    pixels = noise(H, W, high=65536, dtype=np.uint16)
    pixels.flat[:4] = 0, 128, 129, 65535
    Image.fromarray(pixels).save(tmp_path / f"x.{ending}")
    right = np.rint(pixels.astype(float) * 255 / 65535)
    assert right.flat[:4].tolist() == [0, 0, 1, 255]
    np.testing.assert_array_equal(read(tmp_path / f"x.{ending}"), grey(right))


def test_16_bit_grey_is_turned_too(tmp_path):
    pixels, exif = noise(H, W, high=65536, dtype=np.uint16), Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(np.rot90(pixels).copy()).save(tmp_path / "x.png", exif=exif)
    right = np.rint(pixels.astype(float) * 255 / 65535)
    np.testing.assert_array_equal(read(tmp_path / "x.png"), grey(right))


def test_16_bit_grey_with_a_transparent_one(tmp_path):
    pixels = noise(H, W, 1, high=65536, dtype=np.uint16)
    pixels[2, 3] = 1000
    path = png(tmp_path / "x.png", pixels, 0, 16, tRNS=struct.pack(">H", 1000))
    right = np.rint(pixels[..., 0].astype(float) * 255 / 65535)
    right[2, 3] = 255
    np.testing.assert_array_equal(read(path), grey(right))


def test_16_bit_colour_is_read_by_its_upper_byte(tmp_path):
    """What Pillow offers: exact for 8 bits made 16, and never more than one level from rounding."""
    pixels = noise(H, W, 3, high=65536, dtype=np.uint16)
    got = read(png(tmp_path / "x.png", pixels, 2, 16)).astype(int)
    assert abs(got - pixels.astype(float) * 255 / 65535).max() < 1
    eight = noise(H, W, 3)
    got = read(png(tmp_path / "y.png", eight.astype(np.uint16) * 257, 2, 16))
    np.testing.assert_array_equal(got, eight)


def test_16_bit_colour_with_transparency(tmp_path):
    pixels = noise(H, W, 4).astype(np.uint16) * 257
    pixels[..., 3] = np.where(pixels[..., 3] > 32000, 65535, 0)
    got = read(png(tmp_path / "x.png", pixels, 6, 16))
    right = np.where(pixels[..., 3:] > 0, pixels[..., :3] // 257, 255)
    np.testing.assert_array_equal(got, right)


@pytest.mark.parametrize(
    ("numbers", "white"),
    [
        ((0, 17, 65535), 65535),
        ((0, 200), 65535),
        ((0, 65536, 2**31 - 1), 2**31 - 1),
        ((-5, 300), 65535),
    ],
)
def test_32_bit_whole_numbers(tmp_path, numbers, white):
    pixels = np.resize(np.array(numbers, np.int32), (H, W))
    Image.fromarray(pixels).save(tmp_path / "x.tif")
    right = np.rint(pixels.clip(0).astype(float) * 255 / white)
    np.testing.assert_array_equal(read(tmp_path / "x.tif"), grey(right))


@pytest.mark.parametrize(
    ("numbers", "white"),
    [
        ((0.0, 0.5, 1.0), 1),
        ((0.0, 7.5, 200.25), 255),
        ((0.0, 300.0), 65535),
        ((-1.0, np.nan, 1.0), 1),
    ],
)
def test_floating_point(tmp_path, numbers, white):
    pixels = np.resize(np.array(numbers, np.float32), (H, W))
    Image.fromarray(pixels).save(tmp_path / "x.tif")
    right = np.rint(np.nan_to_num(pixels).clip(0).astype(float) * 255 / white)
    np.testing.assert_array_equal(read(tmp_path / "x.tif"), grey(right))


@pytest.mark.parametrize("most", [1e6, np.inf])
def test_floating_point_of_which_nobody_knows_what_is_white(tmp_path, most):
    Image.fromarray(np.full((H, W), most, np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(
        BrokenPictureError, match=r"its values reach .*, and at most 65535 is white"
    ):
        read(tmp_path / "x.tif")


def on_white(colours, alpha):
    return colours * (alpha / 255.0) + 255 * (1 - alpha / 255.0)


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_transparent_colours_lie_on_white(tmp_path, ending):
    pixels = noise(H, W, 4)
    lossless = {"lossless": True, "exact": True} if ending == "webp" else {}
    Image.fromarray(pixels).save(tmp_path / f"x.{ending}", **lossless)
    right = on_white(pixels[..., :3], pixels[..., 3:])
    assert abs(read(tmp_path / f"x.{ending}") - right).max() < 1


def test_a_glyph_in_alpha_alone(tmp_path):
    pixels = np.zeros((H, W, 4), np.uint8)
    pixels[2:4, 1:5, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read(tmp_path / "x.png"), grey(255 - pixels[..., 3]))


def test_transparent_grey_lies_on_white(tmp_path):
    pixels = noise(H, W, 2)
    Image.fromarray(pixels, "LA").save(tmp_path / "x.png")
    right = grey(on_white(pixels[..., 0], pixels[..., 1]))
    assert abs(read(tmp_path / "x.png") - right).max() < 1


@pytest.mark.parametrize(("ending", "alpha"), [("png", b"\xff\x00\x80"), ("png", 1), ("gif", 1)])
def test_a_palette_with_transparent_colours(tmp_path, ending, alpha):
    picture = Image.new("P", (3, 1))
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.putdata([0, 1, 2])
    picture.save(tmp_path / f"x.{ending}", transparency=alpha)
    third = (162, 167, 172) if isinstance(alpha, bytes) else (70, 80, 90)
    assert read(tmp_path / f"x.{ending}").tolist() == [[[10, 20, 30], [255] * 3, list(third)]]


def test_a_transparent_colour_of_a_picture_without_alpha(tmp_path):
    grey_one, colours = noise(H, W, 1), noise(H, W, 3)
    grey_one[2, 3], colours[2, 3] = 77, (1, 2, 3)
    first = png(tmp_path / "l.png", grey_one, 0, 8, tRNS=struct.pack(">H", 77))
    right = np.where(grey_one == 77, 255, grey_one)
    np.testing.assert_array_equal(read(first), np.repeat(right, 3, axis=-1))
    second = png(tmp_path / "rgb.png", colours, 2, 8, tRNS=struct.pack(">HHH", 1, 2, 3))
    right = np.where((colours == (1, 2, 3)).all(-1, keepdims=True), 255, colours)
    np.testing.assert_array_equal(read(second), right)


def test_cmyk(tmp_path):
    """Pillow writes and reads JPEGs as Adobe does, whose inks are stored inverted."""
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, 8:] = 255, 0, 0, 0  # white paper, and all of the cyan there is
    Image.fromarray(inks, "CMYK").save(tmp_path / "x.jpg", quality=100)
    Image.fromarray(inks, "CMYK").save(tmp_path / "x.tif")
    for name in ("x.jpg", "x.tif"):
        got = read(tmp_path / name).astype(int)
        assert abs(got[:, :8] - 255).max() <= 2
        assert abs(got[:, 8:] - (0, 255, 255)).max() <= 2


def test_grey_and_black_and_white(tmp_path):
    pixels = noise(H, W)
    Image.fromarray(pixels).save(tmp_path / "l.png")
    np.testing.assert_array_equal(read(tmp_path / "l.png"), grey(pixels))
    Image.fromarray(pixels > 127).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read(tmp_path / "1.png"), grey(np.where(pixels > 127, 255, 0)))


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_the_first_frame_of_several(tmp_path, ending):
    frames = [Image.new("RGB", (W, H), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"x.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(read(path), np.broadcast_to((255, 0, 0), (H, W, 3)))


def test_resized_as_pillow_does_after_all_that(tmp_path):
    """Not before: a transparent border must not darken what lies beside it."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, 2:] = 200, 100, 0, 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    shown = np.where(pixels[..., 3:] > 0, pixels[..., :3], 255).astype(np.uint8)
    right = Image.fromarray(shown).resize((3, 3), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png", Frame(3, 3)), right)


def test_a_huge_picture_is_a_sentence(tmp_path):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "x.png")
    with pytest.raises(
        BrokenPictureError, match=r"it has more than 89478485 pixels; make it smaller"
    ):
        read_picture(tmp_path / "x.png", Frame(8, 8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "its format is not known"),
        (b"\xff\xd8\xff\xe0", ".+"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, content, reason):
    path = tmp_path / "x.jpg"
    if content is not None:
        path.write_bytes(content)
    message = rf"^{path} cannot be read as a picture: {reason}; repair .* again with --skip-broken$"
    with pytest.raises(BrokenPictureError, match=message) as caught:
        read_picture(path, Frame(8, 8))
    # From the process that decodes to the one that reports.
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.path) == (str(caught.value), path)
