"""COCO's annotations of people: what the readers of one person and of whole images share.

annotations/person_keypoints_<train|val>2017.json beside the folders of images. There is no labelled test split, so test
is val.

Source: Lin et al. 2014, arXiv:1405.0312; cocodataset.org, "Data format".
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unpool.data.decode import printable
from unpool.data.readers.splits import Split, not_found, require_exif, require_root, require_split
from unpool.errors import DataError, RecipeError
from unpool.ops.skeleton import flip_pairs
from unpool.types import DataInfo

Annotation = Mapping[str, Any]


class Annotations(NamedTuple):
    """One split of the set.

    Attributes:
        path: of the file.
        images: path below the root and (height, width) of each image, by number.
        people: crowds among them, in the order of images and of their own numbers.
        info: joints and limbs as the file has them.
    """

    path: Path
    images: dict[int, tuple[str, tuple[int, int]]]
    people: list[Annotation]
    info: DataInfo


def read_annotations(root: Path, split: Split, *, least_joints: int, exif: str) -> Annotations:
    """The split's file of key points.

    Raises:
        RecipeError: an option of the reader that makes no sense.
        DataError: there is no such file, or it is none of COCO's.
    """
    require_split(split)
    require_exif(exif)
    if least_joints < 1:
        raise RecipeError(f"data.least_joints is {least_joints}; a person needs at least one joint")
    part = "train2017" if split == "train" else "val2017"
    path = require_root(root) / "annotations" / f"person_keypoints_{part}.json"
    if not path.is_file():
        raise not_found(root, split, [f"annotations/{path.name}"])
    with reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        images = {
            image["id"]: (f"{part}/{image['file_name']}", (int(image["height"]), int(image["width"])))
            for image in content["images"]
        }
        people = sorted(content["annotations"], key=lambda one: (one["image_id"], one["id"]))
        return Annotations(path, images, people, _info(content["categories"]))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What a broken file leads to becomes one error that names it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{printable(path)} is no list of COCO's key points: {error!r}") from error


def is_labelled(one: Annotation, least_joints: int) -> bool:
    """Whether it is one person with joints enough."""
    return not one["iscrowd"] and one["num_keypoints"] >= least_joints


def joints_of(one: Annotation, count: int) -> NDArray[np.float32]:
    """(count, 3): x, y and 0 where the joint is not labelled, 1 where it is hidden, 2 where it is seen."""
    return np.array(one["keypoints"], np.float32).reshape(count, 3)


def box_of(one: Annotation) -> tuple[float, float, float, float]:
    """The person's box, xyxy."""
    left, top, width, height = (float(value) for value in one["bbox"])
    return left, top, left + width, top + height


def nobody(path: Path, least_joints: int) -> DataError:
    """The error of a file in which no person is labelled."""
    return DataError(f"{printable(path)} has no person of {least_joints} joints or more; lower data.least_joints")


def _info(categories: list[Annotation]) -> DataInfo:
    person = {one["name"]: one for one in categories}["person"]
    names = tuple(person["keypoints"])
    limbs = tuple((int(first) - 1, int(second) - 1) for first, second in person["skeleton"])  # counted from 1
    return DataInfo(keypoints=names, flip_pairs=flip_pairs(names), limbs=limbs)
