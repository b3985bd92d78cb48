"""Generated scenes of textured shapes, for tests and for a first run without a download.

Each class has its shape and its texture, but no colour: every texture, the background's too, mixes two colours drawn
from the same distribution. So a network can only learn the classes from structure; the score of `colour_bin_baseline`
shows how little colour alone gives.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Interval
from numpy.random import Generator
from numpy.typing import NDArray

from unpool.data.classes import match
from unpool.data.generated import Generated
from unpool.data.measure import Measure
from unpool.limits import MANY, Seed
from unpool.types import DataInfo, Sample

Plane = NDArray[np.floating]
SIDE = Interval(ge=32, le=4096)

SPLITS = {"train": (0, 1500), "val": (1, 200), "test": (2, 200)}  # stream of random numbers, default size
PALETTE = ((70, 70, 70), (230, 75, 60), (60, 150, 230), (245, 190, 50), (60, 180, 110))
LEAST_VISIBLE = 40  # pixels; an object with fewer visible pixels has no box


class Kind(NamedTuple):
    """A class of objects: `shape` tests positions relative to the object, which spans about -1 to 1.

    `texture` chooses between the two colours; it takes positions in pixels along the object's axes.
    """

    name: str
    shape: Callable[[Plane, Plane], NDArray[np.bool_]]
    texture: Callable[[Plane, Plane], NDArray[np.bool_]]


def _disc(x: Plane, y: Plane) -> NDArray[np.bool_]:
    return x * x + y * y < 1


def _square(x: Plane, y: Plane) -> NDArray[np.bool_]:
    return np.maximum(abs(x), abs(y)) < 0.85


def _triangle(x: Plane, y: Plane) -> NDArray[np.bool_]:
    return (y < 0.6) & (abs(x) * 1.7 < y + 1.1)


def _cross(x: Plane, y: Plane) -> NDArray[np.bool_]:
    return (np.minimum(abs(x), abs(y)) < 0.38) & (np.maximum(abs(x), abs(y)) < 1.05)


def _stripes(u: Plane, v: Plane) -> NDArray[np.bool_]:
    return u % 6 < 3


def _checks(u: Plane, v: Plane) -> NDArray[np.bool_]:
    return (u % 10 < 5) ^ (v % 10 < 5)


def _dots(u: Plane, v: Plane) -> NDArray[np.bool_]:
    return (u % 6 - 3) ** 2 + (v % 6 - 3) ** 2 < 3.6


def _grid(u: Plane, v: Plane) -> NDArray[np.bool_]:
    return np.minimum(u % 7, v % 7) < 1.6


KINDS = (
    Kind("disc", _disc, _stripes),
    Kind("square", _square, _checks),
    Kind("triangle", _triangle, _dots),
    Kind("cross", _cross, _grid),
)


class Scenes(Generated):
    """Textured objects that occlude each other on a textured background; sample i is a function of (seed, split, i).

    `keypoints` are the centres of the frontmost visible object of each class; `visible` says whether there is one.

    Args:
        root: not used; every reader has it.
        split: "train", "val" or "test", which share no image.
        seed: of the images.
        count: number of images, at most 1,000,000, by default 1500 for training, else 200.
        side: height and width in pixels, 32 to 4096.
        classes: class names by index, to change their order.
    """

    gives: tuple[str, ...] = ("image", "mask", "boxes", "labels", "keypoints", "visible")

    def __init__(
        self,
        root: Path | None = None,
        split: Literal["train", "val", "test"] = "train",
        *,
        seed: Seed = 0,
        count: Annotated[int, MANY] | None = None,
        side: Annotated[int, SIDE] = 96,
        classes: Sequence[str] | None = None,
    ) -> None:
        defaults = ("background", *(kind.name for kind in KINDS))
        super().__init__("scenes", split, SPLITS, seed=seed, count=count, side=side)
        named = tuple(classes) if classes is not None else defaults
        self._index = np.array(match(defaults, named, "scenes"))
        palette = dict(zip(self._index.tolist(), PALETTE, strict=True))
        self.info = DataInfo(
            classes=named,
            palette=tuple(palette.get(i, (0, 0, 0)) for i in range(len(named))),
            keypoints=tuple(kind.name for kind in KINDS),
        )

    def __getitem__(self, index: int) -> Sample:
        return self._sample(*draw_scene(self._random_of(index), self._side))

    def measure(self, index: int) -> Measure:
        """Returns the size of an image, the same for all."""
        return Measure((self._side, self._side), 4 * self._side * self._side)

    def _sample(
        self, image: NDArray[np.uint8], owner: NDArray[np.int64], objects: list[tuple[int, float, float]]
    ) -> Sample:
        """Returns image and targets; `owner` is the number of the object at each pixel, 0 for the background."""
        kinds = np.array([0, *(1 + kind for kind, _, _ in objects)])
        boxes, labels = [], []
        keypoints, visible = np.zeros((len(KINDS), 2), np.float32), np.zeros(len(KINDS), bool)
        for number, (kind, x, y) in enumerate(objects, start=1):
            rows, columns = np.nonzero(owner == number)
            shows = len(rows) >= LEAST_VISIBLE
            if shows:
                boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                labels.append(1 + kind)
                keypoints[kind], visible[kind] = (x, y), True
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "mask": torch.from_numpy(self._index[kinds].astype(np.uint8)[owner]),
            "boxes": torch.tensor(np.array(boxes, np.float32).reshape(-1, 4)),
            "labels": torch.from_numpy(self._index[np.array(labels, dtype=np.int64)]),
            "keypoints": torch.from_numpy(keypoints),
            "visible": torch.from_numpy(visible),
        }


def draw_scene(
    rng: Generator, side: int, kinds: Sequence[int] = range(len(KINDS))
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[tuple[int, float, float]]]:
    """Returns a (side, side, 3) image, the (side, side) number of the object in front, and (kind, x, y) of each.

    Args:
        rng: source of the random numbers.
        side: height and width in pixels.
        kinds: of `KINDS`, that are drawn.
    """
    image = _paint(rng, _background(rng, side))
    owner = np.zeros((side, side), np.int64)
    objects = []
    for number in range(1, int(rng.integers(3, 7)) + 1):
        kind = kinds[int(rng.integers(len(kinds)))]
        centre_x, centre_y = (rng.uniform(0.1, 0.9, 2) * side).tolist()
        radius, angle = rng.uniform(0.12, 0.24) * side, rng.uniform(0, 2 * np.pi)
        phase_u, phase_v = rng.uniform(0, 10, 2)
        rows, columns = _around(centre_y, radius, side), _around(centre_x, radius, side)
        y, x = np.ogrid[rows, columns]
        u, v = _turned((x - centre_x).astype(np.float32), (y - centre_y).astype(np.float32), angle)
        inside = KINDS[kind].shape(u / radius, v / radius)
        texture = KINDS[kind].texture(u + phase_u, v + phase_v)
        image[rows, columns][inside] = _paint(rng, texture[inside].astype(np.float32))
        owner[rows, columns][inside] = number
        objects.append((kind, centre_x, centre_y))
    image += 6 * rng.standard_normal(image.shape, dtype=np.float32)
    return image.round().clip(0, 255).astype(np.uint8), owner, objects


def _around(centre: float, radius: float, side: int) -> slice:
    """Returns the range of pixels that an object can cover at any angle."""
    reach = 1.2 * radius
    return slice(max(0, int(centre - reach)), min(side, int(centre + reach) + 1))


def _turned(x: Plane, y: Plane, angle: float) -> tuple[Plane, Plane]:
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _paint(rng: Generator, share: Plane) -> Plane:
    """Returns (..., 3): the share in 0..1 as a mixture of two random colours that differ enough."""
    while True:
        first, second = rng.uniform(20, 235, (2, 3)).astype(np.float32)
        if abs(first - second).sum() > 150:
            return first + share[..., None] * (second - first)


def _background(rng: Generator, side: int) -> Plane:
    """Returns (side, side) in 0..1: coarse and fine noise."""
    coarse, fine = (_noise(rng, side, cells) for cells in (4, side // 6))
    return np.float32(0.65) * coarse + np.float32(0.35) * fine


def _noise(rng: Generator, side: int, cells: int) -> Plane:
    """Returns (side, side): random values on a grid of `cells`, interpolated bilinearly."""
    values = rng.random((cells + 1, cells + 1), dtype=np.float32)
    position = np.linspace(0, cells, side, endpoint=False, dtype=np.float32)
    low = position.astype(int)
    share = position - low
    rows = values[low] * (1 - share)[:, None] + values[low + 1] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, low + 1] * share
