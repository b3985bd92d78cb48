"""What the tasks on pairs of images share: targets as large as the network's input, and how both tasks are shown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.metrics.pixel_errors import error_lengths
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing
from unpool.task import Description
from unpool.types import Batch

BAD = 3.0  # pixels of an error from which on it is white in pictures
DESCRIBED = {
    "bad3": Description("bad 3.0", is_share=True, higher_is_better=False),
    "bad3_visible": Description("bad 3.0, visible pixels", is_share=True, higher_is_better=False),
    "bad1": Description("bad 1.0", is_share=True, higher_is_better=False),
    "bad1_visible": Description("bad 1.0, visible pixels", is_share=True, higher_is_better=False),
    "epe": Description("end-point error", unit="pixels", higher_is_better=False),
    "epe_visible": Description("end-point error, visible pixels", unit="pixels", higher_is_better=False),
}


def check_pairs(task: str, preprocessing: Preprocessing | None) -> Preprocessing:
    """The preprocessing of pairs, whose images keep their size.

    Raises:
        RecipeError: images are brought to a size, or have an odd number of channels.
    """
    preprocessing = preprocessing or Preprocessing(channels=6, mean=6 * (0.5,), std=6 * (0.25,))
    if not preprocessing.keeps_size:
        size = preprocessing.size_hw
        key, value = ("shorter", preprocessing.shorter) if size is None else ("size", list(size))
        raise RecipeError(
            f"data.{key} is {value}; answers of {task} are pixels of the images, which must keep their size: leave "
            f"data.{key} out (train_size cuts windows in training)"
        )
    if preprocessing.channels % 2:
        raise RecipeError(
            f"data.channels is {preprocessing.channels}; {task} sees pairs of images, both in one: set it to 6 for "
            "colour or 2 for grey"
        )
    return preprocessing


def as_input(values: Tensor | Sequence[Tensor], size_hw: tuple[int, int], fill: float) -> Tensor:
    """(B, ..., H, W) targets of a batch as large as the network's input, `fill` at bottom and right.

    >>> as_input([torch.ones(1, 2), torch.ones(2, 1)], (2, 2), 0.0).tolist()
    [[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]
    """
    height, width = size_hw
    padded = [nn.functional.pad(v, (0, width - v.shape[-1], 0, height - v.shape[-2]), value=fill) for v in values]
    return torch.stack(padded)


def of_images(maps: Tensor, inputs: Batch) -> Tensor | list[Tensor]:
    """(B, ..., H, W) maps without padding: of one size as a tensor, else a list."""
    sizes = Layout.of(inputs).size_hw.tolist()
    if all(size == sizes[0] for size in sizes):
        return maps[..., : sizes[0][0], : sizes[0][1]]
    return [one[..., :height, :width] for one, (height, width) in zip(maps, sizes, strict=True)]


def beside(image: Tensor, colours: Tensor) -> Tensor:
    """The image and a map in colours (3, H, W), as large as it, side by side."""
    if colours.shape[-2:] != image.shape[-2:]:
        colours = nn.functional.interpolate(colours[None], image.shape[-2:], mode="nearest")[0]
    return torch.cat([image.cpu().expand(3, -1, -1), colours], dim=-1)


def error_picture(answer: Tensor, truth: Tensor) -> Tensor:
    """(3, H, W) uint8: white where the error is 3 pixels or more, black where there is none or the truth unknown."""
    errors = error_lengths(answer, truth).nan_to_num(0)
    return (errors / BAD * 255).clamp(0, 255).round().to(torch.uint8).expand(3, -1, -1)


def in_words(answer: Tensor, truth: Tensor, hidden: Tensor | None) -> str:
    """The scores of one image, for the report."""
    errors = error_lengths(answer, truth)
    known = truth.isfinite().reshape(-1, *errors.shape).all(0)  # an answer that is no number is bad
    kinds = {"all": known} | ({} if hidden is None else {"visible": known & ~hidden})
    parts = [
        f"{name}: {float((~(errors[part] <= BAD)).float().mean()):.1%} bad, {float(errors[part].mean()):.2f} pixels off"
        for name, part in kinds.items()
        if bool(part.any())
    ]
    return "; ".join(parts)


def largest(values: Mapping[str, Any], key: str) -> float:
    """The largest known length of a map, at least 1, rounded up so that pictures of a set are alike."""
    lengths = values[key].float() if values[key].dim() == 2 else values[key].float().square().sum(0).sqrt()
    known = lengths[lengths.isfinite()]
    return float(math.ceil(max(1.0, float(known.max())))) if len(known) else 1.0
