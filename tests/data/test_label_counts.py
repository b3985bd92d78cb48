"""What is labelled is counted in every scan; nothing labelled is refused, a class that is missing is named."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.readers.trees import encoded, pixels, written
from tests.data.test_store import Listed, boxed, labelled, segmented
from unpool.assemble.data import read_data
from unpool.data.label_counts import LabelCounts, count_sample, log_balance, log_unlabelled, require_labels
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.recipe import load_recipe
from unpool.types import IGNORE


def tree(root: Path, mask: np.ndarray, *, count: int = 5) -> Path:
    written(root / "classes.txt", b"a\nb\n")
    for i in range(count):
        written(root / "images" / f"{i}.png", encoded(pixels(4, 6, 3, seed=i)))
        written(root / "masks" / f"{i}.png", encoded(mask))
    return root


def recipe(root: Path, *overrides: str):
    fixed = ["data.ignore=255", "data.workers=0", "data.allow_duplicates=true"]
    return load_recipe("folder_unet", [f"data.root={root}", *fixed, *overrides])


@pytest.mark.parametrize("memory", [True, False])
def test_every_scan_counts_pixels_by_class(memory, tmp_path):
    mask = np.array([[0, 0, 0, 1, 1, 255]] * 4, np.uint8)
    reader = FolderMasks(tree(tmp_path, mask), "val", val_share=1.0, ignore=255)
    labels = scan(reader, memory=memory).manifest["labels"]
    assert labels == {"mask": {"counts": {"a": 5 * 12, "b": 5 * 8}, "ignored": 5 * 4, "largest_to_smallest": 1.5}}
    json.dumps(labels)


def test_labels_and_lists_of_labels_are_counted():
    twice = {"largest_to_smallest": 2.0}
    assert scan(labelled(0, 2, 2)).manifest["labels"] == {"label": {"counts": {"a": 1, "b": 0, "c": 2}, **twice}}
    boxes = {"counts": {"a": 0, "b": 2, "c": 1}, "images": {"a": 0, "b": 1, "c": 1}, **twice}
    assert scan(boxed([1, 1], [], [2])).manifest["labels"] == {"labels": boxes}


def test_labels_of_a_set_without_classes_are_any_numbers_and_are_not_counted():
    assert scan(labelled(-7, 10**9, classes=0)).manifest["labels"] == {}
    plain = Listed([segmented(value=0), segmented(value=IGNORE)], classes=0)
    assert scan(plain).manifest["labels"] == {"mask": {"counts": {"labelled": 20}, "ignored": 20}}


def test_counting_in_parts_misses_nothing(monkeypatch):
    monkeypatch.setattr("unpool.data.label_counts._PART", 7)
    mask = torch.arange(100, dtype=torch.uint8).reshape(10, 10) % 3
    assert count_sample({"mask": mask}, 3)["mask"].tolist() == [34, 33, 33]


@pytest.mark.parametrize("memory", ["true", "false"])
def test_training_set_of_ignored_pixels_is_refused(memory, tmp_path):
    root = tree(tmp_path, np.full((4, 6), 255, np.uint8))
    says = r"nothing is labelled in the training set: all 96 pixels of 4 masks are unlabelled \(255 after data\.ignore"
    with pytest.raises(DataError, match=says):
        read_data(recipe(root, f"data.memory={memory}"))


@pytest.mark.parametrize("memory", ["true", "false"])
def test_class_in_no_training_mask_is_named(memory, tmp_path, caplog):
    root = tree(tmp_path, np.zeros((4, 6), np.uint8))
    with caplog.at_level(logging.WARNING):
        read_data(recipe(root, f"data.memory={memory}"))
    sentence = "1 of 2 classes is in no mask of the training set: 'b'; nothing of it can be learned: check how"
    assert [m for m in caplog.messages if "in no mask of the training" in m] == [
        f"{sentence} the targets were exported"
    ]


def test_validation_set_of_ignored_pixels_is_told(tmp_path, caplog):
    for split, value in (("train", 1), ("val", 255)):
        tree(tmp_path / split, np.full((4, 6), value, np.uint8))
    written(tmp_path / "classes.txt", b"a\nb\n")
    with caplog.at_level(logging.WARNING):
        read_data(recipe(tmp_path))
    assert "nothing is labelled in the validation set, so that no score can be computed: all 120 pixels" in caplog.text


def test_set_without_any_box_has_nothing_to_learn():
    counts = scan(boxed([], [])).counts
    with pytest.raises(DataError, match="nothing is labelled in the training set: the 2 samples have no label"):
        require_labels(counts, ("image", "boxes", "labels"))


def test_labels_of_boxes_of_which_the_first_class_has_none_may_count_from_1(caplog):
    counts = LabelCounts(("a", "b", "c"))
    counts.add({"labels": np.array([0, 3, 2])})
    with caplog.at_level(logging.WARNING):
        require_labels(counts, ("image", "boxes", "labels"))
    assert "1 of 3 classes is in no label of the training set: 'a'" in caplog.text
    assert "of a data set passed from Python, begin classes= with '__background__' if so" in caplog.text


def test_targets_that_the_task_does_not_learn_from_may_be_empty(caplog):
    counts = scan(Listed([segmented(value=IGNORE)])).counts
    with caplog.at_level(logging.WARNING):
        require_labels(counts, ("image", "clean"))
        log_unlabelled(counts, ("image", "clean"), part="validation")
    assert caplog.messages == []


def test_nothing_is_said_of_a_set_that_has_all_classes(caplog):
    counts = LabelCounts(("a", "b"))
    counts.add({"mask": np.array([3, 4])})
    with caplog.at_level(logging.WARNING):
        require_labels(counts, ("mask",))
        log_unlabelled(counts, ("mask",), part="validation")
    assert caplog.messages == []


def counted(key, *numbers, classes=None):
    counts = LabelCounts(classes or [f"c{i}" for i in range(len(numbers))])
    counts.add({key: np.array(numbers)})
    return counts


def test_count_of_each_class_is_told_with_the_largest_to_the_smallest(caplog):
    with caplog.at_level(logging.DEBUG):
        log_balance(counted("label", 120, 40, classes=("cat", "dog")), ("label",))
    assert caplog.messages == [
        "images of each class in the training set: 'cat' 120, 'dog' 40; largest : smallest = 3.0 : 1"
    ]


def test_counts_of_many_classes_are_the_largest_and_the_smallest(caplog):
    with caplog.at_level(logging.DEBUG):
        log_balance(counted("label", *range(40, 90)), ("label",))
    (line,) = caplog.messages
    assert ": 'c49' 89, 'c48' 88, " in line
    assert ", ... 30 more ..., " in line
    assert ", 'c0' 40; largest : smallest = 2.2 : 1" in line


@pytest.mark.parametrize(
    ("key", "counts", "says"),
    [
        ("label", (100, 10), "10 times the images of the smallest, .* set data.order={weighted: {}} to draw all"),
        ("mask", (5000, 50), "100 times the pixels of the smallest, .* set task.class_weights=median to weigh"),
    ],
)
def test_very_unequal_classes_are_warned_of_with_what_to_do(key, counts, says, caplog):
    with caplog.at_level(logging.WARNING):
        log_balance(counted(key, *counts), (key,))
        log_balance(counted(key, counts[0] - 1, counts[1]), (key,))
        log_balance(counted(key, *counts), (key,), is_balanced=True)
    (line,) = caplog.messages
    assert re.search(says, line)


@pytest.mark.parametrize("overrides", [["data.order={weighted: {}}"], []])
def test_hint_is_not_given_to_who_followed_it(overrides, tmp_path, caplog):
    for name, count in (("ant", 40), ("bee", 3)):
        for i in range(count):
            written(tmp_path / name / f"{name}{i}.png", encoded(pixels(8, 8, 3, seed=100 * count + i)))
    with caplog.at_level(logging.DEBUG):
        read_data(load_recipe("folder_resnet18", [f"data.root={tmp_path}", "data.workers=0", *overrides]))
    assert (
        "images of each class in the training set: 'ant' 32, 'bee' 2; largest : smallest = 16.0 : 1" in caplog.messages
    )
    assert any("set data.order={weighted: {}}" in message for message in caplog.messages) is not bool(overrides)


@pytest.mark.parametrize(
    ("key", "hint", "other"),
    [
        (
            "mask",
            "each meaning the class before: set data.mask_values={1: 0, 2: 1} if so",
            "check how the targets were exported",
        ),
        (
            "label",
            "each meaning the class before: subtract 1 if so",
            "add images of it, or remove its folder or its name",
        ),
    ],
)
def test_ids_that_begin_at_1_are_told_with_how_to_mend_them(key, hint, other, caplog):
    with caplog.at_level(logging.WARNING):
        require_labels(counted(key, 0, 7, 9), (key,))
        require_labels(counted(key, 0, 0, 9), (key,))
    first, second = caplog.messages
    assert "ids may have been counted from 1, " in first
    assert first.endswith(hint)
    assert second.endswith(other)


def test_first_class_without_boxes_may_be_a_category_above_others(caplog):
    with caplog.at_level(logging.WARNING):
        require_labels(counted("labels", 0, 7, 9), ("labels",))
    (line,) = caplog.messages
    assert "a category above others, such as the supercategory of an export, has no boxes: delete it if so; " in line
    assert "ids may" not in line


def test_masks_of_ids_from_1_up_to_the_number_of_classes_name_the_mapping(tmp_path):
    root = tree(tmp_path, np.array([[1, 1, 1, 2, 2, 2]] * 4, np.uint8))
    says = r"if ids are counted from 1, set data\.mask_values=\{1: 0, 2: 1\}; or data\.ignore=2 if 2 is unlabelled"
    with pytest.raises(DataError, match=says):
        read_data(recipe(root))
    counts = read_data(recipe(root, "data.mask_values={1: 0, 2: 1}")).train.counts
    assert counts.by_class("mask").tolist() == [48, 48]


@pytest.mark.parametrize(("labels", "ratio"), [([2] * 8 + [1] * 2, 4.0), ([1] * 3, None), ([0, 1, 2], 1.0)])
def test_ratio_is_that_of_the_most_frequent_class_to_the_rarest_that_occurs(labels, ratio):
    counts = LabelCounts(["a", "b", "c"])
    for label in labels:
        counts.add(count_sample({"label": torch.tensor(label)}, 3))
    assert counts.ratio("label") == ratio


@pytest.mark.parametrize(("counts", "is_said"), [((100, 99), False), ((101, 3), True), ((60, 60), False)])
def test_images_of_more_boxes_of_a_class_than_are_counted_are_said(caplog, counts, is_said):
    numbers = LabelCounts(("ant", "bee"))
    for some in (counts, (1, 90)):
        labels = torch.arange(2).repeat_interleave(torch.tensor(some))
        numbers.add(count_sample({"labels": labels}, 2))
    log_unlabelled(numbers, {"labels"}, part="validation")
    said = "an image of the validation set has 101 boxes of 'ant', and COCO's scores count the 100 surest answers"
    assert [said in record.message for record in caplog.records] == [True] * is_said
