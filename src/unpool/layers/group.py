"""Group norm in place of batch norm, for batches too small for statistics of their own (Wu and He 2018,
arXiv:1803.08494)."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.errors import RecipeError

MOST_GROUPS = 32  # the paper's
LEAST_CHANNELS = 2  # of a group; the paper's in ResNet's stem of 64. One channel would be instance norm


def groups_of(channels: int) -> int:
    """Returns how many groups channels are normalised in: at most 32, of equally many and at least 2.

    Example:
        >>> [groups_of(channels) for channels in (64, 48, 16, 256, 7, 1)]
        [32, 24, 8, 32, 1, 1]
    """
    most = min(MOST_GROUPS, max(1, channels // LEAST_CHANNELS))
    return next(count for count in range(most, 0, -1) if channels % count == 0)


def use_group_norm(network: nn.Module) -> None:
    """Exchanges every batch norm for a group norm, in place, with its scale and shift under the same names.

    A group norm takes its statistics from one sample, in training and evaluation alike, and keeps none.

    Raises:
        RecipeError: the network has no batch norm, or one of another kind than torch's.

    Example:
        >>> body = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64))
        >>> use_group_norm(body)
        >>> body[1].num_groups, body[1].num_channels
        (32, 64)
    """
    norms = {name: norm for name, norm in network.named_modules() if isinstance(norm, _BatchNorm)}
    if not norms:
        raise RecipeError("model.norms is group, and the network has no batch norm to exchange: leave model.norms out")
    for name, norm in norms.items():
        if type(norm) is not nn.BatchNorm2d:
            raise RecipeError(
                f"model.norms is group, and {name} is a {type(norm).__name__}, which does more than to normalise, or "
                "learns otherwise: leave model.norms out, or choose a network of plain batch norms"
            )
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, _grouped(norm))


def _grouped(norm: nn.BatchNorm2d) -> nn.GroupNorm:
    grouped = nn.GroupNorm(groups_of(norm.num_features), norm.num_features, eps=norm.eps, affine=norm.affine)
    if norm.affine:
        grouped.weight, grouped.bias = norm.weight, norm.bias
    return grouped
