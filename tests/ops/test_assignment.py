from itertools import permutations

import pytest
import torch

from unpool.ops.assignment import MOST, least_cost


@pytest.mark.parametrize("count", [1, 2, 3, MOST])
def test_no_assignment_costs_less(count):
    costs = torch.rand(2, count, count, generator=torch.Generator().manual_seed(count))
    order = least_cost(costs)
    for one, chosen in zip(costs, order.tolist(), strict=True):
        sums = [sum(float(one[i, j]) for i, j in enumerate(every)) for every in permutations(range(count))]
        assert sorted(chosen) == list(range(count))
        assert sum(float(one[i, j]) for i, j in enumerate(chosen)) == pytest.approx(min(sums), rel=1e-6)


def test_of_equal_sums_the_first_order_is_taken_and_no_images_need_none():
    assert least_cost(torch.ones(1, 3, 3)).tolist() == [[0, 1, 2]]
    assert least_cost(torch.ones(0, 3, 3)).shape == (0, 3)
