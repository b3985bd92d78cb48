"""EXIF that is broken, out of range or contradictory is said, and what it turns is stated."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.data.encoding import chunk
from tests.data.tiffs import tiff
from unpool.data.decode import decode_image, notes
from unpool.data.image_file import probe
from unpool.data.orientation import turned
from unpool.types import RGB, Decoding

VALUES = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)


def block(*orientations: int, order: str = "<", kind: int = 3, count: int = 1, entries: int | None = None) -> bytes:
    """A directory of orientations, written by hand."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    number = len(orientations) if entries is None else entries
    listed = [struct.pack(f"{order}HHIHH", 274, kind, count, value, 0) for value in orientations]
    return head + struct.pack(f"{order}H", number) + b"".join(listed) + (bytes(4) if entries is None else b"")


def jpeg_with(exif: bytes | None, xmp: str = "") -> bytes:
    """By OpenCV, with segments put behind its first two bytes."""
    data = cv2.imencode(".jpg", VALUES)[1].tobytes()
    segments = b""
    if exif is not None:
        part = b"Exif\0\0" + exif
        segments += b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part
    if xmp:
        part = b"http://ns.adobe.com/xap/1.0/\0" + xmp.encode()
        segments += b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part
    return data[:2] + segments + data[2:]


def png_with(exif: bytes) -> bytes:
    data = cv2.imencode(".png", VALUES)[1].tobytes()
    return data[:33] + chunk(b"eXIf", exif) + data[33:]


def xmp(orientation: int) -> str:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'


def faults(data: bytes) -> list[str]:
    return [text for text in notes("a", probe(data), RGB) if "EXIF" in text and "applied" not in text]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sound_orientation_is_no_fault(orientation, order):
    for data in (jpeg_with(block(orientation, order=order)), png_with(block(orientation, order=order))):
        assert probe(data).orientation == orientation
        assert faults(data) == []


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_out_of_range_turns_nothing_and_is_said(orientation):
    for data in (jpeg_with(block(orientation)), png_with(block(orientation))):
        assert probe(data).orientation == 1
        assert decode_image(data, RGB).shape == (3, 20, 30)
        expected = f"EXIF orientation is {orientation}, expected 1 to 8: the image is not turned"
        assert notes("a", probe(data), RGB) == (expected,)


def test_orientation_out_of_range_in_a_tiff_is_said():
    data = tiff(VALUES, bits=8, photometric=2, more=[(274, 3, [9])])
    assert probe(data).orientation == 1
    assert faults(data) == ["EXIF orientation is 9, expected 1 to 8: the image is not turned"]


@pytest.mark.parametrize(
    "exif",
    [
        *(b"", b"no EXIF at all", b"II*\0", b"II*\0\xff\xff\xff\xff", block(entries=40)),
        *(block(6, kind=5), block(6, count=2), b"II*\0" + bytes([0, 0, 0, 255])),
    ],
)
def test_unreadable_block_turns_nothing_and_is_said(exif):
    data = jpeg_with(exif)
    assert probe(data).orientation == 1
    assert decode_image(data, RGB).shape == (3, 20, 30)
    assert faults(data) == (["EXIF block is damaged: the image is not turned"] if exif else [])


def test_orientation_before_the_damage_of_its_block_counts_and_is_said():
    data = jpeg_with(block(6, entries=9))
    assert probe(data).orientation == 6
    assert faults(data) == ["EXIF block is damaged: the orientation before the damage counts"]


def test_two_orientations_of_one_file_are_said_and_the_first_counts():
    for data in (jpeg_with(block(6, 1)), jpeg_with(block(6), xmp(1))):
        assert probe(data).orientation == 6
        assert faults(data) == ["EXIF orientation is 6 and elsewhere 1 in the same file: the first counts"]


def test_orientation_of_xmp_counts_where_exif_has_none():
    assert probe(jpeg_with(None, xmp(8))).orientation == 8
    assert faults(jpeg_with(block(8), xmp(8))) == []
    assert faults(jpeg_with(b"no EXIF", xmp(8))) == ["EXIF block is damaged: XMP counts"]


def test_fault_of_an_orientation_that_is_ignored_is_not_said():
    assert notes("a", probe(jpeg_with(block(0))), Decoding(exif="ignore")) == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_as_a_viewer_turns_them(orientation):
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(values)
    image.getexif()[274] = orientation
    assert turned(values, orientation).tolist() == np.asarray(ImageOps.exif_transpose(image)).tolist()
