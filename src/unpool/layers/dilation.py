"""A dilated ("a trous") filter as an ordinary one with zeros in its holes (Yu and Koltun 2016, arXiv:1511.07122)."""

from torch import Tensor


def stuff_zeros(weight: Tensor, dilation: int | tuple[int, ...]) -> Tensor:
    """Inserts `dilation - 1` zeros between the taps of a filter; convolving with it is the dilated convolution.

    Args:
        weight: (C_out, C_in, k) or (C_out, C_in, k, k).
        dilation: distance of the taps, one number or one per axis.

    Returns:
        (C_out, C_in, k + (k - 1) * (dilation - 1), ...).

    Raises:
        ValueError: `dilation` is not positive.
    """
    kernel = weight.shape[2:]
    rates = (dilation,) * len(kernel) if isinstance(dilation, int) else dilation
    if min(rates) < 1:
        raise ValueError(f"dilation is {dilation}; give the distance of the taps, 1 for a filter without holes")
    sides = [k + (k - 1) * (rate - 1) for k, rate in zip(kernel, rates, strict=True)]
    stuffed = weight.new_zeros(*weight.shape[:2], *sides)
    stuffed[(..., *(slice(None, None, rate) for rate in rates))] = weight
    return stuffed
