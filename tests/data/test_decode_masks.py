"""Masks are the ids in the file, or they are refused."""

import struct

import numpy as np
import pytest
from PIL import Image

from tests.data.encoding import encoded, picture, png, saved
from unpool.data.decode import decode_image
from unpool.data.image_file import Unusable, probe
from unpool.data.mask_file import read_stored
from unpool.data.mask_ids import Reading
from unpool.types import RGB


def decode_mask(path, *, palette=(), rule="ids") -> np.ndarray:
    reading = Reading("colours" if palette else rule, palette)
    return reading.ids(read_stored(path), str(path))


def ids() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 12, (9, 13)).astype(np.uint8)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_mask_ids_are_those_stored(form, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(encoded(ids(), form))
    assert decode_mask(path).tolist() == ids().tolist()


def test_indices_of_a_palette_mask_are_those_stored(tmp_path):
    image = Image.fromarray(ids()).convert("P")
    image.putdata(ids().reshape(-1).tolist())
    image.putpalette([value for i in range(256) for value in (255 - i, 3 * i % 256, 77)])
    image.save(tmp_path / "m.png")
    assert decode_mask(tmp_path / "m.png", rule="indices").tolist() == ids().tolist()


def test_sixteen_bit_mask_is_not_clipped(tmp_path):
    values = np.array([[0, 255, 256], [26001, 33018, 65535]], np.uint16)
    assert decode_mask(saved(tmp_path / "m.png", values)).tolist() == values.tolist()


@pytest.mark.parametrize(("depth", "most"), [(1, 1), (2, 3), (4, 15)])
def test_mask_of_few_bits_is_not_stretched(depth, most, tmp_path):
    values = np.arange(16).reshape(2, 8) % (most + 1)
    bits = "".join("0" * 8 + "".join(f"{v:0{depth}b}" for v in row) for row in values)
    rows = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    (tmp_path / "m.png").write_bytes(png(8, 2, depth=depth, colour=0, rows=rows))
    assert decode_mask(tmp_path / "m.png").tolist() == values.tolist()


@pytest.mark.parametrize("most", [1, 11, 200, 255, 300, 65535])
def test_mask_in_a_pgm_is_not_stretched(most, tmp_path):
    values = np.linspace(0, most, 12).astype(int).reshape(3, 4)
    body = values.astype(np.uint8 if most < 256 else ">u2").tobytes()
    (tmp_path / "m.pgm").write_bytes(f"P5 4 3 {most}\n".encode() + body)
    assert decode_mask(tmp_path / "m.pgm").tolist() == values.tolist()


PALETTE = ((0, 0, 0), (255, 0, 0), (0, 128, 255))


def colour_mask() -> np.ndarray:
    return np.array(PALETTE, np.uint8)[ids() % 3]


def test_colour_mask_gives_places_in_the_palette(tmp_path):
    path = saved(tmp_path / "m.png", colour_mask())
    assert decode_mask(path, palette=PALETTE).tolist() == (ids() % 3).tolist()


def test_colour_mask_as_jpeg_is_refused_with_the_number_of_colours(tmp_path):
    path = saved(tmp_path / "m.jpg", colour_mask())
    with pytest.raises(Unusable, match=r"\d+ unknown colours: mask is lossy JPEG; re-export as PNG"):
        decode_mask(path, palette=PALETTE)


def test_grey_mask_as_jpeg_is_refused(tmp_path):
    path = saved(tmp_path / "m.jpg", ids())
    with pytest.raises(Unusable, match="lossy JPEG"):
        decode_mask(path)


def test_unknown_colours_of_smooth_edges_are_listed(tmp_path):
    values = colour_mask()
    values[0, :2] = [[127, 0, 0], [0, 64, 128]]
    with pytest.raises(Unusable, match=r"2 unknown colours in the mask: \(0, 64, 128\), \(127, 0, 0\)"):
        decode_mask(saved(tmp_path / "m.png", values), palette=PALETTE)


def test_mask_with_an_alpha_channel_is_refused_with_its_colours(tmp_path):
    values = np.dstack([colour_mask(), np.full((9, 13), 255, np.uint8)])
    values[0, 0] = (255, 0, 0, 90)
    with pytest.raises(Unusable, match=r"alpha channel \(mode RGBA\), colours with alpha: \(255, 0, 0, 90\)"):
        decode_mask(saved(tmp_path / "m.png", values), palette=PALETTE)


def test_colour_mask_of_16_bits_is_refused(tmp_path):
    rows = b"".join(b"\0" + struct.pack(">3H", 0x8001, 0, 0) * 4 for _ in range(3))
    (tmp_path / "m.png").write_bytes(png(4, 3, depth=16, colour=2, rows=rows))
    with pytest.raises(Unusable, match="mask has colours of 16 bits, and classes have colours of 8"):
        decode_mask(tmp_path / "m.png", palette=((0, 0, 0), (128, 0, 0)))


def test_colour_mask_without_colours_of_classes_says_where_they_go(tmp_path):
    with pytest.raises(Unusable, match="add r g b to each class line"):
        decode_mask(saved(tmp_path / "m.png", colour_mask()))


def test_decoding_leaves_the_file_alone(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    decode_image(path, RGB)
    probe(path)
    decode_mask(saved(tmp_path / "m.png", ids()))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
