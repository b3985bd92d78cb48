"""Values that are no class are refused before a loss sees them, by file and value."""

import pytest
import torch

from unpool.errors import DataError
from unpool.ops.targets import check_classes, class_faults, names_of

NAMES = ["a.png", "b.png", "c.png"]
INDEX = torch.tensor([1, 2])


def test_label_outside_the_classes_names_the_file_and_the_value():
    with pytest.raises(DataError, match=r"^c\.png: label \[3\], allowed are 0 to 2; correct the files"):
        check_classes({"label": torch.tensor([0, 3]), "index": INDEX}, 3, names=NAMES)


def test_negative_label_is_refused():
    with pytest.raises(DataError, match=r"label \[-1\]"):
        check_classes({"label": torch.tensor([-1])}, 3)


def test_mask_may_hold_the_ignore_value_and_a_label_may_not():
    check_classes({"mask": torch.tensor([[[0, 255], [1, 2]]])}, 3, names=NAMES)
    for batch in ({"label": torch.tensor([255])}, {"labels": [torch.tensor([255])]}):
        with pytest.raises(DataError, match=r"\[255\], allowed are 0 to 2;"):
            check_classes(batch, 3, names=NAMES)


def test_mask_of_a_set_without_classes_says_only_what_is_not_labelled():
    check_classes({"mask": torch.tensor([[[0, 255]]]), "label": torch.tensor([7])}, 0, names=["a.png"])
    with pytest.raises(DataError, match=r"a.png: mask \[1\], allowed are 0 and 255 for no label"):
        check_classes({"mask": torch.tensor([[[0, 1]]]), "index": torch.tensor([0])}, 0, names=["a.png"])


def test_masks_of_several_sizes_are_checked_one_by_one():
    masks = [torch.zeros(2, 2, dtype=torch.int64), torch.full((3, 1), 9)]
    with pytest.raises(DataError, match=r"b\.png: mask \[9\]"):
        check_classes({"mask": masks, "index": torch.tensor([0, 1])}, 9, names=NAMES)


def test_labels_of_boxes_are_checked_sample_by_sample():
    labels = [torch.tensor([0, 2]), torch.zeros(0, dtype=torch.int64), torch.tensor([5, 1, -1, 5])]
    check_classes({"labels": labels[:2]}, 3)
    with pytest.raises(DataError, match=r"^c\.png: labels \[-1, 5\], allowed are 0 to 2;"):
        check_classes({"labels": labels, "index": torch.arange(3)}, 3, names=NAMES)


def test_every_wrong_sample_is_named_by_index_or_place_where_it_has_no_name():
    batch = {"label": torch.tensor([4, 0, 5]), "mask": torch.tensor([[[0]], [[9]], [[0]]])}
    with pytest.raises(DataError, match=r"^sample 0 of the batch: label.*sample 2 of the batch: label.*sample 1 of"):
        check_classes(batch, 3)
    with pytest.raises(DataError, match=r"^sample 40: label \[4\].*sample 42: label \[5\].*sample 41: mask \[9\]"):
        check_classes({**batch, "index": torch.tensor([40, 41, 42])}, 3, names=NAMES)


def test_few_of_many_wrong_values_are_listed():
    assert class_faults({"labels": torch.arange(20)}, 2) == "labels [2, 3, 4, 5, 6, 7, 8, 9], allowed are 0 to 1"


def test_faults_of_a_sample_are_those_of_its_batch():
    sample = {"image": torch.zeros(1, 2, 2), "label": torch.tensor(3), "mask": torch.tensor([[0, 8]])}
    assert class_faults(sample, 3) == "label [3], allowed are 0 to 2; mask [8], allowed are 0 to 2 and 255 for no label"
    assert class_faults({"label": torch.tensor(2)}, 3) == ""


def test_names_of_a_batch_go_by_its_index():
    assert names_of({"index": torch.tensor([2, 0, 9])}, NAMES) == ["c.png", "a.png", "sample 9"]
    assert names_of({"image": torch.zeros(2)}, NAMES) == []
