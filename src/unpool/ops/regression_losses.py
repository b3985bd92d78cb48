"""Errors of numbers that a network gives as they are, without an activation: squared, absolute, and Huber's."""

from typing import Annotated, Literal, get_args

from annotated_types import Interval
from torch import Tensor
from torch.nn.functional import huber_loss

from unpool.errors import RecipeError, quoted

RegressionLoss = Literal["mse", "mae", "huber"]
DELTA = Interval(gt=0, le=1_000_000)
Delta = Annotated[float, DELTA]
NEAR_SIDES = 0.05  # delta of coordinates in sides of an image


def check_regression_loss(name: str, loss: RegressionLoss) -> RegressionLoss:
    """A loss written in a recipe.

    Raises:
        RecipeError: there is no such loss.

    Example:
        >>> check_regression_loss("task.loss", "mae")
        'mae'
    """
    if loss not in get_args(RegressionLoss):
        raise RecipeError(f"{name} is {quoted(loss)}; it must be one of {', '.join(get_args(RegressionLoss))}")
    return loss


def regression_errors(output: Tensor, target: Tensor, loss: RegressionLoss, *, delta: float = 1.0) -> Tensor:
    """Returns the error of each number, in the shape of the output.

    Args:
        output: numbers of a network.
        target: of the same shape.
        loss: "mse" is the square of the difference d, "mae" its absolute value; "huber" is d^2 / 2 up to `delta` and
            grows with the slope `delta` beyond, so that a few wrong targets do not outweigh all others (Huber 1964).
        delta: of "huber", in the unit of the numbers.

    Example:
        >>> import torch
        >>> output, target = torch.tensor([0.5, 3.0]), torch.zeros(2)
        >>> [regression_errors(output, target, loss).tolist() for loss in ("mse", "mae", "huber")]
        [[0.25, 9.0], [0.5, 3.0], [0.125, 2.5]]
    """
    if loss == "huber":
        return huber_loss(output, target, reduction="none", delta=delta)
    difference = output - target
    return difference.square() if loss == "mse" else difference.abs()
