"""CamVid in the layout of the SegNet tutorial."""

import numpy as np
import pytest
import torch

from tests.data.readers.trees import camvid, encoded, pixels, written
from unpool.data.image_file import Unusable
from unpool.data.readers.camvid import CLASSES, VOID, CamVid
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.types import IGNORE


def test_void_is_ignored_and_classes_keep_their_numbers(tmp_path):
    reader = CamVid(camvid(tmp_path), "train")
    stored = torch.from_numpy(pixels(6, 8, most=12, seed=1))
    assert 11 in stored
    assert reader[1]["mask"].equal(torch.where(stored == 11, IGNORE, stored))
    assert reader.info.classes == tuple(CLASSES)
    assert reader.info.palette[8] == (64, 0, 128)
    assert reader.info.ignore == 11


def test_root_may_be_the_folder_itself_under_any_name(tmp_path):
    outer = CamVid(camvid(tmp_path), "val")
    inner = CamVid(tmp_path / "CamVid", "val")
    (tmp_path / "CamVid").rename(tmp_path / "street")
    renamed = CamVid(tmp_path / "street", "val")
    assert outer.names == inner.names == renamed.names == ["val/0.png", "val/1.png", "val/2.png"]
    assert renamed[2]["image"].equal(torch.from_numpy(pixels(6, 8, 3, seed=12).transpose(2, 0, 1).copy()))


def test_original_lists_with_their_absolute_start_are_read(tmp_path):
    listing = camvid(tmp_path) / "CamVid" / "val.txt"
    lines = listing.read_text().splitlines()
    listing.write_bytes("".join(" ".join(f"/SegNet/{f}" for f in line.split()) + "\r\n" for line in lines).encode())
    assert len(CamVid(tmp_path, "val")) == 3


def test_list_relative_to_the_folder_itself_is_read(tmp_path):
    listing = camvid(tmp_path) / "CamVid" / "val.txt"
    listing.write_text(listing.read_text().replace("CamVid/", ""))
    assert CamVid(tmp_path, "val")[1]["image"].shape == (3, 6, 8)


def test_root_with_only_the_split_asked_for_works(tmp_path):
    (camvid(tmp_path) / "CamVid" / "train.txt").unlink()
    assert len(CamVid(tmp_path, "val")) == 3
    with pytest.raises(DataError, match=r"no train split; looked for CamVid/train\.txt, train\.txt"):
        CamVid(tmp_path, "train")


def test_line_of_another_shape_is_named_with_its_number(tmp_path):
    listing = camvid(tmp_path) / "CamVid" / "val.txt"
    listing.write_bytes(b"\xef\xbb\xbf" + listing.read_bytes() + b"\nCamVid/val/9.png\n")
    with pytest.raises(DataError, match=r"val\.txt line 5: 'CamVid/val/9\.png' has 1 fields; expected two"):
        CamVid(tmp_path, "val")


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "CamVid/../../x.png"])
def test_line_that_leaves_the_folder_is_refused(path, tmp_path):
    listing = camvid(tmp_path) / "CamVid" / "val.txt"
    listing.write_text(f"{path} CamVid/valannot/0.png\n")
    with pytest.raises(DataError, match="leaves the folder of the data set"):
        CamVid(tmp_path, "val")


def test_listed_file_that_is_missing_is_left_out(tmp_path):
    (camvid(tmp_path) / "CamVid" / "val" / "1.png").unlink()
    result = scan(CamVid(tmp_path, "val"))
    assert [fault.reason for fault in result.faults] == ["cannot read (No such file or directory)"]
    assert list(result.samples.names) == ["val/0.png", "val/2.png"]


def test_id_beyond_the_void_stops_before_training(tmp_path):
    path = written(camvid(tmp_path) / "CamVid" / "valannot" / "1.png", encoded(np.full((6, 8), 12, np.uint8)))
    with pytest.raises(DataError, match=rf"{path.name}: mask has ids .12. .* {VOID} being void"):
        scan(CamVid(tmp_path, "val"))


def test_mask_of_another_size_is_refused_with_both_sizes(tmp_path):
    written(camvid(tmp_path) / "CamVid" / "valannot" / "0.png", encoded(pixels(6, 9, most=11)))
    reader = CamVid(tmp_path, "val")
    with pytest.raises(Unusable, match=r"0\.png: mask is 9x6, its image val/0\.png decodes to 8x6"):
        reader[0]


@pytest.mark.data
def test_public_set_has_its_known_sizes(shared_data):
    for root in (shared_data / "camvid", shared_data / "camvid" / "CamVid"):
        train, val = CamVid(root, "train"), CamVid(root, "val")
        assert (len(train), len(val)) == (367, 101)
    sample = train[0]
    assert sample["image"].shape == (3, 360, 480)
    assert sample["mask"].unique().max() in (10, IGNORE)
