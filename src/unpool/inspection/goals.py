"""What of a network an image is to excite: a unit of a layer, a whole layer, or the score of a class.

A goal is a function of the network's input; hooks are removed and modes restored after each call.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError, quoted, shortened
from unpool.tracing.recorder import evaluating, tensors_of

_SHOWN = 12  # names of layers in a message


class Goal(NamedTuple):
    """What is to be excited.

    Attributes:
        layer: dotted name of a module; "" is the network itself, whose scores are taken in front of a softmax.
        unit: channel of a map (B, C, H, W), number of a vector (B, C) or of the last axis of tokens (B, N, C); None is
            the whole layer.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> str(Goal("0", 5)), check_goal(network, Goal("0", 5))
        ('unit 5 of 0', Goal(layer='0', unit=5))
    """

    layer: str
    unit: int | None = None

    def __str__(self) -> str:
        where = self.layer or "the output"
        return where if self.unit is None else f"unit {self.unit} of {where}"


class _Reached(Exception):
    """Ends a forward at the layer that was asked for: what lies behind it is not computed."""


def check_goal(network: nn.Module, goal: Goal) -> Goal:
    """Returns the goal.

    Raises:
        RecipeError: the network has no such layer; the message has the nearest name.
    """
    names = dict(network.named_modules())
    if goal.layer not in names:
        near = get_close_matches(shortened(goal.layer), names, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"the last ones are {', '.join([*names][-_SHOWN:])}"
        raise RecipeError(f"the network has no layer {quoted(goal.layer)}; {meant}")
    return goal


def excitement(network: nn.Module, goal: Goal, image: Tensor) -> Tensor:
    """Returns how much an image excites the goal, as a scalar with a gradient.

    Args:
        network: on the device of the image; runs in evaluation mode, up to the layer alone.
        goal: a unit's mean over positions; of a whole layer half the mean square, whose gradient is its activation
            (as DeepDream has it).
        image: (B, C, H, W) the network's input.

    Raises:
        RecipeError: the layer did not run, has no such unit, or gives no map, vector or tokens; or the network's
            output has been through a softmax that is no module.

    Example:
        >>> image = torch.ones(1, 1, 4, 4)
        >>> excitement(nn.AvgPool2d(2), Goal("", 0), 3 * image), excitement(nn.AvgPool2d(2), Goal(""), 3 * image)
        (tensor(3.), tensor(4.5000))
    """
    with evaluating(network):
        output = _scores(network, image) if not goal.layer else _of_layer(network, goal.layer, image)
    if goal.unit is None:
        return output.float().square().mean() / 2
    return _unit(output, goal).float().mean()


def count_units(network: nn.Module, layer: str, image: Tensor) -> int:
    """Returns the number of units of a layer, on an image that the network takes."""
    with torch.no_grad(), evaluating(network):
        output = _scores(network, image) if not layer else _of_layer(network, layer, image)
    return output.shape[_axis(output, layer)]


def _unit(output: Tensor, goal: Goal) -> Tensor:
    axis = _axis(output, goal.layer)
    count = output.shape[axis]
    if goal.unit is None or not 0 <= goal.unit < count:
        raise RecipeError(f"{goal.layer or 'the output'} has units 0 to {count - 1}, and no unit {goal.unit}")
    return output.select(axis, goal.unit)


def _axis(output: Tensor, layer: str) -> int:
    if output.dim() not in (2, 3, 4):
        raise RecipeError(
            f"{layer or 'the network'} gives {tuple(output.shape)}: only a map (B, C, H, W), a vector (B, C) and "
            "tokens (B, N, C) have units; choose another layer"
        )
    return 2 if output.dim() == 3 else 1


def _of_layer(network: nn.Module, layer: str, image: Tensor) -> Tensor:
    outputs: list[Any] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        outputs.append(output)
        raise _Reached

    handle = network.get_submodule(layer).register_forward_hook(keep)
    try:
        with suppress(_Reached):
            network(image)
    finally:
        handle.remove()
    if not outputs:
        raise RecipeError(f"layer {quoted(layer)} does not run when the network is asked: choose another")
    return _first(outputs[0], layer)


def _scores(network: nn.Module, image: Tensor) -> Tensor:
    """The network's first output, in front of the softmax module that made it, if one did."""
    with _softmaxes(network) as passed:
        output = _first(network(image), "the network")
    for made, scores in passed:
        if made is output:
            return scores
    if output.dim() == 2 and output.shape[1] > 1 and _are_probabilities(output.detach()):
        raise RecipeError(
            "the network's output are probabilities, and a class is excited by its score in front of the softmax: give "
            "the name of the layer that makes the scores"
        )
    return output


def _are_probabilities(output: Tensor) -> bool:
    sums = output.float().sum(1)
    return bool((output >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-4))


@contextmanager
def _softmaxes(network: nn.Module) -> Iterator[list[tuple[Any, Tensor]]]:
    """Inside, (output, input) of each call of a softmax module are collected."""
    passed: list[tuple[Any, Tensor]] = []
    kinds = (nn.Softmax, nn.LogSoftmax)
    handles = [
        module.register_forward_hook(lambda _, inputs, output: passed.append((output, inputs[0])))
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    try:
        yield passed
    finally:
        for handle in handles:
            handle.remove()


def _first(output: Any, what: str) -> Tensor:
    tensor = next((one for one in tensors_of(output) if one.is_floating_point()), None)
    if tensor is None:
        raise RecipeError(f"{what} gives no tensor of floating point: choose another layer")
    return tensor
