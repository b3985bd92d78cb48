"""A folded network says where images of other sizes or values may run what was not compared."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from unpool.convert import fold_batch_norm


class Block(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.conv, self.norm, self.branch = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), branch

    def forward(self, x):
        x = self.norm(self.conv(x))
        return x * 2 if self.branch(self, x) else x


def folded(branch):
    return fold_batch_norm(nn.Sequential(nn.ReLU(), Block(branch)))


@pytest.mark.parametrize(
    "branch",
    [lambda self, x: x.shape[2] > 300, lambda self, x: x.size(3) % 2 == 0, lambda self, x: x.mean() > 100],
    ids=["size", "parity", "value"],
)
def test_branch_on_size_or_value_is_named_in_the_result(branch):
    result = folded(branch)
    assert result.caution == "1 branches on its input"
    shapes = " and ".join("x".join(map(str, shape)) for shape in result.compared_at)
    assert str(result) == (
        f"1 of 1 batch norms were folded; compared on images of {shapes} alone, others may run what was not compared: "
        "1 branches on its input"
    )
    assert all(len(shape) == 4 for shape in result.compared_at)


@pytest.mark.parametrize(
    "branch",
    [lambda self, x: False, lambda self, x: self.training, lambda self, x: self.conv.bias is None],
    ids=["never", "training", "settings"],
)
def test_branch_on_no_image_needs_no_caution(branch):
    assert folded(branch).caution == ""
    assert str(folded(branch)) == "1 of 1 batch norms were folded"


def test_module_without_modules_inside_that_branches_is_named():
    class Cut(nn.Module):
        def forward(self, x):
            return x if x.shape[2] < 300 else x[:, :, :300]

    result = fold_batch_norm(nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), Cut()))
    assert result.caution == "2 branches on its input"


def test_network_whose_python_cannot_be_followed_says_so():
    class Numbers(nn.Module):
        def forward(self, x):
            return x * torch.tensor(len(list(x)))

    assert "its Python cannot be followed (" in str(
        fold_batch_norm(nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), Numbers()))
    )


class Caught(Block):
    def forward(self, x):
        x = self.norm(self.conv(x))
        try:
            return x * 2 if x.shape[2] > 300 else x
        except Exception:
            return x


class Scaling(nn.Conv2d):
    def forward(self, x):
        x = super().forward(x)
        return x * 2 if x.shape[2] > 300 else x


class Norm(nn.BatchNorm2d):
    """As those of libraries, which call the norm that they are made from."""

    def forward(self, x):
        return super().forward(x).relu()


class Same(nn.Module):
    def forward(self, x):
        return x


def parametrized(module):
    module.register_parameter("unused", nn.Parameter(torch.ones(1)))
    parametrize.register_parametrization(module, "unused", Same())
    return module


def branches(self, x):
    return x.shape[2] > 300


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Caught(None), "0"),
        (lambda: parametrized(Block(branches)), "0"),
        (lambda: nn.DataParallel(Block(branches)), "0.module"),
        (lambda: torch.compile(Block(branches), backend="eager"), "0"),
        (lambda: nn.Sequential(Scaling(3, 3, 3), nn.BatchNorm2d(3)), "0.0"),
    ],
    ids=["caught", "parametrized", "parallel", "compiled", "derived"],
)
def test_branch_is_seen_behind_what_python_does(make, name):
    assert fold_batch_norm(nn.Sequential(make())).caution == f"{name} branches on its input"


def test_whole_network_that_is_compiled_is_looked_into():
    network = torch.compile(Block(branches).eval(), backend="eager")
    assert fold_batch_norm(network).caution == "its own forward branches on its input"


def test_norm_that_counts_the_axes_of_its_input_needs_no_caution():
    network = nn.Sequential(nn.Conv2d(3, 3, 3), Norm(3))
    assert fold_batch_norm(network).caution == ""
    assert network.train()(torch.ones(2, 3, 8, 8)).shape == (2, 3, 6, 6)
    with pytest.raises(ValueError, match="expected 4D input"):
        network[1](torch.ones(3))
