"""YOLO v1 as figure 3 of the paper has it, and the small one on any backbone."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import DataError, RecipeError
from unpool.models import detection
from unpool.models.backbones.extraction import STAGES, Leaky


def test_paper_has_24_convolutions_two_linear_layers_and_98_boxes():
    with torch.device("meta"):
        model = models.build("yolo448").eval()
        output = model(torch.empty(1, 3, 448, 448))
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert (len(convs), sum(len(stage) for stage in STAGES)) == (24, 20)
    assert [m.out_features for m in model.modules() if isinstance(m, nn.Linear)] == [4096, 1470]
    assert output.confidences.numel() == 98
    assert sum(part.numel() for part in output) == 7 * 7 * 30
    activations = [m for m in model.modules() if isinstance(m, Leaky)]
    assert len(activations) == 25
    assert {m.negative_slope for m in activations} == {0.1}


@pytest.mark.data
def test_counts_are_those_of_the_reference(shared_data):
    path = Path(shared_data).parent / "reference" / "truth.json"
    if not path.exists():
        pytest.skip("no reference here")
    rows = [row for row in json.loads(path.read_text()) if isinstance(row, dict) and row.get("name") == "YOLO v1"]
    assert {row["params"] for row in rows} == {detection.MODELS[name].params for name in ("yolo448", "yolo448_bn")}


@pytest.mark.parametrize("side", [(64, 96), (70, 90)])
def test_grid_of_a_dilated_backbone_has_the_cells_of_its_map(side):
    model = models.build("yolo", width=8, neck_width=8, num_classes=3, grid=[4, 5], output_stride=16).eval()
    classes, confidences, boxes = model(torch.rand(2, 3, *side))
    assert (classes.shape, confidences.shape, boxes.shape) == ((2, 4, 5, 3), (2, 4, 5, 2), (2, 4, 5, 2, 4))


def test_numbers_of_a_cell_come_from_its_position_of_the_map():
    model = models.build("yolo", width=8, neck_width=8, num_classes=3, grid=[2, 3], boxes_per_cell=1).eval()
    numbers = torch.arange(8.0 * 6).reshape(1, 8, 2, 3)
    model.head = nn.Identity()
    model.read = lambda image: (numbers,)
    classes, confidences, boxes = model(torch.zeros(1, 3, 64, 96))
    assert classes[0, 1, 2].tolist() == numbers[0, :3, 1, 2].tolist()
    assert confidences[0, 1, 2].tolist() == [numbers[0, 3, 1, 2]]
    assert boxes[0, 1, 2, 0].tolist() == numbers[0, 4:, 1, 2].tolist()


def test_grid_finer_than_the_map_is_refused():
    model = models.build("yolo", width=8, neck_width=8)
    with pytest.raises(DataError, match=r"last map is \(2, 3\) \(H, W\) and the grid \(7, 7\)"):
        model(torch.rand(1, 3, 64, 96))


@pytest.mark.parametrize("name", ["yolo", "yolo448"])
def test_grid_that_is_no_pair_is_refused(name):
    with pytest.raises(RecipeError, match=r"grid is \[7\]; give two numbers"):
        models.build(name, width=8, neck_width=8, grid=[7])


def test_last_layer_starts_small_and_without_bias():
    for name, wide in (("yolo", {"neck_width": 64}), ("yolo448", {"neck_width": 8, "head_width": 64})):
        last = list(models.build(name, width=8, **wide).head.children())[-1]
        assert float(last.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
        assert not last.bias.any()
