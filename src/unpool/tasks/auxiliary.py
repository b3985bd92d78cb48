"""Networks with auxiliary heads: each head has the same loss, in training only; the answer is that of the main one."""

from collections.abc import Callable

from torch import Tensor

from unpool.types import Auxiliary, Losses, Term

Output = Tensor | Auxiliary


def main_head(output: Output) -> Tensor:
    """The output of the main head."""
    return output.logits if isinstance(output, Auxiliary) else output


def loss_of_heads(output: Output, loss: Callable[[Tensor], Term], *, weight: float) -> Losses:
    """The loss of every head: `cross_entropy` of the main one, `auxiliary_1` and so on with `weight` of the others."""
    losses = {"cross_entropy": loss(main_head(output))}
    if isinstance(output, Auxiliary):
        for number, part in enumerate(output.auxiliary, 1):
            losses[f"auxiliary_{number}"] = loss(part)._replace(weight=weight)
    return losses
