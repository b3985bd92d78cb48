"""What the decoder reads and how it is sized."""

import pytest
import torch

from unpool import models
from unpool.errors import RecipeError
from unpool.models.backbones import BACKBONES


def test_decoder_reads_every_map_of_the_backbone():
    torch.manual_seed(0)
    model = models.build("unet", backbone="resnet18", width=8, num_classes=2).eval()
    maps = [m.detach().requires_grad_() for m in model.backbone(torch.rand(1, 3, 64, 64))]
    model.backbone.forward = lambda image: tuple(maps)
    model(torch.rand(1, 3, 64, 64)).sum().backward()
    assert all(m.grad is not None and m.grad.any() for m in maps)


def test_width_of_the_decoder_takes_the_last_numbers():
    model = models.build("unet", backbone="cifar_resnet20", widths=(9, 7, 5))
    assert [block[1].conv.out_channels for block in model.blocks] == [7, 5]


def test_backbone_without_a_map_at_stride_one_gets_one_more_block():
    counts = {name: len(models.build("unet", backbone=name, width=4).blocks) for name in ("resnet18", "vgg11")}
    assert counts == {"resnet18": 5, "vgg11": 5}
    assert BACKBONES["resnet18"].build(width=4).strides[0] == 2
    assert BACKBONES["vgg11"].build(width=4).strides[0] == 1


def test_too_few_widths_are_refused():
    with pytest.raises(RecipeError, match="widths has 2 numbers and this backbone needs 5"):
        models.build("unet", backbone="resnet18", widths=(8, 8))


def test_smp_count_on_resnet50():
    with torch.device("meta"):
        model = models.build("unet", backbone="resnet50")
    assert sum(p.numel() for p in model.parameters()) == 32_524_005
