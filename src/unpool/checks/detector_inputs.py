"""What torchvision's detectors take for themselves: label 0 for the background, and the normalisation of pictures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.pixel_values import PREPARATIONS
from unpool.checks.setup import Setup
from unpool.checks.source import split

BATCHES = 8  # in which labels are read
BELOW = -0.5  # pixels from 0 to 1 have none so low

BACKGROUND = "Number the classes from 1, and give the detector num_classes with one more for the background."
ONCE = "Leave Normalize out of the data set: give pixels from 0 to 1 to a network that normalises them itself."


def look_background(setup: Setup) -> Finding:
    """Counts the things whose label a detector takes for the background."""
    from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
    from torchvision.models.detection.ssd import SSD

    if not any(isinstance(part, GeneralizedRCNN | SSD) for part in setup.model.modules()):
        return not_applicable("the network is no detector of torchvision with a class for the background")
    labels = [label for batch in setup.train.batches(BATCHES) for label in _labels(split(batch)[1])]
    if not labels or not sum(map(len, labels)):
        return not_applicable("the targets hold no labels")
    joined = torch.cat(labels)
    wrong = int((joined == 0).sum())
    about = f"{wrong:,} of {len(joined):,} things have label 0, which the detector takes for the background"
    if not wrong:
        return passed(f"{about}.", 0.0)
    return Finding(
        "fail", f"{about}: they are taught to be nothing.", float(wrong), "data.label_range", BACKGROUND,
        tuple(f"label {int(value)}: {int(n):,} things" for value, n in zip(*joined.unique(return_counts=True),
                                                                           strict=True)),
    )  # fmt: skip


def _labels(targets: Any) -> Iterator[Tensor]:
    for one in targets if isinstance(targets, list | tuple) else (targets,):
        if isinstance(one, Mapping) and isinstance(one.get("labels"), Tensor):
            yield one["labels"].flatten().cpu()


def look_twice(setup: Setup) -> Finding:
    """Asks whether pictures are already normalised that the network's first layer normalises."""
    layer = next(_normalising(setup.model), None)
    if layer is None or not setup.seen.images or len(setup.seen.images[0]) != 3:
        return not_applicable("no layer of the network normalises pictures of three channels by a fixed mean")
    pixels = torch.cat([image.flatten(1) for image in setup.seen.images[:48]], 1)
    low, high = float(pixels.min()), float(pixels.max())
    about = f"Pixels lie between {low:.3g} and {high:.3g}, and {layer.name} in the network normalises them"
    known = next((name for name, mean, std in _ways(layer) if _is_prepared(pixels, mean, std)), None)
    if low > BELOW or known is None:
        return passed(f"{about}.", low)
    return Finding(
        "fail", f"{about} once more: they are already prepared by {known}.", low, "data.normalization", ONCE,
        tuple(f"channel {c}: {float(one.min()):.4g} to {float(one.max()):.4g}" for c, one in enumerate(pixels)),
    )  # fmt: skip


class _Layer(NamedTuple):
    """A layer that takes a mean off which is not 0, and divides by a deviation."""

    name: str
    mean: Sequence[float]
    std: Sequence[float]


def _normalising(model: nn.Module) -> Iterator[_Layer]:
    from torchvision.models.detection.transform import GeneralizedRCNNTransform
    from torchvision.transforms import Normalize, v2

    for part in model.modules():
        if isinstance(part, GeneralizedRCNNTransform) and any(part.image_mean):
            yield _Layer(type(part).__name__, part.image_mean, part.image_std)
        elif isinstance(part, Normalize | v2.Normalize) and any(part.mean):
            yield _Layer(type(part).__name__, part.mean, part.std)


def _ways(layer: _Layer) -> Iterator[tuple[str, Any, Any]]:
    yield "the same mean and deviation", layer.mean, layer.std
    for way in PREPARATIONS[1:3]:
        yield way.name, way.mean, way.std


def _is_prepared(pixels: Tensor, mean: Any, std: Any) -> bool:
    """Whether taking a preparation back gives pixels from 0 to 1."""
    before = pixels * torch.tensor(std)[:, None] + torch.tensor(mean)[:, None]
    low, high = float(before.min()), float(before.max())
    return low >= -0.01 and high <= 1.01 and high - low > 0.5


CHECKS = (
    Check(
        name="no thing is the background",
        subject="data",
        causes={"data.label_range": BACKGROUND},
        symptom="One class is never detected, and the others are.",
        measure="Things of label 0 in the targets of torchvision's R-CNN and SSD, where 0 is the background.",
        threshold="One fails.",
        origin="Exact: the documentation of torchvision's detectors numbers classes from 1.",
        look=look_background,
        is_quick=True,
    ),
    Check(
        name="pictures are normalised once",
        subject="data",
        causes={"data.normalization": ONCE},
        symptom="Trained weights of a detector are little better than new ones.",
        measure="Whether taking a usual mean and deviation off the pixels brings them to 0 to 1, where the network has "
        "a layer that normalises (torchvision's detectors, Normalize).",
        threshold=f"Pixels below {BELOW:g} that fit such a preparation fail.",
        origin="Exact for pictures of 8 bits: no pixel from 0 to 1 is negative.",
        look=look_twice,
        is_quick=True,
    ),
)
