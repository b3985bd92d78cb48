"""What is doubtful among the boxes of a whole set, before anything is trained on them.

A box without extent and one beside its image are left out, one that reaches beyond it is clipped, and one that stands
twice is kept: each is counted, with examples. Where they are many, the file is of another form, and refused. Images
without annotations are backgrounds, up to half of the set.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unpool.data.image_file import printable
from unpool.data.readers.box_forms import CORNERS, SLACK, doubt_of, fit
from unpool.errors import DataError

_SHOWN = 3  # examples in a sentence


class Things(NamedTuple):
    """Annotated things of a set, one row each, image after image.

    Attributes:
        image: (M,) int64 position of its image, in order.
        boxes: (M, 4) float32 left, top, right, bottom.
        labels: (M,) int64 class.
        record: says where a row stands in the files, such as "a.xml, object 2".
        more: (M,) values under further batch keys, such as "crowd".
        form: of the numbers in the files, see `box_forms`.
    """

    image: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    record: Callable[[int], str]
    more: Mapping[str, NDArray]
    form: str = CORNERS


class Settled(NamedTuple):
    """The things that can be learned.

    Attributes:
        image: (N,) int64 position of its image, in order.
        columns: (N, ...) values by batch key: "boxes" on their images, "labels", and what `Things.more` has.
        kept: (N,) int64 the row of each among all things.
        notes: a sentence on each kind of doubtful boxes.
    """

    image: NDArray[np.int64]
    columns: Mapping[str, NDArray]
    kept: NDArray[np.int64]
    notes: list[str]


def settle(things: Things, sizes_hw: NDArray[np.int64]) -> Settled:
    """Leaves out the boxes that cannot be learned, and clips the others to their images.

    Args:
        things: as they stand in the files.
        sizes_hw: (N, 2) of the images; things of one of size 0 are left out unseen, since its file cannot be read.

    Raises:
        DataError: the boxes are fractions of the image, or more than a tenth of many fit none, as in another form.
    """
    low, high = things.boxes[:, :2], things.boxes[:, 2:]
    ends = sizes_hw[things.image][:, ::-1].astype(np.float32)
    boxes = np.concatenate([low.clip(min=0), np.minimum(high, ends)], axis=1)
    is_seen = np.all(ends > 0, axis=1)
    if doubt := doubt_of(things.boxes[is_seen], ends[is_seen], things.form):
        row = np.flatnonzero(is_seen)[int(fit(things.boxes[is_seen], ends[is_seen]).argmin())]
        raise DataError(f"boxes such as that of {printable(things.record(row))}: {doubt}").of("data.box_format")
    has_extent = np.all(high > low, axis=1)
    is_on_image = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    kept = is_seen & has_extent & is_on_image
    reaches = np.any((low < -SLACK) | (high > ends + SLACK), axis=1)
    notes = [
        *_noted(things, is_seen & ~has_extent, "have no extent: left out"),
        *_noted(things, is_seen & has_extent & ~is_on_image, "lie beside their image: left out"),
        *_noted(things, kept & reaches, "reach beyond their image: clipped"),
        *_noted(things, kept & _repeats(things), "stand twice with one class on one image: each is kept"),
    ]
    columns = {"boxes": boxes, "labels": things.labels, **things.more}
    return Settled(
        things.image[kept], {key: values[kept] for key, values in columns.items()}, np.flatnonzero(kept), notes
    )


def _noted(things: Things, which: NDArray[np.bool_], what: str) -> list[str]:
    rows = np.flatnonzero(which).tolist()
    if not rows:
        return []
    shown = "; ".join(printable(things.record(row)) for row in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return [f"{len(rows)} of {len(which)} boxes {what}, {shown}{more}"]


def _repeats(things: Things) -> NDArray[np.bool_]:
    """Which things are those of an earlier row: image, class, box and all."""
    columns = [things.image, things.labels, *things.boxes.T, *things.more.values()]
    keys = np.stack([column.astype(np.float64) for column in columns], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    is_first = np.zeros(len(keys), bool)
    is_first[first] = True
    return ~is_first


def require_annotated(
    images: Sequence[str], is_annotated: Sequence[bool], *, looked_in: str, allow_background: bool
) -> list[str]:
    """Returns a sentence on images without annotations, which are backgrounds; none where all have some.

    Args:
        images: paths of one split.
        is_annotated: whether each has annotations, which may hold no box.
        looked_in: the folders or the file that annotations were looked for in.
        allow_background: more than half of the images may be backgrounds.

    Raises:
        DataError: no image has annotations, or fewer than half have, unless these are allowed.
    """
    lacking = [image for image, has in zip(images, is_annotated, strict=True) if not has]
    if not lacking:
        return []
    matched = len(images) - len(lacking)
    if not matched:
        advice = "check that annotations are named as their images are, and lie there"
        raise DataError(f"0 of {len(images)} images matched a label; looked in {looked_in}: {advice}")
    if 2 * len(lacking) > len(images) and not allow_background:
        problem = f"{len(lacking)} of {len(images)} images have no label, such as {printable(lacking[0])}"
        advice = "set data.allow_background=true if they are backgrounds, on which every answer is a mistake"
        raise DataError(f"{problem}; looked in {looked_in}: {advice}")
    shown = ", ".join(map(printable, lacking[:_SHOWN])) + (", ..." if len(lacking) > _SHOWN else "")
    return [f"{len(lacking)} of {len(images)} images have no label and are taken for backgrounds: {shown}"]
