"""Strides of maps from their sizes, for operations that state none."""

from collections.abc import Sequence

Pair = tuple[int, int]


def scaled_strides(stride: Pair, before: Sequence[Pair], after: Sequence[Pair]) -> Pair | None:
    """Strides of rows and columns after an operation that brings maps of sizes `before` to `after`.

    None where no whole ratio does that for all of the sizes.

    >>> scaled_strides((8, 8), [(8, 12), (13, 17)], [(16, 24), (26, 34)])
    (4, 4)
    >>> scaled_strides((8, 8), [(8, 12), (13, 17)], [(7, 7), (7, 7)]) is None
    True
    """
    rows, columns = map(_scaled, stride, zip(*before, strict=True), zip(*after, strict=True))
    return None if rows is None or columns is None else (rows, columns)


def _scaled(stride: int, before: Sequence[int], after: Sequence[int]) -> int | None:
    """Stride along one axis: the ratio of the largest map, where a border weighs least, if it holds for all of them."""
    large, result = max(zip(before, after, strict=True))
    factor = max(1, round(result / large))
    # a transposed convolution may give up to a factor more or less than a multiple
    if all(abs(a - factor * b) <= (factor if factor > 1 else 0) for b, a in zip(before, after, strict=True)):
        return stride // factor if stride % factor == 0 else None
    step = max(1, round(large / result))
    return stride * step if all(b // step <= a <= -(-b // step) for b, a in zip(before, after, strict=True)) else None
