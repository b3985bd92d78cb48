"""Joints as maps and back: Gaussians and disks around points, and the points that maps show.

Points are (x, y) in pixels of their own grid, the centre of the first being (0, 0). Two grids that cover the same
picture meet at its edges, so that a point goes from one to the other by `rescale`, half pixels included.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Label = Literal["gaussian", "disk"]
FAR = -1e6  # where a point that is not known is put: no map reaches it


def rescale(points: Tensor, from_hw: Tensor | Sequence[float], to_hw: Tensor | Sequence[float]) -> Tensor:
    """Points of one grid in the pixels of another one over the same picture.

    Args:
        points: (B, ..., 2) x, y.
        from_hw: size of the points' grid, one for all or (B, 2).
        to_hw: size of the other grid, one for all or (B, 2).

    Returns:
        (B, ..., 2) float32: (points + 0.5) * to / from - 0.5.

    Example:
        >>> rescale(torch.tensor([[0.0, 0.0]]), (64, 64), (16, 16))  # the middle of the first pixel
        tensor([[-0.3750, -0.3750]])
    """
    sizes = (torch.as_tensor(size, device=points.device, dtype=torch.float32).flip(-1) for size in (from_hw, to_hw))
    source, target = (size.reshape(-1, *[1] * (points.dim() - 2), 2) for size in sizes)
    return (points.float() + 0.5) * (target / source) - 0.5


def labels(points: Tensor, size_hw: Sequence[int], *, kind: Label, size: float) -> Tensor:
    """One map a point: `gaussians` of that deviation, or `disks` of that radius.

    Example:
        >>> labels(torch.tensor([1.0, 0.0]), (1, 3), kind="disk", size=0.8)
        tensor([[0., 1., 0.]])
    """
    return gaussians(points, size_hw, size) if kind == "gaussian" else disks(points, size_hw, size)


def gaussians(points: Tensor, size_hw: Sequence[int], sigma: float) -> Tensor:
    """exp(-d^2 / (2 sigma^2)) at distance d of each pixel from the point, which need not lie on a pixel.

    Args:
        points: (..., 2) x, y in pixels of the map.
        size_hw: size of the map.
        sigma: in pixels of the map.

    Returns:
        (..., H, W) float32, not cut off at three deviations as others do, where 0.011 is left.

    Example:
        >>> gaussians(torch.tensor([1.0, 0.0]), (1, 3), 1.0)
        tensor([[0.6065, 1.0000, 0.6065]])
    """
    down, across = (torch.exp(-square / (2 * sigma**2)) for square in _squares(points, size_hw))
    return down[..., :, None] * across[..., None, :]


def disks(points: Tensor, size_hw: Sequence[int], radius: float) -> Tensor:
    """1 where a pixel is at most `radius` from the point, else 0: (..., 2) -> (..., H, W) float32.

    Example:
        >>> disks(torch.tensor([1.0, 0.0]), (2, 3), 1.0)
        tensor([[1., 1., 1.],
                [0., 1., 0.]])
    """
    down, across = _squares(points, size_hw)
    return (down[..., :, None] + across[..., None, :] <= radius**2).float()


def mass(kind: Label, size: float) -> float:
    """What the pixels of one map add up to, but for the grid.

    Example:
        >>> round(mass("gaussian", 1.0), 3), round(mass("disk", 1.0), 3)
        (6.283, 3.142)
    """
    return 2 * math.pi * size**2 if kind == "gaussian" else math.pi * size**2


def decode(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The highest pixel of each map, moved a quarter of a pixel to its higher neighbour in x and in y.

    Args:
        maps: (B, K, H, W), -inf where no point may lie, as beyond their border.

    Returns:
        (B, K, 2) x, y in pixels of the map, and (B, K) the height. At the border of the map nothing is moved.

    Source: Newell et al. 2016, arXiv:1603.06937, section 3.1.

    Example:
        >>> decode(gaussians(torch.tensor([[[2.2, 3.0]]]), (6, 6), 1.0))
        (tensor([[[2.2500, 3.0000]]]), tensor([[0.9802]]))
    """
    height, width = maps.shape[-2:]
    flat = maps.flatten(2).float()  # (B, K, H*W)
    score, index = flat.max(2)
    x, y = index % width, index // width
    steps = []
    for position, last, stride in ((x, width - 1, 1), (y, height - 1, width)):
        after, before = (
            flat.gather(2, (index + way * stride).clamp(0, height * width - 1)[..., None])[..., 0] for way in (1, -1)
        )
        is_inside = (position > 0) & (position < last) & (after != -torch.inf) & (before != -torch.inf)
        steps.append(torch.where(is_inside, 0.25 * torch.sign(after - before), 0.0))
    return torch.stack([x + steps[0], y + steps[1]], dim=-1), score


def gather_disks(maps: Tensor, radius: float) -> Tensor:
    """Mean of each map over the disk around each pixel, 0 beyond the map: (B, K, H, W) -> the same shape.

    A map of disks is level on the disk; its mean over one has a peak at the middle.

    Example:
        >>> disk = disks(torch.tensor([[[2.0, 2.0]]]), (5, 5), 1.5)
        >>> decode(disk)[0], decode(gather_disks(disk, 1.5))[0]  # the first pixel of the disk, then its middle
        (tensor([[[1.2500, 1.2500]]]), tensor([[[2., 2.]]]))
    """
    reach = math.floor(radius)
    middle = torch.full((1, 2), float(reach), device=maps.device)
    kernel = disks(middle, (2 * reach + 1, 2 * reach + 1), radius)[:, None]  # (1, 1, side, side)
    gathered = nn.functional.conv2d(maps.flatten(0, 1)[:, None].float(), kernel / kernel.sum(), padding=reach)
    return gathered[:, 0].unflatten(0, maps.shape[:2])


def mirror_order(count: int, flip_pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Which joint each of `count` is in a mirror.

    Raises:
        ValueError: a pair names a joint that there is not, or a joint is named twice.

    Example:
        >>> mirror_order(3, [(0, 2)])
        [2, 1, 0]
    """
    named = [joint for pair in flip_pairs for joint in pair]
    if len(set(named)) < len(named) or not set(named) <= set(range(count)):
        raise ValueError(
            f"the pairs that trade places in a mirror are {[tuple(pair) for pair in flip_pairs]}; expected joints of 0 "
            f"to {count - 1}, each once at most"
        )
    order = list(range(count))
    for left, right in flip_pairs:
        order[left], order[right] = right, left
    return order


def shift_columns(maps: Tensor, shift: float) -> Tensor:
    """Column k of the answer is column k + `shift` of the maps.

    Args:
        maps: (..., H, W).
        shift: in pixels of the maps; between two of them the answer is linear, beyond the edges these are repeated.

    Returns:
        (..., H, W); the maps themselves where `shift` is 0.

    Example:
        >>> shift_columns(torch.tensor([[0.0, 1.0, 2.0]]), 0.5)
        tensor([[0.5000, 1.5000, 2.0000]])
    """
    if shift == 0:
        return maps
    last = maps.shape[-1] - 1
    columns = (torch.arange(last + 1, device=maps.device) + shift).clamp(0, last)  # (W,)
    left = columns.floor()
    before, after = (maps.index_select(-1, column.long()) for column in (left, (left + 1).clamp(max=last)))
    return torch.lerp(before, after, (columns - left).to(maps.dtype))


def _squares(points: Tensor, size_hw: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(..., H) and (..., W): squared distances of rows and of columns."""
    x, y = points.float().nan_to_num(nan=FAR).unbind(-1)
    rows, columns = (torch.arange(side, device=points.device, dtype=torch.float32) for side in size_hw)
    return (rows - y[..., None]).square(), (columns - x[..., None]).square()
