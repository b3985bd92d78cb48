"""Every shipped recipe runs: read, augment, train, evaluate, report, on a tiny set in its own format."""

import math
from inspect import signature

import pytest
import torch

from tests.tasks.every_task import EVERY_TASK
from tests.tiny_recipes import FITTED, SMALL, one_of_each_kind, smaller, tree_of
from tests.tiny_trees import WRITERS, write_tree
from unpool import run
from unpool.data.readers import READERS
from unpool.recipe import load_recipe
from unpool.tasks import TASKS


def plain_sets(recipe):
    """Lists of (image, target) for a recipe of data sets that are passed from Python."""
    row = EVERY_TASK[recipe.task.name]
    image = torch.randint(0, 256, (12, 3, 67, 67), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    side = 67 if recipe.model.name == "deeppose" else 32
    pairs = [(image[i, :, :side, :side], row.plain(i)) for i in range(12)]
    if TASKS[recipe.task.name].frames == 2:
        pairs = [((one[:1, :32, :32], one[:1, :32, :32]), row.plain(i)) for i, one in enumerate(image)]
    return {"task": recipe.task.name, "train": pairs[:8], "val": pairs[8:], "classes": row.classes}


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
        assert "count" in known, f"add a tiny set of the reader {reader} to TREES of tests/data/readers/trees.py"
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
