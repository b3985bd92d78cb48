"""What depends on the size of the image stays exact at every size, or is refused."""

import pytest
import torch
from torch import nn

from tests.convert.dilation.dilated import Act, conv, keeps, sequential
from unpool.convert import dilate
from unpool.errors import NotConvertible

F = nn.functional
SIZES = [(75, 101), (88, 121), (110, 70), (127, 99), (150, 142)]  # (H, W): none on which `dilate` compares


def network(layer):
    torch.manual_seed(0)
    stem = (conv(3, 4, stride=2, padding=1), conv(4, 4, stride=2, padding=1), nn.ReLU())
    return sequential(*stem, layer, conv(4, 2, padding=1))


class Bins(nn.Module):
    """Averages of parts of the map, spread over it, as in a pyramid pooling module."""

    def __init__(self, bins, mode):
        super().__init__()
        self.bins, self.mode, self.conv = bins, mode, conv(4, 4, 1)

    def forward(self, x):
        parts = self.conv(F.adaptive_avg_pool2d(x, self.bins))
        return x + F.interpolate(parts, size=x.shape[-2:], mode=self.mode)


class Table(nn.Module):
    """A learned table, resized to the map and added."""

    def __init__(self, mode):
        super().__init__()
        self.table, self.mode = nn.Parameter(torch.randn(1, 4, 7, 7)), mode

    def forward(self, x):
        return x + F.interpolate(self.table, (x.size(2), x.size(3)), mode=self.mode)


class Attention(nn.Module):
    """Every position reads every other; the map becomes a list of positions by `view`, and a map again."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = conv(4, 4, 1), conv(4, 4, 1), conv(4, 4, 1)

    def forward(self, x):
        batch, channels, height, width = x.shape
        query, key, value = (f(x).view(batch, channels, height * width) for f in (self.query, self.key, self.value))
        weights = (query.transpose(1, 2) @ key / channels**0.5).softmax(-1)  # (B, N, N)
        return x + (value @ weights.transpose(1, 2)).view(batch, channels, height, width)


class Twice(nn.Module):
    """One convolution, called on two maps."""

    def __init__(self, between):
        super().__init__()
        self.conv, self.between = conv(4, 4, padding=1), between

    def forward(self, x):
        return self.conv(self.between(self.conv(x).relu()))


def cross_of_positions(x):
    rows, columns = torch.arange(x.shape[2], dtype=x.dtype), torch.arange(x.shape[3], dtype=x.dtype)
    return x + (rows[:, None] * 0.3 - columns[None] * 0.2).sin()


def halves_swapped(x):
    height = x.shape[2]
    return torch.cat([x[:, :, height // 2 :].relu(), x[:, :, height // 2 :]], 1)[:, :4]


@pytest.mark.parametrize(
    "layer",
    [
        *(Bins(bins, mode) for bins in (3, 4, 6) for mode in ("nearest", "bilinear")),
        Table("nearest"),
        Table("bicubic"),
        Act(lambda y: y[:, :, : y.shape[2] // 2]),
        Act(lambda y: y[:, :, : y.size(2) // 2, y.shape[3] // 3 :]),
        Act(halves_swapped),
        Act(lambda y: F.pad(y, (0, y.shape[3] % 2, y.shape[2] % 3, 1))),
        Act(lambda y: y * F.avg_pool2d(y, y.shape[2:]).sigmoid()),
        Act(lambda y: y * F.avg_pool2d(y, kernel_size=(y.shape[2], y.shape[3])).sigmoid()),
        Act(lambda y: y * y.mean(-1, keepdim=True).sigmoid() * y.mean(2, keepdim=True)),
        Act(lambda y: y * y.mean(-1).mean(-1)[:, :, None, None].sigmoid()),
        Act(lambda y: y / (y.shape[2] * y.shape[3])),
        Act(cross_of_positions),
        Act(lambda y: y.view(y.shape[0], 2, 2, y.shape[2], y.shape[3]).transpose(1, 2).reshape(y.shape)),
        Attention(),
        Twice(nn.ReLU()),
        Twice(nn.Identity()),
        Twice(nn.MaxPool2d(3, 1, 1)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layer_that_computes_with_the_size_of_its_map_is_exact_at_every_size(layer):
    for output_stride in (2, 1):
        keeps(network(layer), output_stride, [4], sizes=SIZES)


@pytest.mark.parametrize("bias", [True, False])
def test_convolution_called_on_maps_of_several_grids_keeps_its_weights(bias):
    shared = conv(3, 3, stride=2, padding=1, bias=bias)
    net = sequential(shared, nn.ReLU(), shared, nn.ReLU(), shared)
    dilated = keeps(net, 1, [8], sizes=SIZES)
    assert list(dilated.state_dict()) == list(net.state_dict())


def test_convolution_of_a_vector_and_of_a_map_reads_each_as_before():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.conv = conv(3, 4, stride=4, padding=1), conv(4, 4, padding=1)

        def forward(self, x):
            x = self.down(x)
            return self.conv(x) * self.conv(F.adaptive_avg_pool2d(x, 3)).mean((2, 3), keepdim=True)

    torch.manual_seed(0)
    keeps(Both().double().eval(), 2, [4], sizes=SIZES)


def test_space_to_depth_by_view_before_the_first_dilation_is_exact():
    class SpaceToDepth(nn.Module):
        def forward(self, x):
            batch, channels, height, width = x.size()
            x = x.view(batch, channels, height // 4, 4, width // 4, 4)
            return x.permute(0, 3, 5, 1, 2, 4).contiguous().view(batch, channels * 16, height // 4, width // 4)

    torch.manual_seed(0)
    net = sequential(SpaceToDepth(), conv(48, 4, padding=1), conv(4, 4, stride=2, padding=1), conv(4, 2, padding=1))
    keeps(net, 4, [8], sizes=[(72, 100), (88, 124), (108, 68), (128, 92), (148, 140)])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Act(lambda y: y + y[:, :, y.shape[2] // 2 : y.shape[2] // 2 + 1]), "3:getitem cannot .* picks single rows"),
        (Act(lambda y: y + y[:, :, y.shape[2] // 2].unsqueeze(2)), "3:getitem cannot .* picks single rows"),
        (
            Act(lambda y: F.avg_pool2d(y, (y.shape[2] // 2, 1))),
            "3:avg_pool2d cannot .* kernel, stride or padding is computed .*: choose an output stride of at least 4,",
        ),
        (
            Act(lambda y: F.conv2d(y, y.new_ones(4, 4, 3, 3), padding=(y.shape[2] // 9, 1))),
            "3:conv2d cannot .* kernel, stride or padding is computed from the size",
        ),
        (Act(lambda y: y + y.flip(2)), "3:flip cannot be dilated to stride 2"),
        (
            Act(lambda y: F.interpolate(y, scale_factor=0.5)),
            "3:interpolate cannot .* makes the map smaller .*, or choose an output stride of at least 8",
        ),
        (
            Act(lambda y: y + F.interpolate(F.interpolate(y, size=(y.shape[2] // 2, y.shape[3] // 2)), y.shape[2:])),
            "3:interpolate cannot .* makes the map smaller",
        ),
        (Act(lambda y: y.view(y.shape[0], 4, -1).softmax(-1).view(y.shape)), None),
    ],
    ids=lambda value: str(value)[:12],
)
def test_layer_that_reads_the_map_in_another_way_is_refused_by_name(layer, words):
    with pytest.raises(NotConvertible, match=words):
        dilate(network(layer), output_stride=2)


@pytest.mark.parametrize(
    "layer",
    [
        Act(lambda y: F.avg_pool2d(y, (y.shape[2] // 99 + 3, 3), 1, 1)),
        Act(lambda y: F.conv2d(y, y.new_ones(4, 4, 3, 3), padding=(y.shape[2] // 9, 1))),
    ],
    ids=["average", "convolution"],
)
def test_layer_whose_kernel_or_padding_the_size_decides_is_kept_where_its_map_stays(layer):
    stem = (conv(3, 3, padding=1), nn.MaxPool2d(2), conv(3, 4, padding=1), nn.ReLU())
    keeps(sequential(*stem, layer, conv(4, 2, padding=1)), 2, [2], sizes=SIZES)


def test_stride_over_averages_of_a_fixed_size_and_over_attention_are_told_apart():
    layers = (nn.AdaptiveAvgPool2d(6), conv(4, 4, stride=2))
    with pytest.raises(
        NotConvertible, match=r"4 cannot .* strides over 6x6 positions that follow .* in no whole ratio"
    ):
        dilate(sequential(*network(nn.Identity())[:3], *layers), output_stride=2)
    layers = (Act(lambda y: y.flatten(2).softmax(-1).view(y.shape)), conv(4, 4, stride=2, padding=1))
    with pytest.raises(NotConvertible, match=r"4 cannot .* all of another at once.* stays at stride 4: choose an"):
        dilate(sequential(*network(nn.Identity())[:3], *layers), output_stride=2)


def test_fixed_size_that_one_image_makes_look_like_a_part_of_it_is_refused_with_what_to_do():
    layer = Act(lambda y: y + F.interpolate(F.adaptive_avg_pool2d(y, 32).relu(), size=y.shape[2:]))
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(
        NotConvertible,
        match=r"3:interpolate cannot .* from 32x32 to 16x16 .* one size of image does not tell: leave image= out",
    ):
        dilate(network(layer), output_stride=2, image=image)
    keeps(network(layer), 2, [4], sizes=SIZES)


def test_every_remainder_of_the_coarsest_stride_is_compared():
    dilated = dilate(sequential(*(conv(3, 3, stride=2, padding=1) for _ in range(4))), output_stride=4)
    for axis in (0, 1):
        assert {size[axis] % 16 for size in dilated.compared_at[2:]} == set(range(16))


@torch.fx.wrap
def changed_at_some_sizes(x):
    """Adds to the columns of maps of 5 or 6 rows: at no size that operations are compared at."""
    return x + torch.arange(x.shape[3]) if x.shape[2] in (5, 6) else x


def test_network_that_differs_at_another_size_alone_is_refused():
    layers = [conv(3, 4, stride=8, padding=1), Act(changed_at_some_sizes), conv(4, 4, padding=1)]
    with pytest.raises(NotConvertible, match="cannot be dilated to stride 4"):
        dilate(sequential(*layers), output_stride=4)


def test_numbers_that_differ_are_refused():
    with pytest.raises(NotConvertible, match=r"3:numel cannot be dilated to stride 2: it gives \d+ where \d+ was"):
        dilate(network(Act(lambda y: y * (y.numel() / y.numel()))), output_stride=2)
