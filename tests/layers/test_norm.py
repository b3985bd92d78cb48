"""Normalisations against the formulas of their papers, written out slowly."""

import pytest
import torch
from torch import nn

from unpool.layers.norm import LocalResponseNorm


def slow_response_norm(x, size, alpha, beta, k):
    """Section 3.3 of AlexNet, one number at a time; x is (C, H, W)."""
    channels, height, width = x.shape
    y = torch.empty_like(x)
    for c in range(channels):
        near = range(max(0, c - size // 2), min(channels - 1, c + size // 2) + 1)
        for i in range(height):
            for j in range(width):
                total = sum(x[n, i, j].item() ** 2 for n in near)
                y[c, i, j] = x[c, i, j].item() / (k + alpha * total) ** beta
    return y


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
@pytest.mark.parametrize("options", [(5, 1e-4, 0.75, 2.0), (3, 0.1, 0.5, 1.0), (1, 1.0, 1.0, 1.0)])
def test_local_response_norm_is_the_papers_formula(channels, options):
    torch.manual_seed(0)
    x = 30 * torch.randn(2, channels, 2, 3, dtype=torch.float64)
    slow = torch.stack([slow_response_norm(image, *options) for image in x])
    torch.testing.assert_close(LocalResponseNorm(*options)(x), slow, rtol=1e-12, atol=0)


def test_local_response_norm_has_the_numbers_of_alexnet_and_no_parameters():
    norm = LocalResponseNorm()
    assert (norm.size, norm.alpha, norm.beta, norm.k) == (5, 1e-4, 0.75, 2.0)
    assert list(norm.state_dict()) == []


def test_torch_needs_five_times_the_alpha():
    torch.manual_seed(0)
    x = 50 * torch.randn(2, 9, 3, 4, dtype=torch.float64)
    torchs = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(LocalResponseNorm()(x), torchs(x), rtol=1e-12, atol=0)


def test_local_response_norm_keeps_the_type_and_computes_in_single_precision():
    torch.manual_seed(0)
    x = (20 * torch.randn(1, 6, 4, 4)).bfloat16()
    y = LocalResponseNorm()(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, LocalResponseNorm()(x.float()).bfloat16())


def test_local_response_norm_has_the_right_gradient():
    torch.manual_seed(0)
    x = torch.randn(1, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LocalResponseNorm(alpha=0.1), (x,))


@pytest.mark.parametrize("size", [4, 0, -1])
def test_window_without_a_middle_is_refused(size):
    with pytest.raises(ValueError, match=f"size is {size}; it must be odd and positive"):
        LocalResponseNorm(size)
