"""Promises of the benchmark of lesions: it goes from training to its rows, and says what was measured."""

import json

import pytest

from benchmarks import lesions
from tests.tiny_trees import write_tree

TINY = ["model.width=4", "train.epochs=1", "train.batch=4", "train.precision=float32"]


def values(blocks, error=0.2, mean=3.0):
    single = [{"name": str(i), "keeps_shape": keeps, "error": cost} for i, (keeps, cost) in enumerate(blocks)]
    effective = {"shortest": 2, "longest": 5, "mean": mean, "paths": 0.01}
    drawn = [{"size": 2, "order": 0.9, "errors": [0.3, 0.5]}]
    return {"error": error, "blocks": single, "layers": [], "several": drawn, "shuffled": drawn, "effective": effective}


def test_rise_counts_blocks_that_keep_the_shape_alone():
    assert lesions.rise(values([(True, 0.25), (False, 0.9), (True, 0.2)])) == pytest.approx([0.05, 0.0])


def test_blocks_to_keep_give_the_effective_length_as_the_mean_path():
    nine = [(True, 0.2)] * 9
    assert lesions.kept_blocks([values(nine, mean=2.0), values(nine, mean=4.0)]) == 6
    assert lesions.kept_blocks([values(nine, mean=7.0)]) == 9


def test_rows_put_what_was_said_beside_what_was_measured():
    rows = lesions.rows_of("resnet56", [values([(True, 0.25), (False, 0.9), (True, 0.2)])])
    assert [row.figure for row in rows] == [
        "median +2.5, most +5.0 points on an error of 20.0 %",
        "+70.0 points",
        "2: 40.0 %",
        "2: 40.0 % (tau 0.90)",
        "2 to 5 (1 % of all paths), mean 3.0",
    ]
    assert all(row.reference for row in rows)


@pytest.mark.slow
def test_tiny_networks_are_trained_measured_and_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        lesions,
        "NETWORKS",
        {
            name: lesions.Network(recipe="cifar10_resnet20", changed=network)
            for name, network in {"resnet56": (), "vgg16": ("model.name=cifar_plain20",), "effective": ()}.items()
        },
    )
    data = write_tree("cifar", tmp_path / "data")
    arguments = ["--data", str(data), "--runs", str(tmp_path / "runs"), "--seeds", "1", "--images", "4", "--draws", "1"]
    arguments += ["--networks", "resnet56", "vgg16", "effective", "--set", *TINY]
    assert lesions.main(arguments) == 0
    result = tmp_path / "runs" / "lesions.json"
    first = json.loads(result.read_text(encoding="utf-8"))
    assert len(first["rows"]) == 5 + 1 + 2
    assert len(first["details"]["resnet56"]["seed 0"]["blocks"]) == 9
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.safetensors")}
    assert lesions.main(arguments) == 0
    assert json.loads(result.read_text(encoding="utf-8"))["rows"] == first["rows"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.safetensors")} == kept
