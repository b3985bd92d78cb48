"""Disparity and flow in the colours of the field.

Disparity has the colours of KITTI's development kit (matlab/disp_to_color.m, 2012): black at 0, then blue, red,
magenta, green, cyan and yellow to white. Flow has Middlebury's wheel (Baker et al. 2011, section 4.2; colorcode.cpp):
the hue says the direction, red to the right, and the paler the slower.
"""

import math

import torch
from torch import Tensor

_STEPS = (  # red, green, blue, and the share of the way to the next one
    *((0, 0, 0, 114), (0, 0, 1, 185), (1, 0, 0, 114), (1, 0, 1, 174)),
    *((0, 1, 0, 114), (0, 1, 1, 185), (1, 1, 0, 114), (1, 1, 1, 0)),
)
_WHEEL = (15, 6, 4, 11, 13, 6)  # steps from red to yellow, green, cyan, blue, magenta and back
_BRIGHT = 255


def disparity_colours(disparity: Tensor, most: float) -> Tensor:
    """(3, H, W) uint8 of disparities (H, W): black at 0 and where they are NaN, white from `most` pixels on.

    Example:
        >>> disparity_colours(torch.tensor([[0.0, 8.0, torch.nan]]), 8.0)[:, 0].tolist()
        [[0, 255, 0], [0, 255, 0], [0, 255, 0]]
    """
    table = torch.tensor(_STEPS, dtype=torch.float32, device=disparity.device)
    ends = table[:, 3].cumsum(0) / table[:, 3].sum()
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    value = (disparity.float().nan_to_num(0) / max(most, 1e-6)).clamp(0, 1)
    part = torch.bucketize(value, ends[:-1], right=True).clamp(max=len(_STEPS) - 2)
    share = ((value - starts[part]) / (ends - starts).clamp(min=1e-6)[part])[..., None].clamp(0, 1)
    colours = table[part, :3] * (1 - share) + table[part + 1, :3] * share
    return (colours.permute(2, 0, 1) * _BRIGHT).round().to(torch.uint8)


def flow_colours(flow: Tensor, most: float) -> Tensor:
    """(3, H, W) uint8 of a flow (2, H, W): full colours at `most` pixels, darker beyond, black where it is NaN.

    Example:
        >>> flow_colours(torch.tensor([[[4.0, 0.0]], [[0.0, 0.0]]]), 4.0)[:, 0].tolist()
        [[255, 255], [0, 255], [0, 255]]
    """
    wheel = _wheel().to(flow.device)
    is_known = flow.isfinite().all(0)
    u, v = (flow.float().nan_to_num(0) / max(most, 1e-6)).unbind(0)
    length = (u.square() + v.square()).sqrt()
    turn = torch.atan2(-v, -u) / math.pi
    turn = torch.where(turn >= 1, -1.0, turn)  # the two ends are one direction
    position = (turn + 1) / 2 * (len(wheel) - 1)
    low = position.floor().long()
    share = (position - low)[..., None]
    hue = wheel[low] * (1 - share) + wheel[(low + 1) % len(wheel)] * share  # (H, W, 3)
    pale = 1 - length[..., None].clamp(max=1) * (1 - hue)
    colours = torch.where((length > 1)[..., None], 0.75 * hue, pale) * is_known[..., None]
    return (colours.permute(2, 0, 1) * _BRIGHT).round().to(torch.uint8)


def _wheel() -> Tensor:
    """(55, 3) hues, each of which rises or falls in one of red, green and blue."""
    hues, full = [], (1.0, 0.0, 0.0)
    changes = ((1, True), (0, False), (2, True), (1, False), (0, True), (2, False))  # channel, whether it rises
    for steps, (channel, rises) in zip(_WHEEL, changes, strict=True):
        for step in range(steps):
            hue = list(full)
            hue[channel] = step / steps if rises else 1 - step / steps
            hues.append(hue)
        last = list(full)
        last[channel] = float(rises)
        full = (last[0], last[1], last[2])
    return torch.tensor(hues)
