"""Every shipped recipe runs: read, augment, train, evaluate, report, on a tiny set in its own format."""

import math
from inspect import signature

import pytest
import torch

from tests.tiny_recipes import FITTED, SMALL, one_of_each_kind, smaller, tree_of
from tests.tiny_trees import WRITERS, write_tree
from unpool import run
from unpool.data.readers import READERS
from unpool.ops.skeleton import LSP, LSP_LIMBS
from unpool.recipe import load_recipe
from unpool.types import DataInfo


def plain_sets(recipe):
    """Lists of (image, target) for a recipe of data sets that are passed from Python."""
    target = {
        "classification": lambda i: i % 2,
        "embedding": lambda i: i % 2,
        "segmentation": lambda i: torch.arange(1024).view(32, 32) // (64 + i) % 2,
        "denoising": lambda i: torch.full((3, 32, 32), 8 * i, dtype=torch.uint8),
    }.get(recipe.task.name, lambda i: torch.arange(28.0).view(14, 2) + i)
    of_classes = ("classification", "embedding", "segmentation", "detection", "localization", "instances")
    if recipe.task.name in ("detection", "localization", "instances"):
        target = lambda i: {"boxes": [[i, i, i + 9.0, i + 14.0]], "labels": [i % 2]}  # noqa: E731
    if recipe.task.name == "instances":
        target = lambda i: {"masks": torch.ones(1, 32, 32).tril(), "labels": [i % 2]}  # noqa: E731
    if recipe.task.name == "people":
        target = lambda i: (torch.arange(28.0).view(1, 14, 2) + i).repeat(2, 1, 1)  # noqa: E731
    if recipe.task.name == "captions":
        target = lambda i: f"a {('dog', 'cat')[i % 2]} runs"  # noqa: E731
    if recipe.task.name == "reading":
        target = lambda i: "ab"[: 1 + i % 2]  # noqa: E731
    if recipe.task.name == "people_in_boxes":
        target = lambda i: {"boxes": [[i, i, i + 28, i + 28]], "people": torch.arange(28.0).view(1, 14, 2) + i}  # noqa: E731
    image = torch.randint(0, 256, (12, 3, 67, 67), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    side = 67 if recipe.model.name == "deeppose" else 32
    pairs = [(image[i, :, :side, :side], target(i)) for i in range(12)]
    if recipe.task.name in ("stereo", "flow"):
        shape = (32, 32) if recipe.task.name == "stereo" else (2, 32, 32)
        pairs = [((image[i, :1, :32, :32], image[i, :1, :32, :32]), torch.full(shape, i % 3)) for i in range(12)]
    of_task = {"captions": ("a", "dog", "cat", "runs"), **dict.fromkeys((*of_classes, "reading"), ("a", "b"))}
    names = of_task.get(recipe.task.name, LSP)
    classes = DataInfo(keypoints=LSP, limbs=LSP_LIMBS) if recipe.task.name == "people" else names
    return {"task": recipe.task.name, "train": pairs[:8], "val": pairs[8:], "classes": classes}


@pytest.mark.parametrize("name", one_of_each_kind(FITTED))
def test_recipe_trains_one_epoch_and_leaves_a_whole_run(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = load_recipe(name, {"data.root": str(tmp_path)})
    small = dict(SMALL)
    if recipe.data.reader in WRITERS:
        small["data.root"] = str(write_tree(tree_of(recipe), tmp_path / "data"))
        small |= {"data.count": 6} if "count" in signature(READERS[recipe.data.reader]).parameters else {}
    elif recipe.data.reader != "dataset":
        reader = recipe.data.reader
        known = signature(READERS[reader]).parameters
        assert "count" in known, f"add a writer of a tiny set for the reader {reader} to tests/tiny_trees.py"
        small["data.count"] = 6
    small |= smaller(recipe)
    sets = plain_sets(recipe) if recipe.data.reader == "dataset" else {"recipe": name}
    metrics = run.train(overrides=small, run=tmp_path / "run", **sets)
    assert metrics["images"] >= 2
    if recipe.data.reader in ("lfw", "person_pairs"):  # who is measured is not learned from
        assert metrics["loss"] is None
    else:
        assert math.isfinite(metrics["loss"])
    scores = [metrics[name] for name in ("mean_iou", "top1", "ssim", "pck_person@0.2", "limbs") if name in metrics]
    assert all(-1 <= score <= 1 for score in scores)
    last = {name: value for name, value in metrics["history"][-1].items() if name not in ("epoch", "step")}
    assert {name: metrics[name] for name in last} == last  # nothing that a run adds replaces a metric
    left = {path.name for path in (tmp_path / "run").iterdir()}
    expected = {"recipe.yaml", "config.json", "data.json", "model.safetensors", "best.safetensors", "last"}
    assert expected | {"log.jsonl", "metrics.json", "report.html"} <= left
