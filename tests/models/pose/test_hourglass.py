"""Depth, alignment, re-injection, supervision of every stack."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.models.pose.hourglass import Bottleneck, Hourglass


def network(name, **options):
    torch.manual_seed(0)
    return models.build(name, width=8, num_classes=3, **options)


@pytest.mark.parametrize("size_hw", [(8, 12), (5, 7)])
def test_coarse_path_is_repeated_to_the_size_of_the_map_beside_it(size_hw):
    body = Hourglass(4, 1)
    for name in ("across", "down", "inner", "up"):
        setattr(body, name, nn.Identity())
    torch.manual_seed(0)
    x = torch.rand(2, 4, *size_hw)
    pooled = nn.functional.max_pool2d(x, 2, ceil_mode=True)
    repeated = pooled.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : size_hw[0], : size_hw[1]]
    assert torch.equal(body(x), x + repeated)


def test_coarsest_map_is_four_by_four_as_published():
    model, sizes = network("hourglass1").eval(), []
    for module in model.modules():
        if isinstance(module, Hourglass):
            module.inner.register_forward_hook(lambda _, inputs, output: sizes.append(output.shape[2:]))
    model(torch.rand(1, 3, 256, 256))
    assert sizes == [(4, 4), (8, 8), (16, 16), (32, 32)]


def test_bottleneck_whose_last_convolution_is_zero_is_the_identity_also_below_zero():
    torch.manual_seed(0)
    block, x = Bottleneck(8, 8), torch.randn(2, 8, 5, 6)
    nn.init.zeros_(block.branch[-1][-1].weight)
    nn.init.zeros_(block.branch[-1][-1].bias)
    assert torch.equal(block(x), x)


def test_shortcut_is_a_convolution_only_where_the_width_changes():
    assert isinstance(Bottleneck(8, 8).shortcut, nn.Identity)
    assert isinstance(Bottleneck(4, 8).shortcut, nn.Conv2d)


def reached(model, tensor):
    model.zero_grad()
    tensor.square().sum().backward(retain_graph=True)
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def test_loss_of_each_stack_trains_what_comes_before_it_and_nothing_after():
    model = network("hourglass2")
    first, second = model(torch.rand(2, 3, 64, 64)).heatmaps
    own = ("stem.", "hourglasses.0.", "features.0.", "heads.0.")
    assert all(name.startswith(own) for name in reached(model, first))
    later = reached(model, second)
    assert "heads.0.weight" in later  # through the re-injected heatmaps
    assert {"back.0.features.weight", "back.0.heatmaps.weight", "heads.1.weight"} <= later


def test_next_stack_reads_the_sum_of_what_the_last_one_read_its_features_and_its_heatmaps():
    model = network("hourglass2").eval()
    read, features = [], []
    model.hourglasses[0].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    model.hourglasses[1].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    model.features[0].register_forward_hook(lambda _, inputs, output: features.append(output))
    with torch.no_grad():
        heatmaps = model(torch.rand(1, 3, 64, 64)).heatmaps[0]
        back = model.back[0]
        torch.testing.assert_close(read[1], read[0] + back.features(features[0]) + back.heatmaps(heatmaps))


def test_last_stack_has_no_reinjection():
    assert [len(network(name).back) for name in ("hourglass1", "hourglass2", "hourglass8")] == [0, 1, 7]


def test_one_stack_is_the_beginning_of_two():
    one, two = network("hourglass1").eval(), network("hourglass2").eval()
    two.load_state_dict({**two.state_dict(), **one.state_dict()})
    image = torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        assert torch.equal(one(image).heatmaps[0], two(image).heatmaps[0])


def test_stem_has_the_widths_of_the_release():
    with torch.device("meta"):
        stem = models.build("hourglass1").stem
    assert [p.shape[0] for p in (stem[0].conv.weight, stem[1].shortcut.weight, stem[4].shortcut.weight)] == [
        *(64, 128, 256)
    ]


def test_width_that_leaves_the_stem_nothing_is_refused():
    assert models.build("hourglass1", width=4)(torch.rand(2, 3, 64, 64)).heatmaps[0].shape == (2, 16, 16, 16)
    with pytest.raises(RecipeError, match="width is 3; the stem has a quarter of it: give 4 or more"):
        models.build("hourglass1", width=3)


def test_width_that_four_does_not_divide_is_rounded_down_in_all_layers_of_the_stem():
    network = models.build("hourglass1", width=10)
    assert network(torch.rand(2, 3, 64, 64)).heatmaps[0].shape == (2, 16, 16, 16)
