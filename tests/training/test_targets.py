import pytest
import torch

from unpool.errors import DataError
from unpool.training.targets import check_targets

NAMES = ["a.png", "b.png", "c.png"]


def test_label_outside_the_classes_names_the_file_and_the_value():
    batch = {"label": torch.tensor([0, 3]), "index": torch.tensor([1, 2])}
    with pytest.raises(DataError, match=r"3 classes 0 to 2: c\.png: label \[3\]; correct the files"):
        check_targets(batch, 3, names=NAMES)


def test_negative_label_is_refused():
    with pytest.raises(DataError, match=r"label \[-1\]"):
        check_targets({"label": torch.tensor([-1])}, 3, names=())


def test_mask_may_hold_the_ignore_value_and_a_label_may_not():
    check_targets({"mask": torch.tensor([[[0, 255], [1, 2]]])}, 3, names=NAMES)
    with pytest.raises(DataError, match=r"\[255\]"):
        check_targets({"label": torch.tensor([255])}, 3, names=NAMES)


def test_mask_of_a_set_without_classes_says_only_what_is_not_labelled():
    check_targets({"mask": torch.tensor([[[0, 255]]])}, 0, names=["a.png"])
    with pytest.raises(DataError, match=r"a.png: mask \[1\]"):
        check_targets({"mask": torch.tensor([[[0, 1]]]), "index": torch.tensor([0])}, 0, names=["a.png"])


def test_masks_of_several_sizes_are_checked_one_by_one():
    masks = [torch.zeros(2, 2, dtype=torch.int64), torch.full((3, 1), 9)]
    with pytest.raises(DataError, match=r"b\.png: mask \[9\]"):
        check_targets({"mask": masks, "index": torch.tensor([0, 1])}, 9, names=NAMES)
