"""`show_lesion`: what is taken out of a run's network, and what is said of it."""

from pathlib import Path

import pytest
import torch

import unpool
from tests.tiny_trees import write_tree
from unpool.errors import RecipeError
from unpool.inspection.blocks import Block
from unpool.lesioning import _pairs, _sizes, _swapped, kendall_tau

TINY = {"model.width": 4, "train.epochs": 1, "train.batch": 4, "train.precision": "float32"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lesions")
    root = write_tree("cifar", folder / "data")
    tiny = {**TINY, "train.memory_format": "contiguous", "data.root": str(root), "data.workers": 0}
    metrics = unpool.train("cifar10_resnet20", tiny, run=folder / "run")
    return Path(metrics["run"]), metrics


def test_error_of_the_whole_network_is_that_of_evaluation_and_each_block_is_deleted_once(run):
    path, metrics = run
    steps = []
    view = unpool.show_lesion(path, draws=2, progress=lambda *step: steps.append(step))
    values = view.values
    assert values["error"] == pytest.approx(1 - metrics["top1"])
    assert len({one["name"] for one in values["blocks"]}) == 9
    assert [one["size"] for one in values["several"]] == [2, 4]
    assert [one["size"] for one in values["shuffled"]] == [1, 2, 4]
    assert all(len(one["errors"]) == 2 for one in values["several"])
    assert steps[-1] == (1 + 9 + 4 + 6, 1 + 9 + 4 + 6)
    assert sum(one["contribution"] for one in values["lengths"]) == pytest.approx(1)
    page = view.to_page()
    assert "Without one residual block" in page
    assert "Gradient of one path" in page


def test_lesions_of_one_seed_are_the_same_ones_and_leave_the_network_as_it_was(run):
    path, _ = run
    weights = (path / "model.safetensors").read_bytes()
    first, again = (unpool.show_lesion(path, draws=1, images=3, seed=4).values for _ in range(2))
    assert first == again
    assert first["images"] == 3
    assert (path / "model.safetensors").read_bytes() == weights


def test_numbers_below_one_are_refused(run):
    with pytest.raises(RecipeError, match="images is 0 and draws 3; both must be at least 1"):
        unpool.show_lesion(run[0], images=0)


def test_order_is_compared_by_all_pairs():
    assert kendall_tau([0, 1, 2, 3]) == 1
    assert kendall_tau([3, 2, 1, 0]) == -1
    assert kendall_tau([0, 1, 3, 2]) == pytest.approx(4 / 6)


def test_blocks_trade_places_within_one_shape_alone():
    blocks = [
        Block(
            str(i),
            ("add", i),
            is_branch_first=True,
            keeps_shape=i != 3,
            shape=(4 if i < 3 else 8, 8, 8),
            is_module=True,
        )
        for i in range(6)
    ]
    assert _pairs(blocks) == [(0, 1), (0, 2), (1, 2), (4, 5)]
    for seed in range(20):
        order = _swapped(blocks, 3, torch.Generator().manual_seed(seed))
        assert sorted(order) == list(range(6))
        assert all(blocks[i].shape == blocks[source].shape for i, source in enumerate(order))
        assert order[3] == 3


def test_several_are_up_to_half_of_the_blocks():
    assert (_sizes(27), _sizes(54), _sizes(3)) == ([2, 4, 8], [2, 4, 8, 16], [])
