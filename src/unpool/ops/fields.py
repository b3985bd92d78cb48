"""Part affinity fields: maps of the direction of each limb, and their integral along a line.

Source: Cao et al. 2017, arXiv:1611.08050, section 2.3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SAMPLES = 10  # on the line between two joints


def affinity_fields(people: Tensor, limbs: Sequence[tuple[int, int]], size_hw: Sequence[int], width: float) -> Tensor:
    """Draws unit vectors from the first joint of each limb to its second, on pixels at most `width` from the line.

    Where the same limb of several people overlaps, the vectors are averaged. All other pixels are 0.

    Args:
        people: (N, K, 2) x, y in pixels of the map, NaN for unknown joints.
        limbs: pairs of joints.
        size_hw: size of the map.
        width: half the width of a limb, in pixels of the map.

    Returns:
        (2 * limbs, H, W): x and y of one limb after the other.

    Example:
        >>> people = torch.tensor([[[0.0, 1.0], [3.0, 1.0]]])  # one limb from left to right
        >>> affinity_fields(people, [(0, 1)], (3, 4), 0.5)[0]
        tensor([[0., 0., 0., 0.],
                [1., 1., 1., 1.],
                [0., 0., 0., 0.]])
    """
    ends = torch.tensor(limbs, device=people.device)
    first, second = people[:, ends[:, 0]].float(), people[:, ends[:, 1]].float()  # (N, L, 2)
    length = (second - first).norm(dim=2)
    is_known = length > 1e-6  # NaN is not
    way = torch.where(is_known[..., None], (second - first) / length[..., None], 0.0)
    first, length = first.nan_to_num(), length.nan_to_num()
    rows, columns = (torch.arange(side, device=people.device, dtype=torch.float32) for side in size_hw)
    across = (columns - first[..., :1])[:, :, None, :]  # (N, L, 1, W)
    down = (rows - first[..., 1:])[:, :, :, None]  # (N, L, H, 1)
    x, y = way[..., 0, None, None], way[..., 1, None, None]
    along, beside = x * across + y * down, x * down - y * across  # (N, L, H, W)
    inside = (along >= 0) & (along <= length[..., None, None]) & (beside.abs() <= width) & is_known[..., None, None]
    total = (way[..., None, None] * inside[:, :, None]).sum(0)  # (L, 2, H, W)
    return (total / inside.sum(0).clamp_min(1)[:, None]).flatten(0, 1)


def along_lines(field: Tensor, starts: Tensor, ends: Tensor, *, samples: int = SAMPLES) -> Tensor:
    """Returns the component of a field along each line from a start to an end, at evenly spaced points on the line.

    Between pixels the field is interpolated bilinearly; the authors enlarge all fields to the size of the image
    instead.

    Args:
        field: (2, H, W).
        starts: (M, 2) x, y in pixels of the map.
        ends: (N, 2).
        samples: number of points on a line, both ends included.

    Returns:
        (M, N, samples): 1 where a unit field points along the line, -1 where it points back; 0 on lines of length 0.
        The mean is the paper's integral.

    Example:
        >>> field = torch.stack([torch.ones(3, 4), torch.zeros(3, 4)])  # to the right everywhere
        >>> starts, ends = torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 1.0], [0.0, 2.0]])
        >>> along_lines(field, starts, ends, samples=3)
        tensor([[[1., 1., 1.],
                 [0., 0., 0.]]])
    """
    way = ends[None] - starts[:, None]  # (M, N, 2)
    unit = way / way.norm(dim=2, keepdim=True).clamp_min(1e-6)
    share = torch.linspace(0, 1, samples, device=field.device)[:, None]
    points = starts[:, None, None] + share * way[:, :, None]  # (M, N, samples, 2)
    height, width = field.shape[-2:]
    edges = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=field.device)
    grid = (2 * points / edges - 1).flatten(0, 1)  # (M * N, samples, 2), first and last pixel at -1 and 1
    seen = nn.functional.grid_sample(field[None], grid[None], padding_mode="border", align_corners=True)[0]
    x, y = seen.unflatten(1, way.shape[:2])  # (M, N, samples) each
    return x * unit[..., :1] + y * unit[..., 1:]
