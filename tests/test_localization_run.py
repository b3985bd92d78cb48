"""The lecture's steps as runs: classes, then boxes on the network that learned them, then answers."""

import json

import pytest
import torch
from safetensors.torch import load_file

import unpool
from tests.contracts.own_readers import OneThing, Things
from tests.small_localizer import write_recipe
from unpool import run
from unpool.errors import DataError, RecipeError


def train(folder, name, *overrides, reader=OneThing):
    sets = {"train": reader(split="train", count=8), "val": reader(split="val", count=4)}
    return run.train(str(write_recipe(folder)), list(overrides), run=folder / name, **sets)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    train(folder, "classes", "task.learn=classes")
    return folder


def parts_changed(one, other):
    before, after = (load_file(path / "model.safetensors") for path in (one, other))
    assert before.keys() == after.keys()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_boxes_alone_are_learned_on_the_network_of_the_first_run_which_stays_as_it_was(first, caplog):
    weights = f"model.weights={first / 'classes' / 'model.safetensors'}"
    metrics = train(first, "boxes", weights, "task.learn=boxes", "train.ema=0.9")
    assert parts_changed(first / "classes", first / "boxes") == {"locate"}
    assert metrics["top1"] == json.loads((first / "classes" / "metrics.json").read_text())["top1"]
    assert 0 <= metrics["mean_iou"] <= 1
    assert "new, with initial weights" not in caplog.text


def test_run_of_the_first_step_measures_its_classes_and_keeps_the_best_of_them(first):
    metrics = json.loads((first / "classes" / "metrics.json").read_text())
    assert metrics["baseline"]["metric"] == "top1"
    assert (first / "classes" / "best.safetensors").is_file()


def test_second_step_without_the_weights_of_a_first_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"task.learn boxes trains the boxes of a network that has learned"):
        train(tmp_path, "run", "task.learn=boxes")
    assert not (tmp_path / "run").exists()


def test_set_with_another_number_of_things_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(DataError, match=r"task.things is 1, and of 8 images train/0 has 0 boxes, train/2 has 2 boxes"):
        train(tmp_path, "run", reader=Things)


def test_answer_for_a_photograph_lies_on_it_and_is_written_as_numbers(first):
    image = OneThing(count=1)[0]["image"].permute(1, 2, 0).numpy()
    (answer,) = unpool.load(first / "classes")(image)
    assert set(answer) >= {"boxes", "labels", "classes", "score", "top_labels", "top_boxes"}
    ((left, top, right, bottom),) = answer["boxes"]
    assert 0 <= left <= right <= 32
    assert 0 <= top <= bottom <= 32
    json.dumps(answer)
