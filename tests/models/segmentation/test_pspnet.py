"""Counts on other data, corners on corners, widths."""

import pytest
import torch
from torch import nn

from unpool import models


@pytest.mark.parametrize(
    ("name", "num_classes", "params"), [("pspnet", 150, 46_782_550), ("pspnet_resnet101", 19, 65_707_475)]
)
def test_counts_of_the_other_releases(name, num_classes, params):
    with torch.device("meta"):
        model = models.build(name, num_classes=num_classes, output_stride=32)
    assert sum(p.numel() for p in model.parameters()) == params


@pytest.mark.parametrize("name", ["pspnet", "pspnet_aux"])
def test_corners_of_the_answer_are_those_of_the_map(name):
    """Then every eighth pixel of an image of 8k + 1 is one of the map."""
    torch.manual_seed(0)
    model, maps = models.build(name, width=4, head_width=4, num_classes=2).eval(), []
    for head in (model.head, model.get_submodule("auxiliary") if name == "pspnet_aux" else nn.Identity()):
        head.register_forward_hook(lambda _, inputs, output: maps.append(output))
    with torch.no_grad():
        out = model(torch.rand(1, 3, 41, 57))
    logits = [out] if name == "pspnet" else [out.logits, *out.auxiliary]
    assert len(maps) == len(logits)
    for coarse, fine in zip(maps, logits, strict=True):
        assert coarse.shape[2:] == (6, 8)
        torch.testing.assert_close(fine[..., ::8, ::8], coarse)


def test_grids_are_the_papers_and_together_as_wide_as_the_map():
    model = models.build("pspnet", width=4)
    assert [grid[1].conv.out_channels for grid in model.head.pyramid.grids] == [32, 32, 32, 32]
    assert [grid[0].output_size for grid in model.head.pyramid.grids] == [1, 2, 3, 6]
    assert model.head.project.conv.in_channels == 256
