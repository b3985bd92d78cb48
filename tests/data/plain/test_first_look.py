"""What a few samples show to be wrong with all of a set is refused before anything is decided, and the rest is said."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from unpool.data.plain import DatasetReader, Levels, Setting, check_looked, look_at
from unpool.errors import DataError
from unpool.types import DataInfo

SETTING = Setting(DataInfo(classes=("ground", "tree"), keypoints=("nose", "tail")), Levels())
IMAGE = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)


def check(*samples):
    check_looked(samples, None, SETTING, part="val")


def masks(*values):
    corner = torch.ones(16, 16, dtype=torch.long).triu()
    return [{"image": IMAGE, "mask": corner * value} for value in values]


class Sparse:
    """Of its four samples two have no files."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index % 2:
            return IMAGE, 0, f"{index}.png"
        raise FileNotFoundError(f"no {index}.png")


def test_samples_without_files_are_left_out_of_the_look_and_some_are_needed():
    assert list(look_at(Sparse(), range(4), ("image", "label"), part="train")) == [1, 3]
    with pytest.raises(DataError, match=r"2 samples of train .* none can be read; train\[0\]: no 0\.png"):
        look_at(Sparse(), (0, 2), ("image", "label"), part="train")


def test_pictures_that_say_how_to_turn_them_are_warned_of_until_they_are_turned(tmp_path, caplog):
    picture = Image.new("RGB", (16, 8))
    exif = picture.getexif()
    exif[274] = 6
    picture.save(tmp_path / "photo.jpg", exif=exif)
    with Image.open(tmp_path / "photo.jpg") as photo:
        stored, upright = photo.convert("RGB").resize((24, 16)), ImageOps.exif_transpose(photo)
    look_at([(upright, 0)], range(1), ("image", "label"), part="val")
    assert not caplog.records
    look_at([(upright, 0), (stored, 1)], range(2), ("image", "label"), part="val")
    assert "1 of 2 samples of val are PIL images with an EXIF orientation, such as 6 of val[1]" in caplog.text


def test_a_look_names_the_sample_that_is_wrong():
    for samples, said in (([(IMAGE, 0)], "the data set raised IndexError"), ([(IMAGE, 0), IMAGE], "has 1 value")):
        with pytest.raises(DataError, match=rf"train\[1\]: .*{said}"):
            look_at(samples, (0, 1), ("image", "label"), part="train")


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ((IMAGE, 0, "a.png"), "hold 1 more value, and image, label are used"),
        ({"image": IMAGE, "label": 0, "name": "a.png"}, "hold name, and image, label are used"),
        ((IMAGE, 0), ""),
    ],
)
def test_what_of_a_sample_is_not_used_is_said_once(sample, said, caplog):
    with caplog.at_level(logging.INFO, logger="unpool"):
        look_at([sample, sample], (0, 1), ("image", "label"), part="train")
    assert [said in line for line in caplog.messages] == ([True] if said else [])


def test_a_clean_image_of_other_values_or_another_size_is_refused():
    check({"image": IMAGE, "clean": IMAGE})
    with pytest.raises(DataError, match="the clean images of val hold floating point from 0 to 1"):
        check({"image": IMAGE, "clean": IMAGE / 255})
    named = ((0.5,), (0.5,))
    normalized = {"image": (IMAGE / 255 - 0.5) / 0.5, "clean": IMAGE / 255}
    with pytest.raises(DataError, match="would be read with black at 0 and white at 1 once mean"):
        check_looked([normalized], named, Setting(DataInfo(), Levels(0.0, 1.0, *named)), part="val")
    reader = DatasetReader(
        [(IMAGE, IMAGE[:, ::2])], gives=("image", "clean"), info=DataInfo(), levels=Levels(), part="val"
    )
    with pytest.raises(DataError, match=r"clean is \(1, 8, 16\) and its image \(1, 16, 16\)"):
        reader[0]


@pytest.mark.parametrize("form", [torch.clone, np.asarray, lambda mask: Image.fromarray(mask.numpy().astype(np.uint8))])
def test_masks_of_black_and_white_are_no_masks_of_two_classes(form):
    with pytest.raises(DataError, match="hold 0 and 255 only, and 255 is no label: give 1"):
        check(*({**one, "mask": form(one["mask"])} for one in masks(255, 0)))


def test_masks_with_ignored_pixels_pass():
    check(*masks(255, 1))
    check(*masks(0, 0))
    check(*masks(-100, 0))


@pytest.mark.parametrize("key", ["keypoints", "people"])
@pytest.mark.parametrize(
    ("joints", "said"),
    [
        ([[0.1, 0.9], [0.5, np.nan]], "fractions of the image: give pixels"),
        ([[-0.7, 0.9], [0.5, 0.4]], "fractions of the image: give pixels"),
        ([[20, 3], [3, 400]], r"2 of 2 outside of their images, such as \(20.0, 3.0\) of \(16, 16\)"),
    ],
)
def test_joints_of_another_scale_are_refused(key, joints, said):
    sample = {"image": IMAGE, key: np.array(joints if key == "keypoints" else [joints], np.float32)}
    with pytest.raises(DataError, match=said):
        check(sample)


def test_joints_that_are_hidden_or_beyond_in_some_samples_pass(caplog):
    outside = {"image": IMAGE, "keypoints": [[99, 99], [99, 98]]}
    inside = {"image": IMAGE, "keypoints": [[9, 9], [9, 8]]}
    check({**outside, "visible": [0, 0]}, {"image": IMAGE, "keypoints": "none"})
    check(inside, outside)
    assert not caplog.messages
    check(inside, outside, outside)
    assert "4 of 6 outside of their images" in caplog.text


def test_visible_is_the_third_value_of_a_tuple_too():
    gives = ("image", "keypoints", "visible")
    joints, visible = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([True, False])
    for item in [(IMAGE, joints, visible), {"image": IMAGE, "keypoints": joints, "visible": visible}]:
        reader = DatasetReader([item], gives=gives, info=SETTING.info, levels=Levels(), part="train")
        assert reader[0]["visible"].tolist() == [True, False]


def test_joints_at_the_corner_are_those_that_are_not_known():
    joints = torch.zeros(2, 2)
    check({"image": IMAGE, "keypoints": joints + torch.tensor([[0.0], [9.0]])})  # one joint may well lie there
    with pytest.raises(
        DataError, match=r"2 joints of a sample of val are at 0, 0: give NaN where a joint is not known"
    ):
        check({"image": IMAGE, "keypoints": joints})
    check({"image": IMAGE, "keypoints": torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])})


@pytest.mark.parametrize(("area", "is_refused"), [(0.0, True), (1.0, True), (9000.0, True), (30.0, False)])
def test_areas_that_are_those_of_nothing_are_refused(area, is_refused):
    sample = {"image": IMAGE, "boxes": [[0.0, 0, 16, 14]], "labels": [0], "areas": [area]}
    if not is_refused:
        return check(sample)
    with pytest.raises(
        DataError, match=r"1 of 1 areas of val are those of nothing in their boxes.* or leave areas out"
    ):
        check(sample)
    return check({**sample, "crowd": [1]})  # what is said of crowds is no count
