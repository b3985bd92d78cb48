"""COCO's annotations of people, read for `coco_people` and `coco_scenes`.

The file is annotations/person_keypoints_<train|val>2017.json, beside the folders of images. Annotations of categories
other than people are not read. There is no labelled test split, so test is val.

Source: Lin et al. 2014, arXiv:1405.0312; cocodataset.org, "Data format".
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unpool.data.image_file import printable
from unpool.data.readers.coco_boxes import check_boxes
from unpool.data.readers.coco_checks import PERSON, require_consistent
from unpool.data.readers.person_crops import misplaced
from unpool.data.readers.splits import Split, missing_split, require_split
from unpool.data.root import require_root
from unpool.data.text_file import read_json_text
from unpool.errors import DataError, RecipeError
from unpool.ops.sides import flip_pairs
from unpool.types import DataInfo, Fault

Annotation = Mapping[str, Any]


class Annotations(NamedTuple):
    """The annotations of one split.

    Attributes:
        path: the file that holds them.
        images: path below the root and (height, width) of each image, by image id.
        people: annotations of people and of crowds, ordered by image id, then annotation id.
        labelled: ids of the people who have at least `least_joints` labelled joints and lie on their image.
        faults: the people who have that many joints but do not lie on their image, with the reason.
        notes: a sentence on each kind of doubtful boxes.
        info: joints and limbs that the file defines.
    """

    path: Path
    images: dict[int, tuple[str, tuple[int, int]]]
    people: list[Annotation]
    labelled: frozenset[int]
    faults: list[Fault]
    notes: list[str]
    info: DataInfo


def read_annotations(root: Path, split: Split, *, least_joints: int) -> Annotations:
    """Reads the annotations of people of one split.

    Raises:
        RecipeError: an option is out of its range.
        DataError: the file is missing, or is not a valid file of COCO keypoints.
    """
    require_split(split)
    if least_joints < 1:
        raise RecipeError(f"data.least_joints is {least_joints}; a person needs at least one joint")
    part = "train2017" if split == "train" else "val2017"
    path = require_root(root) / "annotations" / f"person_keypoints_{part}.json"
    if not path.is_file():
        raise missing_split(root, split, [f"annotations/{path.name}"])
    with reading(path):
        content = json.loads(read_json_text(path))
        require_consistent(content)
        images = {
            image["id"]: (f"{part}/{image['file_name']}", (image["height"], image["width"]))
            for image in content["images"]
        }
        person = next(one for one in content["categories"] if one["name"] == PERSON)
        of_people = [one for one in content["annotations"] if one["category_id"] == person["id"]]
        people = sorted(of_people, key=lambda one: (one["image_id"], one["id"]))
        notes = check_boxes(people, {number: size_hw for number, (_, size_hw) in images.items()})
        notes += _note_counts(people)
        enough = [one for one in people if _has_joints(one, least_joints)]
        reasons = {one["id"]: _find_misplacement(one, images[one["image_id"]][1]) for one in enough}
        labelled = frozenset(number for number, reason in reasons.items() if reason is None)
        faults = [
            Fault(printable(name_of(one, images[one["image_id"]][0])), reason)
            for one in enough
            if (reason := reasons[one["id"]])
        ]
        return Annotations(path, images, people, labelled, faults, notes, _info(person))


@contextmanager
def reading(path: Path, kind: str = "COCO keypoints") -> Iterator[None]:
    """Turns every error that malformed content causes into one DataError that names the file and its kind."""
    try:
        yield
    except RecursionError as error:
        raise DataError(
            f"{printable(path)} is not a valid file of {kind}: nested too deeply; download it again"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        name = "" if type(error) is ValueError else f"{type(error).__name__}: "
        problem = f"{printable(path)} is not a valid file of {kind}: {name}{error}"
        raise DataError(f"{problem}: correct the file, or download it again") from error


def name_of(one: Annotation, image: str) -> str:
    """Returns the sample name of a person: path of the image and annotation id."""
    return f"{image}/{one['id']}"


def joints_of(one: Annotation) -> NDArray[np.float32]:
    """Returns (K, 3): x, y, and 0 for an unlabelled joint, 1 for a hidden one, 2 for a visible one."""
    return np.array(one["keypoints"], np.float32).reshape(-1, 3)


def box_of(one: Annotation) -> tuple[float, float, float, float]:
    """Returns the person's box, xyxy."""
    left, top, width, height = (float(value) for value in one["bbox"])
    return left, top, left + width, top + height


def missing_people(content: Annotations, least_joints: int) -> DataError:
    """Returns the error for a file that has no labelled person."""
    problem = f"{printable(content.path)} has no person of {least_joints} joints or more"
    if content.faults:
        path, reason = content.faults[0]
        return DataError(f"{problem} on its image; {len(content.faults)} lie elsewhere, such as {path}: {reason}")
    return DataError("; ".join([problem, "lower data.least_joints", *content.notes]))


def _has_joints(one: Annotation, least_joints: int) -> bool:
    """Whether this is one person with enough joints, by `num_keypoints` and by the labelled joints themselves."""
    return not one["iscrowd"] and min(one["num_keypoints"], sum(map(bool, one["keypoints"][2::3]))) >= least_joints


def _note_counts(people: Sequence[Annotation]) -> list[str]:
    """Returns a sentence on people of whom fewer joints are said to be labelled than are."""
    flagged = [sum(map(bool, one["keypoints"][2::3])) for one in people]
    fewer = [one["num_keypoints"] < count and not one["iscrowd"] for one, count in zip(people, flagged, strict=True)]
    odd = np.array(fewer, bool)
    if not odd.any():
        return []
    row = int(odd.argmax())
    doubt = f"{odd.sum()} of {len(people)} people have fewer num_keypoints than labelled joints"
    doubt += f", such as {people[row]['num_keypoints']} and {flagged[row]} of annotation {people[row]['id']}"
    return [f"{doubt}: the smaller number counts"]


def _find_misplacement(one: Annotation, size_hw: tuple[int, int]) -> str | None:
    """Returns why the person does not lie on the image; None if it does."""
    width, height = one["bbox"][2:]
    if not (width and height):
        return f"box of {width:g}x{height:g} pixels"
    joints = joints_of(one)
    return misplaced(joints[joints[:, 2] > 0, :2], box_of(one), size_hw)


def _info(person: Annotation) -> DataInfo:
    names = tuple(person["keypoints"])
    limbs = tuple((int(first) - 1, int(second) - 1) for first, second in person["skeleton"])  # counted from 1
    return DataInfo(keypoints=names, flip_pairs=flip_pairs(names), limbs=limbs)
