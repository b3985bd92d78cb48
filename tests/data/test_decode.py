"""Every way a sound image file can be odd, and what is read from it."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.encoding import chunk, encoded, picture, png, saved
from tests.data.mask_files import exif, with_late_exif
from unpool.data import formats
from unpool.data.decode import decode_image, notes
from unpool.data.image_file import Unreadable, Unusable, header, probe
from unpool.data.orientation import turned
from unpool.data.png_chunks import exif_block
from unpool.types import GREY, RGB, Decoding


def as_chw(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def test_image_is_its_pixels_channels_first(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    assert decode_image(path, RGB).equal(as_chw(picture()))
    assert header(path) == (20, 30)


def test_bytes_decode_like_the_file_that_holds_them(tmp_path):
    path = saved(tmp_path / "a.jpg", picture())
    assert decode_image(path.read_bytes(), RGB).equal(decode_image(path, RGB))


def test_empty_file_is_skipped_with_its_size(tmp_path):
    (tmp_path / "x.jpg").touch()
    with pytest.raises(Unreadable, match=r"x\.jpg: file is empty \(0 bytes\)"):
        decode_image(tmp_path / "x.jpg", RGB)


def test_png_named_jpg_is_decoded_by_its_bytes_and_noted(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture(), "PNG"))
    assert decode_image(path, RGB).equal(as_chw(picture()))
    assert "PNG data in a file named as JPEG" in notes("a.jpg", probe(path), RGB)[0]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_every_enabled_format_decodes(form):
    options = {"lossless": True} if form == "WEBP" else {}
    decoded = decode_image(encoded(picture(), form, **options), RGB)
    assert decoded.shape == (3, 20, 30)
    if form not in ("JPEG", "GIF"):
        assert decoded.equal(as_chw(picture()))


FOREIGN = {
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(200),
    "FITS": b"SIMPLE  =                    T" + b" " * 2850,
    "PDF": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(60),
    "FLI": struct.pack("<IHHHH", 200, 0xAF11, 1, 8, 8) + bytes(150),
    "ICO": b"\0\0\1\0\1\0" + bytes(80),
    "FPX": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
}


@pytest.mark.parametrize("form", FOREIGN)
def test_other_formats_are_refused_and_their_parser_never_runs(form, tmp_path, monkeypatch):
    Image.init()
    opened = []
    for plugin, (factory, _) in Image.OPEN.items():
        if isinstance(factory, type):
            monkeypatch.setattr(factory, "_open", lambda self, plugin=plugin: opened.append(plugin))
    path = tmp_path / "a.jpg"
    path.write_bytes(FOREIGN[form])
    with pytest.raises(Unusable, match=f"format {form} not enabled") as caught:
        decode_image(path, RGB)
    assert not isinstance(caught.value, Unreadable)
    assert opened == []


def test_text_named_as_an_image_is_skipped(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>not found</html>")
    with pytest.raises(Unreadable, match="not an image: it starts with b'<html>no'"):
        decode_image(tmp_path / "a.jpg", RGB)


def test_text_that_only_mentions_a_format_is_no_image():
    with pytest.raises(Unreadable, match="not an image"):
        decode_image(b"see %PDF and GIF89a, or 8BPS", RGB)


def oriented_jpeg(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(path, picture(20, 30), quality=95, exif=exif)


def test_exif_orientation_turns_image_and_header_alike(tmp_path):
    path = oriented_jpeg(tmp_path / "a.jpg", 6)
    raw = decode_image(path, Decoding(exif="ignore"))
    turned = decode_image(path, RGB)
    assert turned.shape == (3, *header(path)) == (3, 30, 20)
    assert turned.equal(raw.rot90(-1, (1, 2)))
    assert header(path, exif="ignore") == (20, 30)
    assert notes("a.jpg", probe(path), RGB) == ("EXIF orientation applied",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_header_size_is_that_of_the_decoded_image(orientation, tmp_path):
    path = oriented_jpeg(tmp_path / "a.jpg", orientation)
    assert decode_image(path, RGB).shape[1:] == header(path)


def test_header_of_a_png_reads_no_pixels(tmp_path):
    path = tmp_path / "a.png"
    whole = encoded(picture(), "PNG")
    path.write_bytes(whole[: whole.index(b"IDAT") + 10])
    assert header(path) == (20, 30)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_behind_the_pixels_of_a_png_counts(orientation, kind, tmp_path):
    path = tmp_path / "a.png"
    values = picture().astype(kind) * (257 if kind == "uint16" else 1)
    path.write_bytes(with_late_exif(cv2.imencode(".png", values[..., ::-1])[1].tobytes(), orientation))
    seen = turned(picture(), orientation)
    assert decode_image(path, RGB).equal(as_chw(seen))
    assert decode_image(path.read_bytes(), RGB).equal(as_chw(seen))
    assert decode_image(path, Decoding(exif="ignore")).equal(as_chw(picture()))
    assert header(path) == seen.shape[:2]
    assert ("EXIF orientation applied" in notes("a.png", probe(path), RGB)) == (orientation != 1)


def test_png_is_read_on_from_where_it_was_when_its_exif_was_sought(tmp_path):
    data = with_late_exif(encoded(picture(), "PNG"), 6)
    (tmp_path / "a.png").write_bytes(data)
    with (tmp_path / "a.png").open("rb") as stream:
        start = stream.read(10)
        assert exif_block(stream) == exif(6)
        assert start + stream.read() == data


def test_orientation_is_seen_behind_pixels_that_are_damaged_and_not_decoded(tmp_path):
    path = tmp_path / "a.png"
    whole = with_late_exif(encoded(picture(), "PNG"), 6)
    data = whole.index(b"IDAT") + 4
    path.write_bytes(whole[:data] + bytes(50) + whole[data + 50 :])
    assert header(path) == (30, 20)
    with pytest.raises(Unreadable, match="damaged PNG"):
        decode_image(path, RGB)


def test_grey_image_is_repeated_and_noted(tmp_path):
    path = saved(tmp_path / "a.png", picture()[..., 0])
    image = decode_image(path, RGB)
    assert image.shape == (3, 20, 30)
    assert image[0].equal(image[1])
    assert image[1].equal(image[2])
    assert decode_image(path, GREY).add_(1).shape == (1, 20, 30)
    assert "grey image" in notes("a.png", probe(path), RGB)[0]
    assert notes("a.png", probe(path), GREY) == ()


def test_colour_image_for_a_grey_model_is_its_luma(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    luma = as_chw(picture()).float().mul(torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)
    assert (decode_image(path, GREY).float() - luma).abs().max() <= 1


def gradient16() -> np.ndarray:
    return np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "TIFF big-endian", "PGM"])
def test_sixteen_bit_grey_is_scaled_not_clipped(form):
    values = gradient16()
    if form == "TIFF big-endian":
        stream = io.BytesIO()
        Image.frombytes("I;16B", (256, 256), values.astype(">u2").tobytes()).save(stream, "TIFF")
        data = stream.getvalue()
        assert data[:2] == b"MM"
    elif form == "PGM":
        data = b"P5 256 256 65535\n" + values.astype(">u2").tobytes()
    else:
        data = encoded(values, form)
    decoded = decode_image(data, GREY)[0].numpy().reshape(-1).astype(int)
    assert (np.diff(decoded) >= 0).all()
    assert np.bincount(decoded, minlength=256).max() <= 257
    assert np.abs(decoded - np.arange(65536) / 257).max() <= 0.5


def test_sixteen_bit_rgb_png_is_scaled_to_eight_bits():
    values = np.arange(256 * 3, dtype=np.uint16).reshape(1, 256, 3) * 85
    rows = b"\0" + values.astype(">u2").tobytes()
    decoded = decode_image(png(256, 1, depth=16, colour=2, rows=rows), RGB)
    assert np.abs(decoded.numpy().transpose(1, 2, 0) - values / 257).max() <= 1


def test_float_image_is_refused_and_nan_named(tmp_path):
    values = np.zeros((4, 4), np.float32)
    with pytest.raises(Unusable, match="32-bit float values of unknown range"):
        decode_image(saved(tmp_path / "a.tif", values), GREY)
    values[1, 1] = np.nan
    with pytest.raises(Unusable, match=r"b\.tif: image holds NaN"):
        decode_image(saved(tmp_path / "b.tif", values), GREY)


def interlaced_png(values: np.ndarray) -> bytes:
    """Adam7: seven passes of every 8th, 4th and 2nd pixel, each row after a filter byte."""
    rows = b""
    for top, left, down, right in [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]:
        part = values[top::down, left::right]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.shape[1] else b""
    height, width = values.shape[:2]
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_interlaced_png_and_progressive_jpeg_decode_as_plain_ones():
    assert decode_image(interlaced_png(picture()), RGB).equal(as_chw(picture()))
    plain, progressive = (encoded(picture(), "JPEG", quality=95, progressive=p) for p in (False, True))
    assert plain != progressive
    assert decode_image(progressive, RGB).equal(decode_image(plain, RGB))


def test_arithmetic_jpeg_is_named_where_the_codec_is_absent(monkeypatch):
    data = encoded(picture(), "JPEG")
    arithmetic = data.replace(b"\xff\xc0", b"\xff\xc9", 1)

    def parse(stream):
        raise OSError("broken data stream when reading image file")

    monkeypatch.setitem(formats.PARSERS, "JPEG", parse)
    with pytest.raises(Unusable, match="arithmetic-coded"):
        decode_image(arithmetic, RGB)
    with pytest.raises(Unreadable, match="damaged JPEG file: broken data stream"):
        decode_image(data, RGB)


def test_huge_colour_profile_is_ignored():
    data = encoded(picture(), "JPEG", quality=95)
    part = b"ICC_PROFILE\0\1\1" + bytes(65000)
    profile = (b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part) * 160
    assert decode_image(data[:2] + profile + data[2:], RGB).equal(decode_image(data, RGB))


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG"])
def test_first_of_several_frames_is_used_and_noted(form):
    stream = io.BytesIO()
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(3)]
    frames[0].save(stream, form, save_all=True, append_images=frames[1:])
    decoded = decode_image(stream.getvalue(), RGB)
    assert decoded.equal(decode_image(encoded(picture(seed=0), form), RGB))
    assert f"{form} of 3 frames, only the first is used" in notes("a", probe(stream.getvalue()), RGB)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (5, 3), (1, 5000), (5000, 1)])
def test_thin_images_decode(size):
    values = np.full((*size, 3), 7, np.uint8)
    assert decode_image(encoded(values, "PNG"), RGB).equal(torch.full((3, *size), 7, dtype=torch.uint8))


def test_palette_image_with_transparency_keeps_its_colours():
    image = Image.fromarray(picture()).quantize(8)
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=bytes([0, 128, 255]))
    expected = as_chw(np.asarray(image.convert("RGB")))
    assert decode_image(stream.getvalue(), RGB).equal(expected)


def test_wrong_number_of_channels_is_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="channels is 0"):
        decode_image(b"", Decoding(channels=0))
