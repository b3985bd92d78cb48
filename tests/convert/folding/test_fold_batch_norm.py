"""A convolution takes over the batch norm behind it, whatever its kind, and nothing else changes."""

import pytest
import timm
import timm.layers
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from tests.convert.folding.folded import drawn, image, keeps, sequential
from unpool import models
from unpool.convert import fold_batch_norm
from unpool.layers.norm import ShiftBatchNorm
from unpool.models import BACKBONES
from unpool.tracing.rewriter import Change

F = nn.functional
MAP = (2, 4, 11, 9)


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), MAP),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, bias=False), nn.BatchNorm2d(6), MAP),
        (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), MAP),
        (nn.Conv2d(4, 8, 3, groups=4, bias=False), nn.BatchNorm2d(8), MAP),
        (nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), nn.BatchNorm2d(6), MAP),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1), nn.BatchNorm2d(6), MAP),
        (nn.ConvTranspose2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), MAP),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), MAP),
        (nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), (2, 4, 9)),
        (nn.ConvTranspose1d(4, 6, 3), nn.BatchNorm1d(6), (2, 4, 9)),
        (nn.Conv3d(4, 6, 3), nn.BatchNorm3d(6), (2, 4, 5, 6, 7)),
        (nn.ConvTranspose3d(4, 6, 3), nn.BatchNorm3d(6), (2, 4, 5, 6, 7)),
        (nn.Linear(4, 6), nn.BatchNorm1d(6), (5, 4)),
        (nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), (5, 4)),
        (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, eps=0.5), MAP),
        (nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False), MAP),
        (nn.Conv2d(4, 6, 3), ShiftBatchNorm(6), MAP),
        (nn.Conv2d(4, 6, 3), nn.SyncBatchNorm(6), MAP),
        (nn.Conv2d(4, 6, 3), FrozenBatchNorm2d(6, eps=0.5), MAP),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layer_and_norm_become_one(layer, norm, shape):
    folded = keeps(sequential(layer, norm, nn.ReLU()), image(*shape), norms=1)
    assert type(folded.network[1]) is nn.Identity
    assert folded.changes == (Change("1", f"{type(norm).__name__} after 0", "in the weights of 0"),)


@pytest.mark.parametrize(
    ("name", "norms", "left"),
    [("resnet18", 20, 0), ("resnet50", 53, 0), ("vgg11_bn", 8, 0), ("preresnet50", 33, 17), ("googlenet_bn", 57, 0)],
)
def test_our_backbones_keep_every_map(name, norms, left):
    torch.manual_seed(0)
    keeps(drawn(BACKBONES[name].build(width=4)), image(1, 3, 64, 64), norms=norms, left=left)


def test_upsampling_by_transposed_convolutions_is_kept():
    torch.manual_seed(0)
    network = models.build("simple_baselines", backbone="resnet18", num_classes=3, width=8)
    keeps(drawn(network), image(1, 3, 64, 64), norms=23)


@pytest.mark.parametrize(("decoder", "norms"), [("unet", 30), ("fcn", 21), ("pspnet", 25)])
def test_decoder_that_upsamples_by_stride_is_kept_at_odd_sizes(decoder, norms):
    torch.manual_seed(0)
    network = models.build(decoder, backbone="resnet18", num_classes=3, width=8)
    keeps(drawn(network), image(1, 3, 67, 85), norms=norms)


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenetv3_small_050", "levit_128s", "regnety_002"])
def test_networks_of_timm_are_kept(name):
    torch.manual_seed(0)
    network = drawn(timm.create_model(name))
    folded = fold_batch_norm(network)
    assert len(folded.changes) > 30
    size = 224 if name.startswith("levit") else 64
    with torch.no_grad():
        x = image(1, 3, size, size)
        a, b = network(x), folded.network(x)
    assert (a - b).abs().max() <= 1e-5 * a.abs().max()


@pytest.mark.parametrize(
    ("norm", "acts"),
    [
        (timm.layers.BatchNormAct2d(6, act_layer=nn.SiLU), ["SiLU"]),
        (timm.layers.BatchNormAct2d(6, act_layer=nn.PReLU), ["PReLU"]),
        (timm.layers.BatchNormAct2d(6, apply_act=False), []),
        (timm.layers.SplitBatchNorm2d(6), []),
    ],
)
def test_activation_inside_of_a_norm_stays(norm, acts):
    network = sequential(nn.Conv2d(3, 6, 3), norm, nn.Conv2d(6, 2, 3))
    folded = fold_batch_norm(network)
    assert [type(module).__name__ for module in folded.network[1].children()] == acts
    torch.testing.assert_close(folded.network(image()), network(image()))
    assert folded.changes[0].new == "".join(["in the weights of 0", *(f", then {act}" for act in acts)])
    assert {key for key in folded.network.state_dict() if ".act." in key} <= set(network.state_dict())


class Twice(nn.Module):
    """Calls one layer and one norm twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(F.relu(self.norm(self.conv(x)))))


def test_pair_that_runs_twice_is_folded_once():
    torch.manual_seed(0)
    keeps(drawn(Twice()), image(), norms=1)


def test_norm_behind_two_convolutions_goes_into_both():
    norm = nn.BatchNorm2d(3)
    network = sequential(nn.Conv2d(3, 3, 3), norm, nn.ReLU(), nn.Conv2d(3, 3, 3), norm)
    folded = fold_batch_norm(network)
    assert folded.changes == (Change("1", "BatchNorm2d after 0, 3", "in the weights of 0, 3"),)
    assert [type(module) for module in folded.network] == [nn.Conv2d, nn.Identity, nn.ReLU, nn.Conv2d, nn.Identity]
    torch.testing.assert_close(folded.network(image()), network(image()))


def test_convolutions_that_share_weights_get_their_own():
    network = sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))
    network[2].weight = network[0].weight
    folded = keeps(network, image(), norms=2)
    assert not torch.equal(folded.network[0].weight, folded.network[2].weight)


class Tokens(nn.Module):
    """A norm over the channels of (B, T, C), which reads them as (B * T, C)."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)

    def forward(self, x):
        x = self.linear(x)
        return self.norm(x.flatten(0, 1)).reshape_as(x)


def test_norm_that_reads_a_view_is_folded():
    torch.manual_seed(0)
    keeps(drawn(Tokens()), image(2, 7, 4), norms=1)


class Branching(nn.Module):
    """Python that depends on the values, in float32 alone."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    def forward(self, x):
        x = self.layers(x.float())
        return x if float(x.detach().mean()) > 0 else x + 1


def test_network_that_no_graph_describes_is_folded():
    torch.manual_seed(0)
    network = drawn(Branching())
    folded = fold_batch_norm(network)
    assert [change.layer for change in folded.changes] == ["layers.1"]
    torch.testing.assert_close(folded.network(image()), network(image()))
