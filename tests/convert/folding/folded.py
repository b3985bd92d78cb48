"""Networks to fold, and the comparison that a folded one must stand."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FrozenBatchNorm2d

from unpool.convert import fold_batch_norm


def drawn(network, seed=0):
    """The network with everything that its batch norms remember and learned drawn at random, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for norm in (module for module in network.modules() if isinstance(module, _BatchNorm | FrozenBatchNorm2d)):
            for value, low, high in (
                (norm.running_mean, -1.0, 1.0),
                (norm.running_var, 0.2, 2.0),
                (norm.weight, 0.5, 1.5),
                (norm.bias, -1.0, 1.0),
            ):
                if value is not None:
                    value.uniform_(low, high, generator=generator)
    return network.eval()


def sequential(*layers):
    torch.manual_seed(0)
    return drawn(nn.Sequential(*layers))


def image(*shape, dtype=torch.float32):
    return torch.randn(shape or (2, 3, 41, 37), generator=torch.Generator().manual_seed(7)).to(dtype)


def maps(answer):
    return answer if isinstance(answer, tuple) else (answer,)


def off(network, folded, x):
    """Largest difference of the answers, in units of the largest value."""
    with torch.no_grad():
        pairs = list(zip(maps(network(x)), maps(folded(x)), strict=True))
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)


def keeps(network, x, *, norms, left=0):
    """Asserts that so many norms go and so many stay, and that the answers agree in float32 and in float64."""
    folded = fold_batch_norm(network, image=x)
    assert (len(folded.changes), len(folded.left)) == (norms, left), folded
    assert sum(isinstance(module, _BatchNorm | FrozenBatchNorm2d) for module in folded.network.modules()) == left
    assert off(network, folded.network, x) <= 1e-5
    network.double()
    assert off(network, fold_batch_norm(network, image=x).network, x.double()) <= 1e-12
    network.float()
    return folded


class Pair(nn.Module):
    """A convolution and a norm, wired by a function."""

    def __init__(self, wire):
        super().__init__()
        self.conv, self.norm, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.wire = wire

    def forward(self, x):
        return self.wire(self, x)


@torch.jit.script
def compiled(x, y):
    return x + y
