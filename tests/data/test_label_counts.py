"""What is labelled is counted in every scan; nothing labelled is refused, a class that is missing is named."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.readers.trees import encoded, pixels, written
from tests.data.test_store import Listed, boxed, labelled, segmented
from unpool.assemble.data import read_data
from unpool.data.label_counts import LabelCounts, count_sample, log_unlabelled, require_labels
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
    return load_recipe("folder_unet", [f"data.root={root}", "data.ignore=255", "data.workers=0", *overrides])


@pytest.mark.parametrize("memory", [True, False])
def test_every_scan_counts_pixels_by_class(memory, tmp_path):
    mask = np.array([[0, 0, 0, 1, 1, 255]] * 4, np.uint8)
    reader = FolderMasks(tree(tmp_path, mask), "val", val_share=1.0, ignore=255)
    labels = scan(reader, memory=memory).manifest["labels"]
    assert labels == {"mask": {"counts": {"a": 5 * 12, "b": 5 * 8}, "ignored": 5 * 4}}
    json.dumps(labels)


def test_labels_and_lists_of_labels_are_counted():
    assert scan(labelled(0, 2, 2)).manifest["labels"] == {"label": {"counts": {"a": 1, "b": 0, "c": 2}}}
    assert scan(boxed([1, 1], [], [2])).manifest["labels"] == {"labels": {"counts": {"a": 0, "b": 2, "c": 1}}}


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
