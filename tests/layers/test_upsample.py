"""Transposed convolution as interpolation, as a matrix and as a convolution between zeros; resizing instead of it."""

from itertools import product

import pytest
import torch
from torch import nn

from unpool.layers.convolution_as_matrix import convolution_matrix, rotated
from unpool.layers.cropping import crop
from unpool.layers.unpooling import BedOfNails
from unpool.layers.upsample import BilinearDeconv, ResizeConv, bilinear_filter

KERNELS = range(1, 8)


def settings(kernel):
    """Stride, padding and dilation of every transposed convolution with a filter of this side that is tried."""
    return product((1, 2, 3), range(kernel), (1, 2))


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8, 16, 32])
def test_bilinear_deconvolution_is_interpolation_in_the_interior(factor):
    torch.manual_seed(0)
    x = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    size = 6 * factor, 7 * factor
    deconv = BilinearDeconv(3, factor).double()
    ours = crop(deconv(x), size, offset=deconv.kernel_size[0] // 2 - factor // 2)
    theirs = nn.functional.interpolate(x, size, mode="bilinear", align_corners=False)
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(ours[inside], theirs[inside], rtol=0, atol=1e-6)  # the filter is float32


def test_bilinear_filter_by_hand():
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(bilinear_filter(2), line[:, None] * line)


def test_filter_of_another_side_by_hand():
    line = torch.tensor([0.5, 1.0, 0.5])
    assert torch.equal(bilinear_filter(2, side=3), line[:, None] * line)
    deconv = BilinearDeconv(2, 2, side=3)
    assert torch.equal(deconv.weight[1, 1], line[:, None] * line)


def test_filter_that_is_not_learned_is_counted_and_gets_no_gradient():
    deconv = BilinearDeconv(2, 4, learned=False)
    assert [p.requires_grad for p in deconv.parameters()] == [False]
    assert BilinearDeconv(2, 4).weight.requires_grad


@pytest.mark.parametrize("kernel", KERNELS)
def test_transposed_convolution_has_the_size_of_its_formula(kernel):
    x = torch.zeros(1, 1, 7, 9, device="meta")
    for stride, padding, dilation in settings(kernel):
        for more in range(max(stride, dilation)):
            deconv = nn.ConvTranspose2d(1, 1, kernel, stride, padding, more, dilation=dilation, device="meta")
            side = dilation * (kernel - 1) + 1 - 2 * padding + more
            assert deconv(x).shape[2:] == (stride * 6 + side, stride * 8 + side)


@pytest.mark.parametrize("kernel", KERNELS)
def test_transposed_convolution_is_the_transpose_of_the_convolutions_matrix(kernel):
    torch.manual_seed(0)
    weight, y = draw(2, 1, kernel, kernel), draw(2, 2, 7, 7)
    for stride, padding, dilation in settings(kernel):
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        x = nn.functional.conv_transpose2d(y, weight, **options)
        matrix = convolution_matrix(weight, x.shape[2:], **options)
        close(y.flatten(1) @ matrix, x.flatten(1))


@pytest.mark.parametrize("kernel", KERNELS)
def test_transposed_convolution_is_a_rotated_filter_on_a_bed_of_nails(kernel):
    """The padding is d (k - 1) - p; the zeros behind the last value are an output padding of s - 1."""
    torch.manual_seed(0)
    weight, x = draw(2, 3, kernel, kernel), draw(2, 2, 7, 9)
    for stride, padding, dilation in settings(kernel):
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        transposed = nn.functional.conv_transpose2d(x, weight, output_padding=stride - 1, **options)
        border = dilation * (kernel - 1) - padding
        nails = BedOfNails(stride)(x)
        close(nn.functional.conv2d(nails, rotated(weight), padding=border, dilation=dilation), transposed)


@pytest.mark.parametrize(
    ("kernel", "stride", "fewest", "most"), [(3, 2, 1, 4), (4, 2, 4, 4), (5, 2, 4, 9), (6, 3, 4, 4)]
)
def test_filters_overlap_in_a_checkerboard_unless_the_stride_divides_the_kernel(kernel, stride, fewest, most):
    counts = nn.functional.conv_transpose2d(torch.ones(1, 1, 9, 9), torch.ones(1, 1, kernel, kernel), stride=stride)
    inside = counts[..., kernel:-kernel, kernel:-kernel]
    assert (inside.min().item(), inside.max().item()) == (fewest, most)
    assert (fewest == most) == (kernel % stride == 0)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("factor", [2, 3])
def test_resize_convolution_of_a_constant_is_constant_inside(kernel, factor):
    torch.manual_seed(0)
    layer = ResizeConv(2, 3, kernel, factor=factor).double()
    x = draw(1, 2, 1, 1).expand(1, 2, 5, 6)
    y = layer(x)
    assert y.shape == (1, 3, 5 * factor, 6 * factor)
    inside = crop(y, (5 * factor - 2 * (kernel // 2), 6 * factor - 2 * (kernel // 2)), offset=kernel // 2)
    close(inside, inside[..., :1, :1].expand_as(inside))


def test_resize_convolution_repeats_before_it_convolves():
    torch.manual_seed(0)
    layer = ResizeConv(2, 3, factor=2, bias=False).double()
    x = draw(1, 2, 4, 5)
    repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    close(layer(x), nn.functional.conv2d(repeated, layer.conv.weight, padding=1))
