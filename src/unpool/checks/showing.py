"""Small pictures that a finding carries: samples as they are, or with their targets drawn on them."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from unpool.checks.outlines import as_corners, border, drawn_boxes, drawn_points

if TYPE_CHECKING:
    from unpool.checks.seen import Seen
    from unpool.checks.setup import Form

MOST, SIDE = 6, 240  # pictures of a finding; pixels of their longer side
Shown = tuple[tuple[str, Tensor], ...]


def as_bytes(image: Tensor, mark: Tensor | None = None) -> Tensor:
    """A picture of any range, stretched to all of it, small; what is marked is red on grey.

    Args:
        image: (C, H, W), or (H, W).
        mark: (H, W), above 0 where it is to be red.

    Returns:
        (3, h, w) uint8.

    Example:
        >>> as_bytes(torch.tensor([[0.0, 0.5], [0.5, 1.0]])).tolist()[0]
        [[0, 128], [128, 255]]
    """
    image = image.detach().float().cpu()
    image = image[None] if image.dim() == 2 else image
    image = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    image = (image - image.min()) / (image.max() - image.min()).clamp_min(1e-6) * 255
    if mark is not None:
        lines = F.interpolate((mark > 0).float()[None, None], image.shape[-2:])[0, 0] > 0
        grey = image.mean(0) * 0.8
        image = torch.stack([torch.where(lines, 255.0, grey), *[torch.where(lines, 0.0, grey)] * 2])
    scale = SIDE / max(image.shape[-2:])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[-2:]]
        image = F.interpolate(image[None], size, mode="area")[0]
    return image.round().byte()


def drawn_target(image: Tensor, target: Tensor | None, form: "Form") -> Tensor:
    """A picture with its mask's borders, its boxes or its joints in red; as it is where the target is none of these.

    Args:
        image: (C, H, W).
        target: a mask (H, W), boxes (N, 4) x1, y1, x2, y2, or joints (K, 2 or 3).
        form: of the target.
    """
    size = (image.shape[-2], image.shape[-1])
    mark = None if target is None else _mark(target, form, size)
    return as_bytes(image, None if mark is None else _thick(mark, max(size)))


def _mark(target: Tensor, form: "Form", size: tuple[int, int]) -> Tensor | None:
    if form == "class map" and target.dim() >= 2 and tuple(target.shape[-2:]) == size:
        return border(target.reshape(-1, *size)[0])
    if form == "points" and target.dim() == 2 and target.shape[1] in (2, 3):
        kept = target[target[:, 2] > 0] if target.shape[1] == 3 else target
        return drawn_points(kept[:, :2].float(), size)
    if form in ("things", "numbers") and target.dim() in (1, 2) and target.shape[-1] == 4:
        return drawn_boxes(as_corners(target.reshape(-1, 4).float(), size, "x1, y1, x2, y2"), size)
    return None


def _thick(mark: Tensor, longest: int) -> Tensor:
    """Lines and dots that are still seen where the picture is small."""
    reach = max(0, round(longest / 128))
    return F.max_pool2d(mark.float()[None, None], 2 * reach + 1, 1, reach)[0, 0]


def of_samples(seen: "Seen", positions: Sequence[int], form: "Form | None" = None, *, most: int = MOST) -> Shown:
    """Samples with their names; their targets are drawn on them where `form` is given.

    A sample of which only the small copy was kept is shown by that, without its target.
    """
    shown = []
    for i in positions[:most]:
        is_kept = i < len(seen.images)
        target = seen.targets[i] if seen.targets and form is not None and is_kept else None
        image = seen.images[i] if is_kept else seen.small[i]
        name = "/".join(PurePath(seen.where(i)).parts[-2:])
        shown.append((name, as_bytes(image) if form is None else drawn_target(image, target, form)))
    return tuple(shown)


def of_pairs(first: "Seen", second: "Seen", pairs: Sequence[tuple[int, int]]) -> Shown:
    """Samples of two splits side by side: (position in the first, in the second)."""
    shown = (of_samples(first, [i]) + of_samples(second, [j]) for i, j in pairs[: MOST // 2])
    return tuple(one for pair in shown for one in pair)
