"""Which cells each output of a convolution reads along one axis, forwards or transposed.

Source: Dumoulin and Visin 2016, arXiv:1603.07285, relationships 1 to 14.
"""

from collections.abc import Sequence
from typing import NamedTuple

from unpool.errors import RecipeError


class AxisReads(NamedTuple):
    """One axis of a convolution.

    Attributes:
        cells: what the filter moves over: the index of an input, or None for a zero.
        reads: for each output the positions in `cells` that it reads, one for each tap.
        taps: the index in the weight of each of them.
    """

    cells: tuple[int | None, ...]
    reads: tuple[tuple[int, ...], ...]
    taps: tuple[int, ...]


def axis_reads(
    size: int,
    *,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
    transposed: bool = False,
) -> AxisReads:
    """Lists what each output along one axis reads.

    Args:
        size: of the input.
        kernel: taps of the filter.
        stride: step of the filter; of a transposed convolution, the distance between its inputs.
        padding: zeros on either side; of a transposed convolution, outputs left out on either side.
        dilation: distance of the taps.
        output_padding: outputs added at the end of a transposed convolution.
        transposed: whether it is one.

    Raises:
        RecipeError: the filter does not fit, or the output padding does not.

    Example:
        >>> axis_reads(4, kernel=3, stride=2, padding=1)
        AxisReads(cells=(None, 0, 1, 2, 3, None), reads=((0, 1, 2), (2, 3, 4)), taps=(0, 1, 2))
        >>> axis_reads(2, kernel=3, stride=2, transposed=True).cells
        (None, None, 0, None, 1, None, None)
    """
    reach = dilation * (kernel - 1)
    inputs: list[int | None] = list(range(size))
    if transposed:
        if output_padding >= max(stride, dilation):
            raise RecipeError(f"output_padding is {output_padding}; it must be below the stride or the dilation")
        spread = [cell for index in inputs for cell in (index, *[None] * (stride - 1))][: (size - 1) * stride + 1]
        cells = _padded(spread, reach - padding, reach - padding + output_padding)
        step, taps = 1, tuple(range(kernel - 1, -1, -1))
    else:
        cells, step, taps = _padded(inputs, padding, padding), stride, tuple(range(kernel))
    reads = [
        tuple(start + dilation * tap for tap in range(kernel)) for start in range(0, len(cells) - reach, step)
    ]  # none where the filter is longer than the cells
    if not reads:
        raise RecipeError(
            f"a filter of {kernel} taps, {dilation} apart, does not fit {size} values with padding {padding}; "
            "give a larger size, or another padding"
        )
    return AxisReads(tuple(cells), tuple(reads), taps)


def _padded(cells: Sequence[int | None], before: int, after: int) -> list[int | None]:
    """Cells with zeros on either side; a negative number leaves cells out."""
    whole = [*[None] * before, *cells, *[None] * after]
    return whole[max(0, -before) : len(whole) - max(0, -after)]
