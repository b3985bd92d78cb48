"""Networks with auxiliary heads: each head has the same loss, in training only; the answer is that of the main one."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from unpool.errors import RecipeError
from unpool.types import Auxiliary, Losses

Output = Tensor | Auxiliary
_MAIN = ("logits", "out")  # as torchvision's networks, and others, name the output of the main head


def heads(output: Any) -> Output:
    """The heads of an output; of a dict or a named tuple `logits` or `out`, and those whose names begin with `aux`.

    Raises:
        RecipeError: it is no tensor, and which of its values is the main head's is not known.

    >>> import torch
    >>> heads({"out": torch.zeros(2, 5), "aux": torch.ones(2, 5)}).auxiliary[0].shape
    torch.Size([2, 5])
    """
    if isinstance(output, Tensor | Auxiliary):
        return output
    fields = getattr(output, "_fields", ())
    named = dict(output) if isinstance(output, Mapping) else dict(zip(fields, output, strict=True)) if fields else {}
    main = [value for name, value in named.items() if name in _MAIN and isinstance(value, Tensor)]
    if len(main) != 1:
        holds = f" of {', '.join(map(str, named))}" if named else ""
        raise RecipeError(
            f"the network gives a {type(output).__name__}{holds}: return a tensor, or one with the name logits or out"
        )
    others = [(str(name), value) for name, value in named.items() if isinstance(value, Tensor)]
    auxiliary = tuple(value for name, value in sorted(others, key=lambda pair: pair[0]) if name.startswith("aux"))
    return Auxiliary(main[0], auxiliary) if auxiliary else main[0]


def main_head(output: Any) -> Tensor:
    """The output of the main head; see `heads`."""
    output = heads(output)
    return output.logits if isinstance(output, Auxiliary) else output


def loss_of_heads(output: Output, losses_of: Callable[[Tensor], Losses], *, weight: float) -> Losses:
    """The losses of every head: of the main one by their names, of the others with `weight` as `auxiliary_1` and so on.

    Where a head has several losses, the names of the others' end in theirs, such as `auxiliary_1_dice`.
    """
    output = heads(output)
    losses = dict(losses_of(main_head(output)))
    if isinstance(output, Auxiliary):
        for number, part in enumerate(output.auxiliary, 1):
            beside = losses_of(part)
            for name, term in beside.items():
                key = f"auxiliary_{number}" if len(beside) == 1 else f"auxiliary_{number}_{name}"
                losses[key] = term._replace(weight=weight)
    return losses
