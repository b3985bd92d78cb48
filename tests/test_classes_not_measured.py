"""Classes that a set lacks: named in the log, in metrics.json, in the report and in what an evaluation gives."""

import json
import logging

import pytest

from tests.data.readers.trees import encoded, pixels, written
from unpool import run

SMALL = {"data.size": [32, 32], "data.train_size": [32, 32], "data.workers": 0, "train.epochs": 1, "train.batch": 4}
SMALL |= {"data.allow_duplicates": True}
SMALL |= {
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "train.warmup_epochs": 0,
    "model.width": 4,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four classes: one is in train alone, one in val alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split, counts in (("train", (4, 4, 4, 0)), ("val", (2, 2, 0, 2))):
        for name, count in zip(("ant", "bee", "cat", "dog"), counts, strict=True):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for i in range(count):
                written(tmp_path / "set" / split / name / f"{i}.png", encoded(pixels(40, 40, 3, seed=i)))
    return tmp_path / "set"


def test_class_without_validation_images_is_named_wherever_scores_are(folder, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        run.train("folder_resnet18", {**SMALL, "data.root": str(folder)}, run=tmp_path / "run")
    assert [m for m in caplog.messages if "1 of 4 classes is in no label of the validation set: 'cat'" in m]
    assert [m for m in caplog.messages if "1 of 4 classes is in no label of the training set: 'dog'" in m]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["data"]["not_measured"] == ["cat"]
    assert metrics["data"]["never_learned"] == ["dog"]
    assert metrics["data"]["classes"]["label"]["counts"] == {"ant": 4, "bee": 4, "cat": 4, "dog": 0}
    assert metrics["classes_measured"] == 3
    assert metrics["recall"]["cat"] is metrics["precision"]["cat"] is None
    assert metrics["recall"]["dog"] == 0.0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "means are over the rest: cat." in page
    assert "never learned, since the training set has none of them: dog." in page
    caplog.clear()
    again = run.evaluate(tmp_path / "run")
    assert again["not_measured"] == ["cat"]
    assert [m for m in caplog.messages if "in no label of the val set: 'cat'" in m]
    assert run.evaluate(tmp_path / "run", split="train")["not_measured"] == ["dog"]


def test_class_in_no_validation_mask_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    written(tmp_path / "set" / "classes.txt", b"ground\nplant\nwater\n")
    for split in ("train", "val"):
        for i in range(4):
            mask = pixels(32, 32, most=3 if split == "train" else 2, seed=i)
            written(tmp_path / "set" / split / "images" / f"{i}.png", encoded(pixels(32, 32, 3, seed=i)))
            written(tmp_path / "set" / split / "masks" / f"{i}.png", encoded(mask))
    small = {key: value for key, value in SMALL.items() if key != "data.size"} | {"model.widths": [8] * 5}
    metrics = run.train("folder_unet", {**small, "data.root": str(tmp_path / "set")}, run=tmp_path / "run")
    assert metrics["data"]["not_measured"] == ["water"]
    assert metrics["data"]["never_learned"] == []
    assert metrics["iou"]["water"] is None
    assert metrics["classes_measured"] == 2
