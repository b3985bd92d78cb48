"""From matching scores to a map of disparities: winner takes all, left-right check, interpolation, median.

The steps are those of Zbontar and LeCun 2016, arXiv:1510.05970, section 4, without the aggregation of costs (4.1; for
4.2 see `ops.semi_global`) and the bilateral filter (4.6), and with the parabola (4.5) in front of the check. A
disparity d says that the point of the left image at x lies at x - d in the right one.

Differs in the interpolation (4.4): whatever fails the check takes the smaller disparity of its two neighbours in the
row that pass it, since what is hidden lies behind; the paper treats mismatches by 16 directions.
"""

import torch
from torch import Tensor, nn

MEDIAN = 5  # pixels of the side of the filter, section 4.5
TOLERANCE = 1.0  # pixels by which the two maps may differ


def matching_scores(left: Tensor, right: Tensor, disparities: int) -> Tensor:
    """The scalar product of features at each disparity: S(x, d) = left(x) . right(x - d).

    Args:
        left: (B, C, H, W) of unit length.
        right: the same of the right image.
        disparities: 0 to this number less one.

    Returns:
        (B, D, H, W); -1, the least that there is, where x - d lies beside the right image.

    Example:
        >>> left = torch.tensor([[[[0.0, 0.0, 1.0]]]])
        >>> right = torch.tensor([[[[0.0, 1.0, 0.0]]]])
        >>> matching_scores(left, right, 2)[0, :, 0]
        tensor([[ 0.,  0.,  0.],
                [-1.,  0.,  1.]])
    """
    width = left.shape[-1]
    products = [
        (left[..., d:] * right[..., : max(width - d, 0)]).sum(1) if d < width else left[:, 0, :, :0]
        for d in range(disparities)
    ]
    padded = [nn.functional.pad(one, (width - one.shape[-1], 0), value=-1.0) for one in products]
    return torch.stack(padded, dim=1)


def within(scores: Tensor) -> Tensor:
    """Scores (B, D, H, W), minus infinity where the partner lies beside the right image.

    Example:
        >>> within(torch.ones(1, 2, 1, 3))[0, :, 0]
        tensor([[1., 1., 1.],
                [-inf, 1., 1.]])
    """
    columns = torch.arange(scores.shape[-1], device=scores.device)
    disparities = torch.arange(scores.shape[1], device=scores.device)
    return scores.masked_fill(disparities[:, None, None] > columns, -torch.inf)


def seen_from_right(scores: Tensor) -> Tensor:
    """(B, D, H, W) the same scores by the pixels of the right image: R(x, d) = S(x + d, d).

    Example:
        >>> seen_from_right(torch.tensor([[[[1.0, 2.0, 3.0]], [[-1.0, 4.0, 5.0]]]]))[0, 1, 0]
        tensor([4., 5., -inf])
    """
    width = scores.shape[-1]
    moved = [
        nn.functional.pad(scores[:, d, :, min(d, width) :], (0, min(d, width)), value=-torch.inf)
        for d in range(scores.shape[1])
    ]
    return torch.stack(moved, dim=1)


def winner_takes_all(scores: Tensor) -> Tensor:
    """(B, H, W) float32: the disparity of the highest score, between its neighbours by the parabola through the three.

    Example:
        >>> winner_takes_all(torch.tensor([0.0, 0.8, 1.0, 0.8]).view(1, 4, 1, 1)).item()
        2.0
    """
    best = scores.argmax(1, keepdim=True)
    last = scores.shape[1] - 1
    lower, middle, upper = (scores.gather(1, (best + step).clamp(0, last)) for step in (-1, 0, 1))
    bend = 2 * middle - lower - upper
    is_inside = (best > 0) & (best < last) & lower.isfinite() & upper.isfinite() & (bend > 1e-6)
    offset = torch.where(is_inside, (upper - lower) / (2 * bend.clamp(min=1e-6)), 0.0).clamp(-0.5, 0.5)
    return (best + offset)[:, 0].float()


def is_consistent(left: Tensor, right: Tensor, *, tolerance: float = TOLERANCE) -> Tensor:
    """(B, H, W) bool: the right image's map, where the left one points to, points back.

    Args:
        left: (B, H, W) disparities of the left image's pixels.
        right: those of the right image's.
        tolerance: pixels by which the two may differ.

    Example:
        >>> left, right = torch.tensor([[[0.0, 0.0, 2.0]]]), torch.tensor([[[2.0, 0.0, 0.0]]])
        >>> is_consistent(left, right)
        tensor([[[False,  True,  True]]])
    """
    columns = torch.arange(left.shape[-1], device=left.device, dtype=left.dtype)
    there = (columns - left).round()
    is_within = (there >= 0) & (there < left.shape[-1])
    back = right.gather(-1, there.nan_to_num(0).clamp(0, left.shape[-1] - 1).long())
    return is_within & ((back - left).abs() <= tolerance)


def interpolated(disparity: Tensor, is_kept: Tensor) -> Tensor:
    """(B, H, W) disparities in which what is not kept has the smaller one of the kept neighbours in its row.

    A row of which nothing is kept stays as it is.

    Example:
        >>> interpolated(torch.tensor([[[3.0, 9.0, 1.0, 9.0]]]), torch.tensor([[[True, False, True, False]]]))
        tensor([[[3., 1., 1., 1.]]])
    """
    before = _nearest_kept(disparity, is_kept)
    behind = _nearest_kept(disparity.flip(-1), is_kept.flip(-1)).flip(-1)
    smaller = torch.minimum(before, behind)
    return torch.where(is_kept | smaller.isinf(), disparity, smaller)


def _nearest_kept(disparity: Tensor, is_kept: Tensor) -> Tensor:
    """The disparity of the last kept pixel up to each; infinite where there is none."""
    columns = torch.arange(disparity.shape[-1], device=disparity.device).expand_as(is_kept)
    last = torch.where(is_kept, columns, -1).cummax(-1).values
    return torch.where(last >= 0, disparity.gather(-1, last.clamp(min=0)), torch.inf)


def median_filtered(disparity: Tensor, side: int = MEDIAN) -> Tensor:
    """(B, H, W) the median of a square around each pixel; borders are repeated.

    Example:
        >>> median_filtered(torch.tensor([[[1.0, 1.0, 9.0, 1.0, 1.0]]]), 3)
        tensor([[[1., 1., 1., 1., 1.]]])
    """
    height, width = disparity.shape[-2:]
    padded = nn.functional.pad(disparity[:, None], 4 * (side // 2,), mode="replicate")
    rows = [padded[:, 0, i : i + height, j : j + width] for i in range(side) for j in range(side)]
    return torch.stack(rows).median(0).values


def disparities_of(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The whole way from scores (B, D, H, W): disparities (B, H, W) float32, and (B, H, W) bool what passed the check.

    Example:
        >>> left, right = torch.rand(1, 4, 6, 9), torch.rand(1, 4, 6, 9)
        >>> disparity, is_kept = disparities_of(matching_scores(left, right, 3))
        >>> disparity.shape, is_kept.dtype
        (torch.Size([1, 6, 9]), torch.bool)
    """
    left, right = winner_takes_all(within(scores)), winner_takes_all(seen_from_right(scores))
    is_kept = is_consistent(left, right)
    return median_filtered(interpolated(left, is_kept)), is_kept
