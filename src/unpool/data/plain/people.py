"""The people of one sample, each with a box and joints.

A target is a dict in torchvision's words, `(image, {"boxes", "keypoints", "area", "iscrowd"})`, or in ours, with
`people`, `areas` and `crowd`. Boxes are read as those of `things`. Who is a crowd, or has no known joint, comes under
`ignored`: such people are neither to be found nor background, as COCO's reader has it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unpool.data.plain.pairs import joints_outside
from unpool.data.plain.targets import Setting, numbers_in, target_of
from unpool.data.plain.things import Size, boxes_in, check_besides, of_each, shown
from unpool.data.plain.words import in_our_words
from unpool.data.remarks import remark
from unpool.errors import DataError
from unpool.ops.people import areas_of_people
from unpool.types import Sample

NEEDED = ("image", "boxes", "people")
_PERSON = {0, 1, "person"}  # the labels that people may have; torchvision's is 1


def has_boxed_people(gives: Sequence[str]) -> bool:
    """Whether samples are people in boxes, by the batch keys that their task needs, which stand first in `gives`.

    >>> has_boxed_people(("image", "boxes", "people", "areas")), has_boxed_people(("image", "people", "boxes"))
    (True, False)
    """
    return tuple(gives[: len(NEEDED)]) == NEEDED


def people_by_key(item: Any) -> dict[str, Any]:
    """The image of one item of a data set and what it says of its people, by our keys.

    Raises:
        DataError: it is none of the forms that samples of people in boxes have, or holds other things than people.

    >>> people_by_key(("picture", {"boxes": [], "keypoints": [], "labels": [], "image_id": 3}))
    {'image': 'picture', 'boxes': [], 'people': []}
    """
    values = in_our_words(item, NEEDED)
    if missing := [key for key in NEEDED if key not in values]:
        raise DataError(
            f"a sample has {', '.join(map(str, values))}, and lacks {', '.join(missing)}: give (image, target) with a "
            'target {"boxes": (N, 4), "people": (N, K, 2)}, or "keypoints" (N, K, 3) as torchvision has them, or a '
            "dict of all three"
        )
    if "visible" in values:
        raise DataError("a sample has visible beside its people: give (N, K, 3), the third number above 0 where known")
    _check_labels(values.get("labels", ()))
    return {key: values[key] for key in (*NEEDED, "areas", "crowd") if key in values}


def _check_labels(value: Any) -> None:
    is_names = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    labels = set(value if is_names else numbers_in(value, "labels").flatten().tolist())
    if len(labels) > 1 or not labels <= _PERSON:
        listed = ", ".join(sorted(map(str, labels))[:8])
        raise DataError(f"labels hold {listed}, and all are taken for people: leave other things, and labels, out")


def people_of(values: dict[str, Any], gives: Sequence[str], setting: Setting, *, size_hw: Size) -> Sample:
    """The people of a sample whose boxes show on its image, and under `ignored` those who are not counted.

    Args:
        values: of `people_by_key`.
        gives: batch keys that samples of the set have.
        setting: with the names of the joints.
        size_hw: of the image.

    Raises:
        DataError: a value is not of the kind that its key needs, or the set's samples have others.
    """
    boxes = boxes_in(values["boxes"], size_hw)
    sample = {"boxes": boxes, "labels": torch.zeros(len(boxes)), "people": _joints(values["people"], boxes, setting)}
    if len(boxes):
        check_besides(values, gives, ("areas",))
    sample["crowd"] = of_each("crowd", values.get("crowd", torch.zeros(len(boxes))), len(boxes), size_hw)
    if "areas" in gives:
        sample["areas"] = of_each("areas", values.get("areas", ()), len(boxes), size_hw)
    return _counted(shown(sample, size_hw))


def _joints(value: Any, boxes: Tensor, setting: Setting) -> Tensor:
    count = len(setting.info.keypoints)
    if not len(boxes) and not numbers_in(value, "people").numel():
        return torch.zeros(0, count, 2)
    people = target_of("people", value, setting)["people"]
    if len(people) != len(boxes):
        raise DataError(
            f"there are {len(people)} people and {len(boxes)} boxes: give people (N, {count}, 2), or (N, {count}, 3), "
            "the joints of whoever is in each box"
        )
    return people


def _counted(sample: Sample) -> Sample:
    """People with a known joint, and under `ignored` the others."""
    boxes, people, crowd = sample["boxes"], sample["people"], sample["crowd"]
    has_joints = ~people.isnan().any(2).all(1)
    if joints_outside(boxes, people).any():
        remark("some people have most of their joints outside of their boxes, where none is learned")
    if not (has_joints | crowd).all():
        remark("some people have no known joint, and are neither to be found nor background")
    sizes = sample.get("areas", areas_of_people(boxes))
    is_counted = has_joints & ~crowd
    ignored = torch.cat([boxes, sizes[:, None], crowd[:, None].float()], dim=1)[~is_counted]
    kept = {key: sample[key][is_counted] for key in ("boxes", "people", "areas") if key in sample}
    return {**kept, "ignored": ignored}
