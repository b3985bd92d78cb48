"""A linear classifier on one map of a backbone."""

import pytest
import torch

from unpool import models
from unpool.errors import RecipeError


def test_logits_are_those_of_the_mean_of_the_map_at_that_stride():
    network = models.build("stage_classifier", backbone="resnet18", width=4, num_classes=3, at_stride=16).eval()
    image = torch.rand(2, 3, 64, 64)
    maps = network.backbone(image)[network.backbone.strides.index(16)]
    assert torch.allclose(network(image), network.head.linear(maps.mean((2, 3))), atol=1e-6)


def test_stride_without_a_map_is_refused():
    with pytest.raises(RecipeError, match="has none at 3"):
        models.build("stage_classifier", backbone="resnet18", at_stride=3)
