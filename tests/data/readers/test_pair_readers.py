"""Readers of stereo pairs and of two frames: values as published, and files that cannot be meant are named."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.readers.files import encoded, pixels, written
from tests.data.readers.pair_trees import COUNT, SIZE, deep_png, disparity, flying_chairs, kitti, middlebury
from unpool.data.decode import decode_image
from unpool.data.dense_files import (
    read_flo,
    read_kitti_disparity,
    read_kitti_flow,
    read_pfm,
)
from unpool.data.image_file import Unusable
from unpool.data.readers.flying_chairs import FlyingChairs
from unpool.data.readers.kitti import Kitti
from unpool.data.readers.middlebury import Middlebury
from unpool.errors import DataError
from unpool.ops.dense_bytes import flo_bytes, pfm_bytes
from unpool.types import RGB

VALUES = np.array([[1.5, 2.0, 3.25], [4.0, np.inf, 6.0]], "f4")
KNOWN = torch.tensor([[1.5, 2.0, 3.25], [4.0, torch.nan, 6.0]])


def same(found, expected):
    return torch.equal(found.isnan(), expected.isnan()) and torch.equal(found.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize(("scale", "order"), [("-1.0", "<"), ("1.0", ">"), ("-0.00333", "<"), ("255", ">")])
def test_pfm_of_either_byte_order_is_read_from_its_last_row(tmp_path, scale, order):
    path = written(tmp_path / "a.pfm", f"Pf\n3 2\n{scale}\n".encode() + VALUES[::-1].astype(f"{order}f4").tobytes())
    assert same(read_pfm(path), KNOWN)


def test_pfm_that_is_written_is_read_as_it_was(tmp_path):
    assert same(read_pfm(written(tmp_path / "a.pfm", pfm_bytes(KNOWN))), KNOWN)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"P5\n3 2\n255\n" + bytes(6), "no PFM"),
        (b"", "no PFM"),
        (b"PF\n3 2\n-1\n" + bytes(72), r"three channels \(PF\)"),
        (b"Pf\n3 2\n0.0\n" + bytes(24), "has the scale 0.0, whose sign says the byte order"),
        (b"Pf\n3 2\n-1\n" + bytes(23), "cut off: 3x2 pixels need 24 bytes, and 23 are there"),
        (b"Pf\r\n3 2\r\n-1\r\n" + bytes(24), "its lines end otherwise: 3x2 pixels need 24 bytes, and 25 are there"),
        (b"Pf\n1 1\n-1\n" + struct.pack("<f", -2.5), "disparities down to -2.5; expected how many pixels"),
        (b"Pf\n0 2\n-1\n", "0x2 pixels; expected at least 1"),
        (b"Pf\n900000000 900000000\n-1\n", "900000000x900000000 pixels; expected at least 1 and at most"),
    ],
)
def test_pfm_that_cannot_be_meant_is_named(tmp_path, content, says):
    path = written(tmp_path / "a.pfm", content)
    with pytest.raises(Unusable, match=rf"a\.pfm: .*{says}"):
        read_pfm(path)


def test_flo_has_u_before_v_and_its_own_word_for_what_is_not_known(tmp_path):
    """Written by hand: two pixels in one row, the second not known."""
    head = struct.pack("<f2i", 202021.25, 2, 1)
    path = written(tmp_path / "a.flo", head + struct.pack("<4f", 3.0, -1.0, 1e10, 0.0))
    assert same(read_flo(path), torch.tensor([[[3.0, torch.nan]], [[-1.0, torch.nan]]]))
    assert same(read_flo(written(tmp_path / "b.flo", flo_bytes(read_flo(path)))), read_flo(path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (struct.pack(">f2i", 202021.25, 2, 1) + bytes(16), "highest byte first"),
        (b"PIEF" + bytes(24), r"no \.flo file"),
        (b"PIEH\2\0", r"no \.flo file"),
        (struct.pack("<f2i", 202021.25, 2, 1) + bytes(15), "2x1 pixels need 16 bytes, and 15 are there"),
        (struct.pack("<f2i", 202021.25, 2, 1) + bytes(24), "longer than its header says.* 16 bytes, and 24 are there"),
        (struct.pack("<f2i", 202021.25, -2, 1), "-2x1 pixels; expected at least 1"),
    ],
)
def test_flo_that_cannot_be_meant_is_named(tmp_path, content, says):
    path = written(tmp_path / "a.flo", content)
    with pytest.raises(Unusable, match=rf"a\.flo: .*{says}"):
        read_flo(path)


def test_kitti_s_values_are_those_of_its_development_kit(tmp_path):
    stored = np.array([[0, 256, 384], [65535, 1, 512]])
    path = written(tmp_path / "d.png", deep_png(stored))
    assert same(read_kitti_disparity(path), torch.tensor([[torch.nan, 1.0, 1.5], [65535 / 256, 1 / 256, 2.0]]))
    colours = np.array([[[32768 + 64, 32768 - 96, 1], [5, 6, 0]]])
    path = written(tmp_path / "f.png", deep_png(colours))
    assert same(read_kitti_flow(path), torch.tensor([[[1.0, torch.nan]], [[-1.5, torch.nan]]]))


@pytest.mark.parametrize(
    ("read", "content", "says"),
    [
        (read_kitti_disparity, encoded(pixels(4, 5)), "PNG of 8 bits and 1 channels; expected KITTI's PNG of 16 bits"),
        (read_kitti_flow, encoded(pixels(4, 5, 3)), "PNG of 8 bits and 3 channels; expected KITTI's PNG of 16 bits"),
        (read_kitti_flow, deep_png(pixels(4, 5)), "PNG of 16 bits and 1 channels"),
    ],
)
def test_kitti_s_png_of_another_kind_is_named(tmp_path, read, content, says):
    path = written(tmp_path / "a.png", content)
    with pytest.raises(Unusable, match=says):
        read(path)


def test_middlebury_knows_what_is_hidden_by_its_mask_or_by_both_disparities(tmp_path):
    middlebury(tmp_path)
    both = Middlebury(tmp_path, "val", val_share=1)
    assert both.gives == ("image", "disparity", "hidden", "other_disparity", "other_hidden")
    left, right = disparity(0), disparity(1)
    y, x = 7, 30
    there = round(x - float(left[y, x]))
    assert bool(both[0]["hidden"][y, x]) == (abs(float(right[y, there] - left[y, x])) > 1)
    mask = np.full(SIZE, 255, np.uint8)
    mask[2, 3], mask[5, 6] = 128, 0
    for i in range(COUNT):
        written(tmp_path / f"scene{i}" / "mask0nocc.png", encoded(mask))
        (tmp_path / f"scene{i}" / "disp1.pfm").unlink()
        (tmp_path / f"scene{i}" / "disp0.pfm").rename(tmp_path / f"scene{i}" / "disp0GT.pfm")
    masked = Middlebury(tmp_path, "val", val_share=1)
    assert masked.gives == ("image", "disparity", "hidden")
    assert masked[0]["hidden"].nonzero().tolist() == [[2, 3], [5, 6]]
    (tmp_path / "scene0" / "mask0nocc.png").unlink()
    neither = Middlebury(tmp_path, "val", val_share=1)
    assert neither.gives == ("image", "disparity")
    assert "no figure is of visible pixels alone" in neither.notes[0]


def test_kitti_pairs_cameras_for_disparity_and_frames_for_flow(tmp_path):
    kitti(tmp_path)
    stereo, flow = (Kitti(tmp_path, "val", val_share=1, target=target) for target in ("disparity", "flow"))
    names = [
        [path.relative_to(tmp_path / "training").as_posix() for path in one.files(0)[:2]] for one in (stereo, flow)
    ]
    assert names[0] == ["image_2/000000_10.png", "image_3/000000_10.png"]
    assert names[1] == ["image_2/000000_10.png", "image_2/000000_11.png"]
    left, right = (decode_image(path, RGB) for path in stereo.files(0)[:2])
    assert stereo[0]["image"].equal(torch.cat([left, right]))
    hidden = torch.zeros(SIZE, dtype=torch.bool)
    hidden[4:, :3] = True
    assert stereo[0]["hidden"].equal(hidden)
    assert flow[0]["flow"].shape == (2, *SIZE)
    assert flow[0]["hidden"][:, 3:].any() == False  # noqa: E712, a tensor


def test_flying_chairs_are_shared_out_by_their_list(tmp_path):
    flying_chairs(tmp_path)
    assert [Path(name).name[:5] for name in FlyingChairs(tmp_path, "val").names] == ["00003", "00005"]
    (tmp_path / "FlyingChairs_train_val.txt").write_text("1\n2\n")
    with pytest.raises(DataError, match="has 2 lines, and there are 6 pairs"):
        FlyingChairs(tmp_path, "train")
    (tmp_path / "FlyingChairs_train_val.txt").write_text("1\n" * 6)
    with pytest.raises(DataError, match="no test split"):
        FlyingChairs(tmp_path, "test")


@pytest.mark.parametrize(
    ("write", "kind", "missing"),
    [
        (middlebury, Middlebury, "scene2/im0.png"),
        (middlebury, Middlebury, "scene2/im1.png"),
        (kitti, Kitti, "training/image_3/000002_10.png"),
        (flying_chairs, FlyingChairs, "data/00002_img1.ppm"),
        (flying_chairs, FlyingChairs, "data/00002_img2.ppm"),
    ],
)
def test_pair_that_lacks_a_file_is_left_out_and_named(tmp_path, write, kind, missing):
    (write(tmp_path) / missing).unlink()
    reader = kind(tmp_path, "train")
    assert [fault.reason for fault in reader.faults] == [f"its pair lacks {missing}: restore the file"]


def test_flow_of_a_frame_without_its_number_is_named(tmp_path):
    kitti(tmp_path)
    for folder in ("image_2", "flow_occ", "flow_noc"):
        (tmp_path / "training" / folder / "000000_10.png").rename(tmp_path / "training" / folder / "000000.png")
    with pytest.raises(DataError, match=r"000000\.png does not say which frame .* expected NUMBER_10\.png"):
        Kitti(tmp_path, "train", target="flow")


def test_list_of_flying_chairs_goes_by_number_where_names_have_no_zeros(tmp_path):
    flying_chairs(tmp_path)
    for path in list((tmp_path / "data").iterdir()):
        number, end = path.name.split("_")
        path.rename(path.with_name(f"{int(number) + 7}_{end}"))  # 8 to 13
    assert list(FlyingChairs(tmp_path, "val").names) == ["data/10_img1.ppm", "data/12_img1.ppm"]


@pytest.mark.parametrize("seed", range(3))
def test_scene_that_is_rectified_in_two_ways_is_in_one_part(tmp_path, seed):
    middlebury(tmp_path)
    for i in range(0, COUNT, 2):
        (tmp_path / f"scene{i}").rename(tmp_path / f"room{i}-perfect")
        (tmp_path / f"scene{i + 1}").rename(tmp_path / f"room{i}-imperfect")
    parts = [
        {name.partition("-")[0] for name in Middlebury(tmp_path, part, val_share=0.4, seed=seed).names}
        for part in ("train", "val")
    ]
    assert not set.intersection(*parts)
    assert all(parts)


def test_images_and_targets_of_other_sizes_are_named(tmp_path):
    middlebury(tmp_path)
    written(tmp_path / "scene0" / "im1.png", encoded(pixels(40, 47, 3)))
    written(tmp_path / "scene1" / "disp0.pfm", pfm_bytes(disparity(0, (39, 48))))
    reader = Middlebury(tmp_path, "val", val_share=1)
    for index, says in ((0, r"im1\.png: is 47x40 pixels, and scene0/im0\.png is 48x40"), (1, r"disp0\.pfm: is 48x39")):
        with pytest.raises(Unusable, match=says):
            reader.measure(index)
    with pytest.raises(DataError, match="no train split; looked for training/image_2"):
        Kitti(tmp_path, "train")
