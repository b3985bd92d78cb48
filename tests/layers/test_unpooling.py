"""Unpoolings and the poolings that undo them."""

import pytest
import torch
from torch import nn

from unpool.layers.pooling import MaxPoolSwitches, max_unpool
from unpool.layers.unpooling import BedOfNails, NearestUnpool

SQUARE = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)


def test_nearest_neighbour_of_the_lecture():
    rows = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert NearestUnpool()(SQUARE)[0, 0].tolist() == rows


def test_bed_of_nails_of_the_lecture():
    rows = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert BedOfNails()(SQUARE)[0, 0].tolist() == rows


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_average_pooling_undoes_the_nearest_neighbour(factor):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    pooled = nn.functional.avg_pool2d(NearestUnpool(factor)(x), factor)
    torch.testing.assert_close(pooled, x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("factor", [3, 41, 49])
def test_nearest_neighbour_is_repetition_at_every_factor(factor):
    x = torch.arange(6.0).view(1, 1, 2, 3)
    repeated = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    assert torch.equal(NearestUnpool(factor)(x), repeated)


@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_every_nail_is_found_again_and_nothing_is_added(factor):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    bed = BedOfNails(factor)(x)
    assert bed.shape == (2, 3, 4 * factor, 5 * factor)
    assert torch.equal(bed[:, :, ::factor, ::factor], x)
    assert int(bed.count_nonzero()) == x.numel()
    assert bed.sum().item() == pytest.approx(x.sum().item(), rel=1e-12)


def test_max_unpooling_of_the_lecture_keeps_the_places_that_nails_lose():
    x = torch.tensor([[3.0, 2, 4, 4], [1, 5, 2, 3], [0, 1, 2, 5], [0, 1, 1, 3]]).view(1, 1, 4, 4)
    pooled, switches = MaxPoolSwitches()(x)
    assert pooled[0, 0].tolist() == [[5, 4], [1, 5]]
    rows = [[0, 0, 4, 0], [0, 5, 0, 0], [0, 1, 0, 5], [0, 0, 0, 0]]
    assert max_unpool(pooled, switches, (4, 4))[0, 0].tolist() == rows
    assert BedOfNails()(pooled)[0, 0].tolist() == [[5, 0, 4, 0], [0, 0, 0, 0], [1, 0, 5, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("unpool", [NearestUnpool(3), BedOfNails(3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_unpooling_gives_its_gradient_back_in_any_format_and_half_precision(unpool, memory_format):
    x = torch.ones(2, 4, 3, 5, dtype=torch.bfloat16).contiguous(memory_format=memory_format).requires_grad_()
    y = unpool(x)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 9 if isinstance(unpool, NearestUnpool) else 1))


@pytest.mark.parametrize("unpool", [NearestUnpool, BedOfNails])
def test_factor_that_is_no_enlargement_is_refused(unpool):
    with pytest.raises(ValueError, match="factor is 0; give how many times higher and wider"):
        unpool(0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpooling_with_deterministic_operations_gives_the_same_map(layout):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 10).contiguous(memory_format=layout).requires_grad_()
    values, switches = MaxPoolSwitches()(x)
    plain = max_unpool(values, switches, (7, 10))
    torch.use_deterministic_algorithms(True)  # noqa: FBT003
    try:
        again = max_unpool(values, switches, (7, 10))
    finally:
        torch.use_deterministic_algorithms(False)  # noqa: FBT003
    assert torch.equal(again, plain)
    for one, other in zip(
        *(torch.autograd.grad(y.square().sum(), x, retain_graph=True) for y in (plain, again)), strict=True
    ):
        assert torch.equal(one, other)
