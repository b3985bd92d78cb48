"""The values of TIFFs as masks and as images: every combination of the format, held to the array that was written."""

import io
import sys
from importlib import util
from itertools import product

import cv2
import numpy as np
import pytest
import tifffile

from tests.data.tiffs import SHORT, tiff
from unpool.data.decode import decode_image, readable
from unpool.data.image_file import Unreadable, Unusable, probe
from unpool.data.mask_file import read_header, read_stored
from unpool.types import GREY, RGB, Decoding

KINDS = ["bool", "u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"]
PALETTE_TAG = 320


def values_of(kind: str, bands: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "bool":
        return rng.integers(0, 2, (20, 37, bands)).astype(bool)
    if kind[0] == "f":
        return rng.normal(0, 300, (20, 37, bands)).astype(kind)
    most = 2**31 - 1 if kind == "u4" else np.iinfo(kind).max
    return rng.integers(np.iinfo(kind).min, most, (20, 37, bands), endpoint=True, dtype=kind)


def combinations(kind: str, bands: int):
    """Options of tifffile: predictors go with compression, and planes with several bands."""
    predictors = {"b": [False], "f": [False, 3]}.get(kind[0], [False, 2])
    planes = ["contig", "separate"] if bands > 1 else [None]
    compressions = [None, "deflate", "lzw", "packbits"]
    for photometric, planar, compression, predictor, order, tile in product(
        ["miniswhite", "minisblack"], planes, compressions, predictors, "<>", [None, (16, 16)]
    ):
        if not predictor or compression in ("deflate", "lzw"):
            yield {
                "photometric": photometric,
                "planarconfig": planar,
                "compression": compression,
                "predictor": predictor,
                "byteorder": order,
                "tile": tile,
            }


def written(values: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    if values.shape[2] == 1:
        values = values[..., 0]
    elif options["planarconfig"] == "separate":
        values = values.transpose(2, 0, 1)
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def shown(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """What a person computes: (C, H, W), 0 for black and 255 for white."""
    share = (values.astype(np.float64) - black) / (white - black)
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8).transpose(2, 0, 1)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind[0] != "f"])
def test_ids_of_a_mask_are_the_stored_values(kind, tmp_path):
    values = values_of(kind, 1)
    wrong = []
    for options in combinations(kind, 1):
        (tmp_path / "m.tif").write_bytes(written(values, **options))
        if not np.array_equal(read_stored(tmp_path / "m.tif").values, values[..., 0].astype(np.int64)):
            wrong.append(options)
    assert wrong == []


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_image_is_shown_as_meant(kind, bands):
    values = values_of(kind, bands)
    low, high = {"b": (0, 1), "f": (-700.0, 650.0), "u": (0, 200), "i": (-100, 90)}[kind[0]]
    low, high = (0, 255) if kind == "u1" else (low, high)
    decoding, wrong = Decoding(channels=bands, range=(low, high)), []
    for options in combinations(kind, bands):
        if kind == "bool" and bands > 1:
            continue
        ends = (high, low) if options["photometric"] == "miniswhite" else (low, high)
        if not np.array_equal(decode_image(written(values, **options), decoding).numpy(), shown(values, *ends)):
            wrong.append(options)
    assert wrong == []


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("photometric", [0, 1])
def test_packed_bits_are_ids_in_masks_and_full_range_in_images(bits, photometric, tmp_path):
    values = np.random.default_rng(bits).integers(0, 2**bits, (9, 13, 1))
    values[0, 0], values[0, 1] = 0, 2**bits - 1
    ends = (0, 2**bits - 1) if photometric else (2**bits - 1, 0)
    for order, deflate, reverse in product("<>", [False, True], [False, True]):
        data = tiff(values, bits=bits, photometric=photometric, order=order, deflate=deflate, reverse=reverse)
        (tmp_path / "m.tif").write_bytes(data)
        assert np.array_equal(read_stored(tmp_path / "m.tif").values, values[..., 0]), (order, deflate, reverse)
        assert np.array_equal(decode_image(data, GREY).numpy(), shown(values, *ends)), (order, deflate, reverse)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_gives_indices_to_masks_and_colours_to_images(bits, tmp_path):
    values = np.random.default_rng(bits).integers(0, 2**bits, (9, 13))
    colours = np.random.default_rng(1).integers(0, 256, (2**bits, 3))
    more = [(PALETTE_TAG, SHORT, (colours * 257).T.ravel().tolist())]
    for order, deflate in product("<>", [False, True]):
        data = tiff(values, bits=bits, photometric=3, order=order, deflate=deflate, more=more)
        (tmp_path / "m.tif").write_bytes(data)
        assert np.array_equal(read_stored(tmp_path / "m.tif").values, values)
        assert np.array_equal(decode_image(data, RGB).numpy(), colours[values].transpose(2, 0, 1))


@pytest.mark.parametrize("most", [255, 128])
def test_colour_map_of_8_bits_gives_the_colours_that_were_meant(most):
    values = np.random.default_rng(0).integers(0, 256, (9, 13)).astype(np.uint8)
    colours = np.random.default_rng(1).integers(0, most, (256, 3), endpoint=True)
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric="palette", colormap=colours.T.astype(np.uint16))
    assert np.array_equal(decode_image(stream.getvalue(), RGB).numpy(), colours[values].transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_colours_are_those_that_another_library_reads(kind, tmp_path):
    values = values_of(kind, 3)
    full = np.iinfo(kind).max
    for planar, compression, order in product(["contig", "separate"], [None, "deflate", "lzw"], "<>"):
        predictor = 2 if compression else False
        options = {"planarconfig": planar, "compression": compression, "predictor": predictor, "byteorder": order}
        data = written(values, photometric="rgb", **options)
        decoded = decode_image(data, Decoding(range=(0, full))).numpy()
        assert np.array_equal(decoded, shown(values, 0, full)), options
        if kind == "u1" or planar == "contig":  # OpenCV misreads planes of 16 bits
            by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]
            assert np.array_equal(decoded, shown(by_opencv, 0, full)), options


def test_turn_of_a_tiff_is_applied_once_and_ignored_where_that_is_asked(tmp_path):
    values = values_of("u1", 3)
    for turn in range(1, 9):
        path = tmp_path / f"{turn}.tif"
        tifffile.imwrite(path, values, photometric="rgb", extratags=[(274, "H", 1, turn, True)])
        as_stored = decode_image(path, Decoding(exif="ignore"))
        assert np.array_equal(as_stored.numpy(), values.transpose(2, 0, 1))
        upright = cv2.imread(str(path))[..., ::-1] if turn < 5 else None  # OpenCV turns TIFFs of the first four only
        if upright is not None:
            assert np.array_equal(decode_image(path, RGB).numpy().transpose(1, 2, 0), upright), turn
        assert (probe(path).height, probe(path).width) == values.shape[:2]
    sideways = decode_image(tmp_path / "6.tif", RGB).numpy().transpose(1, 2, 0)
    assert np.array_equal(sideways, np.rot90(values, -1))


def test_alpha_is_no_band_and_unnamed_samples_are():
    values = values_of("u1", 4)
    options = {"photometric": "rgb", "planarconfig": "contig"}
    for alpha in ("unassalpha", "assocalpha"):
        assert probe(written(values, extrasamples=[alpha], **options)).bands == 3
    data = written(values, extrasamples=["unspecified"], **options)
    assert probe(data).bands == 4
    assert np.array_equal(decode_image(data, Decoding(channels=4)).numpy(), values.transpose(2, 0, 1))
    chosen = decode_image(data, Decoding(channels=2, bands=(4, 1))).numpy()
    assert np.array_equal(chosen, values[..., [3, 0]].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(np.zeros((4, 4)), bits=24, photometric=1), "24 bits a value"),
        (tiff(np.zeros((4, 4, 3)), bits=4, photometric=2), "several samples of 4 bits"),
        (tiff(np.zeros((4, 4)), bits=8, photometric=None), "no photometric interpretation"),
        (tiff(np.zeros((4, 4, 3)), bits=8, photometric=8), "the number 8 as its photometric interpretation"),
        (tiff(np.zeros((4, 4, 4)), bits=16, photometric=5), "the number 5 as its photometric interpretation"),
    ],
)
def test_what_nothing_reads_is_refused_by_name(data, reason, tmp_path):
    (tmp_path / "a.tif").write_bytes(data)
    for read in (lambda path: decode_image(path, RGB), lambda path: readable(path, RGB), read_stored, read_header):
        with pytest.raises(Unusable, match=rf"a\.tif: .*{reason}"):
            read(tmp_path / "a.tif")


def test_mask_of_fractions_or_of_bands_is_refused(tmp_path):
    for values, reason in ((values_of("f4", 1), "floating point bits"), (values_of("u1", 5), "5 samples a pixel")):
        (tmp_path / "m.tif").write_bytes(written(values, photometric="minisblack", planarconfig="contig"))
        with pytest.raises(Unusable, match=reason):
            read_stored(tmp_path / "m.tif")


def test_missing_extra_is_named_from_the_header(monkeypatch):
    data = written(values_of("u2", 5), photometric="minisblack", planarconfig="contig")
    find = util.find_spec
    monkeypatch.setattr("unpool.data.tiff.find_spec", lambda name: None if name == "tifffile" else find(name))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(Unusable, match=r"TIFF of 5 samples, 16 bits .* needs tifffile: pip install 'unpool\[tiff\]'"):
        probe(data)
    assert probe(written(values_of("u2", 1), photometric="minisblack")).bits == 16


def test_cut_off_list_of_tags_is_a_damaged_file():
    whole = tiff(np.zeros((4, 4)), bits=8, photometric=1)
    with pytest.raises(Unreadable, match="damaged TIFF file"):
        probe(whole[:60])
