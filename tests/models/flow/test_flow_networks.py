"""Networks for flow: flows are pixels of the image at every level, and coarse ones are carried to the fine."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.models.flow.pyramid import comparable
from unpool.ops.displacements import correlation


def silent(predictors):
    """The layers that give the flow, all of them giving none."""
    for layer in predictors:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return predictors


@torch.no_grad()
def test_flow_of_the_coarsest_level_of_a_pyramid_is_sixteen_times_as_long_in_the_image():
    network = models.build("flow_pyramid", width=8).eval()
    layers = silent([decoder[-1] for decoder in network.decoders])
    layers[-1].bias[:] = torch.tensor([1.0, -0.5])  # of stride 16
    output = network(torch.rand(1, 6, 32, 64))
    for flow in (output.logits, *output.auxiliary):
        assert flow[0].flatten(1).T.unique(dim=0).tolist() == [[16.0, -8.0]]
    assert [tuple(flow.shape[2:]) for flow in output.auxiliary] == [(16, 32), (8, 16), (4, 8), (2, 4)]


@torch.no_grad()
def test_finer_levels_of_a_pyramid_compare_what_the_coarse_flow_points_to():
    """A frame and the same 16 pixels further right: with that flow known, the finest level sees no displacement."""
    network = models.build("flow_pyramid", width=8).eval()
    layers = silent([decoder[-1] for decoder in network.decoders])
    layers[-1].bias[:] = torch.tensor([1.0, 0.0])
    seen = []
    network.decoders[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    wide = torch.rand(1, 3, 32, 112)
    network(torch.cat([wide[..., 32:96], wide[..., 16:80]], dim=1))
    cosines = seen[0][:, :49, 4:12, 4:18]  # of 7 x 7 displacements; both frames are normalised by what else they show
    assert float(cosines[:, 24].min()) > 0.95
    assert bool((cosines.argmax(1) == 24).all())


def positions(rows, columns, stride):
    """Where each position of a map lies in the image, x and y."""
    x, y = ((stride * torch.arange(side) + (stride - 1) / 2).float() for side in (columns, rows))
    return torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)])[None]


@torch.no_grad()
@pytest.mark.parametrize("size_hw", [(64, 128), (61, 125), (62, 83)])
def test_flow_of_flownet_lies_where_its_map_does_whatever_the_sides(size_hw, monkeypatch):
    network = models.build("flownet_c", width=8).eval()
    height, width = size_hw
    finest = positions(-(-height // 4), -(-width // 4), 4)
    monkeypatch.setattr(network, "_decoded", lambda levels: [finest / 20])
    flow = network(torch.rand(1, 6, *size_hw)).logits
    torch.testing.assert_close(flow[..., 2:-3, 2:-3], positions(height, width, 1)[..., 2:-3, 2:-3])


class Positions(nn.Module):
    """In place of the coarsest decoder: where each position lies, in pixels of its level."""

    def forward(self, seen):
        return (positions(*seen.shape[-2:], 16) / 16).to(seen)


@torch.no_grad()
@pytest.mark.parametrize("size_hw", [(64, 128), (61, 125), (50, 83)])
def test_flow_of_a_pyramid_lies_where_its_maps_do_whatever_the_sides(size_hw):
    network = models.build("flow_pyramid", width=8).eval()
    silent([decoder[-1] for decoder in network.decoders])
    network.decoders[-1] = Positions()
    output = network(torch.rand(1, 6, *size_hw))
    known = [slice(16, side // 16 * 16 - 16) for side in size_hw]  # away from the ends of the coarsest map
    for stride, flow in enumerate((output.logits, *output.auxiliary)):
        rows, columns = (slice(part.start >> stride, part.stop >> stride) for part in known)
        expected = positions(*flow.shape[-2:], 2**stride)
        torch.testing.assert_close(flow[..., rows, columns], expected[..., rows, columns])


@torch.no_grad()
@pytest.mark.parametrize("ground", [0.0, 50.0])
def test_features_of_one_ground_are_compared_by_what_differs_from_it(ground):
    """Products of features with a large common part are all alike: of cosines about the mean, one stands out."""
    texture = torch.randn(1, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    first, second = comparable(texture + ground, texture.roll(1, 3) + ground)
    alike = correlation(first, second, reach=1)[0, :, 8:24, 8:24]
    assert bool((alike.argmax(0) == 5).all())
    torch.testing.assert_close(alike[5], torch.ones(16, 16), rtol=1e-3, atol=1e-3)
    assert float(alike[4].mean()) < 0.3


@torch.no_grad()
def test_flow_of_flownet_is_scaled_once():
    network = models.build("flownet_c", width=8).eval()
    layers = silent(list(network.predict))
    layers[-1].bias[:] = torch.tensor([0.5, 0.25])
    output = network(torch.rand(1, 6, 64, 64))
    assert output.logits[0, :, 5, 5].tolist() == [10.0, 5.0]
    assert output.auxiliary[0].shape == (1, 2, 16, 16)
