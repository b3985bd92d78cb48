"""Captions and strings through the verbs: train, resume, evaluate, predict."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.data.readers.text_trees import flickr8k, folder_text
from unpool import run

SMALL = {
    **{"train.precision": "float32", "train.memory_format": "contiguous", "train.batch": 2, "data.workers": 0},
    **{"train.schedule": "constant", "train.evaluate_every": 1},
}
CAPTIONS = SMALL | {
    **{"data.size": [32, 32], "model.weights": None, "model.backbone": "resnet18", "model.width": 4},
    **{"model.embedding": 8, "model.hidden": 8, "task.beam": 2},
}


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_captions_are_trained_resumed_to_the_bit_with_an_empty_cache_evaluated_and_predicted(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    overrides = CAPTIONS | {"data.root": str(flickr8k(tmp_path / "data"))}
    made = run.train("flickr8k_attention", overrides | {"train.epochs": 2}, run=tmp_path / "whole")
    run.train("flickr8k_attention", overrides | {"train.epochs": 1}, run=tmp_path / "cut")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other cache"))
    run.resume(tmp_path / "cut", {"train.epochs": 2})
    whole, cut = (weights(tmp_path / name) for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)

    again = run.evaluate(tmp_path / "whole")
    assert {name: again[name] for name in ("bleu4", "cider", "rouge_l")} == {
        name: made[name] for name in ("bleu4", "cider", "rouge_l")
    }
    assert again["loss"] == pytest.approx(made["loss"], rel=1e-5)
    image = tmp_path / "data" / "Flicker8k_Dataset" / "7.jpg"
    (record,) = run.predict(tmp_path / "whole", [image], tmp_path / "out")
    assert record["caption"] == " ".join(record["words"])
    assert len(record.get("attention", ())) == len(record["words"])
    assert (tmp_path / "out" / record["view"]).is_file()
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"] == [record]
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["info"]["words"][0] == "a"


def test_strings_are_trained_evaluated_and_read_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    overrides = SMALL | {"data.root": str(folder_text(tmp_path / "data")), "model.width": 4, "model.hidden": 8}
    made = run.train("words_ctc", overrides | {"train.epochs": 1}, run=tmp_path / "run")
    again = run.evaluate(tmp_path / "run")
    assert {name: again[name] for name in ("exact", "edit_distance")} == {
        name: made[name] for name in ("exact", "edit_distance")
    }
    (record,) = run.predict(tmp_path / "run", [tmp_path / "data" / "0.png"], tmp_path / "out")
    assert set(record["text"]) <= set("0127é")
