"""BMP files with palettes of greys: indices to masks, and to images the pixels that OpenCV reads."""

import struct

import cv2
import numpy as np
import pytest

from tests.data.mask_files import palette_bmp
from unpool.data.decode import decode_image
from unpool.data.mask_file import read_header, read_stored
from unpool.types import GREY, RGB

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
BITS = (1, 4, 8)
PALETTES = {
    "black and white": (BITS, [BLACK, WHITE]),
    "white and black": (BITS, [WHITE, BLACK]),
    "one entry": (BITS, [BLACK]),
    "four greys from 0": ((4, 8), [(i, i, i) for i in range(4)]),
    "16 greys from 0": (BITS, [(i, i, i) for i in range(16)]),
    "16 greys from black to white": ((4, 8), [(17 * i,) * 3 for i in range(16)]),
    "256 greys": (BITS, [(i, i, i) for i in range(256)]),
    "colours": ((4, 8), [BLACK, (200, 0, 0), (0, 200, 0), (0, 0, 200)]),
}
CASES = [(bits, name) for name, (widths, _) in PALETTES.items() for bits in widths]


def indices(bits: int, count: int) -> np.ndarray:
    return np.random.default_rng(bits).integers(0, min(count, 2**bits), (9, 13))


@pytest.mark.parametrize(("bits", "name"), CASES)
def test_indices_are_the_mask_and_colours_the_image(bits, name, tmp_path):
    colours = PALETTES[name][1]
    values = indices(bits, len(colours))
    (tmp_path / "a.bmp").write_bytes(palette_bmp(values, colours, bits=bits))
    stored = read_stored(tmp_path / "a.bmp")
    assert np.array_equal(stored.values, values)
    assert {value: entry[:3] for value, entry in stored.entries().items()} == {v: colours[v] for v in np.unique(values)}
    assert read_header(tmp_path / "a.bmp").palette == stored.palette
    by_opencv = cv2.imread(str(tmp_path / "a.bmp"))[..., ::-1]
    assert np.array_equal(decode_image(tmp_path / "a.bmp", RGB).numpy().transpose(1, 2, 0), by_opencv)
    if name != "colours":
        assert np.array_equal(decode_image(tmp_path / "a.bmp", GREY)[0].numpy(), by_opencv[..., 0])


def test_short_head_of_os2_is_read_too(tmp_path):
    values = indices(4, 16)
    rows = palette_bmp(values, [BLACK], bits=4)[58:]
    table = b"".join(bytes([i, i, i]) for i in range(16))
    info = struct.pack("<IHHHH", 12, 13, 9, 1, 4) + table
    start = 14 + len(info)
    data = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + rows
    (tmp_path / "a.bmp").write_bytes(data)
    assert np.array_equal(read_stored(tmp_path / "a.bmp").values, values)
    assert np.array_equal(decode_image(data, GREY)[0].numpy(), values)
