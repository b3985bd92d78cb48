"""Stick figures drawn by rule, for tests and for a first run without a download.

Each figure faces the viewer, so its left side is on the right of the image; only the posture tells left from right, not
the colour: each limb has a random colour, drawn like those of the background. Objects are drawn in front of people. A
joint is visible if the pixel at its position belongs to its person.
"""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Interval
from numpy.random import Generator
from numpy.typing import NDArray

from unpool.data.generated import Generated
from unpool.data.measure import Measure
from unpool.errors import DataError
from unpool.limits import MANY, Seed
from unpool.ops.sides import flip_pairs
from unpool.ops.skeleton import LSP, LSP_LIMBS, TRUNK_LIMBS
from unpool.types import DataInfo, Sample

Points = NDArray[np.float64]
SIDE, PEOPLE, OCCLUSION = Interval(ge=32, le=4096), Interval(ge=1, le=100), Interval(ge=0, le=100)

_SPLITS = {"train": (3, 2000), "val": (4, 200), "test": (5, 200)}  # stream of random numbers, default size
_DRAWN = (  # limbs from back to front, with their width in units of the torso's length
    *((("left_hip", "left_knee"), 0.2), (("left_knee", "left_ankle"), 0.15)),
    *((("right_hip", "right_knee"), 0.2), (("right_knee", "right_ankle"), 0.15)),
    *((("left_shoulder", "right_hip"), 0.3), (("right_shoulder", "left_hip"), 0.3), (("left_hip", "right_hip"), 0.2)),
    *((("left_shoulder", "right_shoulder"), 0.2), (("neck", "head_top"), 0.36)),
    *((("left_shoulder", "left_elbow"), 0.14), (("left_elbow", "left_wrist"), 0.11)),
    *((("right_shoulder", "right_elbow"), 0.14), (("right_elbow", "right_wrist"), 0.11)),
)
_INDEX = {name: i for i, name in enumerate(LSP)}


class _Scene(NamedTuple):
    image: NDArray[np.uint8]  # (side, side, 3)
    owner: NDArray[np.int64]  # (side, side): 1 + index of the person in front, 0 background, -1 an object in front
    people: Points  # (people, 14, 2), from back to front


class Figures(Generated):
    """Generated people with known joints; sample i is a function of (seed, split, people, i) and the options below.

    Args:
        root: not used; every reader has it.
        split: "train", "val" or "test", which share no image.
        seed: of the images.
        count: number of images, at most 1,000,000, by default 2000 for training, else 200.
        side: height and width in pixels, 32 to 4096.
        people: number in each image, at most 100. One person gives the keys `keypoints`, `visible` and `area`; several
            give `people` (NaN for a joint that is not visible), `boxes` and `areas` of their visible pixels. With
            several, limbs include the sides of the trunk, without which a hidden neck would split a person into parts.
        occlusion: largest number of objects in front of the people, at most 100; the number is drawn from 0 to this.
    """

    def __init__(
        self,
        root: Path | None = None,
        split: Literal["train", "val", "test"] = "train",
        *,
        seed: Seed = 0,
        count: Annotated[int, MANY] | None = None,
        side: Annotated[int, SIDE] = 96,
        people: Annotated[int, PEOPLE] = 1,
        occlusion: Annotated[int, OCCLUSION] = 2,
    ) -> None:
        super().__init__("figures", split, _SPLITS, seed=seed, count=count, side=side)
        if people < 1 or occlusion < 0:
            raise DataError(f"figures of people {people} and occlusion {occlusion}; expected at least 1 and 0")
        self.gives: tuple[str, ...] = (
            ("image", "keypoints", "visible", "area") if people == 1 else ("image", "people", "boxes", "areas")
        )
        limbs = LSP_LIMBS if people == 1 else LSP_LIMBS + TRUNK_LIMBS
        self.info = DataInfo(keypoints=LSP, flip_pairs=flip_pairs(LSP), limbs=limbs)
        self._people, self._occlusion = people, occlusion
        self._stream += 16 * people

    def __getitem__(self, index: int) -> Sample:
        scene = _draw(self._random_of(index), self._side, people=self._people, occlusion=self._occlusion)
        image = torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1)))
        shows = np.stack([_shows(scene, number) for number in range(self._people)])  # (people, 14)
        if self._people > 1:
            return {"image": image, **_of_many(scene, shows)}
        return {
            "image": image,
            "keypoints": torch.from_numpy(scene.people[0].astype(np.float32)),
            "visible": torch.from_numpy(shows[0]),
            "area": torch.tensor(float((scene.owner == 1).sum())),
        }

    def measure(self, index: int) -> Measure:
        """Returns the size of an image, the same for all."""
        return Measure((self._side, self._side), 3 * self._side * self._side + 200 * self._people)


def _of_many(scene: _Scene, shows: NDArray[np.bool_]) -> Sample:
    """Returns `people`, `boxes` and `areas` of the people who have a visible joint."""
    people, boxes, areas = [], [], []
    for number, (joints, shown) in enumerate(zip(scene.people, shows, strict=True)):
        rows, columns = np.nonzero(scene.owner == number + 1)
        if shown.any():
            people.append(np.where(shown[:, None], joints, np.nan))
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            areas.append(len(rows))
    return {
        "people": torch.tensor(np.array(people, np.float32).reshape(-1, len(LSP), 2)),
        "boxes": torch.tensor(np.array(boxes, np.float32).reshape(-1, 4)),
        "areas": torch.tensor(np.array(areas, np.float32)),
    }


def _shows(scene: _Scene, number: int) -> NDArray[np.bool_]:
    """Returns (14,): whether the pixel at each joint belongs to the person `number`."""
    side = len(scene.owner)
    pixels = np.rint(scene.people[number]).astype(int)
    inside = ((pixels >= 0) & (pixels < side)).all(1)
    x, y = pixels.clip(0, side - 1).T
    return inside & (scene.owner[y, x] == number + 1)


def _draw(rng: Generator, side: int, *, people: int, occlusion: int) -> _Scene:
    image = _background(rng, side)
    owner = np.zeros((side, side), np.int64)
    drawn = []
    for number in range(1, people + 1):
        joints, torso = _pose(rng, side, people=people)
        colour = rng.uniform(20, 235, 3)
        for (first, second), width in _DRAWN:
            inside = _capsule(joints[_INDEX[first]], joints[_INDEX[second]], width * torso / 2, side)
            image[inside] = (colour + rng.uniform(-50, 50, 3)).clip(0, 255)
            owner[inside] = number
        drawn.append(joints)
    for _ in range(int(rng.integers(occlusion + 1))):
        ends = rng.uniform(0.15, 0.85, (2, 2)) * side
        inside = _capsule(ends[0], ends[0] + 0.4 * (ends[1] - ends[0]), rng.uniform(0.04, 0.09) * side, side)
        image[inside], owner[inside] = rng.uniform(20, 235, 3), -1
    image += 6 * rng.standard_normal(image.shape)
    return _Scene(image.round().clip(0, 255).astype(np.uint8), owner, np.stack(drawn))


def _pose(rng: Generator, side: int, *, people: int) -> tuple[Points, float]:
    """Returns (14, 2) joints of a person and the torso's length; several people are smaller and further apart."""
    torso = rng.uniform(0.2, 0.26) * side * (1 if people == 1 else 0.75)
    joints = np.zeros((len(LSP), 2))
    joints[_INDEX["neck"]] = (0, -1)
    joints[_INDEX["head_top"]] = _step(joints[_INDEX["neck"]], rng.uniform(-0.3, 0.3) + np.pi, 0.6)
    for name, way in (("right", -1), ("left", 1)):
        joints[_INDEX[f"{name}_shoulder"]] = (0.38 * way, -0.95)
        joints[_INDEX[f"{name}_hip"]] = (0.25 * way, 0)
        raised, bent = rng.uniform(0.1, 2.4), rng.uniform(-0.5, 1.4)  # from hanging to above the head
        _chain(joints, (f"{name}_shoulder", f"{name}_elbow", f"{name}_wrist"), way * raised, way * bent)
        apart = rng.uniform(-0.05, 0.9)
        _chain(joints, (f"{name}_hip", f"{name}_knee", f"{name}_ankle"), way * apart, -way * rng.uniform(0, 0.9))
    turn = rng.uniform(-0.5, 0.5)
    cos, sin = np.cos(turn), np.sin(turn)
    joints = joints @ np.array([[cos, sin], [-sin, cos]]) * torso
    middle = (joints.min(0) + joints.max(0)) / 2
    spread = 0.06 if people == 1 else 0.26
    return joints - middle + (0.5 + rng.uniform(-spread, spread, 2)) * side, torso


def _chain(joints: Points, names: tuple[str, str, str], angle: float, bend: float) -> None:
    """Sets the next two joints of an arm or leg: one limb at `angle` from straight down, the next turned by `bend`."""
    start, middle, end = (_INDEX[name] for name in names)
    is_arm = names[0].endswith("shoulder")
    joints[middle] = _step(joints[start], angle, 0.6 if is_arm else 0.8)
    joints[end] = _step(joints[middle], angle + bend, 0.55 if is_arm else 0.75)


def _step(start: Points, angle: float, length: float) -> Points:
    return start + length * np.array([np.sin(angle), np.cos(angle)])


def _capsule(first: Points, second: Points, radius: float, side: int) -> NDArray[np.bool_]:
    """Returns (side, side): whether a pixel is at most `radius` from the line segment between two points."""
    y, x = np.ogrid[:side, :side]
    along = second - first
    length = max(float(along @ along), 1e-9)
    share = (((x - first[0]) * along[0] + (y - first[1]) * along[1]) / length).clip(0, 1)
    return (x - first[0] - share * along[0]) ** 2 + (y - first[1] - share * along[1]) ** 2 <= radius**2


def _background(rng: Generator, side: int) -> NDArray[np.float64]:
    """Returns (side, side, 3): coarse and fine noise as a mixture of two random colours."""
    share = 0.6 * _noise(rng, side, 4) + 0.4 * _noise(rng, side, side // 6)
    first, second = rng.uniform(20, 235, (2, 3))
    return first + share[..., None] * (second - first)


def _noise(rng: Generator, side: int, cells: int) -> NDArray[np.float64]:
    """Returns (side, side): random values on a grid of `cells`, interpolated bilinearly."""
    values = rng.random((cells + 1, cells + 1))
    position = np.linspace(0, cells, side, endpoint=False)
    low = position.astype(int)
    share = position - low
    rows = values[low] * (1 - share)[:, None] + values[low + 1] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, low + 1] * share
