"""Every shipped recipe runs: read, augment, train, evaluate, report, on a tiny set in its own format."""

import math
from inspect import signature

import pytest

from tests.tiny_trees import WRITERS, write_tree
from unpool import run
from unpool.data.readers import READERS
from unpool.models import known_options
from unpool.recipe import load_recipe, recipe_names

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


@pytest.mark.parametrize("name", some_slow(recipe_names()))
def test_recipe_trains_one_epoch_and_leaves_a_whole_run(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = load_recipe(name, {"data.root": str(tmp_path)})
    small = dict(SMALL)
    if recipe.data.reader in WRITERS:
        small["data.root"] = str(write_tree(recipe.data.reader, tmp_path / "data"))
    else:
        reader = recipe.data.reader
        known = signature(READERS[reader]).parameters
        assert "count" in known, f"add a writer of a tiny set for the reader {reader} to tests/tiny_trees.py"
        small["data.count"] = 6
    if recipe.data.repeat > 1:
        small["data.repeat"] = 2
    side = 67 if recipe.model.name.startswith(("deeppose", "fcgn")) else 32
    for size in ("train_size", "size"):
        if getattr(recipe.data, size) is not None:
            small[f"data.{size}"] = [side, side]
    options = known_options(recipe.model.name, backbone=recipe.model.backbone)
    small |= {f"model.{name}": 4 for name in ("width", "lanes") if name in options}
    metrics = run.train(name, small, run=tmp_path / "run")
    assert metrics["images"] >= 2
    assert math.isfinite(metrics["loss"])
    scores = [metrics[name] for name in ("mean_iou", "top1", "ssim", "pck_person@0.2", "limbs") if name in metrics]
    assert all(-1 <= score <= 1 for score in scores)
    last = {name: value for name, value in metrics["history"][-1].items() if name not in ("epoch", "step")}
    assert {name: metrics[name] for name in last} == last  # nothing that a run adds replaces a metric
    left = {path.name for path in (tmp_path / "run").iterdir()}
    expected = {"recipe.yaml", "config.json", "data.json", "model.safetensors", "best.safetensors", "last"}
    assert expected | {"log.jsonl", "metrics.json", "report.html"} <= left
