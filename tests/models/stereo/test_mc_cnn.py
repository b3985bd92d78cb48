"""MC-CNN: counts by hand, and scores on whole images that are those of patches."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError


def convolutions(layers, width):
    return 9 * width + width + (layers - 1) * (9 * width * width + width)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mc_cnn_fast", convolutions(5, 64)),
        ("mc_cnn_fast_kitti", convolutions(4, 64)),
        ("mc_cnn_accurate", convolutions(5, 112) + 224 * 384 + 384 + 2 * (384 * 384 + 384) + 384 + 1),
        ("mc_cnn_accurate_kitti", convolutions(4, 112) + 224 * 384 + 384 + 3 * (384 * 384 + 384) + 384 + 1),
    ],
)
def test_count_is_that_of_table_4(name, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in models.build(name).parameters()) == count


def patch_features(network, patch):
    """(F,) what the towers give of a patch by convolutions without padding."""
    x = patch[None, None]
    for layer in network.tower:
        x = nn.functional.conv2d(x, layer.weight, layer.bias) if isinstance(layer, nn.Conv2d) else layer(x)
    return x[0, :, 0, 0]


@torch.no_grad()
@pytest.mark.parametrize("name", ["mc_cnn_fast_kitti", "mc_cnn_accurate_kitti"])
def test_score_is_that_of_two_patches_of_nine_pixels(name):
    torch.manual_seed(0)
    hidden = {"hidden": 16} if "accurate" in name else {}
    network = models.build(name, width=8, num_classes=5, **hidden).eval()
    pair = torch.randn(1, 2, 14, 26)
    y, x, d = 6, 15, 3
    left, right = pair[0, 0, y - 4 : y + 5, x - 4 : x + 5], pair[0, 1, y - 4 : y + 5, x - d - 4 : x - d + 5]
    first, second = patch_features(network, left), patch_features(network, right)
    if "fast" in name:
        expected = nn.functional.cosine_similarity(first, second, dim=0)
    else:
        weight = torch.cat([network.of_left.weight, network.of_right.weight], dim=1)[:, :, 0, 0]
        hidden_units = weight @ torch.cat([first, second]) + network.of_left.bias
        expected = network.head(hidden_units.view(1, -1, 1, 1)).squeeze()
    torch.testing.assert_close(network(pair)[0, d, y, x], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["mc_cnn_fast", "mc_cnn_accurate"])
def test_disparities_beyond_the_image_score_least(name):
    network = models.build(name, width=8, num_classes=9)
    scores = network(torch.randn(1, 2, 5, 7))
    assert scores.shape == (1, 9, 5, 7)
    assert isinstance(network.tower[-1], nn.Conv2d if "fast" in name else nn.ReLU)
    least = -1.0 if "fast" in name else -20.0
    assert all((scores[0, d, :, : min(d, 7)] == least).all() for d in range(9))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("mc_cnn_fast", {"in_channels": 3}, "in_channels is 3; a pair has the channels of both images"),
        ("mc_cnn_accurate", {"in_channels": 1}, "in_channels is 1; a pair has"),
        ("flow_pyramid", {"in_channels": 3}, "in_channels is 3; two frames have the channels of both"),
        ("flownet_c", {"num_classes": 21}, "num_classes is 21; a flow has 2"),
    ],
)
def test_what_is_no_pair_and_no_flow_is_refused(name, options, says):
    with pytest.raises(RecipeError, match=says):
        models.build(name, **options)
