"""Normalisations against the formulas of their papers, written out slowly."""

import pytest
import torch
from torch import nn

from unpool.layers.norm import L2Norm, LocalResponseNorm, LocationBatchNorm, batch_norm

LEARNED = ["scale_and_shift", "shift", "nothing"]


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


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


@pytest.mark.parametrize("learned", LEARNED)
def test_batch_norm_centres_and_scales_each_filter_by_the_formula(learned):
    torch.manual_seed(0)
    x = 3 * draw(4, 5, 6, 7) + 2
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
    y = batch_norm(5, learned=learned).double()(x)
    close(y, (x - mean) / (variance + 1e-5).sqrt())
    close(y.mean((0, 2, 3)), torch.zeros(5).double())
    close(y.var((0, 2, 3), correction=0), (variance / (variance + 1e-5)).flatten())


@pytest.mark.parametrize("learned", LEARNED)
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_batch_norm_runs_in_half_precision_and_any_format(learned, mode, memory_format):
    torch.manual_seed(0)
    x = torch.randn(4, 2, 3, 3).contiguous(memory_format=memory_format)
    for norm in (batch_norm(2, learned=learned), LocationBatchNorm((2, 3, 3), learned=learned)):
        norm.train(mode == "train")
        half = x.bfloat16().requires_grad_()
        y = norm(half)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), norm(half.float()), rtol=0.02, atol=0.02)
        y.sum().backward()
        assert all(p.grad is not None for p in (half, *norm.parameters()))


@pytest.mark.parametrize("learned", LEARNED)
def test_momentum_and_eps_arrive_in_every_form(learned):
    torch.manual_seed(0)
    x = draw(8, 2, 3, 3) + 5
    forms = {(0, 2, 3): batch_norm(2, learned=learned, momentum=0.5, eps=0.25)}
    forms[(0,)] = LocationBatchNorm((2, 3, 3), learned=learned, momentum=0.5, eps=0.25)
    for dims, norm in forms.items():
        centred = x - x.mean(dims, keepdim=True)
        close(norm.double()(x), centred / (centred.square().mean(dims, keepdim=True) + 0.25).sqrt())
        remembered = norm.state_dict()["running_mean" if len(dims) > 1 else "norm.running_mean"]
        close(remembered, 0.5 * x.mean(dims).flatten())


@pytest.mark.parametrize(("learned", "names"), [(LEARNED[0], ["weight", "bias"]), ("shift", ["bias"]), ("nothing", [])])
def test_batch_norm_learns_what_it_says(learned, names):
    per_filter, per_location = batch_norm(5, learned=learned), LocationBatchNorm((5, 6, 7), learned=learned)
    assert [name for name, _ in per_filter.named_parameters()] == names
    assert sum(p.numel() for p in per_filter.parameters()) == 5 * len(names)
    assert sum(p.numel() for p in per_location.parameters()) == 5 * 6 * 7 * len(names)


def test_batch_norm_per_location_averages_over_the_batch_alone():
    torch.manual_seed(0)
    x = 3 * draw(8, 2, 3, 4) + 2
    norm = LocationBatchNorm((2, 3, 4)).double()
    variance = x.var(0, correction=0)
    close(norm(x), (x - x.mean(0)) / (variance + 1e-5).sqrt())
    close(norm.norm.running_mean, 0.1 * x.mean(0).flatten())
    assert norm(x.contiguous(memory_format=torch.channels_last)).shape == x.shape


def test_batch_norm_per_location_keeps_shift_and_scale_in_their_places():
    norm = LocationBatchNorm((2, 3, 4)).double().eval()
    with torch.no_grad():
        norm.norm.bias.copy_(torch.arange(24.0))
    shifted = norm(torch.zeros(1, 2, 3, 4, dtype=torch.float64))
    close(shifted.flatten(), torch.arange(24.0).double())


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_batch_norm_with_a_shift_alone_is_batch_norm_with_scale_one(mode):
    torch.manual_seed(0)
    x, bias = 3 * draw(4, 5, 6, 7) + 2, draw(5)
    shift, both, bare = (batch_norm(5, learned=learned).double() for learned in ("shift", LEARNED[0], "nothing"))
    with torch.no_grad():
        shift.bias.copy_(bias)
        both.bias.copy_(bias)
    for norm in (shift, both, bare):
        norm(2 * x)
        norm.train(mode == "train")
    close(shift(x), both(x))
    close(bare(x) + bias[:, None, None], both(x))


def test_shift_starts_at_zero_and_is_learned():
    norm = batch_norm(3, learned="shift")
    assert not norm.bias.any()
    nn.init.ones_(norm.bias)
    norm.reset_parameters()
    assert not norm.bias.any()
    norm(torch.randn(2, 3, 4, 4)).sum().backward()
    assert norm.bias.grad.tolist() == [32, 32, 32]


def test_bias_of_a_convolution_before_the_norm_is_cancelled():
    torch.manual_seed(0)
    x, weight, bias = draw(4, 2, 8, 8), draw(3, 2, 3, 3), 5 * draw(3)
    norm = batch_norm(3).double()
    close(norm(nn.functional.conv2d(x, weight, bias)), norm(nn.functional.conv2d(x, weight)))


def test_remembered_variance_is_unbiased_and_the_norm_uses_the_biased_one():
    torch.manual_seed(0)
    x = 3 * draw(2, 3, 2, 2) + 1
    norm = batch_norm(3, momentum=None).double()  # None: the only batch counts in full
    trained = norm(x)
    biased, unbiased = (x.var((0, 2, 3), correction=c)[:, None, None] for c in (0, 1))
    close(norm.running_var, unbiased.flatten())
    close(norm.eval()(x), trained * ((biased + 1e-5) / (unbiased + 1e-5)).sqrt())
    close(unbiased, biased * 8 / 7)


def test_remembered_statistics_move_by_their_momentum_and_stay_in_evaluation():
    torch.manual_seed(0)
    x = draw(4, 2, 3, 3) + 5
    norm = batch_norm(2, momentum=0.25).double()
    norm(x)
    close(norm.running_mean, 0.25 * x.mean((0, 2, 3)))
    close(norm.running_var, 0.75 + 0.25 * x.var((0, 2, 3)))
    before = norm.running_mean.clone()
    norm.eval()(x)
    assert torch.equal(norm.running_mean, before)


def test_gradient_passes_through_the_statistics_in_training_only():
    """Adding a constant to a batch changes nothing in training, so that the gradient sums to zero."""
    torch.manual_seed(0)
    x, weights = draw(4, 2, 3, 3).requires_grad_(), draw(4, 2, 3, 3)
    norm = batch_norm(2).double()
    (trained,) = torch.autograd.grad((norm(x) * weights).sum(), x)
    close(trained.sum((0, 2, 3)), torch.zeros(2).double())
    (evaluated,) = torch.autograd.grad((norm.eval()(x) * weights).sum(), x)
    close(evaluated, weights / (norm.running_var + 1e-5).sqrt()[:, None, None])


def test_norm_per_location_refuses_another_size():
    with pytest.raises(ValueError, match=r"the input is \(2, 4, 3\) and this norm was made for \(2, 3, 4\)"):
        LocationBatchNorm((2, 3, 4))(torch.zeros(2, 2, 4, 3))


def test_l2_norm_scales_every_position_to_the_learned_length():
    torch.manual_seed(0)
    norm, x = L2Norm(3, scale=20.0), torch.randn(2, 3, 4, 5)
    expected = 20 * x / x.square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(norm(x), expected)
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(norm(x), expected / 20 * torch.tensor([1.0, 2.0, 3.0])[:, None, None])


def test_l2_norm_of_half_precision_is_computed_in_single():
    norm, x = L2Norm(512), torch.full((1, 512, 1, 1), 6000.0, dtype=torch.float16)  # the length is beyond 65504
    assert norm(x).dtype == torch.float16
    torch.testing.assert_close(norm(x).float(), torch.full((1, 512, 1, 1), 20 / 512**0.5), rtol=1e-3, atol=0)
