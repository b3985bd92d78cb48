"""Damage that a decoder passes over in silence is remarked on, and nothing is said of sound files."""

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import JpegImagePlugin

from tests.data.encoding import chunk, encoded, picture, png
from unpool.data.decode import decode_image
from unpool.data.image_file import Unreadable
from unpool.data.jpeg import MISSING, OUT_OF_ORDER, TOO_MUCH
from unpool.data.png_chunks import NO_END, WRONG_SUM
from unpool.data.readers.folder import Folder
from unpool.data.remarks import collected
from unpool.data.store import scan
from unpool.types import GREY, RGB

KINDS = {
    "baseline": [],
    "optimised": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
    "4:4:4": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
}


def jpeg(kind: str = "baseline", *, seed: int = 0, is_grey: bool = False, size: int = 160) -> bytes:
    """Encoded by OpenCV, of a picture with detail everywhere."""
    noise = np.random.default_rng(seed).integers(0, 256, (size // 4, size // 4, 3), np.uint8)
    values = cv2.resize(noise, (size, size - 24), interpolation=cv2.INTER_CUBIC)
    values = values[..., 0] if is_grey else values
    return cv2.imencode(".jpg", values, [cv2.IMWRITE_JPEG_QUALITY, 90, *KINDS[kind]])[1].tobytes()


def scan_of(data: bytes) -> tuple[int, int]:
    """Where the data of the first scan begin, and the end of the file's last."""
    header = data.index(b"\xff\xda")
    return header + 2 + int.from_bytes(data[header + 2 : header + 4], "big"), len(data) - 2


def remarks_on(data: bytes, decoding=RGB) -> list[str]:
    with collected() as remarks:
        decode_image(data, decoding)
    return remarks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_sound_jpeg_is_not_remarked_on_and_has_the_pixels_of_the_parser(kind, seed):
    for data in (jpeg(kind, seed=seed, size=120 + 9 * seed), jpeg(kind, seed=seed, is_grey=True)):
        assert remarks_on(data) == []
        plain = np.asarray(JpegImagePlugin.JpegImageFile(io.BytesIO(data)).convert("RGB"))
        assert np.array_equal(decode_image(data, RGB).permute(1, 2, 0).numpy(), plain)


@pytest.mark.parametrize("size", [8, 9, 16, 40])
def test_sound_jpeg_of_few_blocks_is_not_remarked_on(size):
    for value in (0, 127, 255):
        values = np.full((size, size, 3), value, np.uint8)
        assert remarks_on(cv2.imencode(".jpg", values)[1].tobytes()) == []
        assert remarks_on(encoded(values[..., 0], "JPEG", progressive=True), GREY) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_jpeg_that_is_cut_and_given_an_end_is_remarked_on(kind, share):
    data = jpeg(kind)
    start, stop = scan_of(data)
    cut = start + int((stop - start) * share)
    while data[cut - 1] == 0xFF or data[cut] == 0xFF:
        cut += 1
    assert remarks_on(data[:cut] + b"\xff\xd9") == [MISSING]
    plain = JpegImagePlugin.JpegImageFile(io.BytesIO(data[:cut] + b"\xff\xd9"))
    again = decode_image(data[:cut] + b"\xff\xd9", RGB).permute(1, 2, 0).numpy()
    assert np.array_equal(again, np.asarray(plain.convert("RGB")))


@pytest.mark.parametrize("kind", ["baseline", "4:4:4", "optimised"])
def test_jpeg_with_an_end_in_mid_scan_is_remarked_on(kind):
    data = jpeg(kind)
    middle = sum(scan_of(data)) // 2
    assert remarks_on(data[:middle] + b"\xff\xd9" + data[middle + 2 :]) == [MISSING]


@pytest.mark.parametrize("count", [16, 40, 400])
@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts"])
def test_jpeg_with_bytes_left_before_a_marker_is_remarked_on(kind, count):
    data = jpeg(kind)
    assert remarks_on(data[:-2] + bytes(count) + data[-2:]) == [TOO_MUCH]


def test_restart_markers_that_changed_order_are_remarked_on():
    data = jpeg("restarts")
    first, second = data.index(b"\xff\xd1"), data.index(b"\xff\xd2")
    swapped = bytearray(data)
    swapped[first + 1], swapped[second + 1] = 0xD2, 0xD1
    assert remarks_on(bytes(swapped)) == [OUT_OF_ORDER]


@pytest.mark.parametrize("number", range(7))
def test_jpeg_that_ends_at_a_restart_marker_is_remarked_on(number):
    data = jpeg("restarts")
    cut = data[: data.index(bytes([0xFF, 0xD0 + number]))] + b"\xff\xd9"
    assert remarks_on(cut) == [MISSING]


def test_damage_between_two_restart_markers_of_a_large_file_is_remarked_on():
    data = jpeg("restarts", size=640)
    middle = data.index(b"\xff\xd3", len(data) // 2)
    assert remarks_on(data[:middle] + bytes(6000) + data[middle:]) == [TOO_MUCH]


@pytest.mark.parametrize("code", [0x02, 0xC5, 0xF7])
def test_jpeg_whose_scan_ends_in_no_end_fares_as_with_the_parser(code):
    data = jpeg()[:-2] + bytes([0xFF, code]) + bytes(40) + b"\xff\xd9"
    with pytest.raises(OSError, match="broken data stream"):
        JpegImagePlugin.JpegImageFile(io.BytesIO(data)).load()
    with pytest.raises(Unreadable, match="broken data stream"):
        decode_image(data, RGB)


def test_jpeg_without_an_end_is_left_out_as_before():
    data = jpeg()
    with pytest.raises(Unreadable, match="truncated"):
        decode_image(data[: sum(scan_of(data)) // 2], RGB)


def test_picture_behind_the_end_of_a_jpeg_is_no_damage():
    assert remarks_on(jpeg() + jpeg(seed=1)) == []


def test_png_whose_pixels_fail_their_sum_is_remarked_on():
    data = encoded(picture(), "PNG")
    start = data.index(b"IDAT")
    length = int.from_bytes(data[start - 4 : start], "big")
    wrong = bytearray(data)
    wrong[start + 4 + length] ^= 1
    assert remarks_on(bytes(wrong)) == [WRONG_SUM]
    assert decode_image(bytes(wrong), RGB).equal(decode_image(data, RGB))


def test_png_without_its_end_is_remarked_on():
    data = encoded(picture(), "PNG")
    assert remarks_on(data[: data.index(b"IEND") - 4]) == [NO_END]


def test_sound_png_is_not_remarked_on():
    split = zlib.compress(b"".join(b"\0" + bytes(3 * 30) for _ in range(20)))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes([0, 0, 0, 30, 0, 0, 0, 20, 8, 2, 0, 0, 0]))
    parts = [chunk(b"IDAT", split[at : at + 7]) for at in range(0, len(split), 7)]
    text = chunk(b"tEXt", b"Comment\0behind the pixels")
    for data in (start + b"".join(parts) + text + chunk(b"IEND", b""), encoded(picture(), "PNG")):
        assert remarks_on(data) == []
    assert remarks_on(png(1, 1, depth=8, colour=0, rows=b"\0\0")) == []


def test_scan_counts_damaged_files_and_names_the_first(tmp_path: Path):
    for name, data in {
        "a": jpeg(),
        "b": jpeg()[:-2] + bytes(99) + b"\xff\xd9",
        "c": jpeg()[:-600] + b"\xff\xd9",
    }.items():
        (tmp_path / "train" / name[0]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "val" / name[0]).mkdir(parents=True, exist_ok=True)
        for part in ("train", "val"):
            (tmp_path / part / name / f"{name}.jpg").write_bytes(data)
    notes = {note["note"]: note for note in scan(Folder(tmp_path, "train")).manifest["notes"]}
    assert (notes[TOO_MUCH]["count"], notes[TOO_MUCH]["first"]) == (1, "train/b/b.jpg")
    assert (notes[MISSING]["count"], notes[MISSING]["first"]) == (1, "train/c/c.jpg")


def test_several_remarks_of_one_file_are_all_kept():
    data = encoded(picture(), "PNG")
    start = data.index(b"IDAT")
    wrong = bytearray(data[: data.index(b"IEND") - 4])
    wrong[start + 4 + int.from_bytes(data[start - 4 : start], "big")] ^= 1
    assert remarks_on(bytes(wrong)) == [WRONG_SUM, NO_END]
