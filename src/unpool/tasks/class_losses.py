"""Losses between scores of classes and labels, of images or of pixels, by the name that they have in `task.loss`."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple, get_args

from annotated_types import Interval, Len
from torch import Tensor

from unpool.errors import RecipeError, quoted
from unpool.limits import check_number
from unpool.ops.losses import (
    label_binary_cross_entropy,
    label_cross_entropy,
    label_focal,
    pixel_cross_entropy,
    pixel_focal,
)
from unpool.ops.set_losses import dice, lovasz_softmax
from unpool.types import Activation, Term

LabelLossName = Literal["cross_entropy", "focal", "binary_cross_entropy"]
PixelLossName = Literal["cross_entropy", "focal", "dice", "lovasz"]
PixelLossNames = PixelLossName | Annotated[Sequence[PixelLossName], Len(1, 4)]
GAMMA = Interval(ge=0, le=10)
FOCAL_GAMMA = 2.0  # the paper's
Gamma = Annotated[float, GAMMA]


class LabelLoss(NamedTuple):
    """A loss of the scores (B, N) of images.

    Attributes:
        compute: of scores, labels (B,), label smoothing, gamma and, for mixed images, shares as in `ops.losses`.
        activation: that it applies to the scores, so that their probabilities are those after it, and the network ends
            without one.
    """

    compute: Callable[..., Term]
    activation: Activation


class PixelLoss(NamedTuple):
    """A loss of the scores (B, N, H, W) of pixels.

    Attributes:
        compute: of scores, mask (B, H, W), weights of the classes and gamma.
        is_of_sets: whether it compares all pixels of an image at once, so that no part of one can be computed alone.
        activation: that it applies to the scores.
    """

    compute: Callable[[Tensor, Tensor, Tensor | None, float], Term]
    is_of_sets: bool = False
    activation: Activation = "softmax"


LABEL_LOSSES: dict[str, LabelLoss] = {
    "cross_entropy": LabelLoss(
        lambda x, y, smoothing, gamma, shares=None: label_cross_entropy(x, y, label_smoothing=smoothing, shares=shares),
        "softmax",
    ),
    "focal": LabelLoss(
        lambda x, y, smoothing, gamma, shares=None: label_focal(x, y, gamma=gamma, shares=shares), "softmax"
    ),
    "binary_cross_entropy": LabelLoss(
        lambda x, y, smoothing, gamma, shares=None: label_binary_cross_entropy(
            x, y, label_smoothing=smoothing, shares=shares
        ),
        "sigmoid",
    ),
}
PIXEL_LOSSES: dict[str, PixelLoss] = {
    "cross_entropy": PixelLoss(lambda x, y, weights, _: pixel_cross_entropy(x, y, weights)),
    "focal": PixelLoss(lambda x, y, weights, gamma: pixel_focal(x, y, weights, gamma=gamma)),
    "dice": PixelLoss(lambda x, y, *_: dice(x, y), is_of_sets=True),
    "lovasz": PixelLoss(lambda x, y, *_: lovasz_softmax(x, y), is_of_sets=True),
}


def check_gamma(gamma: float, losses: Sequence[str]) -> float:
    """The gamma of focal loss.

    Raises:
        RecipeError: it is out of range, or another one than the default where no loss is focal.
    """
    if "focal" not in losses and gamma != FOCAL_GAMMA:
        raise RecipeError(
            f"task.focal_gamma is {gamma}, which task.loss {' and '.join(losses)} does not read: leave it out, or set "
            "task.loss to focal"
        )
    return check_number("task.focal_gamma", gamma, GAMMA)


def check_label_loss(loss: LabelLossName, label_smoothing: float) -> LabelLossName:
    """A loss of images.

    Raises:
        RecipeError: there is no such loss, or it knows no label smoothing.
    """
    if loss not in LABEL_LOSSES:
        raise RecipeError(f"task.loss is {quoted(loss)}; it must be one of {', '.join(get_args(LabelLossName))}")
    if loss == "focal" and label_smoothing:
        raise RecipeError(
            f"task.label_smoothing is {label_smoothing}, which task.loss focal does not know: it turns to the hardest "
            "images, and smoothed targets make every image hard; leave one of the two out"
        )
    return loss


def check_pixel_losses(losses: PixelLossNames, *, has_weights: bool) -> tuple[PixelLossName, ...]:
    """The losses of pixels that are added up.

    Args:
        losses: one, or several.
        has_weights: whether classes have weights.

    Raises:
        RecipeError: there is no such loss, one stands twice, or none of them takes the weights.
    """
    names = (losses,) if isinstance(losses, str) else tuple(losses)
    if not names or not set(names) <= set(PIXEL_LOSSES) or len(set(names)) < len(names):
        raise RecipeError(
            f"task.loss is {quoted(losses)}; it must be one of {', '.join(get_args(PixelLossName))}, or a list of "
            "different ones"
        )
    if has_weights and all(PIXEL_LOSSES[name].is_of_sets for name in names):
        raise RecipeError(
            f"task.class_weights weigh pixels, and task.loss {' and '.join(names)} weighs every class of an image "
            "alike: leave them out, or add cross_entropy or focal to task.loss"
        )
    return names
