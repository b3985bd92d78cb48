"""Bands and alpha: what is left out, what a number means, and what is said where the file has other bands."""

import io
from itertools import product

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.data.encoding import png
from unpool.data.decode import decode_image, notes, readable
from unpool.data.image_file import Unusable, probe
from unpool.types import GREY, RGB, Decoding


def by_tifffile(values: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    if options.get("planarconfig") == "separate":
        values = values.transpose(2, 0, 1)
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def samples(count: int, kind: str = "uint8") -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (9, 13, count)).astype(kind)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("photometric", "extra", "alpha"),
    [
        ("rgb", ["unassalpha"], (4,)),
        ("rgb", ["assocalpha"], (4,)),
        ("rgb", ["unassalpha", "unspecified"], (4,)),
        ("rgb", ["unspecified", "unassalpha"], (5,)),
        ("minisblack", ["unassalpha"], (2,)),
        ("minisblack", ["unassalpha", "unspecified", "unspecified"], (2,)),
        ("minisblack", ["unspecified", "assocalpha", "unspecified"], (3,)),
    ],
)
def test_alpha_is_left_out_wherever_it_stands_and_a_number_counts_it(photometric, extra, alpha, kind):
    values = samples(len(extra) + (3 if photometric == "rgb" else 1), kind)
    every = tuple(range(1, values.shape[2] + 1))
    bands = [number for number in every if number not in alpha]
    for planar, compression in product(["contig", "separate"], [None, "deflate"]):
        data = by_tifffile(
            values, photometric=photometric, extrasamples=extra, planarconfig=planar, compression=compression
        )
        probed = probe(data)
        assert (probed.bands, probed.alpha) == (len(bands), alpha)
        whole = decode_image(data, Decoding(channels=len(every), bands=every, range=(0, 255))).numpy()
        assert np.array_equal(whole, values.transpose(2, 0, 1)), (planar, compression)
        if extra != ["assocalpha"]:  # Pillow divides colours by it
            shown = decode_image(data, Decoding(channels=len(bands), range=(0, 255))).numpy()
            assert np.array_equal(shown, whole[[band - 1 for band in bands]]), (planar, compression)


@pytest.mark.parametrize(("kind", "count"), [("uint8", 4), ("uint16", 4), ("uint8", 2), ("uint16", 2)])
def test_alpha_of_a_png_is_counted_too(kind, count):
    values = samples(count, kind)
    values[0, 0], values[0, 1] = 0, np.iinfo(kind).max
    stored = values.astype(">u2") if kind == "uint16" else values
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    data = png(13, 9, depth=8 * values.itemsize, colour=4 if count == 2 else 6, rows=rows)
    last = decode_image(data, Decoding(channels=2, bands=(count, 1), range=(0, np.iinfo(kind).max))).numpy()
    full = np.iinfo(kind).max // 255
    assert np.array_equal(last, np.rint(values[..., [-1, 0]].transpose(2, 0, 1) / full))


def test_fourth_band_tagged_as_alpha_is_named_with_the_way_to_use_it(tmp_path):
    values = samples(4)
    (tmp_path / "a.tif").write_bytes(by_tifffile(values, photometric="rgb"))
    with pytest.raises(Unusable, match=r"3 bands and an alpha channel \(number 4\) .* set data\.bands=\[1, 2, 3, 4\]"):
        readable(tmp_path / "a.tif", Decoding(channels=4))
    decoding = Decoding(channels=4, bands=(1, 2, 3, 4))
    assert np.array_equal(decode_image(tmp_path / "a.tif", decoding).numpy(), values.transpose(2, 0, 1))
    probed = readable(tmp_path / "a.tif", decoding)
    assert notes("a.tif", probed, decoding) == (
        "bands 1, 2, 3, 4 of 3 bands and an alpha channel (number 4) are used, counted from 1",
    )
    assert notes("a.tif", probed, RGB) == ("image with an alpha channel, which is dropped",)


@pytest.mark.parametrize(
    ("pages", "decoding"),
    [
        (3, RGB),
        (3, Decoding(bands=(1, 2, 3))),
        (4, Decoding(bands=(3, 2, 1))),
        (4, Decoding(channels=4)),
        (6, Decoding(channels=4)),
    ],
)
def test_pages_are_no_bands(pages, decoding, tmp_path):
    values = samples(pages, "uint16").transpose(2, 0, 1)
    for name, options in (("a.tif", {"imagej": True}), ("b.tif", {"photometric": "minisblack"})):
        tifffile.imwrite(tmp_path / name, values, **options)
        for read in (readable, decode_image):
            with pytest.raises(Unusable, match=rf"TIFF has {pages} pages of 1 band, .* \.npy of shape \(H, W, C\)"):
                read(tmp_path / name, decoding)
        first = decode_image(tmp_path / name, Decoding(channels=1, range=(0, 255)))[0]
        assert np.array_equal(first.numpy(), values[0])
    assert readable(tmp_path / "a.tif", GREY).frames == pages


@pytest.mark.parametrize("bands", [(3, 2, 1), (2,), (2, 2, 1)])
@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM"])
def test_bands_of_an_image_of_three_colours_are_those_asked_for_in_that_order(form, bands):
    values, stream = samples(3), io.BytesIO()
    Image.fromarray(values).save(stream, form)
    chosen = decode_image(stream.getvalue(), Decoding(channels=len(bands), bands=bands)).numpy()
    assert np.array_equal(chosen, values.transpose(2, 0, 1)[[band - 1 for band in bands]])
