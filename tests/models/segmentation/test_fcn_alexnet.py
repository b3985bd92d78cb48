"""Where scores land, what is fixed, and that the norm is Caffe's."""

import torch
from torch import nn

from unpool import models
from unpool.layers.norm import LocalResponseNorm


class Ramp(nn.Module):
    """One class whose score is the row of the map, whatever the map holds."""

    def forward(self, x):
        return torch.arange(x.shape[2], dtype=x.dtype).view(1, 1, -1, 1).expand(x.shape[0], 1, -1, x.shape[3])


def network(num_classes=1):
    torch.manual_seed(0)
    return models.build("fcn_alexnet", num_classes=num_classes, width=2).eval()


def test_scores_land_where_they_were_seen():
    """Row r of the scores sees pixels around row 32 r + 13 of the image, layer by layer."""
    centre, step = 5 - 100.0, 4  # where the first row of conv1 looks, and how far the next looks from there
    for side, stride in ((3, 2), (3, 2), (3, 2), (6, 1)):  # three poolings and fc6
        centre, step = centre + step * (side - 1) / 2, step * stride
    assert (centre, step) == (13.0, 32)
    model = network()
    model.score = Ramp()
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 224, 200))
    rows = torch.arange(224.0)
    torch.testing.assert_close(logits[0, 0, 64:160, 100], ((rows - 13) / 32)[64:160], rtol=0, atol=1e-4)


def test_sizes_are_those_of_the_release():
    model, sizes = network(), []
    for layer in model.features:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            layer.register_forward_hook(lambda _, inputs, output: sizes.append(output.shape[-1]))
    model.fc.register_forward_hook(lambda _, inputs, output: sizes.append(output.shape[-1]))
    with torch.device("meta"):
        model.to("meta")(torch.empty(1, 3, 500, 500))
    assert sizes == [173, 86, 86, 43, 43, 43, 43, 21, 16]


def test_norm_is_caffes():
    torch.manual_seed(0)
    x = 50 * torch.rand(1, 9, 4, 5)
    norms = [m for m in network().features if isinstance(m, LocalResponseNorm)]
    assert len(norms) == 2
    for norm in norms:
        torch.testing.assert_close(norm(x), nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)(x))


def test_groups_are_those_of_two_graphics_cards():
    assert [m.groups for m in network().features if isinstance(m, nn.Conv2d)] == [1, 2, 1, 2, 2]


def test_new_network_answers_zero_and_only_the_upsampling_is_fixed():
    model = network(3)
    assert not model(torch.rand(1, 3, 40, 50)).any()
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["to_image.weight"]
