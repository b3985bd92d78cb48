"""The paper's table, row by row, and where the maps are taken."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.layers.inception import Widths
from unpool.models import BACKBONES
from unpool.models.backbones.googlenet import scaled

PARAMS = {  # with biases, counted from the table
    "3a": 163_696,
    "3b": 388_736,
    "4a": 376_176,
    "4b": 449_160,
    "4c": 510_104,
    "4d": 605_376,
    "4e": 868_352,
    "5a": 1_043_456,
    "5b": 1_444_080,
}
MEGA_MACS = [128.0, 304.3, 73.6, 87.9, 99.9, 118.5, 170.0, 51.1, 70.7]


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_every_module_has_the_parameters_of_the_table():
    with torch.device("meta"):
        model = models.build("googlenet")
    stages = model.backbone.stages
    assert {name: count(part) for stage in stages[2:] for name, part in stage.named_children()} == PARAMS
    assert [count(stages[0]), count(stages[1]), count(model.head)] == [9_472, 114_944, 1_025_000]


def test_every_module_has_the_multiply_adds_of_the_table():
    found = dict.fromkeys(PARAMS, 0)

    def counted(name):
        def add(layer, inputs, output):
            found[name] += layer.weight.numel() * output.shape[2:].numel()

        return add

    with torch.device("meta"):
        model = BACKBONES["googlenet"].build()
        for stage in list(model.stages)[2:]:
            for name, part in stage.named_children():
                for layer in part.modules():
                    if isinstance(layer, nn.Conv2d):
                        layer.register_forward_hook(counted(name))
        model(torch.empty(1, 3, 224, 224))
    assert [round(macs / 1e6, 1) for macs in found.values()] == MEGA_MACS


def test_maps_and_taps_of_224_have_the_papers_sizes():
    with torch.device("meta"):
        maps, taps = BACKBONES["googlenet"].build().tapped(torch.empty(1, 3, 224, 224))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 112, 112), (192, 56, 56), (480, 28, 28), (832, 14, 14), (1024, 7, 7)
    ]  # fmt: skip
    assert {name: tuple(m.shape[1:]) for name, m in taps.items()} == {"4a": (512, 14, 14), "4d": (528, 14, 14)}


def test_norm_stands_after_the_first_pooling_and_before_the_second():
    torch.manual_seed(0)
    backbone = BACKBONES["googlenet"].build(width=8).eval()
    maps = backbone(torch.rand(1, 3, 64, 64) * 255)

    def pool(x):
        return nn.functional.max_pool2d(x, 3, stride=2, ceil_mode=True)

    def norm(x):  # torch divides alpha by the size, as Caffe does
        return nn.functional.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    stage = backbone.stages[1]
    torch.testing.assert_close(maps[1], norm(stage.conv2(stage.reduce(norm(pool(maps[0]))))))
    torch.testing.assert_close(maps[2], backbone.stages[2](pool(maps[1])))


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn", "googlenet_torchvision"])
def test_every_convolution_is_rectified_reductions_and_projections_too(name):
    torch.manual_seed(0)
    backbone, least = BACKBONES[name].build(width=8), []
    for module in backbone.modules():
        if "conv" in dict(module.named_children()):
            if module.conv.bias is not None:
                nn.init.constant_(module.conv.bias, -0.1)
            module.register_forward_hook(lambda layer, inputs, output: least.append(output.min().item()))
    with torch.no_grad():
        backbone(torch.randn(2, 3, 128, 128))
    assert least == [0.0] * (3 + 9 * 6)


def test_release_starts_with_variance_one_over_fan_in_and_biases_of_a_fifth():
    torch.manual_seed(0)
    model = models.build("googlenet")
    first = model.backbone.stages[0].conv1.conv
    assert first.weight.var().item() == pytest.approx(1 / 147, rel=0.05)
    assert first.weight.abs().max().item() <= (3 / 147) ** 0.5
    biases = torch.cat([p for key, p in model.backbone.named_parameters() if key.endswith("bias")])
    assert biases.unique().tolist() == pytest.approx([0.2])
    assert not model.head.linear.bias.any()


def test_torchvisions_form_has_smaller_filters_and_another_last_pooling():
    paper, other = (BACKBONES[name].build(width=8) for name in ("googlenet_bn", "googlenet_torchvision"))
    blocks = [[block for stage in network.stages[2:] for block in stage] for network in (paper, other)]
    sides = [[block.branches[2][1].conv.kernel_size[0] for block in row] for row in blocks]
    assert sides == [[5] * 9, [3] * 9]
    assert [net.pools[-1].kernel_size for net in (paper, other)] == [3, 2]
    assert {m.eps for m in other.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize(
    ("name", "dropout"), [("googlenet", 0.4), ("googlenet_bn", 0.4), ("googlenet_torchvision", 0.2)]
)
def test_dropout_stands_before_the_linear_layer(name, dropout):
    head = models.build(name, width=8).head
    assert [type(m).__name__ for m in head] == ["AdaptiveAvgPool2d", "Flatten", "Dropout", "Linear"]
    assert head.drop.p == dropout


def test_smallest_image_works_and_a_smaller_one_is_refused():
    model = models.build("googlenet", width=8, num_classes=3).eval()
    assert model(torch.rand(1, 3, 31, 50)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"\(30, 50\) \(H, W\); GoogLeNet halves it five times: give 31 or more"):
        model(torch.rand(1, 3, 30, 50))


def test_table_is_scaled_in_proportion_and_never_to_nothing():
    row = Widths(192, 96, 208, 16, 48, 64)
    assert scaled(row, 64) == row
    assert scaled(row, 128) == tuple(2 * filters for filters in row)
    assert scaled(row, 1) == (3, 1, 3, 1, 1, 1)
