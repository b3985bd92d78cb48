"""People of COCO, one a sample: annotations/person_keypoints_<split>2017.json beside the folders of images.

A joint is visible where it is labelled, hidden or not, as COCO's own score has it. Crowds and people of fewer than
`least_joints` joints are left out. A sample is the square about the person's box, `crop` times its longer side. There
is no labelled test split, so test is val.

Source: Lin et al. 2014, arXiv:1405.0312; cocodataset.org, "Data format".
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unpool.data.decode import Exif, printable
from unpool.data.readers.person_crops import Person, PersonCrops, require_scale
from unpool.data.readers.splits import Split, not_found, require_exif, require_root, require_split
from unpool.errors import DataError, RecipeError
from unpool.ops.skeleton import flip_pairs
from unpool.types import DataInfo


class CocoPeople(PersonCrops):
    """People in everyday pictures, 17 joints each.

    Args:
        crop: side of the square in longer sides of the person's box; None gives whole images.
        least_joints: labelled joints without which a person is left out.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        crop: float | None = 1.25,
        least_joints: int = 1,
        channels: int = 3,
        exif: Exif = "ignore",
    ) -> None:
        require_split(split)
        require_exif(exif)
        require_scale(crop)
        if least_joints < 1:
            raise RecipeError(f"data.least_joints is {least_joints}; a person needs at least one joint")
        part = "train2017" if split == "train" else "val2017"
        path = require_root(root) / "annotations" / f"person_keypoints_{part}.json"
        if not path.is_file():
            raise not_found(root, split, [f"annotations/{path.name}"])
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            people, ignored = _people(content, part, least_joints)
            self.info = _info(content["categories"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{printable(path)} is no list of COCO's key points: {error!r}") from error
        if not people:
            raise DataError(f"{printable(path)} has no person of {least_joints} joints or more; lower least_joints")
        super().__init__(root, people, crop=crop, channels=channels, exif=exif, with_area=True)
        self.origin: dict[str, Any] = {"root": printable(root), "split": split, "ignored": ignored, "drawn": None}


def _people(content: Mapping[str, Any], part: str, least_joints: int) -> tuple[list[Person], int]:
    """Those that are kept, in the order of their numbers, and how many are not."""
    files = {image["id"]: f"{part}/{image['file_name']}" for image in content["images"]}
    kept = [one for one in content["annotations"] if not one["iscrowd"] and one["num_keypoints"] >= least_joints]
    people = []
    for one in sorted(kept, key=lambda one: (one["image_id"], one["id"])):
        joints = np.array(one["keypoints"], np.float32).reshape(-1, 3)
        left, top, width, height = (float(value) for value in one["bbox"])
        image = files[one["image_id"]]
        box = (left, top, left + width, top + height)
        people.append(Person(image, f"{image}/{one['id']}", joints[:, :2], joints[:, 2] > 0, box, float(one["area"])))
    return people, len(content["annotations"]) - len(people)


def _info(categories: Sequence[Mapping[str, Any]]) -> DataInfo:
    person = next(one for one in categories if one["name"] == "person")
    names = tuple(person["keypoints"])
    limbs = tuple((int(first) - 1, int(second) - 1) for first, second in person["skeleton"])  # counted from 1
    return DataInfo(keypoints=names, flip_pairs=flip_pairs(names), limbs=limbs)
