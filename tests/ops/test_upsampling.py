"""Cells of a map lie by its stride, at sizes that the stride divides and at all others."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from unpool.ops.upsampling import fit, upsample

FACTORS = (*range(1, 17), 31, 32, 49, 64)


def line_of(size, channels=1):
    return torch.randn(1, channels, 1, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_size_that_the_factor_divides_gets_the_usual_interpolation_to_the_bit(factor, kind):
    x = torch.randn(2, 3, 4, 7, generator=torch.Generator().manual_seed(0)).to(kind)
    size = (4 * factor, 7 * factor)
    assert torch.equal(upsample(x, factor, size), nn.functional.interpolate(x, size, mode="bilinear"))
    repeated = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    assert torch.equal(upsample(x, factor, size, mode="nearest-exact"), repeated)
    wide = (3 * factor + 1, 6 * factor + 1)
    aligned = nn.functional.interpolate(x, wide, mode="bilinear", align_corners=True)
    assert torch.equal(upsample(x, factor, wide, corners=True), aligned)


@pytest.mark.parametrize("factor", [2, 3, 4, 8, 16, 32])
@pytest.mark.parametrize("rounded", ["up", "down"])
def test_every_remainder_is_interpolated_between_the_centres_of_the_cells(factor, rounded):
    for size in range(1 if rounded == "up" else factor, 6 * factor):
        cells = -(-size // factor) if rounded == "up" else size // factor
        x, pixel, centre = line_of(cells), np.arange(size), np.arange(cells)
        values = x[0, 0, 0].numpy()
        linear = np.interp((pixel + 0.5) / factor - 0.5, centre, values)
        np.testing.assert_allclose(upsample(x, factor, (factor, size))[0, 0, 0].numpy(), linear, atol=1e-12)
        corners = np.interp(pixel / factor, centre, values)
        np.testing.assert_allclose(
            upsample(x, factor, (factor, size), corners=True)[0, 0, 0].numpy(), corners, atol=1e-12
        )
        nearest = values[np.minimum(pixel // factor, cells - 1)]
        np.testing.assert_array_equal(upsample(x, factor, (factor, size), mode="nearest-exact")[0, 0, 0], nearest)


@pytest.mark.parametrize("mode", ["bilinear", "nearest-exact"])
def test_rows_and_columns_have_sizes_of_their_own(mode):
    x = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    for height, width in product((33, 36, 40, 43), (25, 32, 37)):
        whole = upsample(x, 8, (40, 32), mode=mode)
        part = upsample(x, 8, (height, width), mode=mode)
        assert part.shape == (2, 3, height, width)
        assert torch.equal(part[..., :40, :32], whole[..., :height, :width])


@pytest.mark.parametrize(("cells", "factor", "size"), [(12, 8, (480, 640)), (60, 16, (480, 640)), (15, 64, (480, 640))])
def test_map_of_another_stride_is_refused(cells, factor, size):
    with pytest.raises(
        ValueError, match=rf"a map of {cells}x80 cells of {factor} pixels cannot cover 480x640 \(H, W\)"
    ):
        upsample(torch.rand(1, 1, cells, 80), factor, size)


def test_gradient_of_what_is_cut_off_is_that_of_the_part_that_is_kept():
    x = torch.zeros(1, 1, 1, 3, requires_grad=True)
    upsample(x, 4, (4, 9), mode="nearest-exact").sum().backward()
    assert x.grad.flatten().tolist() == [16, 16, 4]
    longer = torch.zeros(1, 1, 1, 2, requires_grad=True)
    fit(longer, (1, 5)).sum().backward()
    assert longer.grad.flatten().tolist() == [1, 4]
