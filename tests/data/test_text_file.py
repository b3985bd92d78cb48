"""Lists and annotations are not read where they are larger than any, or than the free memory."""

import gzip

import numpy as np
import pytest

from tests.data.readers.trees import TREES, idx
from unpool.data import text_file
from unpool.data.readers import READERS, mnist
from unpool.data.text_file import read_json_text, read_text
from unpool.errors import DataError, EnvironmentFault


def sparse(path, size):
    """A file of so many bytes, which takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize(
    ("reader", "file", "size"),
    [
        ("camvid", "CamVid/train.txt", 1 << 29),
        ("lsp", "train.txt", 1 << 29),
        ("lsp", "joints.mat", 1 << 31),
        ("folder_masks", "classes.txt", 1 << 21),
        ("coco_people", "annotations/person_keypoints_train2017.json", 1 << 32),
        ("coco_scenes", "annotations/person_keypoints_train2017.json", 1 << 32),
    ],
)
def test_file_larger_than_any_list_is_refused_by_its_size(reader, file, size, tmp_path):
    root = TREES[reader](tmp_path)
    assert (root / file).is_file()
    sparse(root / file, size)
    with pytest.raises(DataError, match=f"{file} has {size:,} bytes; expected at most [0-9,]+: it is not the list or"):
        READERS[reader](root, "train")


def test_annotations_that_do_not_fit_into_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "free_bytes", lambda: 100 << 20)
    path = sparse(tmp_path / "a.json", 20 << 20)
    says = r"a\.json needs about 160 MiB to be read and 100 MiB of memory are free: close other programs, or keep"
    with pytest.raises(EnvironmentFault, match=says):
        read_json_text(path)
    assert len(read_json_text(sparse(path, 12 << 20))) == 12 << 20


def test_list_of_just_the_limit_is_read(tmp_path):
    assert read_text(sparse(tmp_path / "a.txt", 8), most=8) == "\0" * 8
    with pytest.raises(DataError, match="has 9 bytes; expected at most 8"):
        read_text(sparse(tmp_path / "a.txt", 9), most=8)


def test_idx_file_that_unpacks_to_more_than_the_limit_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((50, 20, 20), np.uint8))))
    assert mnist.read_idx(path, axes=3).shape == (50, 20, 20)
    monkeypatch.setattr(mnist, "MOST_BYTES", 10_000)
    with pytest.raises(DataError, match=r"a\.gz: holds more than 10,000 bytes unpacked: divide the set"):
        mnist.read_idx(path, axes=3)
