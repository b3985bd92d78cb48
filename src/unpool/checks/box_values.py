"""Boxes and joints: corners in order, extent, inside of the picture, left and right."""

from collections.abc import Callable

import torch
from torch import Tensor

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.outlines import agreement, as_corners, outlined
from unpool.checks.setup import Setup
from unpool.checks.showing import of_samples

INVALID_FAIL = 0.01  # of the boxes
FORMAT_SHARE = 0.25  # of the boxes that are out of order, from which another convention is looked for
OUTSIDE_FAIL, REPEATED = 0.02, 5  # of the joints marked visible; joints at one and the same place outside

INVALID = (
    "Order the corners (min and max of x and of y), cut boxes off at the picture, and leave out those of no extent."
)
FORMAT = "Convert boxes where they are read: x2 = x1 + width, y2 = y1 + height."
OUTSIDE = "Mark joints that nobody sees as hidden (visible 0), and mask them out of the loss."


def look_boxes(setup: Setup) -> Finding:  # noqa: C901, one question after another
    """Counts boxes without extent, with exchanged corners, or outside, and looks for another convention."""
    seen = setup.seen
    if seen.targets is None or setup.target_form not in ("things", "numbers"):
        return not_applicable("the targets are no boxes")
    if any(one.dim() not in (1, 2) or one.shape[-1] != 4 for one in seen.targets):
        return not_applicable("the targets are no rows of four numbers")
    sizes = [(image.shape[-2], image.shape[-1]) for image in seen.images]
    which, boxes = _gathered(seen.targets)
    if not len(boxes):
        return not_applicable("no sample has a box")
    size = sizes[0] if len(set(sizes)) == 1 else None
    right, down = boxes[:, 2] > boxes[:, 0], boxes[:, 3] > boxes[:, 1]
    is_ordered = right & down
    is_named = setup.target_form == "things" or "boxes" in _keys(setup)
    mixed = float((right ^ down).float().mean())
    if not is_named and (float(is_ordered.float().mean()) < 0.6 or mixed > 0.02):
        return not_applicable("the four numbers are no corners")
    wrong = ~is_ordered
    if size is not None:
        wrong = wrong | _is_outside(boxes, size)
    share = float(wrong.float().mean())
    about = (
        f"{int(wrong.sum()):,} of {len(boxes):,} boxes have no extent, exchanged corners, or end outside of the picture"
    )
    if size is not None and float((~is_ordered).float().mean()) >= FORMAT_SHARE:
        hits = _of_convention(setup, boxes, size, about, share)
        if hits is not None:
            return hits
    if not bool(wrong.any()):
        return passed(f"{len(boxes):,} boxes have an extent and lie in the picture.", 0.0)
    shown = list(dict.fromkeys(which[i] for i in wrong.nonzero().flatten().tolist()))
    return Finding(
        "fail" if share >= INVALID_FAIL else "warn", f"{about}.", share, "data.box_invalid", INVALID,
        _rows(seen.where, which, boxes, wrong), of_samples(seen, shown, setup.target_form),
    )  # fmt: skip


def _of_convention(setup: Setup, boxes: Tensor, size: tuple[int, int], about: str, share: float) -> Finding | None:
    other = _other_convention(setup, boxes, size)
    if other == "middle, width, height":
        return passed(f"The boxes are {other}.", 0.0)
    if other is None:
        return None
    shown = tuple(", ".join(f"{value:.4g}" for value in row) for row in boxes[:6].tolist())
    text = f"{about}; read as {other} all lie in the picture."
    return Finding("warn", text, share, "data.box_format", FORMAT, shown,
                   of_samples(setup.seen, range(4), setup.target_form))  # fmt: skip


def _gathered(targets: list[Tensor]) -> tuple[list[int], Tensor]:
    rows = [one.reshape(-1, 4).float() for one in targets]
    return [i for i, one in enumerate(rows) for _ in one], torch.cat(rows)


def _keys(setup: Setup) -> tuple[str, ...]:
    batch = setup.train.batches(1)[0]
    return tuple(map(str, batch)) if isinstance(batch, dict) else ()


def _is_outside(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes of which a corner lies further outside than a twentieth of the picture."""
    height, width = size
    corners = as_corners(boxes, size, "x1, y1, x2, y2")
    slack = torch.tensor([width, height, width, height]) * 0.05
    low, high = -slack, torch.tensor([width, height, width, height]) + slack
    return ((corners < low) | (corners > high)).any(1)


def _other_convention(setup: Setup, boxes: Tensor, size: tuple[int, int]) -> str | None:
    """The convention in which all boxes lie in the picture; of two the one whose sides lie on more edges."""
    fitting = []
    for reading in ("middle, width, height", "x, y, width, height"):
        corners = as_corners(boxes, size, reading)
        has_extent = (corners[:, 2:] > corners[:, :2]).all(1)
        if bool((has_extent & ~_outside_corners(corners, size)).float().mean() > 0.99):
            fitting.append(reading)
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    maps = {reading: outlined(setup.seen, setup.target_form, reading=reading) for reading in fitting}
    return max(fitting, key=lambda one: 0.0 if (pair := maps[one]) is None else float(agreement(pair).mean()))


def _outside_corners(corners: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    slack = 0.02 * max(size)
    return (corners < -slack).any(1) | (corners[:, [0, 2]] > width + slack).any(1) | (
        corners[:, [1, 3]] > height + slack
    ).any(1)  # fmt: skip


def _rows(where: Callable[[int], str], which: list[int], boxes: Tensor, wrong: Tensor) -> tuple[str, ...]:
    return tuple(
        f"{where(which[i])}: {', '.join(f'{value:.4g}' for value in boxes[i].tolist())}"
        for i in wrong.nonzero().flatten().tolist()[:6]
    )


def look_points(setup: Setup) -> Finding:
    """Counts joints that are marked visible and lie outside of the picture, or all at one place."""
    seen = setup.seen
    points = seen.numbers
    if setup.target_form != "points" or points is None or points.dim() != 3 or not seen.images:
        return not_applicable("the targets are no joints")
    if points.shape[-1] != 3:
        return not_applicable("the joints have no column that says whether they are visible")
    visible = points[..., 2] > 0
    if not bool(visible.any()) or float(points[..., :2][visible].max()) <= 1.5:
        return not_applicable("the joints are not in pixels")
    height, width = seen.images[0].shape[-2:]
    spot = points[..., :2]
    outside = visible & ((spot < 0).any(-1) | (spot[..., 0] > width) | (spot[..., 1] > height))
    share = float(outside.sum() / visible.sum())
    repeated, times = spot[outside].unique(dim=0, return_counts=True) if bool(outside.any()) else (spot[:0, 0], None)
    most = int(times.max()) if times is not None else 0
    about = (
        f"{int(outside.sum()):,} of {int(visible.sum()):,} joints that are marked visible lie outside of the picture; "
        f"{int((~visible).sum()):,} of {visible.numel():,} are marked hidden"
    )
    if most < REPEATED and share < OUTSIDE_FAIL:
        return passed(f"{about}.", share)
    first = repeated[int(times.argmax())].tolist() if times is not None else []
    shown = f", {most} of them at ({first[0]:g}, {first[1]:g})" if most >= REPEATED else ""
    rows = outside.any(1).nonzero().flatten().tolist()[:6]
    is_clear = most >= REPEATED
    return Finding(
        "fail" if is_clear else "warn", f"{about}{shown}: the network is taught places that mean nothing.", share,
        "data.keypoint_outside", OUTSIDE, tuple(seen.where(i) for i in rows),
        of_samples(seen, rows, setup.target_form),
    )  # fmt: skip


CHECKS = (
    Check(
        name="boxes are boxes",
        subject="data",
        causes={"data.box_invalid": INVALID, "data.box_format": FORMAT},
        symptom="The loss becomes infinite or negative, or small things are never found.",
        measure="Boxes whose second corner is not right of and below the first, or lies outside of the picture; where "
        "they are many, whether another convention puts all inside.",
        threshold=f"{INVALID_FAIL:.0%} of the boxes fail, fewer warn; a convention that 99 % fit warns.",
        origin="Arithmetic. Published sets have some boxes without extent in ten thousand.",
        look=look_boxes,
        is_quick=True,
    ),
    Check(
        name="joints lie in the picture",
        subject="data",
        causes={"data.keypoint_outside": OUTSIDE},
        symptom="Hidden joints are predicted in a corner, and near joints are drawn there.",
        measure="Joints marked visible outside of the picture, and whether they lie at one place.",
        threshold=f"{REPEATED} at one and the same place outside fail; {OUTSIDE_FAIL:.0%} outside warn.",
        origin="A joint that is cut off by a crop lies anywhere; numbers that stand for none are equal.",
        look=look_points,
        is_quick=True,
    ),
)
