"""The rows of a whole batch, of which a process may have a part: what losses between samples compare."""

from torch import Tensor
from torch.overrides import wrap_torch_function


def _dispatched(rows: Tensor) -> tuple[Tensor]:
    return (rows,)


@wrap_torch_function(_dispatched)
def rows_of_all(rows: Tensor) -> tuple[Tensor, int]:
    """The rows of the whole batch, and the position of the first of these among them.

    A process by itself has all rows. Among several, `training.whole_batch.AsOne` replaces this function, so that each
    process compares its own rows with those of all, and gradients find their way back to the process of each row.

    Args:
        rows: (B, ...) floating or whole numbers, a row a sample.

    Returns:
        (B of all processes, ...), in the order of the batch, and a position.

    Example:
        >>> import torch
        >>> rows_of_all(torch.tensor([[1.0], [2.0]]))
        (tensor([[1.],
                [2.]]), 0)
    """
    return rows, 0
