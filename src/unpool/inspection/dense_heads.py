"""Runs a classifier's head on windows of the maps that the layers before it compute for a whole image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unpool.tracing.foreign import foreign_code

Pair = tuple[int, int]


def scores_of_head(
    classifier: nn.Module, head: str, image: Tensor, *, size_hw: Pair, starts: Sequence[Pair]
) -> Tensor | None:
    """Scores (N, positions) of a classifier's head for windows of the maps of the whole image.

    Args:
        classifier: in evaluation mode.
        head: name of the first module that reads the last map.
        image: (1, C, H, W).
        size_hw: the classifier's input size, which decides that of a window.
        starts: row and column of the map where each window begins.

    Returns:
        None where there is no such module, it reads no map, or the layers before it do not take the image.
    """
    module = dict(classifier.named_modules()).get(head)
    if module is None:
        return None
    crop = image[:, :, : size_hw[0], : size_hw[1]]
    crop_maps, maps = _input_of(classifier, module, crop), _input_of(classifier, module, image)
    if crop_maps is None or maps is None or crop_maps.dim() != 4:
        return None
    windows = torch.cat([maps[:, :, i : i + crop_maps.shape[2], j : j + crop_maps.shape[3]] for i, j in starts])
    handle = module.register_forward_pre_hook(lambda module, inputs: (windows,))
    try:
        return classifier(crop.expand(len(starts), -1, -1, -1)).T
    finally:
        handle.remove()


class _Arrived(Exception):
    """Ends a run at a module; keeps the module's input."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x


def _input_of(classifier: nn.Module, module: nn.Module, image: Tensor) -> Tensor | None:
    """The input of the module; None where the classifier does not run that far."""

    def stop(module: nn.Module, inputs: Sequence[Any]) -> None:
        raise _Arrived(inputs[0])

    handle = module.register_forward_pre_hook(stop)
    try:
        with foreign_code() as failure:
            classifier(image)
    finally:
        handle.remove()
    return failure.error.x if isinstance(failure.error, _Arrived) else None
