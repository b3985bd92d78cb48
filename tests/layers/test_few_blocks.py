"""Promises of training with a few residual blocks at a time."""

import pytest
import torch

from unpool import models
from unpool.errors import RecipeError
from unpool.layers.residual import Residual

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_each_step_passes_exactly_the_number_of_blocks_and_not_the_same_ones():
    network = models.build("cifar_resnet20", kept_blocks=3).train()
    blocks = [module for module in network.modules() if isinstance(module, Residual)]
    drawn = []
    for block in blocks:
        block.drop.register_forward_hook(lambda drop, _, output: drawn[-1].append(bool(output.abs().max() > 0)))
    for seed in range(30):
        torch.manual_seed(seed)
        drawn.append([])
        network(X)
    assert {sum(step) for step in drawn} == {3}
    assert len(set(map(tuple, drawn))) > 4
    assert all(any(step[i] for step in drawn) for i in range(9))


def test_expected_output_of_a_branch_in_training_is_that_of_evaluation():
    (drop,) = [
        block.drop for block in models.build("cifar_resnet20", kept_blocks=3).modules() if isinstance(block, Residual)
    ][:1]
    torch.manual_seed(0)
    mean = sum(drop.train()(torch.ones(())) for _ in range(3000)) / 3000
    assert abs(mean - 1) < 0.08
    assert drop.eval()(torch.ones(())) == 1


def test_evaluation_is_that_of_the_network_without_the_option():
    torch.manual_seed(0)
    network = models.build("cifar_resnet20", kept_blocks=3).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        assert torch.equal(network(X), models.build("cifar_resnet20").eval()(X))


def test_blocks_that_are_left_out_learn_nothing():
    network = models.build("cifar_resnet20", kept_blocks=2).train()
    torch.manual_seed(0)
    network(X).sum().backward()
    learned = [
        any(weight.grad is not None and weight.grad.abs().max() > 0 for weight in block.branch.parameters())
        for block in network.modules()
        if isinstance(block, Residual)
    ]
    assert sum(learned) == 2


@pytest.mark.parametrize("count", [0, 10, 2.5, True])
def test_impossible_numbers_of_blocks_are_refused(count):
    with pytest.raises(RecipeError, match="9 residual blocks: give a whole number"):
        models.build("cifar_resnet20", kept_blocks=count)


def test_kept_blocks_need_residual_blocks_and_no_stochastic_depth():
    with pytest.raises(RecipeError, match="no residual block of ours"):
        models.build("cifar_plain20", kept_blocks=2)
    with pytest.raises(RecipeError, match="choose one of them"):
        models.build("cifar_resnet20", kept_blocks=2, stochastic_depth=0.1)
