"""Image files a user meets, a test for each kind, in a set that is held in memory and in one that is streamed."""

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from tests.data.encoding import chunk, encoded, picture, png
from tests.data.test_orientation import block, jpeg_with
from unpool.data.augment import AUGMENTATIONS, Augment
from unpool.data.readers.coco_people import CocoPeople
from unpool.data.readers.folder import Folder
from unpool.data.store import ScanResult, scan
from unpool.errors import DataError
from unpool.ops.preprocessing import Preprocessing
from unpool.types import DataInfo

WAYS = pytest.mark.parametrize("memory", [True, False], ids=["held", "streamed"])
VALUES = picture(20, 30)


def folders(root: Path, name: str = "x.jpg", data: bytes | None = None) -> Path:
    """Two classes of two sound images each, and one file more."""
    for folder in ("train/ant", "train/bee", "val/ant", "val/bee"):
        (root / folder).mkdir(parents=True)
        for number in range(2):
            (root / folder / f"{number}.png").write_bytes(encoded(picture(seed=number), "PNG"))
    if data is not None:
        (root / "train" / "ant" / name).write_bytes(data)
    return root


def scanned(root: Path, *, memory: bool) -> ScanResult:
    return scan(Folder(root, "train"), memory=memory)


def image_of(result: ScanResult, name: str = "x.jpg") -> np.ndarray:
    position = list(result.samples.names).index(f"train/ant/{name}")
    return result.samples[position]["image"].permute(1, 2, 0).numpy()


def notes_of(result: ScanResult) -> list[str]:
    return [note["note"] for note in result.manifest["notes"]]


@WAYS
def test_empty_file_is_left_out_and_counted(tmp_path, memory):
    result = scanned(folders(tmp_path, data=b""), memory=memory)
    assert [(fault.path[-5:], fault.reason) for fault in result.faults] == [("x.jpg", "file is empty (0 bytes)")]
    assert len(result.samples) == 4


@WAYS
@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_lying_suffix_is_read_by_its_bytes_with_one_note(form, tmp_path, memory):
    result = scanned(folders(tmp_path, data=encoded(VALUES, form)), memory=memory)
    assert image_of(result).shape == (20, 30, 3)
    assert f"{form} data in a file named as JPEG, read as {form}" in notes_of(result)


@WAYS
@pytest.mark.parametrize("start", [b"%!PS-Adobe-3.0 EPSF", b"8BPS\0\1", b"SIMPLE  =   T", b"%PDF-1.4", b"\0\0\1\0\1\0"])
def test_disallowed_format_ends_the_scan_by_name(start, tmp_path, memory):
    with pytest.raises(DataError, match=r"x\.jpg: format \w+ not enabled"):
        scanned(folders(tmp_path, data=start + bytes(100)), memory=memory)


@WAYS
def test_annotations_of_an_image_as_it_was_before_its_turn_are_refused(tmp_path, memory):
    for part in ("train2017", "val2017", "annotations"):
        (tmp_path / part).mkdir()
    (tmp_path / "train2017" / "1.jpg").write_bytes(jpeg_with(block(6)))
    person = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 15], "area": 300, "iscrowd": 0}
    person |= {"keypoints": 17 * [5, 5, 2], "num_keypoints": 17, "segmentation": []}
    listed = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 30, "height": 20}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": [f"k{i}" for i in range(17)], "skeleton": []}],
    }
    path = tmp_path / "annotations" / "person_keypoints_train2017.json"
    path.write_text(json.dumps(listed))
    with pytest.raises(DataError, match=r"turned by EXIF orientation 6, .*: set data\.exif=ignore"):
        scan(CocoPeople(tmp_path, "train", exif="apply"), memory=memory)


@WAYS
def test_grey_image_is_repeated_and_said_once(tmp_path, memory):
    root = folders(tmp_path, data=cv2.imencode(".jpg", VALUES[..., 0])[1].tobytes())
    (root / "train" / "ant" / "y.png").write_bytes(cv2.imencode(".png", VALUES[..., 0])[1].tobytes())
    result = scanned(root, memory=memory)
    assert (image_of(result)[..., 0] == image_of(result)[..., 2]).all()
    assert [note["count"] for note in result.manifest["notes"] if "grey image" in note["note"]] == [2]


DEEP: dict[str, Callable[[np.ndarray], bytes]] = {
    "png": lambda values: cv2.imencode(".png", values)[1].tobytes(),
    "tif": lambda values: _tiff(values, "<"),
    "big-endian tif": lambda values: _tiff(values, ">"),
    "pgm": lambda values: b"P5 256 256 65535\n" + values.astype(">u2").tobytes(),
}


def _tiff(values: np.ndarray, order: str) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, byteorder=order)
    return stream.getvalue()


@WAYS
@pytest.mark.parametrize("form", DEEP)
def test_deep_grey_is_scaled_and_not_clipped(form, tmp_path, memory):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    result = scanned(folders(tmp_path, f"x.{form[-3:]}", DEEP[form](values)), memory=memory)
    image = image_of(result, f"x.{form[-3:]}")[..., 0].ravel()
    assert (np.diff(image.astype(int)) >= 0).all()
    assert np.bincount(image, minlength=256).min() >= 128
    assert any("16-bit" in note for note in notes_of(result))


@WAYS
def test_deep_colours_are_scaled(tmp_path, memory):
    values = VALUES.astype(np.uint16) * 257
    root = folders(tmp_path, "x.png", cv2.imencode(".png", values[..., ::-1])[1].tobytes())
    assert np.array_equal(image_of(scanned(root, memory=memory), "x.png"), VALUES)


@WAYS
def test_progressive_jpeg_has_the_pixels_of_a_plain_one(tmp_path, memory):
    values = VALUES[..., ::-1]
    plain = cv2.imencode(".jpg", values)[1].tobytes()
    root = folders(tmp_path, data=cv2.imencode(".jpg", values, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
    (root / "train" / "ant" / "y.jpg").write_bytes(plain)
    result = scanned(root, memory=memory)
    assert np.array_equal(image_of(result), image_of(result, "y.jpg"))


@WAYS
def test_huge_profile_of_colours_is_ignored(tmp_path, memory):
    data = encoded(VALUES, "JPEG", quality=95)
    part = b"ICC_PROFILE\0\1\1" + bytes(65000)
    profile = (b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part) * 160
    root = folders(tmp_path, data=data[:2] + profile + data[2:])
    (root / "train" / "ant" / "y.jpg").write_bytes(data)
    result = scanned(root, memory=memory)
    assert np.array_equal(image_of(result), image_of(result, "y.jpg"))


@WAYS
@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_first_of_several_frames_is_used_and_the_number_said(form, tmp_path, memory):
    stream = io.BytesIO()
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(3)]
    options = {"lossless": True} if form == "WEBP" else {}
    frames[0].save(stream, form, save_all=True, append_images=frames[1:], **options)
    result = scanned(folders(tmp_path, f"x.{form.lower()}", stream.getvalue()), memory=memory)
    assert f"{form} of 3 frames, only the first is used" in notes_of(result)
    if form != "GIF":
        assert np.array_equal(image_of(result, f"x.{form.lower()}"), picture(seed=0))


@WAYS
def test_bomb_is_refused_from_its_header(tmp_path, memory):
    bomb = png(30000, 30000, depth=1, colour=0, rows=bytes(1000))
    with pytest.raises(DataError, match=r"9e\+08 pixels; the limit is 1e\+08: .*data\.max_pixels"):
        scanned(folders(tmp_path, "x.png", bomb), memory=memory)


@WAYS
@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_bomb_of_metadata_is_refused(kind, tmp_path, memory):
    text = chunk(kind, b"Comment\0\0" + zlib.compress(bytes(1 << 24), 9))
    bomb = png(1, 1, depth=8, colour=0, rows=b"\0\0", extra=text)
    with pytest.raises(DataError, match="metadata is larger than the limit"):
        scanned(folders(tmp_path, "x.png", bomb), memory=memory)


@WAYS
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 1), (5, 4), (1, 5000), (5000, 1)])
def test_thin_images_become_batches_of_one_size(shape, tmp_path, memory):
    root = folders(tmp_path, "x.png", cv2.imencode(".png", np.full((*shape, 3), 7, np.uint8))[1].tobytes())
    result = scanned(root, memory=memory)
    steps = [AUGMENTATIONS["crop"](), AUGMENTATIONS["flip"]()]
    augment = Augment(steps, size_hw=(32, 32), preprocessing=Preprocessing(), info=DataInfo(), seed=0)
    samples = [result.samples[i] for i in range(len(result.samples))]
    assert augment(samples, 0)["image"].shape == (5, 3, 32, 32)
    kept = Preprocessing(multiple=32)
    assert kept.normalize(torch.from_numpy(image_of(result, "x.png")).permute(2, 0, 1)[None]).shape[-1] % 32 == 0


@WAYS
def test_file_that_cannot_be_read_is_left_out_with_the_reason(tmp_path, memory, monkeypatch):
    root = folders(tmp_path, data=encoded(VALUES, "JPEG"))
    opened = Path.open

    def refused(self, *arguments, **options):
        if self.name == "x.jpg":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    result = scanned(root, memory=memory)
    assert [fault.reason for fault in result.faults] == ["cannot read (Permission denied)"]


@WAYS
def test_name_that_is_no_utf8_is_read_and_printed_escaped(tmp_path, memory):
    root = folders(tmp_path)
    Path(os.fsdecode(os.fsencode(root / "train" / "ant") + b"/\xff.jpg")).write_bytes(encoded(VALUES, "JPEG"))
    result = scanned(root, memory=memory)
    assert image_of(result, "\\xff.jpg").shape == (20, 30, 3)
    json.dumps(result.manifest).encode("utf-8")


@WAYS
def test_every_spelling_of_a_suffix_is_a_sample_and_clashes_are_said(tmp_path, memory):
    root = folders(tmp_path)
    for name in ("a.JPG", "A.jpg", "b.Jpeg", "c.PNG", "d.jpg.png"):
        form = "PNG" if name.lower().endswith(".png") else "JPEG"
        (root / "train" / "ant" / name).write_bytes(encoded(VALUES, form))
    result = scanned(root, memory=memory)
    assert len(result.samples) == 9
    assert any("differ in case only" in note for note in notes_of(result))


@WAYS
def test_links_are_followed_once_and_bad_ones_left_out(tmp_path, memory):
    root = folders(tmp_path / "set")
    ant = root / "train" / "ant"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "z.png").write_bytes(encoded(picture(seed=9), "PNG"))
    (ant / "file.png").symlink_to(elsewhere / "z.png")
    (ant / "folder").symlink_to(elsewhere)
    (ant / "loop").symlink_to(ant)
    (ant / "gone.png").symlink_to(tmp_path / "nowhere.png")
    result = scanned(root, memory=memory)
    assert {"train/ant/file.png", "train/ant/folder/z.png"} <= set(result.samples.names)
    reasons = sorted(fault.reason for fault in result.faults)
    assert reasons == ["dangling symbolic link", "symbolic link leads back to a folder that holds it"]


@WAYS
def test_what_desktops_leave_behind_is_counted_and_not_read(tmp_path, memory):
    root = folders(tmp_path)
    ant = root / "train" / "ant"
    (ant / ".ipynb_checkpoints").mkdir()
    for name in (".DS_Store", "._x.jpg", "Thumbs.db", ".ipynb_checkpoints/x.png"):
        (ant / name).write_bytes(b"junk")
    result = scanned(root, memory=memory)
    assert len(result.samples) == 4
    assert result.manifest["ignored"] == 4
