"""What samples with boxes call their values: in torchvision's words or in ours, in a dict or in a tuple."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from unpool.errors import DataError

OPTIONAL = ("masks", "areas", "crowd", "difficult")  # what a set may know of each thing
NEEDED = ("image", "boxes", "labels")
_OURS = {"area": "areas", "iscrowd": "crowd"}  # torchvision's words
_OURS_OF_PEOPLE = {**_OURS, "keypoints": "people"}
_NO_BOXES = ({"image_id"},)  # the whole target of an image without annotations, of torchvision's wrapped COCO


def things_by_key(item: Any, gives: Sequence[str] = NEEDED) -> dict[str, Any]:
    """The image of one item of a data set and what it says of its things, by our keys.

    Args:
        item: of the data set.
        gives: batch keys that samples of the set have; things need masks where these are among them.

    Raises:
        DataError: it is none of the forms that samples with boxes have.

    >>> things_by_key(("picture", {"boxes": [], "labels": [], "iscrowd": [], "image_id": 3}))
    {'image': 'picture', 'boxes': [], 'labels': [], 'crowd': []}
    """
    needs_masks = "masks" in gives
    values = in_our_words(item, (*NEEDED, "masks") if needs_masks else NEEDED)
    missing = [key for key in NEEDED if key not in values and not (key == "boxes" and "masks" in values)]
    if needs_masks and "masks" not in values and not _is_nothing(values.get("labels", ())):
        missing.append("masks")
    if missing:
        masks = ', "masks": (N, H, W)' if needs_masks else ""
        raise DataError(
            f"a sample has {', '.join(map(str, values))}, and lacks {', '.join(missing)}: give (image, target) with a "
            f'target {{"boxes": (N, 4), "labels": (N,){masks}}}, or a dict of all; torchvision\'s own sets give them '
            "once they are wrapped by torchvision.datasets.wrap_dataset_for_transforms_v2"
            f"{', COCO if its target_keys name masks' if masks else ''}"
        )
    return {key: values[key] for key in (*NEEDED, *OPTIONAL) if key in values}


def in_our_words(item: Any, needed: Sequence[str]) -> Mapping[Any, Any]:
    """The values of one item of a data set by key, torchvision's words replaced by ours; keys may be missing.

    Args:
        item: (image, dict), a dict, or a tuple of as many values as are needed.
        needed: batch keys in the order of such a tuple.

    Raises:
        DataError: it has a value twice, in their word and in ours.
    """
    values, words = _flat(item, needed), _OURS_OF_PEOPLE if "people" in needed else _OURS
    if both := [f"{theirs} and {ours}" for theirs, ours in words.items() if {theirs, ours} <= set(values)]:
        raise DataError(f"a sample has both {both[0]}, which mean the same: leave one out")
    return {words.get(key, key): value for key, value in values.items()}


def our_keys(key: Any) -> set[Any]:
    """A key of a target, and what may be our word for it.

    >>> our_keys("area") == {"area", "areas"}, our_keys("boxes")
    (True, {'boxes'})
    """
    return {key, _OURS_OF_PEOPLE.get(key, key)}


def _flat(item: Any, needed: Sequence[str]) -> Mapping[Any, Any]:
    if isinstance(item, Mapping):
        return item
    if not isinstance(item, tuple | list):
        return {"image": item}
    if len(item) > 1 and isinstance(item[1], Mapping):
        nothing = dict.fromkeys(needed[1:], ()) if set(item[1]) in _NO_BOXES else {}
        return {**nothing, **item[1], "image": item[0]}
    if len(item) < len(needed):
        return dict(zip(("image", "a target that is no dict"), item, strict=False))
    return dict(zip(needed, item, strict=False))


def _is_nothing(value: Any) -> bool:
    return (value.numel() if isinstance(value, Tensor) else np.size(value)) == 0
