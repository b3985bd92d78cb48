"""What a recipe's objects hold for the checks: its target and no other, which joints are hidden, and files by name."""

import pytest
import torch

from tests.data.readers.box_trees import cub
from unpool.checks.budget import Budget
from unpool.plain_objects import setup_of
from unpool.recipe import load_recipe

SMALL = {"data.size": [32, 32], "data.workers": 0, "train.batch": 2, "train.epochs": 1, "train.warmup_epochs": 0}


@pytest.fixture(scope="module")
def parts_run(tmp_path_factory):
    root = cub(tmp_path_factory.mktemp("birds"))
    return setup_of(load_recipe("cub_parts", {"data.root": str(root), **SMALL}), budget=Budget(5))


def test_class_beside_the_parts_is_no_target_of_a_task_of_parts(parts_run):
    batch, sample = parts_run.train.batches(1)[0], parts_run.val.dataset[0]
    assert "keypoints" in batch
    assert "keypoints" in sample
    assert "label" not in batch
    assert "label" not in sample


def test_hidden_parts_are_hidden_to_the_checks_of_a_recipe(parts_run):
    points = parts_run.seen.numbers
    assert points.shape == (3, 3, 3)  # samples, parts, and x, y, visible
    assert torch.equal(points[..., 2], torch.tensor([1.0, 1.0, 0.0]).expand(3, 3))


def test_whole_file_is_asked_by_its_path(parts_run):
    assert parts_run.val.asked(0).endswith(".png")
    assert parts_run.seen_val.where(0).endswith(".png")


@pytest.mark.parametrize("name", ["scenes_mc_cnn", "scenes_mc_cnn_fast", "scenes_flow_pyramid"])
def test_loss_of_pairs_takes_what_their_network_gives_the_checks(name):
    few = {"data.count": 4, "data.workers": 0, "train.batch": 2, "train.epochs": 1, "train.precision": "float32"}
    asked = setup_of(load_recipe(name, few), budget=Budget(5))
    batch = asked.train.batches(1)[0]
    assert torch.isfinite(asked.loss(asked.forward(asked.model, batch), batch))
