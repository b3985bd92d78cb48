"""Batch norm that stays as it is while the rest of a network is trained.

Detectors see few images at once, whose statistics are poor, so that the norms of a trained backbone are kept (He et al.
2015, arXiv:1512.03385, appendix A). A frozen norm keeps its class and the names of its tensors, also where a package
has one with an activation inside.
"""

from collections.abc import Iterator
from typing import Literal, get_args

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.errors import RecipeError

Norms = Literal["trained", "frozen", "frozen_no_eps"]


def freeze_norms(module: nn.Module, norms: Norms) -> None:
    """Freezes every batch norm in a module, in place: scale and shift become buffers, statistics are kept.

    Call `hold_frozen` after each `module.train()`, which would have the norms take the statistics of the batch.

    Args:
        module: its norms are changed.
        norms: "trained" changes nothing; "frozen" freezes; "frozen_no_eps" also sets what is added to the variance to
            0, as in torchvision's published detectors, so that a channel of variance 0 gives NaN.

    Raises:
        RecipeError: `norms` is none of these.

    Example:
        >>> body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> freeze_norms(body, "frozen")
        >>> [name for name, _ in body.named_parameters()], body[1].training
        (['0.weight', '0.bias'], False)
    """
    if norms not in get_args(Norms):
        raise RecipeError(f"norms is {norms!r}; it must be one of {', '.join(get_args(Norms))}")
    if norms == "trained":
        return
    for norm in _norms(module):
        for name, parameter in list(norm.named_parameters(recurse=False)):
            delattr(norm, name)
            norm.register_buffer(name, parameter.detach())
        if norms == "frozen_no_eps":
            norm.eps = 0.0
    hold_frozen(module)


def hold_frozen(module: nn.Module) -> None:
    """Sets every batch norm in a module without parameters to evaluation, where it reads its kept statistics."""
    for norm in _norms(module):
        if norm.weight is not None and next(norm.parameters(recurse=False), None) is None:
            norm.eval()


def _norms(module: nn.Module) -> Iterator[_BatchNorm]:
    return (part for part in module.modules() if isinstance(part, _BatchNorm))
