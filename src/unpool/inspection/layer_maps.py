"""The output of one layer of any network; what stands behind the layer does not run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from unpool.errors import RecipeError, UnpoolError, quoted
from unpool.inspection.traced import no_such_layer
from unpool.tracing.foreign import foreign_code
from unpool.tracing.recorder import evaluating, tensors_of


class _Reached(Exception):
    """Ends a forward pass behind the layer that is looked at."""


def layer_output(model: nn.Module, image: Tensor, layer: str) -> Tensor:
    """Runs a network in evaluation mode up to a layer and returns what that gives, with a gradient where it is asked.

    Of a layer that runs several times the first call counts.

    Args:
        model: any network of one input; its modes and hooks are restored.
        image: (B, C, H, W) as the network takes it.
        layer: dotted name of a module, "" for the network itself.

    Returns:
        (B, C, H, W), or (B, N) of a layer without positions.

    Raises:
        RecipeError: there is no such layer, it does not run, the network refuses the image, or the layer gives no
            single map.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5, 2))
        >>> layer_output(network, torch.zeros(1, 3, 10, 10), "1").shape  # the last layer would not fit
        torch.Size([1, 8, 8, 8])
    """
    reached: list[Any] = []

    def reach(module: nn.Module, inputs: Any, output: Any) -> None:
        reached.append(output)
        raise _Reached

    with find_layer(model, layer).register_forward_hook(reach), evaluating(model), foreign_code() as failure:
        model(image)
    if reached:
        failure.error = None  # whose traceback holds this frame, and so all tensors of the pass
        return only_map(reached[0], layer)
    if isinstance(failure.error, UnpoolError):
        raise failure.error
    if failure:
        raise RecipeError(
            f"{type(model).__name__} does not take an image of {tuple(image.shape)} (B, C, H, W): {failure}; give one "
            "of another size"
        ) from failure.error
    raise RecipeError(f"layer {quoted(layer)} did not run: choose one that the forward pass calls")


@contextmanager
def keeping_output(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Inside, the output of each call of a layer is added to the list; the pass goes on with a copy of it.

    So an operation that changes the output in place, such as a ReLU, changes the copy.
    """
    outputs: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> Tensor:
        outputs.append(only_map(output, layer))
        return output.clone()

    with find_layer(model, layer).register_forward_hook(keep):
        yield outputs


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """Returns the module of a name.

    Raises:
        RecipeError: there is none; the message has the nearest names.
    """
    modules = dict(model.named_modules())
    if layer not in modules:
        raise RecipeError(no_such_layer(layer, modules))
    return modules[layer]


def only_map(output: Any, layer: str) -> Tensor:
    """Returns the one tensor of a layer's output.

    Raises:
        RecipeError: it gives several, or one that is neither (B, C, H, W) nor (B, N).
    """
    tensors = list(tensors_of(output))
    shapes = ", ".join(str(tuple(one.shape)) for one in tensors) or "no tensor"
    if len(tensors) != 1 or tensors[0].dim() not in (2, 4) or not tensors[0].is_floating_point():
        raise RecipeError(
            f"layer {quoted(layer)} gives {shapes}; expected one tensor (B, C, H, W) or (B, N): choose another layer"
        )
    return tensors[0]


def unit_count(output: Tensor, layer: str, units: tuple[int, ...] | list[int]) -> int:
    """Returns how many units a layer's output (B, C, ...) has.

    Raises:
        RecipeError: one of `units` is none of them.
    """
    count = output.shape[1]
    for unit in units:
        if not 0 <= unit < count:
            raise RecipeError(f"layer {quoted(layer)} has units 0 to {count - 1}, and {unit} is none of them")
    return count
