"""Edges of pictures and outlines of their targets on one small grid, to ask whether they lie upon each other."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from unpool.checks.seen import Seen
from unpool.checks.setup import Form

GRID = 48
BAND = 6  # pixels from either side
VOID = 255  # as most sets have it; others have a number below 0
TURNS = {  # of a map (N, S, S): what was done to the targets where this brings them back
    "mirrored left to right": lambda maps: maps.flip(-1),
    "upside down": lambda maps: maps.flip(-2),
    "turned by 180 degrees": lambda maps: maps.flip(-1, -2),
    "with x and y exchanged": lambda maps: maps.mT,
    "turned by 90 degrees": lambda maps: maps.rot90(1, (-2, -1)),
    "turned by 270 degrees": lambda maps: maps.rot90(-1, (-2, -1)),
    "mirrored along the other diagonal": lambda maps: maps.mT.flip(-1, -2),
}
SCALES = (0.5, 0.75, 0.85, 1.18, 1.33, 2.0)


class Outlined(NamedTuple):
    """Pairs of maps (N, S, S), each without its mean and of length 1, of samples whose target has an outline.

    Attributes:
        edges: how steep the picture is.
        outlines: where the target changes.
        positions: of the samples.
    """

    edges: Tensor
    outlines: Tensor
    positions: list[int]


def outlined(seen: Seen, form: Form, *, reading: str = "x1, y1, x2, y2") -> Outlined | None:
    """Makes the maps of the samples that were kept; None where the targets have no place in the picture."""
    if seen.targets is None or not seen.images:
        return None
    edges, outlines, positions = [], [], []
    for position, (image, target) in enumerate(zip(seen.images, seen.targets, strict=False)):
        size = (image.shape[-2], image.shape[-1])
        outline = _outline(target, form, size, reading)
        if outline is None:
            return None
        if bool(outline.any()):
            edges.append(_small(steepness(image)))
            outlines.append(_small(outline))
            positions.append(position)
    if len(edges) < 8:
        return None
    width = 7 if form == "points" else 3  # edges lie around a point, such as the middle of a hand
    return Outlined(normed(torch.stack(edges)), normed(_blurred(torch.stack(outlines), width)), positions)


def steepness(image: Tensor) -> Tensor:
    """(H, W): the length of the gradient, the largest of the channels, each compressed so that few do not rule all."""
    across = F.pad(image.diff(dim=-1).abs(), (0, 1))
    down = F.pad(image.diff(dim=-2).abs(), (0, 0, 0, 1))
    return (across + down).amax(0).sqrt()


def _outline(target: Tensor, form: Form, size: tuple[int, int], reading: str) -> Tensor | None:
    if form == "picture":  # which may be larger or smaller than the input
        return steepness(target.float().reshape(-1, *target.shape[-2:])) if target.dim() >= 2 else None
    if form == "class map":
        maps = target.reshape(-1, *target.shape[-2:]) if target.dim() >= 2 else None
        return border(without_void(maps[0])) if maps is not None and tuple(maps.shape[-2:]) == size else None
    if form == "points" and target.dim() == 2 and target.shape[1] in (2, 3):
        visible = target[:, 2] > 0 if target.shape[1] == 3 else torch.ones(len(target), dtype=torch.bool)
        return drawn_points(target[visible, :2].float(), size)
    if form in ("things", "numbers") and target.dim() in (1, 2) and target.shape[-1] == 4:  # not of four words
        return drawn_boxes(as_corners(target.reshape(-1, 4).float(), size, reading), size)
    return None


def without_void(mask: Tensor) -> Tensor:
    """(H, W): a band without a class, as annotators leave it along borders, closed by the classes to its sides."""
    is_void = (mask == VOID) | (mask < 0)
    if not bool(is_void.any()):
        return mask
    labels = (mask.float() + 1).masked_fill(is_void, 0)
    for _ in range(BAND):
        labels = torch.where(labels == 0, F.max_pool2d(labels[None], 3, 1, 1)[0], labels)
    return labels


def border(mask: Tensor) -> Tensor:
    """(H, W): where a class meets another."""
    across = F.pad((mask.diff(dim=-1) != 0).float(), (0, 1))
    down = F.pad((mask.diff(dim=-2) != 0).float(), (0, 0, 0, 1))
    return torch.maximum(across, down)


def drawn_points(points: Tensor, size: tuple[int, int]) -> Tensor | None:
    """(H, W) with 1 at each point (x, y) in pixels; None where they seem to be parts of the picture."""
    if not len(points):
        return torch.zeros(size)
    if float(points.max()) <= 1.5:
        return None
    spots = points.round().long()
    inside = ((spots >= 0) & (spots < torch.tensor([size[1], size[0]]))).all(1)
    drawn = torch.zeros(size)
    drawn[spots[inside, 1], spots[inside, 0]] = 1
    return drawn


def drawn_boxes(corners: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) with 1 on the sides of each box that lies in the picture."""
    drawn = torch.zeros(size)
    height, width = size
    for x1, y1, x2, y2 in corners.round().long().tolist():
        left, right = max(x1, 0), min(x2, width - 1)
        top, bottom = max(y1, 0), min(y2, height - 1)
        if left >= right or top >= bottom:
            continue
        drawn[top, left : right + 1] = drawn[bottom, left : right + 1] = 1
        drawn[top : bottom + 1, left] = drawn[top : bottom + 1, right] = 1
    return drawn


def as_corners(boxes: Tensor, size: tuple[int, int], reading: str) -> Tensor:
    """Boxes (N, 4) read in one convention, as x1, y1, x2, y2 in pixels; all from 0 to 1 are parts of the picture."""
    if not len(boxes):
        return boxes
    height, width = size
    a, b, c, d = boxes.unbind(1)
    if reading == "y1, x1, y2, x2":
        a, b, c, d = b, a, d, c
    elif reading == "x, y, width, height":
        c, d = a + c, b + d
    elif reading == "middle, width, height":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    scale = torch.tensor([width, height, width, height]) if float(boxes.abs().max()) <= 1.5 else torch.ones(4)
    return torch.stack([a, b, c, d], 1) * scale


def _small(maps: Tensor) -> Tensor:
    """(H, W) at the grid: the largest value of each block, so that a line stays one."""
    return F.adaptive_max_pool2d(maps[None, None], GRID)[0, 0]


def _blurred(maps: Tensor, width: int) -> Tensor:
    return F.avg_pool2d(F.pad(maps[:, None], 4 * (width // 2,)), width, 1)[:, 0]


def normed(maps: Tensor) -> Tensor:
    """Each map without its mean, at length 1."""
    maps = maps - maps.mean((1, 2), keepdim=True)
    return maps / maps.flatten(1).norm(dim=1)[:, None, None].clamp_min(1e-6)


def agreement(pair: Outlined, outlines: Tensor | None = None) -> Tensor:
    """(N,): the correlation of edges and outline of each sample."""
    return (pair.edges * (pair.outlines if outlines is None else outlines)).sum((1, 2))


def turned(pair: Outlined) -> Mapping[str, Tensor]:
    """The agreement of each sample, by what is done to its outline."""
    return {name: agreement(pair, turn(pair.outlines)) for name, turn in TURNS.items()}


def scaled(pair: Outlined) -> Mapping[str, Tensor]:
    """The same where the outline is scaled about the middle, or about the corner from which coordinates count."""
    hits = {}
    for scale in SCALES:
        for spot, shift in (("the middle", 0.0), ("the corner", 1 - 1 / scale)):
            theta = torch.tensor([[1 / scale, 0, -shift], [0, 1 / scale, -shift]]).expand(len(pair.outlines), 2, 3)
            spots = F.affine_grid(theta, [len(pair.outlines), 1, GRID, GRID], align_corners=False)
            maps = F.grid_sample(pair.outlines[:, None], spots, align_corners=False)[:, 0]
            hits[f"scaled by {1 / scale:.2f} about {spot}"] = agreement(pair, normed(maps))
    return hits


def shifts(pair: Outlined) -> Tensor:
    """(N, 2S, 2S): the agreement of each sample where its outline is moved by (rows, columns), modulo 2S."""
    size = (2 * GRID, 2 * GRID)
    edges, outlines = torch.fft.rfft2(pair.edges, s=size), torch.fft.rfft2(pair.outlines, s=size)
    return torch.fft.irfft2(edges * outlines.conj(), s=size)
