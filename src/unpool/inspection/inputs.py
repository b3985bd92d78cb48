"""What a network is shown to be looked at: one image, or several inputs, each by its shape or an example."""

from collections.abc import Sequence
from contextlib import suppress
from inspect import Parameter, signature
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# (C, H, W) of one image without the batch; several such; or examples with a batch, of any kind of number
InputShape = Sequence[int] | Sequence[Sequence[int] | Tensor] | Tensor
_SUCH = "such as (3, 224, 224), or one for each input"


class Inputs(NamedTuple):
    """The inputs of a network, in the order of its arguments.

    Attributes:
        shapes: without the batch.
        examples: values of one sample, with the batch; None for an input that is a shape.
    """

    shapes: tuple[tuple[int, ...], ...]
    examples: tuple[Tensor | None, ...]

    @classmethod
    def of(cls, model: nn.Module, inputs: InputShape) -> "Inputs":
        """Reads shapes and examples.

        Raises:
            ValueError: one is no shape, or the network takes another number of them.

        Example:
            >>> Inputs.of(nn.Conv2d(3, 8, 3), (3, 32, 32)).shapes
            ((3, 32, 32),)
            >>> Inputs.of(nn.Bilinear(4, 5, 2), [(4,), torch.zeros(1, 5)]).shapes
            ((4,), (5,))
        """
        is_one = isinstance(inputs, Tensor) or all(isinstance(side, Integral) for side in inputs)
        several: Sequence[Any] = [inputs] if is_one else list(inputs)
        _check_number(model, len(several))
        examples = tuple(one[:1].detach() if isinstance(one, Tensor) else None for one in several)
        shapes = tuple(_shape(one) for one in several)
        return cls(shapes, examples)

    def without_values(self, batch: int = 1) -> tuple[Tensor, ...]:
        """Returns tensors on the meta device, of `batch` samples."""
        return tuple(
            torch.empty((batch, *shape), device="meta", dtype=None if example is None else example.dtype)
            for shape, example in zip(self.shapes, self.examples, strict=True)
        )

    def on(self, device: torch.device, dtype: torch.dtype, batch: int = 1) -> tuple[Tensor, ...]:
        """Returns the examples, and zeros of `dtype` where there are shapes only, `batch` times."""
        return tuple(
            torch.zeros((batch, *shape), device=device, dtype=dtype)
            if example is None
            else example.to(device).expand(batch, *shape)
            for shape, example in zip(self.shapes, self.examples, strict=True)
        )


def _shape(one: Any) -> tuple[int, ...]:
    if isinstance(one, Tensor):
        if one.ndim < 2:
            raise ValueError(f"an example of an input is {tuple(one.shape)}; expected a batch of one, (1, C, H, W)")
        return tuple(one.shape[1:])
    if not isinstance(one, Sequence) or not all(isinstance(side, Integral) and int(side) > 0 for side in one):
        raise ValueError(f"the shape of an input is {one}; expected whole numbers above 0, {_SUCH}")
    return tuple(map(int, one))


def _check_number(model: nn.Module, count: int) -> None:
    """Raises ValueError where `forward` takes more or fewer positional arguments than `count`."""
    parameters: list[Parameter] = []
    with suppress(TypeError, ValueError):  # of a forward that is no Python function
        parameters = list(signature(model.forward).parameters.values())
    if not parameters:
        return
    several = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    needed = [p.name for p in parameters if p.default is Parameter.empty and p.kind not in several]
    most = sum(p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD) for p in parameters)
    takes_any = any(p.kind is Parameter.VAR_POSITIONAL for p in parameters)
    name, shapes = type(model).__name__, f"{count} {'shape is' if count == 1 else 'shapes are'} given"
    if count < len(needed):
        raise ValueError(f"{name} takes {len(needed)} inputs ({', '.join(needed)}) and {shapes}; expected {_SUCH}")
    if count > most and not takes_any:
        raise ValueError(f"{name} takes at most {most} inputs and {shapes}; expected {_SUCH}")
