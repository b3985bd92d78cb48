"""Targets of data sets: what they mean, and what they must not be taken for."""

import numpy as np
import pytest
import torch
from PIL import Image

from unpool.data.plain import Levels
from unpool.data.plain.reader import by_key
from unpool.data.plain.targets import Setting, numbers_in, target_of, visibility
from unpool.errors import DataError
from unpool.types import DataInfo

SETTING = Setting(DataInfo(classes=("ant", "bee"), keypoints=("nose", "tail")), Levels())
MASK = torch.tensor([[0, 1], [1, 255]])


@pytest.mark.parametrize("value", [1, np.int64(1), torch.tensor(1), torch.tensor([1]), np.array([1]), True, "bee"])
def test_labels_of_every_kind(value):
    assert target_of("label", value, SETTING)["label"].item() == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.tensor([0, 1]), "one-hot"),
        (np.array([0.0, 1.0]), "one-hot"),
        (1.0, "as an int"),
        (torch.tensor(0.5), "as an int"),
        ("wasp", "none of the classes: ant, bee"),
        (None, "as an int"),
    ],
)
def test_what_is_no_label_is_refused(value, said):
    with pytest.raises(DataError, match=said):
        target_of("label", value, SETTING)


@pytest.mark.parametrize(
    "value",
    [
        MASK,
        MASK[None],
        MASK.numpy(),
        MASK.to(torch.uint8),
        Image.fromarray(MASK.numpy().astype(np.uint8)),
        MASK.where(MASK != 255, -100),
        MASK.flip(0).numpy()[::-1],
        MASK.numpy().astype(">i2"),
    ],
    ids=["tensor", "with a channel", "array", "uint8", "pillow", "ignored by torch", "backwards", "big-endian"],
)
def test_masks_of_every_kind(value):
    assert target_of("mask", value, SETTING)["mask"].tolist() == MASK.tolist()


def test_bytes_hold_class_156_and_no_minus_100():
    assert target_of("mask", torch.full((1, 1), 156, dtype=torch.uint8), SETTING)["mask"].item() == 156


def test_targets_of_a_set_with_other_numbers_have_those_of_the_names():
    setting = Setting(SETTING.info, SETTING.levels, numbers={0: 1, 1: 0})
    assert target_of("label", 0, setting)["label"].item() == 1
    assert target_of("label", "bee", setting)["label"].item() == 1  # a name has no number
    assert target_of("mask", MASK, setting)["mask"].tolist() == [[1, 0], [0, 255]]
    for key, value in (("label", 2), ("label", -1), ("mask", MASK + MASK.eq(1))):
        with pytest.raises(DataError, match=r"holds 2|is -?\d, and the data set names 2 classes"):
            target_of(key, value, setting)


def test_a_boolean_mask_has_two_classes():
    assert target_of("mask", MASK == 1, SETTING)["mask"].tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (MASK / 255, "ToTensor"),
        (MASK[None].expand(3, -1, -1), r"\(3, 2, 2\)"),
        (Image.new("RGB", (2, 2)), "mode RGB"),
        (torch.tensor([[-1, 0]]), "-1 to 0"),
        (torch.tensor([[0, 300]]), "0 to 300"),
        (MASK[:0], r"\(0, 2\)"),
        (None, "mask is None: give an array"),
    ],
)
def test_what_is_no_mask_is_refused(value, said):
    with pytest.raises(DataError, match=said):
        target_of("mask", value, SETTING)


def test_joints_are_visible_unless_the_third_number_or_nan_says_not():
    two = target_of("keypoints", [[1, 2], [np.nan, 4]], SETTING)
    assert two["visible"].tolist() == [True, False]
    assert two["keypoints"].tolist() == [[1, 2], [0, 0]]
    three = target_of("keypoints", torch.tensor([[1.0, 2, 0], [3, 4, 2]]), SETTING)
    assert three["visible"].tolist() == [False, True]


def test_visible_says_which_joints_are():
    assert visibility([0, 2, np.True_], 3).tolist() == [False, True, True]
    for value in ("left.png", [True], torch.ones(2, 1)):
        with pytest.raises(DataError, match="give 2 numbers, above 0 where"):
            visibility(value, 2)


def test_people_keep_unknown_joints_as_nan():
    people = target_of("people", np.array([[[1, 2, 1], [3, 4, 0]]]), SETTING)["people"]
    assert people[0, 0].tolist() == [1, 2]
    assert people[0, 1].isnan().all()
    assert target_of("people", [], SETTING)["people"].shape == (0, 2, 2)


def test_another_number_of_joints_or_one_without_an_end_is_refused():
    with pytest.raises(DataError, match=r"expected \(2, 2\)"):
        target_of("keypoints", np.zeros((3, 2)), SETTING)
    with pytest.raises(DataError, match="joints hold infinity"):
        target_of("people", np.full((1, 2, 2), np.inf), SETTING)
    with pytest.raises(DataError, match="joints is 'none': give an array"):
        target_of("keypoints", "none", SETTING)


def test_a_clean_image_has_the_levels_of_the_image():
    setting = Setting(DataInfo(), Levels(white=1.0))
    assert target_of("clean", torch.full((1, 2, 2), 0.5), setting)["clean"].unique().tolist() == [128]


def test_samples_are_pairs_or_dicts():
    gives = ("image", "keypoints", "visible")
    assert by_key(("a", "b"), gives) == {"image": "a", "keypoints": "b"}
    assert by_key(("a", "b", "c", "unused"), gives) == {"image": "a", "keypoints": "b", "visible": "c"}
    assert by_key({"image": "a", "keypoints": "b", "name": "n", "area": 3}, gives) == {
        "image": "a",
        "keypoints": "b",
        "area": 3,
    }
    assert by_key("a", ("image",)) == {"image": "a"}


@pytest.mark.parametrize(("item", "said"), [(("a",), "1 value"), ({"img": 1}, "a dict of img, and lacks image, label")])
def test_a_sample_that_lacks_something_names_it(item, said):
    with pytest.raises(DataError, match=said):
        by_key(item, ("image", "label"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("captions", [], "give one text, or a list of texts"),
        ("captions", ["a dog", 7], "give one text, or a list of texts"),
        ("captions", ["a dog", " ."], r"has ' \.'|has '\.', which has no word"),
        ("captions", "a \ud83d dog", "half of a character"),
        ("text", 7, "give what the image says, as a str"),
        ("text", "axb", "of which 'x' is none of the classes"),
    ],
    ids=["none", "number", "no word", "half", "no text", "other character"],
)
def test_what_is_no_caption_and_no_text_is_refused(key, value, said):
    with pytest.raises(DataError, match=said):
        target_of(key, value, Setting(DataInfo(classes=("a", "b"), words=("a", "dog")), Levels()))


def test_captions_are_one_a_line_and_texts_are_numbers_of_characters():
    setting = Setting(DataInfo(classes=("a", "b"), words=("a", "dog")), Levels())
    assert bytes(target_of("captions", ["A dog", "a  cat"], setting)["captions"].tolist()) == b"A dog\na cat"
    assert target_of("text", "bab", setting)["text"].tolist() == [1, 0, 1]


def test_numbers_are_a_copy_of_memory_that_their_set_uses_again():
    for used in (torch.ones(2), np.ones(2, np.float32)):
        numbers = numbers_in(used, "boxes")
        used[...] = 0
        assert numbers.tolist() == [1, 1]


def test_values_that_an_array_hides_are_refused_and_hiding_none_is_an_array():
    with pytest.raises(DataError, match=r"hides 1 values, which a tensor would show: .*filled"):
        target_of("mask", np.ma.masked_equal(MASK.numpy(), 255), SETTING)
    assert target_of("mask", np.ma.array(MASK.numpy()), SETTING)["mask"].tolist() == MASK.tolist()
