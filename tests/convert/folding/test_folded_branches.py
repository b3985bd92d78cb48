"""A folded network says where images of other sizes or values may run what was not compared."""

import pytest
import torch
from torch import nn

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
    assert result.caution == "1 branches on the size or the values of its input"
    shapes = " and ".join("x".join(map(str, shape)) for shape in result.compared_at)
    assert str(result) == (
        f"1 of 1 batch norms were folded; compared on images of {shapes} alone, others may run what was not compared: "
        "1 branches on the size or the values of its input"
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
    assert result.caution == "2 branches on the size or the values of its input"


def test_network_whose_python_cannot_be_followed_says_so():
    class Numbers(nn.Module):
        def forward(self, x):
            return x * torch.tensor(len(list(x)))

    assert "its Python cannot be followed (" in str(
        fold_batch_norm(nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), Numbers()))
    )
