"""Group norm on the grid of a dilated network, against torch's on the coarse map."""

import pytest
import torch
from torch import nn

from unpool.convert.dilation.grid_operations import group_norm


@pytest.mark.parametrize("eps", [1e-5, 0.1, 3.0])
@pytest.mark.parametrize("steps", [(1, 1), (2, 1), (2, 3)])
def test_group_norm_is_torch_s_on_the_positions_of_the_coarse_map(eps: float, steps: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 0.1 * torch.randn(2, 6, 7, 8, generator=generator) + 4  # a variance that every eps changes
    weight, bias = torch.randn(2, 6, generator=generator)
    fine = group_norm(x, weight, bias, groups=3, eps=eps, steps=steps)
    every = (slice(None), slice(None), slice(None, None, steps[0]), slice(None, None, steps[1]))
    torch.testing.assert_close(fine[every], nn.functional.group_norm(x[every], 3, weight, bias, eps))
    bare = group_norm(x, None, None, groups=3, eps=eps, steps=steps)
    torch.testing.assert_close(bare[every], nn.functional.group_norm(x[every], 3, None, None, eps))
