"""Runs whose target is a picture of the input's size: the noise between them, and the units of both."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.pixel_values import input_of
from unpool.checks.setup import Setup

LEAST = 8  # pictures
EQUAL, WHITE = 0.95, 0.25  # correlation of the noise of two samples; of neighbouring pixels of noise
BYTES, WITHIN = 255.0, 1.2  # of a unit, and how far from it
ALIKE = 0.5  # correlation of small copies of input and target, from which they show the same

NOISE = "Draw noise from torch's generator without a seed of its own in __getitem__; seed in validation by index."
UNITS = "Give input and target in one unit: divide both by 255, and sigma with them, or none."


class Both(NamedTuple):
    """Inputs and targets (N, C, H, W) of the samples that were kept."""

    inputs: Tensor
    targets: Tensor


def _both(setup: Setup) -> Both | None:
    seen = setup.seen
    if setup.target_form != "picture" or seen.numbers is None or len(seen.images) < LEAST:
        return None
    shapes = {image.shape for image in seen.images}
    if len(shapes) != 1 or seen.numbers.shape[1:] != seen.images[0].shape:
        return None
    return Both(torch.stack(seen.images), seen.numbers[: len(seen.images)].float())


def look_equal_noise(setup: Setup) -> Finding:
    """Compares the differences of input and target of neighbouring samples."""
    both = _both(setup)
    if both is None:
        return not_applicable("inputs and targets are no pictures of one size")
    noise = both.inputs - both.targets
    noise = noise - noise.mean((1, 2, 3), keepdim=True)
    near = float(_alike(noise[..., 1:], noise[..., :-1]).abs().median())
    equal = float(_alike(noise[1:], noise[:-1]).median())
    about = (
        f"The noise of two samples correlates by {equal:.2f}, that of neighbouring pixels by {near:.2f}, by the median "
        f"of {len(noise)} samples"
    )
    if equal < EQUAL or near > WHITE:
        return passed(f"{about}.", equal)
    return Finding(
        "fail", f"{about}: all samples have the same noise, which can be learned by heart.", equal,
        "augment.same_randomness", NOISE, (f"noise has a deviation of {float(noise.std()):.3g}",),
    )  # fmt: skip


def _alike(first: Tensor, second: Tensor) -> Tensor:
    """(N,): the correlation of each pair of maps."""
    first, second = (one.flatten(1) - one.flatten(1).mean(1, keepdim=True) for one in (first, second))
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1)).clamp_min(1e-9)


def look_units(setup: Setup) -> Finding:
    """Compares the spread of input and target that show the same, and what the first layer gets."""
    both = _both(setup)
    if both is None:
        return not_applicable("inputs and targets are no pictures of one size")
    if setup.seen.numbers is not None and not setup.seen.numbers.is_floating_point():
        return not_applicable("the targets are whole numbers, which are scaled after they are read")
    inputs, targets = (nn.functional.avg_pool2d(one, 4) if min(one.shape[-2:]) >= 8 else one for one in both)
    alike = float(_alike(inputs, targets).median())
    ratio = float(inputs.std() / targets.std().clamp_min(1e-9))
    about = f"Input and target correlate by {alike:.2f}, and the input's deviation is {ratio:.3g} times the target's"
    is_apart = BYTES / WITHIN < ratio < BYTES * WITHIN
    if alike < ALIKE or not is_apart or not _gets_as_is(setup, float(both.inputs.std())):
        return passed(f"{about}.", ratio)
    return Finding(
        "fail", f"{about}: the input is in bytes, the target goes from 0 to 1.", ratio, "data.value_range", UNITS,
        (f"inputs lie between {both.inputs.min():.3g} and {both.inputs.max():.3g}, targets between "
         f"{both.targets.min():.3g} and {both.targets.max():.3g}",),
    )  # fmt: skip


def _gets_as_is(setup: Setup, spread: float) -> bool:
    """Whether the first convolution gets values that spread as the inputs do: no layer before it scales them."""
    layer = next((part for part in setup.model.modules() if isinstance(part, nn.Conv2d | nn.Linear)), None)
    if layer is None:
        return False
    with input_of(layer) as kept, setup.trying(training=False), torch.no_grad():
        setup.outputs(setup.train.batches(1)[0])
    return bool(kept) and 0.5 < float(kept[0].std()) / max(spread, 1e-9) < 2


CHECKS = (
    Check(
        name="each picture has its noise",
        subject="augment",
        causes={"augment.same_randomness": NOISE},
        symptom="The training loss falls far below what noise allows, and validation is not cleaned at all.",
        measure="The correlation of the differences of input and target of neighbouring samples, where they are noise.",
        threshold=f"From {EQUAL:g} it fails, where neighbouring pixels correlate by {WHITE:g} at most.",
        origin="Noise that is drawn anew correlates by 0; what is left of 1 is clipping.",
        look=look_equal_noise,
    ),
    Check(
        name="input and target have one unit",
        subject="data",
        causes={"data.value_range": UNITS},
        symptom="The loss begins in the thousands, and the network only learns to scale.",
        measure="The deviation of input and target, where both show the same, and of what the first layer gets.",
        threshold=f"A ratio of {BYTES:g}, within a fifth, fails; a network that scales its input itself passes.",
        origin="Arithmetic: bytes against 0 to 1; targets of bytes are scaled by whoever reads them.",
        look=look_units,
    ),
)
