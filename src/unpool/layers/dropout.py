"""Layers that leave out numbers at random while a network trains: units, weights, or the branches of residual blocks.

`nn.Dropout` is the inverted form: what is kept is divided by the share that is kept, so that nothing is left to do
afterwards. Lecture 000 says of the original form that it multiplies by the share that was set to zero at test; it is
the share that was kept (`inspection.misprints`).
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd


class OriginalDropout(_DropoutNd):
    """Dropout as it was published: zeros in training, and in evaluation all units times the share that is kept.

    Any shape -> the same shape. Source: Srivastava et al. 2014, JMLR 15:1929-1958, section 4 and figure 2.

    Args:
        p: share that is dropped.

    Example:
        >>> OriginalDropout(0.25).eval()(torch.ones(3))
        tensor([0.7500, 0.7500, 0.7500])
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * (1 - self.p)
        return x * (nn.functional.dropout(torch.ones_like(x), self.p) > 0)


class DropConnectLinear(nn.Linear):
    """A linear layer that drops weights in training, others for each sample: (B, in_features) -> (B, out_features).

    Biases are dropped too. In evaluation all are multiplied by the share that is kept, which gives the mean of what
    training computes; the paper draws from a Gaussian of this mean and its variance, in front of the activation, and
    averages what follows. Training holds B masks of the size of the weights.

    Source: Wan et al. 2013, "Regularization of Neural Networks using DropConnect", sections 3.1 and 3.2.

    Args:
        in_features: numbers of the input.
        out_features: numbers of the output.
        bias: whether there is one.
        p: share that is dropped.

    Raises:
        ValueError: the input has another number of axes than two.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, p: float = 0.5) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if x.dim() != 2:
            raise ValueError(
                f"the input is {tuple(x.shape)}; DropConnect takes (B, {self.in_features}): flatten it before"
            )
        if not self.training:
            keep = 1 - self.p
            return nn.functional.linear(x, keep * self.weight, None if self.bias is None else keep * self.bias)
        output = torch.einsum("boi,bi->bo", self._kept(x, self.weight) * self.weight, x)
        return output if self.bias is None else output + self._kept(x, self.bias) * self.bias

    def _kept(self, x: Tensor, weight: Tensor) -> Tensor:
        """(B, *weight.shape) bool; drawn by sample as dropout is, on which several processes agree."""
        return nn.functional.dropout(weight.new_ones(len(x), *weight.shape), self.p) > 0

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p}"


class StochasticDepth(nn.Module):
    """Drops whole samples of a residual branch in training: any shape (B, ...) -> the same shape.

    What is kept is divided by the share that is kept, so that evaluation has nothing to do. The paper draws once for
    all samples of a batch, and multiplies the branch by the share in evaluation, which has the same mean.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", arXiv:1603.09382, section 3.

    Args:
        rate: share of samples that are dropped, below 1.

    Example:
        >>> torch.equal(StochasticDepth(0.5).eval()(torch.ones(2, 3)), torch.ones(2, 3))
        True
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        keep = 1 - self.rate
        return x * (x.new_empty(len(x), *(1 for _ in x.shape[1:])).bernoulli_(keep) / keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
