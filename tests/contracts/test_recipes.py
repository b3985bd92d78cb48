"""Every shipped recipe runs: read, augment, train, evaluate, report, on a tiny set in its own format."""

import math
from inspect import signature

import pytest
import torch

from tests.tiny_trees import WRITERS, write_tree
from unpool import run
from unpool.data.readers import READERS
from unpool.models import known_options
from unpool.ops.skeleton import LSP, LSP_LIMBS
from unpool.recipe import load_recipe, recipe_names
from unpool.types import DataInfo

SMALL = {
    "train.epochs": 1,
    "train.warmup_epochs": 0,
    "train.batch": 2,
    "train.eval_batch": 2,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "data.workers": 0,
}


def some_slow(names):
    """Those of whole training sets differ from the short ones in numbers only."""
    return [pytest.param(name, marks=pytest.mark.slow) if name.endswith("_full") else name for name in names]


def plain_sets(recipe):
    """Lists of (image, target) for a recipe of data sets that are passed from Python."""
    target = {
        "classification": lambda i: i % 2,
        "segmentation": lambda i: torch.arange(1024).view(32, 32) // (64 + i) % 2,
        "denoising": lambda i: torch.full((3, 32, 32), 8 * i, dtype=torch.uint8),
    }.get(recipe.task.name, lambda i: torch.arange(28.0).view(14, 2) + i)
    if recipe.task.name == "people":
        target = lambda i: (torch.arange(28.0).view(1, 14, 2) + i).repeat(2, 1, 1)  # noqa: E731
    image = torch.randint(0, 256, (12, 3, 67, 67), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    side = 67 if recipe.model.name == "deeppose" else 32
    pairs = [(image[i, :, :side, :side], target(i)) for i in range(12)]
    names = ("a", "b") if recipe.task.name in ("classification", "segmentation") else LSP
    classes = DataInfo(keypoints=LSP, limbs=LSP_LIMBS) if recipe.task.name == "people" else names
    return {"task": recipe.task.name, "train": pairs[:8], "val": pairs[8:], "classes": classes}


def smaller(recipe):
    """Overrides that make a recipe's images, network and repeats as small as they may be."""
    small = {}
    if recipe.data.repeat > 1:
        small["data.repeat"] = 2
    side = 67 if recipe.model.name.startswith(("deeppose", "fcgn")) else 32
    for size in ("train_size", "size"):
        if getattr(recipe.data, size) is not None:
            small[f"data.{size}"] = [side, side]
    if recipe.data.shorter is not None:
        small |= {"data.shorter": side, "data.longest": 2 * side}
    if recipe.model.options.get("anchors") == "planned":  # from more boxes than a tiny set has
        small["model.anchors"] = []
    options = known_options(recipe.model.name, backbone=recipe.model.backbone)
    small |= {f"model.{name}": 4 for name in ("width", "lanes") if name in options}
    small |= {f"model.{name}": 8 for name in ("neck_width", "head_width", "extra_width", "hidden") if name in options}
    if "widths" in options:
        small["model.widths"] = [8] * len(options["widths"])
    return small


def tree_of(recipe):
    """The writer of the recipe's set: VOC's has two things an image, and localisation knows their number."""
    reader = recipe.data.reader
    return "voc_of_one" if (reader, recipe.task.name) == ("voc", "localization") else reader


@pytest.mark.parametrize("name", some_slow(recipe_names()))
def test_recipe_trains_one_epoch_and_leaves_a_whole_run(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = load_recipe(name, {"data.root": str(tmp_path)})
    small = dict(SMALL)
    if recipe.data.reader in WRITERS:
        small["data.root"] = str(write_tree(tree_of(recipe), tmp_path / "data"))
    elif recipe.data.reader != "dataset":
        reader = recipe.data.reader
        known = signature(READERS[reader]).parameters
        assert "count" in known, f"add a writer of a tiny set for the reader {reader} to tests/tiny_trees.py"
        small["data.count"] = 6
    small |= smaller(recipe)
    sets = plain_sets(recipe) if recipe.data.reader == "dataset" else {"recipe": name}
    metrics = run.train(overrides=small, run=tmp_path / "run", **sets)
    assert metrics["images"] >= 2
    assert math.isfinite(metrics["loss"])
    scores = [metrics[name] for name in ("mean_iou", "top1", "ssim", "pck_person@0.2", "limbs") if name in metrics]
    assert all(-1 <= score <= 1 for score in scores)
    last = {name: value for name, value in metrics["history"][-1].items() if name not in ("epoch", "step")}
    assert {name: metrics[name] for name in last} == last  # nothing that a run adds replaces a metric
    left = {path.name for path in (tmp_path / "run").iterdir()}
    expected = {"recipe.yaml", "config.json", "data.json", "model.safetensors", "best.safetensors", "last"}
    assert expected | {"log.jsonl", "metrics.json", "report.html"} <= left
