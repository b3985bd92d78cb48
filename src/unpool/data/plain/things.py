"""The things of one sample: boxes, their classes, and what a set may know of each besides.

A target is a dict in torchvision's words, `(image, {"boxes", "labels", "masks", "area", "iscrowd"})`, or a sample is
one in ours, with `areas`, `crowd` and `difficult`. `BoundingBoxes` say their form; other boxes are left, top, right and
bottom in pixels. With masks, boxes may be left out, as torchvision's Cityscapes leaves them out: each is then the one
around the pixels of its mask. What cannot be that is refused; as in files, a box without extent or beside its image is
left out, one that reaches beyond it is clipped, and each is counted; so is a mask that lies beside its box.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpool.data.plain.pairs import masks_outside
from unpool.data.plain.targets import Setting, numbers_in
from unpool.data.plain.words import OPTIONAL
from unpool.data.readers.box_forms import CENTRES, CORNERS, SIZES, SLACK, other_forms
from unpool.data.remarks import remark
from unpool.errors import DataError, quoted
from unpool.ops.boxes import around_masks
from unpool.types import Sample

_FORMS = {"XYXY": CORNERS, "XYWH": SIZES, "CXCYWH": CENTRES}
_DECLARED = "or give torchvision.tv_tensors.BoundingBoxes, which say their form"
_SHOWN = 8  # numbers of classes that a message lists
Size = tuple[int, int]


def check_besides(values: Mapping[str, Any], gives: Sequence[str], optional: Sequence[str]) -> None:
    """Refuses a sample that has one of the keys that a set may leave out where others have none, or lacks it.

    Raises:
        DataError: it does.
    """
    for key in optional:
        if (key in values) != (key in gives):
            has, others = ("has", "lack") if key in values else ("lacks", "have")
            raise DataError(f"this sample {has} {key}, which others {others}: give {key} with all samples or with none")


def things_of(values: Mapping[str, Any], gives: Sequence[str], setting: Setting, *, size_hw: Size) -> Sample:
    """The things of a sample that show on its image.

    Args:
        values: of `things_by_key`.
        gives: batch keys that samples of the set have.
        setting: by which classes are numbered.
        size_hw: of the image.

    Raises:
        DataError: a value is not of the kind that its key needs, or the set's samples have others.
    """
    boxes = boxes_in(values["boxes"], size_hw) if "boxes" in values else _boxes_of_masks(values["masks"], size_hw)
    sample = {"boxes": boxes, "labels": _classes(values["labels"], len(boxes), setting)}
    if len(boxes):
        check_besides(values, gives, OPTIONAL)
    for key in OPTIONAL:
        if key in gives:
            sample[key] = of_each(key, values.get(key, ()), len(boxes), size_hw)
    sample = shown(sample, size_hw)
    if "masks" not in sample or not (outside := masks_outside(sample["boxes"], sample["masks"])).any():
        return sample
    remark("some masks lie for the most part outside of their boxes and are left out with them")
    return {key: values[~outside] for key, values in sample.items()}


def boxes_in(value: Any, size_hw: Size) -> Tensor:
    """(N, 4) as of `corners_of`, none with a side below 0; raises DataError where there is one."""
    boxes, form = corners_of(value, size_hw)
    _check_sides(boxes, size_hw, form)
    return boxes


def _boxes_of_masks(value: Any, size_hw: Size) -> Tensor:
    """(N, 4) float64 around the pixels of masks, in the place of boxes."""
    numbers = numbers_in(value, "masks")
    count = len(numbers) if numbers.dim() > 2 else int(numbers.numel() > 0)
    return around_masks(of_each("masks", value, count, size_hw)).double()


def corners_of(value: Any, size_hw: Size) -> tuple[Tensor, str]:
    """(N, 4) float64 left, top, right, bottom in pixels, and the form that they were given in, see `box_forms`.

    Raises:
        DataError: these are no N boxes, they are on an image of another size, or of a form that has no sides.
    """
    boxes, form = _declared(value, size_hw)
    if tuple(boxes.shape) in ((0,), (0, 4)):
        return torch.zeros(0, 4, dtype=torch.float64), form
    if boxes.dim() != 2 or boxes.shape[1] != 4 or boxes.dtype == torch.bool or boxes.is_complex():
        raise DataError(
            f"boxes are {boxes.dtype} {tuple(boxes.shape)}: give (N, 4), for each thing a row of left, top, right, "
            "bottom in pixels, also of one thing; (0, 4) where there is none"
        )
    boxes = boxes.double()
    if len(wrong := (~boxes.float().isfinite().all(1)).nonzero()):
        raise DataError(f"box {int(wrong[0])} is {_row(boxes[wrong[0, 0]])}: give numbers of pixels, or leave it out")
    return boxes, form


def _declared(value: Any, size_hw: Size) -> tuple[Tensor, str]:
    """The corners of `BoundingBoxes`, and what form they are of; of others the numbers as they are."""
    numbers = numbers_in(value, "boxes")
    if type(value) is Tensor or not isinstance(value, Tensor):
        return numbers, CORNERS
    from torchvision.ops import box_convert  # takes seconds to import, with torch's compiler
    from torchvision.tv_tensors import BoundingBoxes

    if not isinstance(value, BoundingBoxes):
        return numbers, CORNERS
    form = value.format.value
    if form not in _FORMS:
        raise DataError(f"boxes are BoundingBoxes of the format {form}: give upright ones, as {', '.join(_FORMS)}")
    if tuple(value.canvas_size) != size_hw:
        raise DataError(
            f"boxes are BoundingBoxes on a canvas of {tuple(value.canvas_size)}, and the image is {size_hw} (H, W): "
            "let each transform have both, image and boxes"
        )
    return box_convert(numbers.double(), form.lower(), "xyxy"), _FORMS[form]


def _check_sides(boxes: Tensor, size_hw: Size, form: str) -> None:
    wrong = (boxes[:, 2:] < boxes[:, :2]).any(1).nonzero()
    if not len(wrong):
        return
    others = other_forms(boxes.numpy(), np.tile(size_hw[::-1], (len(boxes), 1)), form)
    fits = f" all boxes of this sample fit it as {' or '.join(others)}:" if others else ""
    raise DataError(
        f"box {int(wrong[0])} is {_row(boxes[wrong[0, 0]])} (left, top, right, bottom), with a side below 0;{fits} "
        f"convert boxes by torchvision.ops.box_convert, {_DECLARED}"
    )


def _classes(value: Any, count: int, setting: Setting) -> Tensor:
    """(N,) int64 in the numbers of `setting.info`."""
    names = setting.info.classes
    numbers = setting.numbers or {label: label for label in range(len(names))}
    if isinstance(value, list | tuple | np.ndarray) and len(value) and all(isinstance(one, str) for one in value):
        value = _numbers_of_names(value, {names[label]: number for number, label in numbers.items()})
    labels = numbers_in(value, "labels")
    labels = labels.long() if not labels.numel() and labels.dim() == 1 else labels
    is_whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.dim() != 1 or not is_whole or len(labels) != count:
        raise DataError(
            f"labels are {labels.dtype} {tuple(labels.shape)}, and there are {count} boxes: give (N,), the number of "
            "the class of each box, as whole numbers"
        )
    values = labels.tolist()
    if unknown := sorted(set(values) - set(numbers)):
        known = ", ".join(f"{number} {names[label]}" for number, label in list(numbers.items())[:_SHOWN])
        raise DataError(
            f"labels hold {', '.join(map(str, unknown[:_SHOWN]))}, and the classes are {known}"
            f"{', ...' if len(numbers) > _SHOWN else ''}: the first name in classes= is that of 0. Where labels count "
            "from 1, as in torchvision's references, which have 0 for the background, classes= starts with "
            "'__background__'; else correct the labels"
        )
    return torch.tensor([numbers[number] for number in values], dtype=torch.int64)


def _numbers_of_names(names: Iterable[str], numbers: Mapping[str, int]) -> list[int]:
    if unknown := [name for name in names if name not in numbers]:
        known = ", ".join(list(numbers)[:_SHOWN])
        raise DataError(f"labels hold {quoted(unknown[0])}, which is none of the classes: {known}")
    return [numbers[name] for name in names]


def of_each(key: str, value: Any, count: int, size_hw: Size) -> Tensor:
    """What a set knows of each of its things under a key of `OPTIONAL`.

    Raises:
        DataError: it is not as much as there are things, or no number that the key may have.
    """
    values = numbers_in(value, key)
    if not count and not values.numel():
        return torch.zeros(
            (0, *size_hw) if key == "masks" else 0, dtype=torch.float32 if key == "areas" else torch.bool
        )
    shape = (count, *size_hw) if key == "masks" else (count,)
    if tuple(values.shape) != shape:
        each = "(N, H, W), a mask for each box and of the size of the image" if key == "masks" else "one for each box"
        raise DataError(f"{key} are {tuple(values.shape)}, and {shape} is due: give {each}")
    if key == "areas":
        if not (values.isfinite() & (values >= 0)).all():
            raise DataError(f"areas hold {_row(values)}: give the pixels that each thing covers")
        return values.float()
    if not ((values == 0) | (values == 1)).all():
        ends = " to ".join(f"{float(end):g}" for end in values.aminmax())
        raise DataError(f"{key} hold {ends}: give 1 (or True) and 0 alone; masks of numbers of things one by one")
    return values.bool()


def shown(sample: Sample, size_hw: Size) -> Sample:
    """The things of a sample that have an extent on the image, their boxes clipped; what is changed is counted."""
    boxes, ends = sample["boxes"], torch.tensor(size_hw).flip(0)
    low, high = boxes[:, :2], boxes[:, 2:]
    clipped = torch.cat([low.clamp(min=0), torch.minimum(high, ends.to(high))], dim=1)
    has_extent, shows = (high > low).all(1), (clipped[:, 2:] > clipped[:, :2]).all(1)
    reaches = ((low < -SLACK) | (high > ends + SLACK)).any(1)
    rows = torch.cat([boxes, sample["labels"][:, None]], dim=1)
    for which, what in (
        (~has_extent, "some boxes have no extent and are left out"),
        (has_extent & ~shows, "some boxes lie beside their image and are left out"),
        (shows & reaches, "some boxes reach beyond their image and are clipped"),
    ):
        if which.any():
            remark(what)
    if len(rows.unique(dim=0)) < len(rows):
        remark("some boxes stand twice with one class on one image, and each is kept")
    return {key: values[shows] for key, values in (sample | {"boxes": clipped.float()}).items()}


def _row(numbers: Tensor) -> str:
    return ", ".join(f"{number:.6g}" for number in numbers.flatten()[:_SHOWN].tolist())
