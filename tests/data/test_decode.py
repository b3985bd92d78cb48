"""Every way an image file can be odd or broken, and what becomes of it."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from unpool.data import formats
from unpool.data.decode import (
    Unreadable,
    Unusable,
    decode_image,
    decode_mask,
    header,
    notes,
    printable,
    probe,
)
from unpool.errors import DataError


def picture(height: int = 20, width: int = 30, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return small.repeat(4, 0).repeat(4, 1)[:height, :width]


def saved(path: Path, values: np.ndarray, *, mode: str | None = None, **options) -> Path:
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def encoded(values: np.ndarray, form: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, form, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def as_chw(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def test_image_is_its_pixels_channels_first(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    assert decode_image(path, 3).equal(as_chw(picture()))
    assert header(path) == (20, 30)


def test_bytes_decode_like_the_file_that_holds_them(tmp_path):
    path = saved(tmp_path / "a.jpg", picture())
    assert decode_image(path.read_bytes(), 3).equal(decode_image(path, 3))


def test_empty_file_is_skipped_with_its_size(tmp_path):
    (tmp_path / "x.jpg").touch()
    with pytest.raises(Unreadable, match=r"x\.jpg: file is empty \(0 bytes\)"):
        decode_image(tmp_path / "x.jpg", 3)


def test_png_named_jpg_is_decoded_by_its_bytes_and_noted(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture(), "PNG"))
    assert decode_image(path, 3).equal(as_chw(picture()))
    assert "PNG data in a file named as JPEG" in notes("a.jpg", probe(path), 3)[0]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_every_enabled_format_decodes(form):
    options = {"lossless": True} if form == "WEBP" else {}
    decoded = decode_image(encoded(picture(), form, **options), 3)
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
        decode_image(path, 3)
    assert not isinstance(caught.value, Unreadable)
    assert opened == []


def test_text_named_as_an_image_is_skipped(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>not found</html>")
    with pytest.raises(Unreadable, match="not an image: it starts with b'<html>no'"):
        decode_image(tmp_path / "a.jpg", 3)


def test_text_that_only_mentions_a_format_is_no_image():
    with pytest.raises(Unreadable, match="not an image"):
        decode_image(b"see %PDF and GIF89a, or 8BPS", 3)


def oriented_jpeg(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(path, picture(20, 30), quality=95, exif=exif)


def test_exif_orientation_turns_image_and_header_alike(tmp_path):
    path = oriented_jpeg(tmp_path / "a.jpg", 6)
    raw = decode_image(path, 3, exif="ignore")
    turned = decode_image(path, 3)
    assert turned.shape == (3, *header(path)) == (3, 30, 20)
    assert turned.equal(raw.rot90(-1, (1, 2)))
    assert header(path, exif="ignore") == (20, 30)
    assert notes("a.jpg", probe(path), 3) == ("EXIF orientation applied",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_header_size_is_that_of_the_decoded_image(orientation, tmp_path):
    path = oriented_jpeg(tmp_path / "a.jpg", orientation)
    assert decode_image(path, 3).shape[1:] == header(path)


def test_header_of_a_png_reads_no_pixels(tmp_path):
    path = tmp_path / "a.png"
    whole = encoded(picture(), "PNG")
    path.write_bytes(whole[: whole.index(b"IDAT") + 10])
    assert header(path) == (20, 30)


def test_grey_image_is_repeated_and_noted(tmp_path):
    path = saved(tmp_path / "a.png", picture()[..., 0])
    image = decode_image(path, 3)
    assert image.shape == (3, 20, 30)
    assert image[0].equal(image[1])
    assert image[1].equal(image[2])
    assert decode_image(path, 1).add_(1).shape == (1, 20, 30)
    assert "grey image" in notes("a.png", probe(path), 3)[0]
    assert notes("a.png", probe(path), 1) == ()


def test_colour_image_for_a_grey_model_is_its_luma(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    luma = as_chw(picture()).float().mul(torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0, keepdim=True)
    assert (decode_image(path, 1).float() - luma).abs().max() <= 1


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
    decoded = decode_image(data, 1)[0].numpy().reshape(-1).astype(int)
    assert (np.diff(decoded) >= 0).all()
    assert np.bincount(decoded, minlength=256).max() <= 257
    assert np.abs(decoded - np.arange(65536) / 257).max() <= 0.5


def test_sixteen_bit_rgb_png_is_scaled_to_eight_bits():
    values = np.arange(256 * 3, dtype=np.uint16).reshape(1, 256, 3) * 85
    rows = b"\0" + values.astype(">u2").tobytes()
    decoded = decode_image(png(256, 1, depth=16, colour=2, rows=rows), 3)
    assert np.abs(decoded.numpy().transpose(1, 2, 0) - values / 257).max() <= 1


def test_float_image_is_refused_and_nan_named(tmp_path):
    values = np.zeros((4, 4), np.float32)
    with pytest.raises(Unusable, match="32-bit float values of unknown range"):
        decode_image(saved(tmp_path / "a.tif", values), 1)
    values[1, 1] = np.nan
    with pytest.raises(Unusable, match=r"b\.tif: image holds NaN"):
        decode_image(saved(tmp_path / "b.tif", values), 1)


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
    assert decode_image(interlaced_png(picture()), 3).equal(as_chw(picture()))
    plain, progressive = (encoded(picture(), "JPEG", quality=95, progressive=p) for p in (False, True))
    assert plain != progressive
    assert decode_image(progressive, 3).equal(decode_image(plain, 3))


def test_arithmetic_jpeg_is_named_where_the_codec_is_absent(monkeypatch):
    data = encoded(picture(), "JPEG")
    arithmetic = data.replace(b"\xff\xc0", b"\xff\xc9", 1)

    def parse(stream):
        raise OSError("broken data stream when reading image file")

    monkeypatch.setitem(formats.PARSERS, "JPEG", parse)
    with pytest.raises(Unusable, match="arithmetic-coded"):
        decode_image(arithmetic, 3)
    with pytest.raises(Unreadable, match="damaged JPEG file: broken data stream"):
        decode_image(data, 3)


def test_huge_colour_profile_is_ignored():
    data = encoded(picture(), "JPEG", quality=95)
    part = b"ICC_PROFILE\0\1\1" + bytes(65000)
    profile = (b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part) * 160
    assert decode_image(data[:2] + profile + data[2:], 3).equal(decode_image(data, 3))


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG"])
def test_first_of_several_frames_is_used_and_noted(form):
    stream = io.BytesIO()
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(3)]
    frames[0].save(stream, form, save_all=True, append_images=frames[1:])
    decoded = decode_image(stream.getvalue(), 3)
    assert decoded.equal(decode_image(encoded(picture(seed=0), form), 3))
    assert f"{form} of 3 frames, only the first is used" in notes("a", probe(stream.getvalue()), 3)


MEASURE_BOMB = """
import resource, sys
from pathlib import Path
from unpool.data.decode import Unusable, Unreadable, decode_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_image(Path(sys.argv[1]), 3)
except Unusable as error:
    print(type(error).__name__, error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def refused_in_a_fresh_process(path: Path) -> tuple[str, int]:
    done = subprocess.run([sys.executable, "-c", MEASURE_BOMB, path], capture_output=True, text=True, check=True)
    *told, rise = done.stdout.splitlines()
    return "\n".join(told), int(rise)


@pytest.mark.slow
def test_decompression_bomb_is_refused_without_memory(tmp_path):
    compress = zlib.compressobj(9)
    rows = b"".join(compress.compress(bytes(3751)) for _ in range(30000)) + compress.flush()
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 1, 0, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    told, rise_mib = refused_in_a_fresh_process(path)
    assert told.startswith("Unusable")
    assert "9e+08 pixels; the limit is 1e+08" in told
    assert rise_mib < 50


@pytest.mark.slow
@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_metadata_bomb_is_refused_without_memory(kind, tmp_path):
    compress = zlib.compressobj(1)
    text = b"".join(compress.compress(bytes(1 << 20)) for _ in range(1024)) + compress.flush()
    path = tmp_path / "bomb.png"
    path.write_bytes(png(1, 1, depth=8, colour=0, rows=b"\0\0", extra=chunk(kind, b"Comment\0\0" + text)))
    told, rise_mib = refused_in_a_fresh_process(path)
    assert "metadata is larger than the limit" in told
    assert rise_mib < 100


def test_image_over_the_limit_is_refused_from_its_header():
    with pytest.raises(Unusable, match=r"20000x10000 = 2e\+08 pixels; the limit is 1e\+08"):
        decode_image(png(20000, 10000, depth=1, colour=0, rows=b""), 3)


def test_too_much_metadata_is_refused():
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1)))
    with pytest.raises(Unusable, match="PNG metadata is larger than the limit") as caught:
        decode_image(png(1, 1, depth=8, colour=0, rows=b"\0\0", extra=text), 3)
    assert not isinstance(caught.value, Unreadable)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (5, 3), (1, 5000), (5000, 1)])
def test_thin_images_decode(size):
    values = np.full((*size, 3), 7, np.uint8)
    assert decode_image(encoded(values, "PNG"), 3).equal(torch.full((3, *size), 7, dtype=torch.uint8))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
def test_file_without_permission_is_skipped(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    path.chmod(0)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(Unreadable, match=r"a\.png: cannot read \(Permission denied\)"):
            decode_image(path, 3)
    finally:
        os.seteuid(user)


def test_read_error_of_the_disk_is_skipped(tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", lambda self, mode: Broken())
    with pytest.raises(Unreadable, match=r"cannot read \(Input/output error\)"):
        decode_image(tmp_path / "a.png", 3)


def test_read_error_halfway_is_skipped(tmp_path, monkeypatch):
    data = encoded(picture(200, 300), "BMP")

    class Broken(io.BytesIO):
        def read(self, *size):
            if self.tell() > 1000:
                raise OSError(5, "Input/output error")
            return super().read(*size)

    monkeypatch.setattr(Path, "open", lambda self, mode: Broken(data))
    with pytest.raises(Unreadable, match=r"cannot read \(Input/output error\)"):
        decode_image(tmp_path / "a.bmp", 3)


def test_name_that_is_no_utf8_works_and_prints_escaped(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    path.write_bytes(encoded(picture(), "PNG"))
    assert decode_image(path, 3).shape == (3, 20, 30)
    assert printable(path).endswith("/\\xff.png")
    path.write_bytes(b"")
    with pytest.raises(Unreadable) as caught:
        decode_image(path, 3)
    str(caught.value).encode("utf-8")


def test_control_characters_in_a_name_are_escaped():
    assert printable("a\n\x1b[31mb.png") == "a\\n\\x1b[31mb.png"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_truncated_file_is_skipped_or_whole(form):
    data = encoded(picture(), form)
    whole = decode_image(data, 3)
    for length in np.linspace(1, len(data) - 1, 25).astype(int):
        try:
            decoded = decode_image(data[:length], 3)
        except Unreadable:
            continue
        assert decoded.equal(whole)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_damaged_bytes_raise_nothing_but_data_errors(form):
    rng = np.random.default_rng(0)
    data = np.frombuffer(encoded(picture(), form), np.uint8)
    for _ in range(150):
        bad = data.copy()
        bad[rng.integers(0, min(len(bad), 200), 3)] = rng.integers(0, 256, 3)
        try:
            decoded = decode_image(bad.tobytes(), 3)
        except DataError:
            continue
        assert decoded.dtype == torch.uint8


def test_palette_image_with_transparency_keeps_its_colours():
    image = Image.fromarray(picture()).quantize(8)
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=bytes([0, 128, 255]))
    expected = as_chw(np.asarray(image.convert("RGB")))
    assert decode_image(stream.getvalue(), 3).equal(expected)


def test_decode_error_travels_between_processes(tmp_path):
    import copy

    error = Unreadable("a.jpg", "file is empty (0 bytes)")
    twin = copy.copy(error)
    assert (str(twin), twin.fault) == (str(error), error.fault)


def test_wrong_number_of_channels_is_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="channels is 4"):
        decode_image(b"", 4)


def ids() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 12, (9, 13)).astype(np.uint8)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_mask_ids_are_those_stored(form, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(encoded(ids(), form))
    assert decode_mask(path).equal(torch.from_numpy(ids().astype(np.int32)))


def test_palette_mask_gives_indices_not_colours(tmp_path):
    image = Image.fromarray(ids()).convert("P")
    image.putdata(ids().reshape(-1).tolist())
    image.putpalette([value for i in range(256) for value in (255 - i, 3 * i % 256, 77)])
    image.save(tmp_path / "m.png")
    assert decode_mask(tmp_path / "m.png").numpy().tolist() == ids().tolist()


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


def test_colour_mask_without_colours_of_classes_says_where_they_go(tmp_path):
    with pytest.raises(Unusable, match="add r g b to each class line"):
        decode_mask(saved(tmp_path / "m.png", colour_mask()))


def test_decoding_leaves_the_file_alone(tmp_path):
    path = saved(tmp_path / "a.png", picture())
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    decode_image(path, 3)
    probe(path)
    decode_mask(saved(tmp_path / "m.png", ids()))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
