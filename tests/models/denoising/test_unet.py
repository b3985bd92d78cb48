"""U-Net that answers by what is to be taken away."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.ops.tiling import declared_stride


def test_network_that_finds_no_noise_gives_the_image_back():
    model, image = models.build("unet_regression", width=2), torch.rand(1, 1, 33, 47)
    nn.init.zeros_(model.noise.head.weight)
    assert torch.equal(model(image), image)


def test_noise_comes_from_the_padded_unet_of_segmentation():
    torch.manual_seed(0)
    model, other = models.build("unet_regression", width=2), models.build("unet_same", width=2, num_classes=1)
    other.load_state_dict(model.noise.state_dict())
    image = torch.rand(1, 1, 32, 48)
    torch.testing.assert_close(model(image), image - other(image))


def test_count_is_unets_without_one_map():
    """A map less in the last 1x1 convolution: 64 weights and a bias."""
    with torch.device("meta"):
        two, one = models.build("unet_same"), models.build("unet_regression")
    assert sum(p.numel() for p in two.parameters()) - sum(p.numel() for p in one.parameters()) == 64 + 1


@pytest.mark.parametrize("depth", [2, 6])
@pytest.mark.parametrize("name", ["unet_regression", "conv_autoencoder"])
def test_tiles_start_where_the_coarsest_map_has_a_pixel(name, depth):
    assert declared_stride(models.build(name, width=1, depth=depth)) == 2**depth
