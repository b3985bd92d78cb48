"""A classifier's own head, run on windows of the maps that its body makes of a whole image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unpool.tracing.foreign import foreign_code

Pair = tuple[int, int]


def scores_of_head(
    classifier: nn.Module, head: str, image: Tensor, *, size_hw: Pair, places: Sequence[Pair]
) -> Tensor | None:
    """Scores (N, positions) of a head that gets windows of the maps of the whole image.

    Args:
        classifier: in evaluation mode.
        head: name of the first module that reads the last map.
        image: (1, C, H, W).
        size_hw: the classifier's own size, which decides that of a window.
        places: row and column of the map where each window begins.

    Returns:
        None where there is no such module, it reads no map, or the body does not take the image.
    """
    module = dict(classifier.named_modules()).get(head)
    if module is None:
        return None
    crop = image[:, :, : size_hw[0], : size_hw[1]]
    own, maps = _reaching(classifier, module, crop), _reaching(classifier, module, image)
    if own is None or maps is None or own.dim() != 4:
        return None
    windows = torch.cat([maps[:, :, i : i + own.shape[2], j : j + own.shape[3]] for i, j in places])
    handle = module.register_forward_pre_hook(lambda module, inputs: (windows,))
    try:
        return classifier(crop.expand(len(places), -1, -1, -1)).T
    finally:
        handle.remove()


class _Reached(Exception):
    """Ends a run at a module, with what came in."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x


def _reaching(classifier: nn.Module, module: nn.Module, image: Tensor) -> Tensor | None:
    """What comes into the module; None where the classifier does not get there."""

    def reached(module: nn.Module, inputs: Sequence[Any]) -> None:
        raise _Reached(inputs[0])

    handle = module.register_forward_pre_hook(reached)
    try:
        with foreign_code() as failure:
            classifier(image)
    finally:
        handle.remove()
    return failure.error.x if isinstance(failure.error, _Reached) else None
