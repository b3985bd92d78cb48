"""Transposed convolution as interpolation, against torch's interpolation."""

import pytest
import torch
from torch import nn

from unpool.layers.crop import crop
from unpool.layers.upsample import BilinearDeconv, bilinear_filter


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
