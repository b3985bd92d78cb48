"""A dilated network keeps every value at the positions that there were."""

import copy
from functools import partial

import pytest
import torch
import torchvision
from torch import nn

from tests.convert.dilation.dilated import Act, Exchange, conv, image, keeps, sequential, shaken
from unpool import models
from unpool.convert import dilate
from unpool.convert.dilation.grid_operations import pad_border
from unpool.models import BACKBONES

F = nn.functional


class Branches(nn.Module):
    """The sum of two branches."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x):
        return self.one(x) + self.other(x)


def test_each_strided_layer_keeps_its_own_dilation_and_later_ones_double():
    network = sequential(conv(3, 4, padding=1), conv(4, 4, stride=2, padding=1), conv(4, 4, stride=2, padding=1))
    dilated = keeps(network.append(conv(4, 4, padding=1).double()), 1, [4])
    layers = [m for m in dilated.modules() if isinstance(m, nn.Conv2d)]
    assert [m.stride for m in layers] == [(1, 1)] * 4
    assert [m.dilation for m in layers] == [(1, 1), (1, 1), (2, 2), (4, 4)]
    assert [m.padding for m in layers] == [(1, 1), (1, 1), (2, 2), (4, 4)]
    assert [change.layer for change in dilated.changes] == ["1", "2", "3"]
    assert dilated.changes[1] == ("2", "stride 2, dilation 1, padding 1", "stride 1, dilation 2, padding 2")


@pytest.mark.parametrize(
    "layer",
    [
        conv(4, 4, 2, stride=2),
        conv(4, 4, 4, stride=2, padding=1),
        conv(4, 4, 5, stride=3, padding=2),
        conv(4, 4, 1, stride=2),
        conv(4, 4, 3, stride=2, padding=2),
        conv(4, 4, 3, stride=2, padding=1, groups=4),
        conv(4, 4, (3, 5), stride=2, padding=(0, 2)),
        conv(4, 4, 3, stride=2, padding=1, padding_mode="reflect"),
        conv(4, 4, 4, stride=2, padding=1, padding_mode="replicate"),
        conv(4, 4, 3, stride=2, padding=2, dilation=2),
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1, divisor_override=5),
        Act(partial(F.max_pool2d, kernel_size=3, stride=2)),
        Act(partial(F.avg_pool2d, kernel_size=2)),
    ],
    ids=str,
)
def test_layer_is_exact_where_it_strides_and_on_a_finer_grid(layer):
    first, second = copy.deepcopy(layer), copy.deepcopy(layer)
    network = sequential(conv(3, 4, padding=1), first, conv(4, 4, padding=1), second, conv(4, 2, padding=1))
    stride = 9 if getattr(layer, "stride", 2) == (3, 3) else 4
    keeps(network, 1, [stride])
    keeps(network, int(stride**0.5), [stride])


@pytest.mark.parametrize(
    "layer",
    [
        conv(4, 4, 4, padding="same"),
        conv(4, 4, 2, padding="same"),
        conv(4, 4, 3, padding=1, padding_mode="circular"),
        conv(4, 4, 3, padding=2, padding_mode="reflect"),
        nn.MaxPool2d(3, 1, 1),
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        nn.ZeroPad2d((1, 2, 0, 3)),
        nn.ReflectionPad2d(1),
        nn.ReplicationPad2d((2, 0, 1, 1)),
        nn.GroupNorm(2, 4),
        Act(lambda x: F.group_norm(x, 2)),
        nn.LocalResponseNorm(3),
        Act(lambda x: F.pad(x, (0, 1, 2, -1), value=0.5)),
        Act(lambda x: x[:, :, 1:-1, 2:]),
        Act(lambda x: x[..., 1::2, ::2]),
        Act(lambda x: x.permute(0, 2, 3, 1).softmax(-1).permute(0, 3, 1, 2)),
        Act(lambda x: x.view(x.shape[0], 2, 2, x.shape[2], x.shape[3]).transpose(1, 2).flatten(1, 2)),
        Act(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)),
        Act(lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True))),
        Act(lambda x: x * F.adaptive_avg_pool2d(x, 1)),
        Act(lambda x: x / (1 + x.norm(p=2, dim=(2, 3), keepdim=True))),
        Act(lambda x: x * x.mean(1, keepdim=True)),
        Act(lambda x: x + F.interpolate(F.adaptive_avg_pool2d(x, 1), x.shape[-2:], mode="bilinear")),
    ],
    ids=str,
)
def test_layer_without_stride_is_exact_on_a_finer_grid(layer):
    network = sequential(conv(3, 4, stride=2, padding=1), conv(4, 4, stride=2, padding=1), layer)
    keeps(network, 2, [8 if network(image()).shape[2] < 12 else 4])


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_reflected_border_belongs_to_its_own_shift(mode):
    x = image((21, 32))
    padded = pad_border(x, (2, 1), (0, 3), mode, (2, 3))
    for a in range(2):
        for b in range(3):
            own = F.pad(x[:, :, a::2, b::3], (1, 3, 2, 0), mode=mode)
            torch.testing.assert_close(padded[:, :, a::2, b::3], own)


def test_shortcut_of_an_average_pool_meets_its_branch_at_odd_sizes():
    branch = nn.Sequential(conv(3, 4, stride=2, padding=1), nn.ReLU())
    shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), conv(3, 4, 1))
    keeps(sequential(Branches(branch, shortcut), conv(4, 2, padding=1)), 1, [2])


def test_branches_whose_borders_differ_in_size_are_cut_to_one():
    branch = nn.Sequential(nn.ZeroPad2d(1), conv(3, 4, stride=2))
    keeps(sequential(Branches(branch, conv(3, 4, 1, stride=2)), conv(4, 2, padding=1)), 1, [2])


def test_branches_with_rows_and_columns_on_other_axes_are_cut_along_their_own():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.padded, self.plain = nn.Sequential(nn.ZeroPad2d(1), conv(3, 4, stride=2)), conv(3, 4, 1, stride=2)

        def forward(self, x):
            last, second = self.padded(x).permute(0, 2, 3, 1), self.plain(x)
            return torch.einsum("bhwc,bchw->bchw", last, second)

    keeps(sequential(Joined(), conv(4, 2, padding=1)), 1, [2])


def test_pooling_without_padding_keeps_every_position_up_to_the_next_that_there_was_not():
    dilated = dilate(sequential(nn.MaxPool2d(2), nn.MaxPool2d(2)), output_stride=1)
    assert dilated(image((64, 67))).shape[2:] == (64, 64)


def test_stride_may_be_turned_into_dilation_in_part():
    dilated = keeps(sequential(conv(3, 4, 4, stride=4), conv(4, 4, padding=1)), 2, [4])
    assert [m.stride for m in dilated.modules() if isinstance(m, nn.Conv2d)] == [(2, 2), (1, 1)]


def test_rows_and_columns_may_have_strides_of_their_own():
    network = sequential(conv(3, 4, stride=(2, 1), padding=1), conv(4, 4, stride=(2, 2), padding=1), conv(4, 4))
    dilated = dilate(network, output_stride=2)
    with torch.no_grad():
        torch.testing.assert_close(dilated(image())[:, :, ::2], network(image()))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("is_sized", [True, False])
def test_branches_of_several_strides_that_exchange_their_maps_are_exact(mode, is_sized):
    torch.manual_seed(0)
    network = Exchange(mode, is_sized=is_sized).double().eval()
    for output_stride in (2, 1):
        keeps(network, output_stride, [4, 8], sizes=[(67, 85), (64, 96)] if is_sized else [(64, 96)])


def test_upsampling_to_a_map_that_is_not_dilated_reads_the_positions_that_there_were():
    down = nn.Sequential(conv(3, 4, stride=2, padding=1), conv(4, 4, stride=2, padding=1), conv(4, 4, padding=1))
    network = sequential(*down, nn.Upsample(scale_factor=4, mode="bilinear"), conv(4, 2, padding=1))
    x = image((64, 96))
    with torch.no_grad():
        torch.testing.assert_close(dilate(network, output_stride=2)(x), network(x))


@pytest.mark.parametrize(("name", "strides"), [("resnet18", (2, 4, 8, 16, 32)), ("cifar_resnet20", (1, 2, 4))])
@pytest.mark.parametrize("output_stride", [1, 2])
def test_our_residual_backbones_are_exact_at_both_shortcuts(name, strides, output_stride):
    torch.manual_seed(0)
    dilated = keeps(shaken(BACKBONES[name].build(width=4)), output_stride, strides)
    assert dilated.strides == tuple(min(s, output_stride) for s in strides)
    assert dilated.channels == BACKBONES[name].build(width=4).channels


def test_answer_that_is_upsampled_by_stride_reads_the_positions_that_there_were():
    torch.manual_seed(0)
    network = shaken(models.build("fcn", backbone="resnet18", width=4, num_classes=2, output_stride=32))
    for size in ((67, 93), (64, 96), (33, 31)):
        x = image(size)
        with torch.no_grad():
            torch.testing.assert_close(dilate(network, output_stride=8, image=image((97, 131)))(x), network(x))


@pytest.mark.parametrize("output_stride", [1, 8])
def test_our_vgg_with_one_pooling_for_all_stages_is_exact_and_still_refuses_small_images(output_stride):
    torch.manual_seed(0)
    dilated = keeps(shaken(BACKBONES["vgg11_bn"].build(width=4)), output_stride, (1, 2, 4, 8, 16, 32))
    with pytest.raises(ValueError, match=r"\(31, 40\) \(H, W\); VGG halves it five times: give 32 or more"):
        dilated(image((31, 40)))


@pytest.mark.parametrize(
    "name",
    [pytest.param("resnet18", marks=pytest.mark.slow), "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1"],
)  # of resnet18's layers are our own backbones above
def test_torchvisions_classifiers_answer_as_before(name):
    torch.manual_seed(0)
    network = shaken(torchvision.models.get_model(name, weights=None, num_classes=5))
    dilated = dilate(network, output_stride=8)
    with torch.no_grad():
        torch.testing.assert_close(dilated(image()), network(image()), rtol=1e-9, atol=1e-9)


def test_squeeze_and_excitation_averages_the_positions_that_there_were():
    torch.manual_seed(0)
    network = shaken(torchvision.models.mobilenet_v3_small(weights=None).features)
    dilated = keeps(network, 8, [32])
    averages = [change for change in dilated.changes if change.layer.endswith("avgpool")]
    assert averages[-1] == ("11.block.2.avgpool", "of all positions", "of every 4x4th position")
