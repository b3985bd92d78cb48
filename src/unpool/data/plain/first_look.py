"""What a few samples of a data set show of all of it, before anything is decided: values that mean something else."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from unpool.data.orientation import orientation_of
from unpool.data.plain.levels import Normalization, check_levels
from unpool.data.plain.matches import picture_of
from unpool.data.plain.pairs import check_pairs, joints_outside, masks_outside
from unpool.data.plain.reader import by_key, item_of
from unpool.data.plain.targets import Setting, target_of, visibility
from unpool.data.plain.things import boxes_in, corners_of, of_each
from unpool.data.plain.words import our_keys
from unpool.data.readers.box_forms import CORNERS, doubt_of, fit, most_are_odd, odd_areas
from unpool.errors import DataError, require_files
from unpool.types import IGNORE

_SMALL_SIDE = 8  # of images in which joints may well lie on the first pixels
_log = logging.getLogger(__name__)

Values = Mapping[str, Any]  # of one sample as the data set gives them, by batch key; images as (C, H, W)


def look_at(dataset: Any, indices: Sequence[int], gives: Sequence[str], *, part: str) -> dict[int, Values]:
    """The values at some positions; those whose files cannot be read are left out, as a scan leaves them out.

    Raises:
        DataError: as a `DatasetReader` does, with the name of the sample; or none of the files can be read.
    """
    looked: dict[int, Values] = {}
    faults: list[str] = []
    turned: dict[str, int] = {}
    for index in indices:
        name = f"{part}[{index}]"
        try:
            item = item_of(dataset, index)
            values = by_key(item, gives)
            if (number := _orientation(values["image"])) != 1:
                turned[name] = number
            looked[index] = values | {
                key: picture_of(values[key], gives) for key in ("image", "clean") if key in values
            }
        except OSError as error:
            require_files(error)
            faults.append(f"{name}: {error}")
            continue
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        if len(looked) == 1 and (unused := _unused(item, values)):
            _log.info("samples of %s hold %s, and %s are used", part, unused, ", ".join(values))
    if turned:
        name, number = next(iter(turned.items()))
        _log.warning(
            "%d of %d samples of %s are PIL images with an EXIF orientation, such as %d of %s: they are used as they "
            "are stored, and predict turns files upright; turn them in the data set, by PIL.ImageOps.exif_transpose",
            *(len(turned), len(looked), part, number, name),
        )
    if not looked:
        raise DataError(f"{len(faults)} samples of {part} were looked at, and none can be read; {faults[0]}")
    return looked


def _orientation(image: Any) -> int:
    """The EXIF orientation of an image, or of one of a pair; Pillow keeps it through most operations. 1 without one."""
    if isinstance(image, list | tuple):
        return next((number for one in image if (number := _orientation(one)) != 1), 1)
    return orientation_of(image, BytesIO()).number if isinstance(image, Image.Image) else 1


def _unused(item: Any, values: Values) -> str:
    """What a sample holds beside the values that are used, in words."""
    target = item[1] if isinstance(item, tuple | list) and "boxes" in values and isinstance(item[1], Mapping) else item
    if isinstance(target, Mapping):
        return ", ".join(str(key) for key in target if our_keys(key).isdisjoint(values))
    count = len(item) - len(values) if isinstance(item, tuple | list) else 0
    return f"{count} more value{'s' if count > 1 else ''}" if count else ""


def check_looked(looked: Iterable[Values], normalization: Normalization, setting: Setting, *, part: str) -> None:
    """Raises DataError where the values of a few samples mean something else than they would be read as.

    Args:
        looked: of `look_at`.
        normalization: that the data set names.
        setting: by which the set would be read.
        part: name of the set, for messages.
    """
    looked = list(looked)
    check_levels([one["image"] for one in looked], normalization, setting.levels, what=f"the images of {part}")
    if "clean" in looked[0]:
        check_levels([one["clean"] for one in looked], None, setting.levels, what=f"the clean images of {part}")
    if "mask" in looked[0] and len(setting.info.classes) == 2:
        _check_masks([one["mask"] for one in looked], part=part)
    for key in ("keypoints", "people"):
        if key in looked[0]:
            _check_joints(looked, key, setting, part=part)
    if boxed := [one for one in looked if "boxes" in one]:
        _check_boxes(boxed, part=part)
        _check_pairs(boxed, setting, part=part)


def _check_boxes(looked: Sequence[Values], *, part: str) -> None:
    """Boxes of all samples that are fractions of the image, of another form, or of another image."""
    rows, ends, form = [], [], CORNERS
    for one in looked:
        height, width = one["image"].shape[-2:]
        try:
            boxes, form = corners_of(one["boxes"], (height, width))
        except DataError:  # the scan names it
            continue
        rows.append(boxes.numpy())
        ends += len(boxes) * [(width, height)]
    boxes, sides = np.concatenate([np.zeros((0, 4)), *rows]), np.array(ends, float).reshape(-1, 2)
    if doubt := doubt_of(boxes, sides, form):
        raise DataError(f"the boxes of {part}, {_shown(boxes, sides)}: {doubt}")
    if len(boxes) and not (np.minimum(boxes[:, 2:], sides) > np.maximum(boxes[:, :2], 0)).all(1).any():
        raise DataError(
            f"none of the {len(boxes)} boxes looked at in {part} has an extent on its image, {_shown(boxes, sides)}: "
            "give left, top, right, bottom in pixels of the image of the sample"
        )


def _check_pairs(looked: Sequence[Values], setting: Setting, *, part: str) -> None:
    """Masks or joints of all samples that lie beside their boxes, and people of whom no joint is known."""
    masks: list[bool] = []
    people: list[bool] = []
    odd: list[bool] = []
    count = 0
    for one in looked:
        size_hw = one["image"].shape[-2:]
        try:
            boxes = boxes_in(one["boxes"], size_hw).float()
            drawn = of_each("masks", one.get("masks", ()), len(boxes) if "masks" in one else 0, size_hw)
            joints = target_of("people", one.get("people", []), setting)["people"]
            odd += _odd_areas(one, boxes, size_hw)
        except DataError:  # the scan names it
            continue
        if len(drawn):
            masks += masks_outside(boxes, drawn)[drawn.flatten(1).any(1)].tolist()
        if len(joints) == len(boxes):
            people += joints_outside(boxes, joints)[~joints.isnan().any(2).all(1)].tolist()
            count += len(joints)
    check_pairs(masks, what=f"masks of {part}")
    if most_are_odd(sum(odd), len(odd)):
        raise DataError(
            f"{sum(odd)} of {len(odd)} areas of {part} are those of nothing in their boxes, by which small and large "
            "are told apart and joints are measured: give the pixels that each thing covers, or leave areas out"
        )
    check_pairs(people, what=f"people of {part}, by their joints,")
    if count and not people:
        raise DataError(
            f"no joint of the {count} people looked at in {part} is known: the third number of a joint is above 0 "
            "where it is, and x and y are no NaN"
        )


def _odd_areas(one: Values, boxes: Tensor, size_hw: tuple[int, int]) -> list[bool]:
    """Which things of a sample have areas that cannot be theirs, but crowds; none where it has no areas."""
    if "areas" not in one or not len(boxes):
        return []
    areas = of_each("areas", one["areas"], len(boxes), size_hw)
    crowd = of_each("crowd", one.get("crowd", np.zeros(len(boxes))), len(boxes), size_hw)
    odd = odd_areas(areas.numpy(), (boxes[:, 2:] - boxes[:, :2]).numpy())
    return odd[~crowd.numpy()].tolist()


def _shown(boxes: np.ndarray, sides: np.ndarray) -> str:
    """An example of boxes that are not what they were taken for."""
    row = int(fit(boxes, sides).argmin())
    return f"such as {boxes[row].round(3).tolist()} on {sides[row].astype(int).tolist()} (width, height)"


def _check_masks(masks: Sequence[Any], *, part: str) -> None:
    arrays = [np.asarray(mask) for mask in masks if isinstance(mask, Tensor | np.ndarray | Image.Image)]
    values = {value for array in arrays for value in np.unique(array).tolist()}
    if IGNORE in values and values <= {0, IGNORE}:
        raise DataError(
            f"the masks of {part} hold 0 and {IGNORE} only, and {IGNORE} is no label: give 1 in its stead where it is "
            "the second class, as torch.as_tensor(np.array(mask) > 0) does, or -100 where it is no label indeed"
        )


def _check_joints(looked: Sequence[Values], key: str, setting: Setting, *, part: str) -> None:
    """Joints of all samples that are fractions of the image, or of another image."""
    points, sides = [], []
    for one in looked:
        known = _known_points(one, key, setting)
        if known.count([0, 0]) > 1:
            raise DataError(
                f"{known.count([0, 0])} joints of a sample of {part} are at 0, 0: give NaN where a joint is not known, "
                "or 0 as its third number"
            )
        for x, y in known:
            points.append((x, y))
            sides.append((one["image"].shape[-1], one["image"].shape[-2]))
    if not points:
        return
    positions, limits = np.array(points), np.array(sides)  # (N, 2) of x and y
    seen = f"the joints of {part} are at {positions.min():.4g} to {positions.max():.4g}"
    if np.abs(positions).max() <= 1 and limits.min() > _SMALL_SIDE:
        raise DataError(f"{seen}, which are fractions of the image: give pixels, x times its width and y its height")
    outside = np.any((positions < 0) | (positions > limits), axis=1)
    where = f"{seen}, {outside.sum()} of {len(points)} outside of their images, such as {points[outside.argmax()]}"
    advice = f"of {sides[outside.argmax()]} (width, height): give x, then y, in pixels of the image of the sample"
    if outside.all():
        raise DataError(f"{where} {advice}")
    if outside.mean() > 0.5:
        _log.warning("%s %s", where, advice)


def _known_points(one: Values, key: str, setting: Setting) -> list[list[float]]:
    """x and y of the joints that are known; none of a sample that is wrong in itself, which a scan names."""
    try:
        sample = target_of(key, one[key], setting)
        points = sample[key]
        known = sample["visible"] if key == "keypoints" else ~points.isnan().any(-1)
        if "visible" in one and key == "keypoints":
            known = known & visibility(one["visible"], len(known))
    except DataError:
        return []
    return points[known].tolist()
