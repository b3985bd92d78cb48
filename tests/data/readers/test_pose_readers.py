import json
import re
import struct
import zlib

import numpy as np
import pytest
import torch

from tests.data.readers.trees import coco, lsp, mat_file
from unpool.assemble.data import make_reader
from unpool.data.decode import decode_image
from unpool.data.matlab import read_matrix
from unpool.data.readers import READERS
from unpool.data.readers.person_crops import FILLS, misplaced
from unpool.data.store import scan
from unpool.errors import DataError, RecipeError
from unpool.ops.cutting import Frame, cut, square_around
from unpool.ops.skeleton import LSP
from unpool.recipe import load_recipe
from unpool.types import RGB

FILL = torch.tensor(FILLS[3], dtype=torch.uint8)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["joints", "ab"])
def test_matlab_arrays_keep_shape_and_values(tmp_path, packed, name):
    values = np.random.default_rng(0).normal(size=(3, 4, 5))
    assert np.array_equal(read_matrix(mat_file(tmp_path / "a.mat", name, values, packed=packed), name), values)


def test_matlab_files_that_cannot_be_read_say_why(tmp_path):
    path = mat_file(tmp_path / "a.mat", "joints", np.ones((2, 2)), packed=False)
    with pytest.raises(DataError, match="no array of numbers called 'other'; it holds: joints"):
        read_matrix(path, "other")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="is damaged: 9 bytes are missing"):
        read_matrix(path, "joints")
    path.write_bytes(b"\x89HDF" + bytes(200))
    with pytest.raises(DataError, match="no MATLAB file of version 5; save it as one"):
        read_matrix(path, "joints")


def test_matlab_file_with_an_empty_element_is_damaged(tmp_path):
    path = mat_file(tmp_path / "a.mat", "joints", np.ones((2, 2)), packed=False)
    empty = zlib.compress(b"")
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<II", 15, len(empty)) + empty)
    with pytest.raises(DataError, match=r"a\.mat is damaged: a compressed element is empty"):
        read_matrix(path, "joints")


def test_matlab_file_of_complex_numbers_is_refused(tmp_path):
    path = mat_file(tmp_path / "a.mat", "joints", np.ones((2, 2)), packed=False)
    whole = path.read_bytes() + struct.pack("<II", 9, 32) + np.ones(4).tobytes()
    path.write_bytes(whole[:128] + struct.pack("<II", 14, len(whole) - 136) + whole[136:])
    with pytest.raises(DataError, match=r"a\.mat has complex numbers in 'joints'; only real ones are read"):
        read_matrix(path, "joints")


def test_square_is_about_the_middle_of_the_box_and_scale_times_its_longer_side():
    assert square_around((10.0, 20.0, 50.0, 40.0), 1.5) == Frame(0, 0, 60, 60)
    assert square_around((30.0, 30.0, 31.0, 31.0), 1.4).width == 8


def test_cut_shows_the_image_and_fills_what_lies_beyond():
    image = torch.arange(3 * 5 * 6, dtype=torch.uint8).view(3, 5, 6)
    seen = cut(image, Frame(-2, 1, 6, 6), FILL)
    assert seen.shape == (3, 6, 6)
    assert seen[:, :4, 2:].equal(image[:, 1:, :4])
    assert seen[:, :, 0].eq(FILL[:, None]).all()
    assert seen[:, 5, 5].tolist() == FILL.tolist()
    assert cut(image, Frame(50, 50, 8, 8), FILL).eq(FILL[:, None, None]).all()


def test_lsp_joints_point_at_the_same_pixels_in_the_square_as_in_the_image(tmp_path):
    lsp(tmp_path)
    whole, crops = (READERS["lsp"](tmp_path, "train", square=square) for square in (None, 1.4))
    for i in range(3):
        square = crops[i]["image"].shape[-1]
        assert crops[i]["visible"].equal(whole[i]["visible"])
        for k in crops[i]["visible"].nonzero()[:, 0].tolist():
            (x, y), (there_x, there_y) = (s[i]["keypoints"][k].round().int().tolist() for s in (crops, whole))
            assert crops[i]["image"][:, y, x].equal(whole[i]["image"][:, there_y, there_x])
        joints = whole[i]["keypoints"][whole[i]["visible"]]
        extent = (joints.amax(0) - joints.amin(0)).max()
        assert square == pytest.approx(1.4 * extent.item(), abs=1.0)


def test_lsp_reads_joints_and_flags_of_its_own_image(tmp_path):
    lsp(tmp_path)
    stored = read_matrix(tmp_path / "joints.mat", "joints")
    val = READERS["lsp"](tmp_path, "val", square=None)
    assert val.names == ["images/im00004.jpg", "images/im00005.jpg"]
    assert np.allclose(val[1]["keypoints"].numpy(), stored[:, :2, 4])
    train = READERS["lsp"](tmp_path, "train")
    assert train[1]["visible"].tolist() == [True] * 3 + [False] + [True] * 10
    assert train[1]["keypoints"][3].tolist() == [0, 0]
    pairs = {(LSP[a], LSP[b]) for a, b in train.info.flip_pairs}
    assert ("left_wrist", "right_wrist") in pairs
    assert len(pairs) == 6


def test_lsp_refuses_other_joints_and_numbers(tmp_path):
    lsp(tmp_path)
    (tmp_path / "val.txt").write_text("4\n99\n")
    with pytest.raises(DataError, match=r"val.txt holds '99'; expected numbers of images, 1 to 5"):
        READERS["lsp"](tmp_path, "val")
    mat_file(tmp_path / "joints.mat", "joints", np.ones((3, 14, 5)))
    with pytest.raises(DataError, match="joints is 3x14x5; expected 14x3xN"):
        READERS["lsp"](tmp_path, "train")
    with pytest.raises(RecipeError, match=r"data.square is 0.5"):
        READERS["lsp"](tmp_path, "train", square=0.5)


@pytest.mark.parametrize(("write", "recipe", "default"), [(lsp, "lsp_hourglass", 1.4), (coco, "coco_people", 1.25)])
def test_square_of_the_recipe_is_that_of_the_reader_and_is_written_down(tmp_path, write, recipe, default):
    write(tmp_path)
    base = load_recipe("lsp_hourglass", {"data.root": str(tmp_path), "data.reader": recipe.removesuffix("_hourglass")})
    assert base.data.options["square"] == default
    wide = load_recipe(base, ["data.square=2.5"])
    seen, read = (make_reader(one, "val") for one in (base, wide))
    assert read[0]["image"].shape[-1] == pytest.approx(2.5 / default * seen[0]["image"].shape[-1], abs=4)
    assert scan(read, memory=False).manifest["square"] == 2.5
    assert load_recipe(base, ["data.square=null"]).data.options["square"] is None
    with pytest.raises(RecipeError, match=r'square is "1\.25"; it must be a finite number at least 1 '):
        load_recipe(base, {"data.square": "1.25"})


def test_lsp_leaves_out_who_has_no_extent(tmp_path):
    lsp(tmp_path)
    joints = read_matrix(tmp_path / "joints.mat", "joints").copy()
    joints[1:, 2, 0] = 0
    mat_file(tmp_path / "joints.mat", "joints", joints)
    reader = READERS["lsp"](tmp_path, "train")
    assert len(reader) == 2
    assert reader.faults == [("images/im00001.jpg", "1 visible joints; a person needs 2")]


def with_joints(root, change):
    """The tree with its joints changed."""
    joints = read_matrix(lsp(root) / "joints.mat", "joints").copy()
    change(joints)
    mat_file(root / "joints.mat", "joints", joints)
    return root


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ((0, 0), r"right_ankle of image 2 has the position \(nan, .*correct it, or flag it 0"),
        ((5, 1), r"left_ankle of image 2 has the position \(.*, nan\); expected pixels: correct it"),
        ((13, 2), r"head_top of image 2 has the flag nan; expected 1 for visible or 0 for hidden"),
    ],
)
def test_lsp_joint_without_a_position_names_joint_and_image(tmp_path, position, message):
    root = with_joints(tmp_path, lambda joints: joints.__setitem__((*position, 1), np.nan))
    with pytest.raises(DataError, match=rf"joints\.mat: {message}"):
        READERS["lsp"](root, "train")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300, -2e6])
def test_lsp_joint_at_no_pixel_is_refused_and_one_that_is_hidden_is_not(tmp_path, value):
    def far(joints):
        joints[3, :2, 1] = value  # hidden
        joints[2, 0, 0] = value

    with pytest.raises(DataError, match=r"right_hip of image 1 has the position"):
        READERS["lsp"](with_joints(tmp_path, far), "train")
    (tmp_path / "train.txt").write_text("2\n")
    assert READERS["lsp"](tmp_path, "train")[0]["keypoints"][3].tolist() == [0, 0]


def test_lsp_flag_is_zero_or_one(tmp_path):
    with pytest.raises(DataError, match=r"right_knee of image 3 has the flag 5; expected 1"):
        READERS["lsp"](with_joints(tmp_path, lambda joints: joints.__setitem__((1, 2, 2), 5)), "train")


@pytest.mark.parametrize("square", [1.4, None])
@pytest.mark.parametrize(
    ("shift", "reason"),
    [
        ((-200, 0), r"box \(-\d+, .*\) lies beside its image of 30x24"),
        ((0, 24.0), r"lies beside its image of 30x24"),
        ((29.9, 0), r"none of the 14 visible joints lies on its image of 30x24"),
    ],
)
@pytest.mark.parametrize("memory", [True, False])
def test_lsp_leaves_out_and_tells_who_stands_beside_the_image(tmp_path, square, shift, reason, memory):
    root = with_joints(tmp_path, lambda joints: joints.__setitem__(slice(None), beside(joints, shift)))
    reader = READERS["lsp"](root, "train", square=square)
    result = scan(reader, memory=memory)
    assert list(result.samples.names) == ["images/im00002.jpg", "images/im00003.jpg"]
    ((path, told),) = result.faults
    assert path == "images/im00001.jpg"
    assert re.search(reason, told)
    with pytest.raises(DataError, match=r"im00001\.jpg: (box|none)"):
        reader[0]


def beside(joints, shift):
    """Whoever is on the first image, from the corner of it moved."""
    moved = joints.copy()
    moved[:, :2, 0] += np.array(shift) - moved[:, :2, 0].min(0) * (np.array(shift) > 0)
    return moved


def test_lsp_leaves_out_who_reaches_far_beyond_the_image_or_has_no_extent(tmp_path):
    def change(joints):
        joints[4, 0, 0] = 5000
        joints[:, :2, 1] = 9

    result = scan(READERS["lsp"](with_joints(tmp_path, change), "train"))
    assert list(result.samples.names) == ["images/im00003.jpg"]
    far, point = (fault.reason for fault in result.faults)
    assert re.fullmatch(r"box \(.*5000.*\) or joints, from \d+ to 5000, reach far beyond its image of 30x24", far)
    assert point == "box (9, 9, 9, 9) has no extent"


def test_lsp_joints_a_little_beyond_the_image_are_taken_as_they_stand(tmp_path):
    root = with_joints(tmp_path, lambda joints: joints.__setitem__((0, 0, 0), -6))
    result = scan(READERS["lsp"](root, "train", square=None))
    assert result.faults == []
    assert result.samples[0]["keypoints"][0, 0] == -6
    assert result.samples[0]["visible"][0]


def test_crop_without_a_visible_joint_is_nobody():
    joints = np.array([[4.0, 4.0], [6.0, 8.0]], np.float32)
    box = (20.0, 10.0, 30.0, 20.0)
    assert misplaced(joints, box, (40, 40)) is None
    told = misplaced(joints, box, (40, 40), square=square_around(box, 1.2))
    assert told == "none of the 2 visible joints lies on its image of 40x40 within the box"
    assert misplaced(joints - 9, box, (40, 40)) == "none of the 2 visible joints lies on its image of 40x40"
    assert "reach far beyond" in str(misplaced(joints, (0.0, 0.0, float("nan"), 9.0), (40, 40)))


def test_cut_beside_the_image_is_all_fill():
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    for left, top in ((-30, 0), (-7, -40), (200, 0), (0, 60)):
        assert cut(image, Frame(left, top, 8, 8), FILL).eq(FILL[:, None, None]).all()


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ("1 2 1", "4", r"train\.txt holds 1 more than once; expected each image once: take it out"),
        ("1 2 0002", "4", r"train\.txt holds 2 more than once"),
        ("1 2", "4 4", r"val\.txt holds 4 more than once"),
        ("1 2 4 5", "5 4", r"2 images are in both train\.txt and val\.txt, such as 4; expected each in one"),
        ("1 " + 5000 * "9", "4", r"train\.txt holds '99999999999999999999'; expected numbers of images, 1 to 5"),
    ],
)
def test_lsp_lists_hold_each_image_once(tmp_path, train, val, message):
    lsp(tmp_path)
    (tmp_path / "train.txt").write_text(train)
    (tmp_path / "val.txt").write_text(val)
    for split in ("train", "val", "test"):
        with pytest.raises(DataError, match=message):
            READERS["lsp"](tmp_path, split)


def test_lsp_reads_one_list_where_the_other_is_missing(tmp_path):
    (lsp(tmp_path) / "train.txt").unlink()
    assert len(READERS["lsp"](tmp_path, "val")) == 2


def test_coco_gives_each_labelled_person_with_its_area(tmp_path):
    coco(tmp_path)
    reader = READERS["coco_people"](tmp_path, "val")
    assert len(reader) == 6  # a crowd and a person without joints are left out
    assert reader.origin["ignored"] == 2
    assert reader[0]["area"] == 200.5
    assert reader.info.limbs == ((15, 13), (5, 6))
    content = json.loads((tmp_path / "annotations" / "person_keypoints_val2017.json").read_text())
    stored = np.array(content["annotations"][3]["keypoints"]).reshape(17, 3)
    whole = READERS["coco_people"](tmp_path, "val", square=None)
    assert whole.names[3] == "val2017/1.png/11"
    assert whole[3]["visible"].tolist() == (stored[:, 2] > 0).tolist()
    assert np.allclose(whole[3]["keypoints"].numpy(), stored[:, :2] * (stored[:, 2:] > 0))
    assert whole[3]["image"].equal(decode_image(tmp_path / "val2017" / "1.png", RGB))
    assert reader[3]["image"].shape == (3, 28, 28)  # 1.25 times 22, rounded up


def test_coco_refuses_a_file_that_is_none(tmp_path):
    coco(tmp_path)
    (tmp_path / "annotations" / "person_keypoints_val2017.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="not a valid file of COCO keypoints"):
        READERS["coco_people"](tmp_path, "val")


@pytest.mark.data
def test_lsp_reads_the_public_set(shared_data):
    train, val = (READERS["lsp"](shared_data / "lspet_pose", split) for split in ("train", "val"))
    assert (len(train), len(val)) == (737, 163)
    assert not set(train.names) & set(val.names)


@pytest.mark.data
def test_coco_reads_the_public_set(shared_data):
    assert len(READERS["coco_people"](shared_data / "coco_mini", "train")) == 121
