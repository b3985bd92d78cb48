"""Every way an image file can be broken or hostile, and what becomes of it."""

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
from PIL import PngImagePlugin

from tests.data.encoding import chunk, encoded, picture, png, saved
from unpool.data.decode import decode_image
from unpool.data.image_file import Unreadable, Unusable, printable
from unpool.errors import DataError
from unpool.types import RGB

MEASURE_BOMB = """
import resource, sys
from pathlib import Path
from unpool.data.image_file import Unusable, Unreadable
from unpool.data.decode import decode_image
from unpool.types import RGB
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode_image(Path(sys.argv[1]), RGB)
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
        decode_image(png(20000, 10000, depth=1, colour=0, rows=b""), RGB)


def test_too_much_metadata_is_refused():
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1)))
    with pytest.raises(Unusable, match="PNG metadata is larger than the limit") as caught:
        decode_image(png(1, 1, depth=8, colour=0, rows=b"\0\0", extra=text), RGB)
    assert not isinstance(caught.value, Unreadable)


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
            decode_image(path, RGB)
    finally:
        os.seteuid(user)


def test_read_error_of_the_disk_is_skipped(tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", lambda self, mode: Broken())
    with pytest.raises(Unreadable, match=r"cannot read \(Input/output error\)"):
        decode_image(tmp_path / "a.png", RGB)


def test_read_error_halfway_is_skipped(tmp_path, monkeypatch):
    data = encoded(picture(200, 300), "BMP")

    class Broken(io.BytesIO):
        def read(self, *size):
            if self.tell() > 1000:
                raise OSError(5, "Input/output error")
            return super().read(*size)

    monkeypatch.setattr(Path, "open", lambda self, mode: Broken(data))
    with pytest.raises(Unreadable, match=r"cannot read \(Input/output error\)"):
        decode_image(tmp_path / "a.bmp", RGB)


def test_name_that_is_no_utf8_works_and_prints_escaped(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    path.write_bytes(encoded(picture(), "PNG"))
    assert decode_image(path, RGB).shape == (3, 20, 30)
    assert printable(path).endswith("/\\xff.png")
    path.write_bytes(b"")
    with pytest.raises(Unreadable) as caught:
        decode_image(path, RGB)
    str(caught.value).encode("utf-8")


def test_control_characters_in_a_name_are_escaped():
    assert printable("a\n\x1b[31mb.png") == "a\\n\\x1b[31mb.png"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_truncated_file_is_skipped_or_whole(form):
    data = encoded(picture(), form)
    whole = decode_image(data, RGB)
    for length in np.linspace(1, len(data) - 1, 25).astype(int):
        try:
            decoded = decode_image(data[:length], RGB)
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
            decoded = decode_image(bad.tobytes(), RGB)
        except DataError:
            continue
        assert decoded.dtype == torch.uint8


def test_decode_error_travels_between_processes(tmp_path):
    import copy

    error = Unreadable("a.jpg", "file is empty (0 bytes)")
    twin = copy.copy(error)
    assert (str(twin), twin.fault) == (str(error), error.fault)
