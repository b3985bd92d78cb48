"""Whole images of COCO with all their people: annotations/person_keypoints_<split>2017.json beside the images.

A joint is known if it is labelled, hidden or not. Crowds and people with fewer than `least_joints` joints count as
unlabelled: the mask is IGNORE on them, so that the loss does not teach a network that nobody is there (W(p) = 0 in the
paper). So do people whose box is empty or lies beside the image; `faults` lists them. The mask covers the box of an
unlabelled person that has no `segmentation`. Pixels of a labelled person are never IGNORE, even where the region of an
unlabelled one covers them; the authors' code exempts them from crowds only. A labelled person without `segmentation`
exempts none. Images without a labelled person are left out unless `empty` is set. There is no labelled test split, so
test is val.

Source: Cao et al. 2017, arXiv:1611.08050, sections 2.1 and 3.2; cocodataset.org, "Data format".
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unpool.data.decode import decode_image, deep_files, notes, readable
from unpool.data.image_file import Unusable, oriented, printable
from unpool.data.measure import Measure, require_annotated_size
from unpool.data.readers import coco
from unpool.data.readers.coco_beside import find_beside, note_beside
from unpool.data.readers.coco_regions import Region, draw_region, region_of, region_or_box
from unpool.data.readers.splits import Split, origin_of, with_exif
from unpool.limits import LeastJoints
from unpool.ops.sides import flip_pairs
from unpool.ops.skeleton import COCO_NECK_LIMBS, joints_named
from unpool.types import IGNORE, RGB, DataInfo, Decoding, Exif, Fault, Sample

SHOULDERS = ("left_shoulder", "right_shoulder")


class _Scene(NamedTuple):
    image: str
    size_hw: tuple[int, int]
    people: NDArray[np.float32]  # (N, K, 2), NaN where a joint is not known
    boxes: NDArray[np.float32]  # (N, 4) xyxy
    areas: NDArray[np.float32]  # (N,) pixels
    ignored: NDArray[np.float32]  # (M, 6) xyxy, area, 1 for a crowd, else 0
    labelled: tuple[Region, ...]  # empty if all people are labelled
    unlabelled: tuple[Region, ...]


class CocoScenes:
    """Everyday photographs of people, 17 joints each.

    Args:
        least_joints: people with fewer labelled joints count as unlabelled.
        neck: whether to add an 18th joint, midway between the shoulders if both are labelled, and to take the authors'
            19 limbs instead of COCO's.
        empty: whether to give images without a labelled person too, on which COCO's score counts whoever is predicted.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        least_joints: LeastJoints = 1,
        neck: bool = False,
        empty: bool = False,
        decoding: Decoding = RGB,
        exif: Exif = "ignore",
    ) -> None:
        self.decoding = with_exif(decoding, exif)
        content = coco.read_annotations(root, split, least_joints=least_joints)
        with coco.reading(content.path):
            self.info = _with_neck(content.info) if neck else content.info
            self._scenes = _scenes(content, neck=neck, empty=empty)
            beside = note_beside(content.people, find_beside(content.people))
        if not any(len(scene.people) for scene in self._scenes):
            raise coco.missing_people(content, least_joints)
        self.root, self.set_files = root, (content.path,)
        self.gives: tuple[str, ...] = ("image", "people", "boxes", "areas", "ignored", "mask")
        self.names: Sequence[str] = [scene.image for scene in self._scenes]
        self.faults: list[Fault] = content.faults
        self.notes: list[str] = [*content.notes, *beside]
        ignored = len(content.images) - len(self._scenes)
        self.origin = origin_of(root, split, ignored=ignored)

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Sample:
        image = decode_image(self.root / self._scenes[index].image, self.decoding)
        return {"image": image, **self.targets(index)}

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the image of one sample."""
        return (self.root / self._scenes[index].image,)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        scene = self._scenes[index]
        values = {key: getattr(scene, key) for key in ("people", "boxes", "areas", "ignored")}
        return {key: torch.from_numpy(value.copy()) for key, value in values.items()} | {"mask": self._mask(scene)}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        scene = self._scenes[index]
        path = self.root / scene.image
        header = readable(path, self.decoding)
        size = oriented(header, self.decoding.exif)
        require_annotated_size(path, header, self.decoding.exif, scene.size_hw)
        sentences = notes(scene.image, header, self.decoding)
        values = self.decoding.channels * size[0] * size[1] + size[0] * size[1]
        listed = sum(value.nbytes for value in (scene.people, scene.boxes, scene.areas, scene.ignored))
        return Measure(size, values + listed, sentences, deep_files(self.decoding, (path, header)))

    def _mask(self, scene: _Scene) -> Tensor:
        """Returns (H, W) uint8: IGNORE on unlabelled people, else 0."""
        hidden = np.zeros(scene.size_hw, bool)
        try:
            for region in scene.unlabelled:
                hidden |= draw_region(region, scene.size_hw)
            for region in scene.labelled:
                hidden &= ~draw_region(region, scene.size_hw)
        except ValueError as error:
            raise Unusable(printable(scene.image), f"{error}: correct the annotations") from error
        return torch.from_numpy(np.where(hidden, IGNORE, 0).astype(np.uint8))


def _scenes(content: coco.Annotations, *, neck: bool, empty: bool) -> list[_Scene]:
    """Returns the images that have a labelled person, or all of them if `empty`, ordered by image id."""
    names, scenes = content.info.keypoints, []
    groups = {number: list(group) for number, group in groupby(content.people, key=lambda one: one["image_id"])}
    for number, image in sorted(content.images.items()):
        everyone = groups.get(number, [])
        kept = [one for one in everyone if one["id"] in content.labelled]
        others = [one for one in everyone if one["id"] not in content.labelled]
        if kept or empty:
            people = [_joints(coco.joints_of(one), names, neck=neck) for one in kept]
            rows = [(*coco.box_of(one), one["area"], one["iscrowd"]) for one in others]
            scene = _Scene(
                *image,
                people=np.array(people, np.float32).reshape(len(kept), len(names) + neck, 2),
                boxes=np.array([coco.box_of(one) for one in kept], np.float32).reshape(-1, 4),
                areas=np.array([one["area"] for one in kept], np.float32),
                ignored=np.array(rows, np.float32).reshape(-1, 6),
                labelled=tuple(region_of(one) for one in kept) if others else (),
                unlabelled=tuple(region_or_box(one) for one in others),
            )
            scenes.append(scene)
    return scenes


def _joints(stored: NDArray[np.float32], names: Sequence[str], *, neck: bool) -> NDArray[np.float32]:
    """Returns (K, 2), NaN for an unlabelled joint; the neck is last, NaN unless both shoulders are labelled."""
    joints = np.where(stored[:, 2:] > 0, stored[:, :2], np.nan).astype(np.float32)
    if not neck:
        return joints
    first, second = (names.index(name) for name in SHOULDERS)
    middle = (joints[None, first] + joints[None, second]) / 2
    return np.concatenate([joints, middle]).astype(np.float32)


def _with_neck(info: DataInfo) -> DataInfo:
    names = (*info.keypoints, "neck")
    limbs = [joints_named(names, limb) for limb in COCO_NECK_LIMBS]
    if None in limbs:
        raise ValueError(f"a body with a neck needs COCO's joints; the file has {', '.join(info.keypoints)}")
    return DataInfo(keypoints=names, flip_pairs=flip_pairs(names), limbs=tuple(limb for limb in limbs if limb))
