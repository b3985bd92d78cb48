"""Whether predict brings boxes back to the picture as it was asked about, and gives the picture and not its noise."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpool.checks.asking import Picture, array_of, ask
from unpool.checks.findings import Finding, not_applicable, passed
from unpool.checks.ideals import target_of
from unpool.checks.liked import best_outputs
from unpool.checks.setup import Setup
from unpool.tracing.foreign import foreign_code

LARGER = 2  # times as large is the picture that is asked about a second time
PIXELS = 2.0  # above it a position is in pixels, and no share of the picture
ALIKE = 1e-3  # of the deviation of an answer, that rounding takes
ROUGH = 0.2  # correlation of neighbours, below which a picture is noise


def of_boxes(setup: Setup, shown: list[Picture], outputs: Tensor) -> Finding:
    """Asks about a picture and about the same of twice the size, with the same outputs in place of the network's."""
    for picture in shown:
        larger = _enlarged(picture.asked)
        best = None if larger is None or not picture.is_raw else _liked(setup, picture, outputs)
        if larger is None or best is None:
            continue
        finding = _scaled(setup, picture.asked, larger, best)
        if finding is not None:
            return finding
    return not_applicable("no outputs are known whose boxes are certain")


def _enlarged(picture: Any) -> np.ndarray | None:
    """The picture with each pixel repeated; None where it is none of bytes in memory."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        return None
    return picture.repeat(LARGER, axis=0).repeat(LARGER, axis=1)


def _liked(setup: Setup, picture: Picture, outputs: Tensor) -> Tensor | None:
    loader = None if setup.val is None else setup.val.loader
    with foreign_code():
        sample = (picture.image, picture.target)
        batch = torch.utils.data.default_collate([sample]) if loader is None else loader.collate_fn([sample])
        return best_outputs(setup, batch, (1, *outputs.shape[1:]))
    return None


def _scaled(setup: Setup, picture: Any, larger: Any, best: Tensor) -> Finding | None:
    def standin(inputs: Tensor, *_: Any, **__: Any) -> Tensor:
        return best.expand(len(inputs), *best.shape[1:]).clone()

    with foreign_code() as failure:
        first, second = (ask(setup, one, standin=standin) for one in (picture, larger))
        before, after = (_boxes_of(one.answer) for one in (first, second))
        sizes = [[tuple(one.shape[-2:]) for one in asked.inputs] for asked in (first, second)]
    if failure or before is None or after is None or before.shape != after.shape or sizes[0] != sizes[1]:
        return None
    if float(before.abs().max()) <= PIXELS:
        return None  # shares of the picture do not grow with it
    ratio = float((before * after).sum() / before.square().sum())
    about = f"boxes of a picture of {LARGER} times the size are {ratio:.3g} times as large"
    if abs(ratio - LARGER) < 0.05 * LARGER:
        return passed(about, ratio)
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-2):
        return None
    return Finding(
        "fail",
        f"{about}: predict resizes the picture to that of the network, and does not bring the boxes back",
        ratio,
        "predict.size",
        "multiply the boxes by the size of the picture over that of the network's input, along each axis",
    )


def _boxes_of(answer: Any) -> Tensor | None:
    """(N, 4) boxes of an answer; None where there are none."""
    value = answer.get("boxes") if isinstance(answer, Mapping) else answer
    boxes = array_of(value)
    return boxes.double() if boxes is not None and boxes.dim() == 2 and boxes.shape[1] == 4 and len(boxes) else None


def of_noise(setup: Setup, shown: list[Picture]) -> Finding | None:
    """Whether predict gives what the network takes away from a picture, where the picture without it is the target."""
    for picture in shown:
        target = target_of(picture.target)
        if picture.is_raw or not isinstance(target, Tensor) or target.shape != picture.image.shape:
            return None
        with foreign_code() as failure, setup.trying(training=False), torch.no_grad():
            output = setup.outputs((picture.image[None], target[None]))
            answer = array_of(ask(setup, picture.asked).answer)
        if failure or not isinstance(output, Tensor) or answer is None or answer.numel() != target.numel():
            return None
        image, target = picture.image.float(), target.float()
        output, answer = output[0].detach().cpu().float(), answer.reshape(target.shape).float()
        if not _is_rest(answer, image - output) or _is_rest(answer, output):
            return None
        if _smoothness(image - target) > ROUGH or _smoothness(target) < 2 * ROUGH:
            return None
    return Finding(
        "fail",
        f"predict answers {len(shown)} pictures with the picture minus the network's output, which is the noise: "
        "the targets are the pictures without it",
        1.0,
        "predict.differs",
        "subtract the noise from the picture in predict as well, or ask the network by its forward as evaluation does",
    )


def _is_rest(answer: Tensor, expected: Tensor) -> bool:
    """Whether an answer is what is expected, cut off at its own least and largest value."""
    gap = (answer - expected.clamp(float(answer.min()), float(answer.max()))).abs().mean()
    return float(gap) <= ALIKE * max(float(answer.std()), 1e-12)


def _smoothness(picture: Tensor) -> float:
    """Correlation of values with their neighbours in a row: about 0 of noise, near 1 of smooth pictures."""
    pairs = torch.stack([picture[..., :-1].flatten(), picture[..., 1:].flatten()])
    return float(torch.corrcoef(pairs)[0, 1].nan_to_num())
