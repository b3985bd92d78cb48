"""Transparent pixels are laid on the background that is stated, and told of where none is."""

import io
import struct
import tracemalloc
import zlib

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.data.encoding import chunk, picture
from unpool.data.decode import HIDDEN, decode_image, laid_on, notes
from unpool.data.image_file import Unusable, probe
from unpool.data.remarks import collected
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.images import read_image
from unpool.types import Decoding

COLOURS = picture(24, 32)
GREYS = COLOURS[..., 0]
ALPHA = np.random.default_rng(1).choice(np.array([0, 1, 100, 254, 255], np.uint8), (24, 32))
BACKGROUNDS = [0, 255, 128, (10, 200, 90)]


def laid(colours: np.ndarray, alpha: np.ndarray, background) -> np.ndarray:
    """Composed by hand, in floating point."""
    share = alpha[..., None] / 255
    return colours * share + np.array(background, float).reshape(-1) * (1 - share)


def indexed(alpha: list[int]) -> bytes:
    """A PNG of 4 palette entries, by hand; the first have these values of alpha."""
    rows = b"".join(b"\0" + bytes([0, 1, 2, 3]) for _ in range(3))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 3, 0, 0, 0))
    palette = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]))
    return start + palette + chunk(b"tRNS", bytes(alpha)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def keyed(depth: int, colour: int, values: np.ndarray, key: bytes) -> bytes:
    """A PNG, by hand, of which one grey or colour is transparent."""
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in values)
    height, width = values.shape[:2]
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return start + chunk(b"tRNS", key) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


RGBA = np.dstack([COLOURS, ALPHA])
FILES = {
    "PNG": cv2.imencode(".png", RGBA[..., [2, 1, 0, 3]])[1].tobytes(),
    "PNG of 16 bits": cv2.imencode(".png", RGBA[..., [2, 1, 0, 3]].astype(np.uint16) * 257)[1].tobytes(),
    "TIFF": tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]),
    "TIFF of 16 bits": tiff(RGBA.astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"]),
    "WEBP": cv2.imencode(".webp", RGBA[..., [2, 1, 0, 3]], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(),
}
HIDES_COLOUR = [form for form in FILES if form != "WEBP"]  # which clears the colour under alpha of 0


def decoded(data: bytes, background=None, *, channels: int = 3, range=None) -> tuple[np.ndarray, list[str]]:  # noqa: A002
    with collected() as remarks:
        image = decode_image(data, Decoding(channels=channels, background=background, range=range))
    return image.permute(1, 2, 0).numpy(), remarks


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("form", FILES)
def test_transparent_pixels_are_laid_on_the_background(form, background):
    image, remarks = decoded(FILES[form], background, range=(0, 65535) if "16" in form else None)
    assert np.abs(image - laid(COLOURS, ALPHA, background)).max() <= 0.51
    assert remarks == []


@pytest.mark.parametrize("form", HIDES_COLOUR)
def test_without_a_background_the_hidden_colour_is_read_as_before_and_told(form):
    image, remarks = decoded(FILES[form], range=(0, 65535) if "16" in form else None)
    assert np.array_equal(image, COLOURS)
    assert remarks == [HIDDEN]


def test_multiplied_colours_are_not_multiplied_again():
    multiplied = np.dstack([np.rint(COLOURS * (ALPHA[..., None] / 255)).astype(np.uint8), ALPHA])
    sixteen = np.dstack([np.rint(COLOURS * 257.0 * (ALPHA[..., None] / 255)), ALPHA * 257.0]).astype(np.uint16)
    for values, most in ((multiplied, None), (sixteen, (0, 65535))):
        data = tiff(values, photometric="rgb", extrasamples=["assocalpha"])
        image, _ = decoded(data, (10, 200, 90), range=most)
        assert np.abs(image - laid(COLOURS, ALPHA, (10, 200, 90))).max() <= 1.5


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_grey_with_alpha_becomes_the_background_in_colour_and_in_grey(background):
    data = imageio.imwrite("<bytes>", np.dstack([GREYS, ALPHA]), extension=".png")
    image, _ = decoded(data, background)
    expected = laid(GREYS[..., None].repeat(3, 2), ALPHA, background)
    assert np.abs(image - expected).max() <= 0.51
    grey, _ = decoded(data, background, channels=1)
    assert np.abs(grey[..., 0] - expected @ [0.299, 0.587, 0.114]).max() <= 1.01


def test_transparent_entries_of_a_palette_are_laid_on_the_background():
    entries = np.arange(10, 130, 10).reshape(4, 3)
    image, remarks = decoded(indexed([0, 128]), (255, 0, 255))
    assert np.abs(image[0] - laid(entries, np.array([0, 128, 255, 255]), (255, 0, 255))).max() <= 0.51
    assert remarks == []
    assert np.array_equal(decoded(indexed([0, 128]))[0][0], entries)
    assert decoded(indexed([0, 128]))[1] == [HIDDEN]
    assert decoded(indexed([255, 255]))[1] == []


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_colour_of_a_png_is_laid_on_the_background(depth):
    white = 2**depth - 1
    most = (0, 65535) if depth == 16 else None
    greys = np.array([[0, 5, white], [5, white, 0]])
    image, remarks = decoded(keyed(depth, 0, greys, struct.pack(">H", 5)), 200, channels=1, range=most)
    assert image[..., 0].tolist() == [[0, 200, 255], [200, 255, 0]]
    assert remarks == []
    colours = np.array([[[1, 2, 3], [1, 2, white]]]) * (1 if depth == 8 else 256) % (white + 1)
    key = struct.pack(">HHH", *colours[0, 0])
    image, _ = decoded(keyed(depth, 2, colours, key), (7, 8, 9), range=most)
    assert image[0, 0].tolist() == [7, 8, 9]
    assert image[0, 1].tolist()[:2] == [1, 2]
    assert decoded(keyed(depth, 2, colours, key), range=most)[1] == [HIDDEN]


def test_opaque_alpha_is_no_hidden_colour():
    data = cv2.imencode(".png", np.dstack([COLOURS[..., ::-1], np.full_like(ALPHA, 255)]))[1].tobytes()
    for background in (None, 9):
        image, remarks = decoded(data, background)
        assert np.array_equal(image, COLOURS)
        assert remarks == []


def test_alpha_that_is_a_band_is_not_laid_on_anything():
    decoding = Decoding(channels=4, bands=(1, 2, 3, 4), background=9)
    assert np.array_equal(decode_image(FILES["PNG"], decoding).permute(1, 2, 0).numpy(), RGBA)


def test_background_of_a_colour_for_an_image_of_bands_is_refused():
    data = tiff(np.dstack([COLOURS, GREYS, ALPHA]), photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    assert decode_image(data, Decoding(channels=4, background=9)).shape == (4, 24, 32)
    with pytest.raises(Unusable, match=r"4 bands and data\.background is a colour"):
        decode_image(data, Decoding(channels=4, background=(1, 2, 3)))


def test_large_image_is_laid_on_the_background_in_little_more_memory_than_it_has():
    values, alpha = np.full((2000, 3000, 3), 90, np.uint8), np.full((2000, 3000), 0.5)
    tracemalloc.start()
    laid_image = laid_on(Decoding(background=(10, 20, 30)), values, alpha)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (laid_image == [50, 55, 60]).all()
    assert most < 3 * values.nbytes


def test_pil_image_is_laid_on_the_background_as_its_file_is(caplog):
    image = Image.open(io.BytesIO(FILES["PNG"]))
    for background in (None, (10, 200, 90)):
        decoding = Decoding(background=background)
        assert read_image(image, decoding).equal(decode_image(FILES["PNG"], decoding))
    assert [HIDDEN in message for message in caplog.messages] == [True]


def test_header_says_what_becomes_of_alpha():
    header = probe(FILES["PNG"])
    assert notes("a.png", header, Decoding()) == ("image with an alpha channel, which is dropped",)
    assert notes("a.png", header, Decoding(background=9)) == ("image with an alpha channel, laid on data.background",)


@pytest.mark.parametrize("background", [None, 0, 255, (1, 2, 3)])
def test_background_travels_with_the_preprocessing(background):
    preprocessing = Preprocessing(background=background)
    kept = {key: list(v) if isinstance(v, tuple) else v for key, v in preprocessing.to_json().items()}
    assert Preprocessing.from_json(kept) == preprocessing
    assert preprocessing.decoding.background == background


def test_background_out_of_range_is_refused():
    with pytest.raises(ValueError, match="background is 256; expected 0 to 255"):
        Preprocessing(background=256)
