"""Contents of files in a scan and after it: hashed, remembered, compared at each opening."""

import hashlib
import json
import os
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.data.readers.test_reader_files import opens
from tests.data.readers.trees import TREES
from unpool.data import store
from unpool.data.content_cache import ContentCache
from unpool.data.contents import Changed, changed_files, other_files
from unpool.data.image_file import Unreadable
from unpool.data.looking import Binding
from unpool.data.readers import READERS, image_files
from unpool.data.readers.folder import Folder
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.store import scan


def pictures(root: Path, count: int = 4) -> Path:
    """Two classes of pictures, no two alike."""
    for c, name in enumerate(("ant", "bee")):
        (root / "val" / name).mkdir(parents=True)
        for i in range(count):
            values = np.random.default_rng(100 * c + i).integers(0, 256, (20, 30, 3)).astype(np.uint8)
            Image.fromarray(values).save(root / "val" / name / f"{i}.jpg")
    time.sleep(0.06)  # files of this moment are not remembered
    return root


def cut_short(path: Path) -> None:
    """Damages a file so that its header can still be read."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("name", sorted(TREES))
@pytest.mark.parametrize("memory", [True, False])
def test_data_json_holds_bytes_time_and_sha256_of_every_file(name, memory, tmp_path):
    reader = READERS[name](TREES[name](tmp_path), "train")
    files = scan(reader, memory=memory).record()["files"]
    every = {*reader.set_files, *(path for i in range(len(reader)) for path in reader.files(i))}
    assert files == {
        path.relative_to(reader.root).as_posix(): [
            path.stat().st_size,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        ]
        for path in every
    }


def test_second_scan_of_a_streamed_set_decodes_nothing_and_reads_headers_only(tmp_path, monkeypatch):
    reader = Folder(pictures(tmp_path / "set"), "val")
    with ContentCache(tmp_path / "cache") as cache:
        first = scan(reader, memory=False, binding=Binding(cache=cache))
    monkeypatch.setattr(image_files, "decode_image", lambda *_, **__: pytest.fail("an image was decoded again"))
    monkeypatch.setattr("unpool.data.contents.read_sha256", lambda *_: pytest.fail("a file was hashed again"))
    with ContentCache(tmp_path / "cache") as cache:
        second = scan(reader, memory=False, binding=Binding(cache=cache))
    assert second.record() == first.record()


def test_copy_of_a_set_is_hashed_but_not_decoded_again(tmp_path, monkeypatch):
    reader = Folder(pictures(tmp_path / "set"), "val")
    with ContentCache(tmp_path / "cache") as cache:
        first = scan(reader, memory=False, binding=Binding(cache=cache)).record()["files"]
    monkeypatch.setattr(image_files, "decode_image", lambda *_, **__: pytest.fail("an image was decoded again"))
    copy = Folder(shutil.copytree(tmp_path / "set", tmp_path / "copy", copy_function=shutil.copy), "val")
    with ContentCache(tmp_path / "cache") as cache:
        second = scan(copy, memory=False, binding=Binding(cache=cache)).record()["files"]
    assert {path: row[2] for path, row in second.items()} == {path: row[2] for path, row in first.items()}


def test_file_that_was_damaged_since_is_decoded_again_though_its_size_and_time_are_the_same(tmp_path):
    root = pictures(tmp_path / "set")
    path = root / "val" / "ant" / "1.jpg"
    with ContentCache(tmp_path / "cache") as cache:
        scan(Folder(root, "val"), memory=False, binding=Binding(cache=cache))
    status = path.stat()
    path.write_bytes(path.read_bytes()[: status.st_size // 2].ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    with ContentCache(tmp_path / "cache") as cache:
        faults = scan(Folder(root, "val"), memory=False, binding=Binding(cache=cache)).faults
    assert [fault.path for fault in faults] == [str(path)]


@pytest.mark.parametrize("threads", [1, 3])
def test_faults_of_a_streamed_set_are_those_of_a_held_one(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(store, "_threads", lambda *_: threads)
    root = pictures(tmp_path)
    for name in ("ant/1.jpg", "bee/3.jpg"):
        cut_short(root / "val" / name)
    held, streamed = (scan(Folder(root, "val"), memory=memory) for memory in (True, False))
    assert len(held.faults) == 2
    assert streamed.faults == held.faults
    assert streamed.record() | {"memory": True} == held.record()


def test_set_of_headers_is_not_decoded_but_hashed(tmp_path):
    root = pictures(tmp_path)
    cut_short(root / "val" / "ant" / "1.jpg")
    reader = Folder(root, "val")
    with opens(root) as opened:
        result = scan(reader, memory=False, binding=Binding("headers"))
    assert len(opened) == len(result.samples) == 8
    with pytest.raises(Unreadable, match=r"1\.jpg: damaged JPEG"):
        result.samples[1]


@pytest.mark.parametrize("target", ["images", "masks"])
@pytest.mark.parametrize("is_sent", [False, True])
def test_image_or_mask_that_was_changed_after_the_scan_is_named_and_a_touched_one_is_read(tmp_path, target, is_sent):
    reader = FolderMasks(TREES["folder_masks"](tmp_path), "train")
    samples = scan(reader, memory=False).samples
    if is_sent:
        samples = pickle.loads(pickle.dumps(samples))
    before = samples[1]
    path = next(path for path in reader.files(1) if path.parent.name == target)
    touch(path)
    assert samples[1]["image"].equal(before["image"])
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    with pytest.raises(Changed, match=rf"{target}/{path.name} was changed since the scan \(.*\): put it back"):
        samples[1]
    assert samples[0]["image"].equal(reader[0]["image"])


def test_change_of_equal_size_after_the_scan_is_named_by_its_content(tmp_path):
    root = pictures(tmp_path)
    samples = scan(Folder(root, "val"), memory=False).samples
    path = root / "val" / "ant" / "2.jpg"
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-3] + b"\0\xff\xd9")
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    with pytest.raises(
        Changed, match=rf"2\.jpg was changed since the scan \(other content of the same {status.st_size:,} b"
    ):
        samples[2]
    cut_short(path)
    with pytest.raises(Changed, match=r"2\.jpg was changed since the scan \([\d,]+ bytes, [\d,]+ before\)"):
        samples[2]  # not "damaged"


def test_resumed_scan_hashes_anew_and_leaves_out_what_was_left_out(tmp_path):
    root = pictures(tmp_path / "set")
    whole = (root / "val" / "bee" / "0.jpg").read_bytes()
    cut_short(root / "val" / "bee" / "0.jpg")
    with ContentCache(tmp_path / "cache") as cache:
        recorded = scan(Folder(root, "val"), memory=False, binding=Binding(cache=cache)).record()
    (root / "val" / "bee" / "0.jpg").write_bytes(whole)
    reader = Folder(root, "val")
    with ContentCache(tmp_path / "cache") as cache, opens(root) as opened:
        again = scan(reader, memory=False, binding=Binding(cache=cache, recorded=recorded))
    assert again.record() == recorded | {"decoded_bytes": again.manifest["decoded_bytes"]}
    assert len(opened) == 7
    assert root / "val" / "bee" / "0.jpg" not in opened


def test_resumed_scan_does_not_believe_the_cache(tmp_path, monkeypatch):
    root = pictures(tmp_path / "set")
    with ContentCache(tmp_path / "cache") as cache:
        recorded = scan(Folder(root, "val"), binding=Binding(cache=cache)).record()
    monkeypatch.setattr(ContentCache, "sha256", lambda *_: bytes(32))
    with ContentCache(tmp_path / "cache") as cache:
        assert scan(Folder(root, "val"), binding=Binding(cache=cache, recorded=recorded)).record() == recorded


def test_files_that_changed_came_or_went_are_listed(tmp_path):
    reader = Folder(pictures(tmp_path), "val")
    contents = scan(reader).contents
    assert contents is not None
    recorded = contents.to_json()
    assert changed_files(recorded, contents) == {}
    assert other_files(recorded, contents) == []
    size, time_ns, sha256 = recorded.pop("val/ant/0.jpg")
    assert other_files(recorded, contents) == ["has besides val/ant/0.jpg"]
    recorded["val/ant/0.jpg"] = [size + 5, time_ns, sha256[::-1]]
    recorded["val/ant/1.jpg"][1] += 1
    recorded["gone.jpg"] = [1, 1, sha256]
    assert changed_files(recorded, contents) == {"val/ant/0.jpg": f"{size:,} bytes, {size + 5:,} before"}
    assert other_files(recorded, contents) == ["lacks gone.jpg"]


def stack(root: Path) -> Path:
    """Images and masks of four pages, no two alike."""
    random = np.random.default_rng(0)
    for name, top in (("images", 256), ("masks", 2)):
        (root / name).mkdir(parents=True)
        with tifffile.TiffWriter(root / name / "v.tif") as file:
            for _ in range(4):
                page = random.integers(0, top, (40, 50)).astype(np.uint8)
                file.write(page, contiguous=False, metadata=None, compression="zlib")
    (root / "classes.txt").write_text("ground\nsky\n")
    return root


def test_each_page_of_a_stack_is_decoded_and_hashed_as_a_picture_of_its_own(tmp_path):
    reader = FolderMasks(stack(tmp_path), "val", val_share=1.0)
    held = scan(reader, memory=True)
    streamed = scan(reader, memory=False)
    assert len(set(map(tuple, held.likeness.tolist()))) == 4
    assert streamed.likeness.tolist() == held.likeness.tolist()


def test_damage_in_a_later_page_of_a_stack_is_seen_before_training(tmp_path):
    path = stack(tmp_path) / "images" / "v.tif"
    with tifffile.TiffFile(path) as file:
        at = file.pages[2].dataoffsets[0]
    damaged = bytearray(path.read_bytes())
    damaged[at : at + 40] = bytes(40)
    path.write_bytes(damaged)
    reader = FolderMasks(tmp_path, "val", val_share=1.0)
    assert [fault.path.endswith("v.tif page 3") for fault in scan(reader, memory=False).faults] == [True]


def test_crops_of_one_photograph_are_pictures_of_their_own(tmp_path):
    root = TREES["coco_people"](tmp_path)
    annotations = root / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(annotations.read_text())
    content["annotations"][1]["bbox"] = [8.0, 8.0, 20.0, 30.0]
    annotations.write_text(json.dumps(content))
    reader = READERS["coco_people"](root, "train", square=1.5)
    held, streamed = scan(reader, memory=True), scan(reader, memory=False)
    assert streamed.likeness.tolist() == held.likeness.tolist()


def test_crop_is_hashed_anew_where_its_annotation_changed(tmp_path):
    annotations = TREES["coco_people"](tmp_path / "set") / "annotations" / "person_keypoints_train2017.json"
    likeness = []
    for left in (1.0, 4.0):
        content = json.loads(annotations.read_text())
        content["annotations"][1]["bbox"] = [left, 4.0, 22.0, 21.5]
        annotations.write_text(json.dumps(content))
        with ContentCache(tmp_path / "cache") as cache:
            reader = READERS["coco_people"](tmp_path / "set", "train")
            likeness.append(scan(reader, memory=False, binding=Binding(cache=cache)).likeness.tolist())
    assert likeness[0] != likeness[1]
