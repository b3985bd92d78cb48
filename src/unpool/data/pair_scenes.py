"""Generated pairs of images with the true answer at every pixel: stereo pairs, and two frames of a moving scene.

Textured planes at different depths hide one another; some hardly differ in grey from what lies around them, many are
thin, and the two images have noise of their own and another exposure. Sample i is a function of (seed, split, i).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Interval
from numpy.random import Generator
from torch import Tensor

from unpool.data.generated import Generated
from unpool.data.measure import Measure
from unpool.data.pair_channels import channels_of_one
from unpool.data.planes import SHAPES, Plane, Texture, View, draw_texture, see
from unpool.data.synthetic import SIDE
from unpool.limits import MANY, Seed
from unpool.types import DataInfo, Decoding, Sample

SPLITS = {"train": (0, 2000), "val": (1, 100), "test": (2, 100)}  # stream of random numbers, default size
PAIR = Decoding(channels=6)
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as Pillow weighs them
MOTION = Interval(ge=2, le=256)  # pixels


class _Object(NamedTuple):
    shape: str
    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float
    texture: Texture


class _PairScenes(Generated):
    """What both kinds share: how many, how large, and how two views become a sample's image."""

    def __init__(
        self, what: str, split: str, *, decoding: Decoding, seed: int, count: int | None, side: int, most: float
    ) -> None:
        super().__init__(what, split, SPLITS, seed=seed, count=count, side=side)
        self._channels = channels_of_one(decoding, what)
        self._most = most
        self.info = DataInfo()

    def measure(self, index: int) -> Measure:
        """Returns the size of an image, the same for all."""
        del index
        pixels = self._side * self._side
        return Measure((self._side, self._side), pixels * (2 * self._channels + self._target_bytes))

    _target_bytes = 0  # of a pixel

    def _views(self, index: int, draw: Callable[[Generator, int, float], list[Plane]]) -> tuple[Tensor, View, View]:
        """(2C, H, W) uint8 of both images, and what each shows."""
        rng = self._random_of(index)
        planes = draw(rng, self._side, self._most)
        views = [see(planes, (self._side, self._side), second=second) for second in (False, True)]
        level = np.float32(np.exp(rng.uniform(np.log(1.5), np.log(6))))
        images = [_photographed(rng, view, level) for view in views]
        if self._channels == 1:
            images = [(image @ GREY)[..., None] for image in images]
        stacked = np.concatenate(images, axis=2).round().clip(0, 255).astype(np.uint8)
        return torch.from_numpy(np.ascontiguousarray(stacked.transpose(2, 0, 1))), views[0], views[1]


def _photographed(rng: Generator, view: View, level: np.float32) -> np.ndarray:
    gain, offset = np.float32(rng.uniform(0.85, 1.15)), np.float32(rng.uniform(-12, 12))
    noise = level * rng.standard_normal(view.colours.shape, dtype=np.float32)
    return gain * (view.colours - 128) + 128 + offset + noise


class StereoScenes(_PairScenes):
    """Rectified stereo pairs of slanted textured planes.

    `disparity` says by how many pixels a point of the left image lies further left in the right one; `hidden` what the
    right image does not show. `other_disparity` and `other_hidden` are the same of the right image, which a mirror
    makes the left one.

    Args:
        root: not used; every reader has it.
        split: "train", "val" or "test", which share no image.
        decoding: channels of a sample's image: 6 for colour, 2 for grey, half of them of the left image.
        seed: of the images.
        count: number of pairs, at most 1,000,000, by default 2000 for training, else 100.
        side: height and width in pixels, 32 to 4096.
        most: largest disparity, in pixels, 2 to 256.
    """

    gives: tuple[str, ...] = ("image", "disparity", "hidden", "other_disparity", "other_hidden")
    _target_bytes = 10

    def __init__(
        self,
        root: Path | None = None,
        split: Literal["train", "val", "test"] = "train",
        *,
        decoding: Decoding = PAIR,
        seed: Seed = 0,
        count: Annotated[int, MANY] | None = None,
        side: Annotated[int, SIDE] = 128,
        most: Annotated[float, MOTION] = 24.0,
    ) -> None:
        del root
        super().__init__("stereo scenes", split, decoding=decoding, seed=seed, count=count, side=side, most=most)

    def __getitem__(self, index: int) -> Sample:
        image, left, right = self._views(index, draw_stereo)
        return {
            "image": image,
            "disparity": torch.from_numpy(np.ascontiguousarray(-left.motion[..., 0])),
            "hidden": torch.from_numpy(left.hidden),
            "other_disparity": torch.from_numpy(np.ascontiguousarray(right.motion[..., 0])),
            "other_hidden": torch.from_numpy(right.hidden),
        }


class FlowScenes(_PairScenes):
    """Two frames of a scene of textured planes, each of which moves, turns and grows by itself.

    `flow` says where a point of the first frame lies in the second one: x to the right, y down, in pixels; `hidden`
    what the second frame does not show.

    Args:
        root: not used; every reader has it.
        split: "train", "val" or "test", which share no image.
        decoding: channels of a sample's image: 6 for colour, 2 for grey, half of them of the first frame.
        seed: of the images.
        count: number of pairs, at most 1,000,000, by default 2000 for training, else 100.
        side: height and width in pixels, 32 to 4096.
        most: largest motion along an axis of a plane's centre, in pixels, 2 to 256.
    """

    gives: tuple[str, ...] = ("image", "flow", "hidden")
    _target_bytes = 9

    def __init__(
        self,
        root: Path | None = None,
        split: Literal["train", "val", "test"] = "train",
        *,
        decoding: Decoding = PAIR,
        seed: Seed = 0,
        count: Annotated[int, MANY] | None = None,
        side: Annotated[int, SIDE] = 128,
        most: Annotated[float, MOTION] = 16.0,
    ) -> None:
        del root
        super().__init__("flow scenes", split, decoding=decoding, seed=seed, count=count, side=side, most=most)

    def __getitem__(self, index: int) -> Sample:
        image, first, _ = self._views(index, draw_flow)
        flow = torch.from_numpy(np.ascontiguousarray(first.motion.transpose(2, 0, 1)))
        return {"image": image, "flow": flow, "hidden": torch.from_numpy(first.hidden)}


def draw_stereo(rng: Generator, side: int, most: float) -> list[Plane]:
    """Planes of a stereo pair: the nearness is the disparity, from 0 to `most` pixels."""
    planes = []
    for number, thing in enumerate(_things(rng, side)):
        middle = rng.uniform(0.1, 0.4) * most if number == 0 else rng.uniform(0.15, 0.95) * most
        reach = side / 2 if number == 0 else max(thing.radii)
        room = min(middle, most - middle) / (2 * reach)  # keeps disparities of its extent in 0..most
        along_x, along_y = rng.uniform(-1, 1, 2) * min(room, 0.15)
        constant = middle - along_x * thing.centre[0] - along_y * thing.centre[1]
        there = np.array([[1 - along_x, -along_y, -constant], [0, 1, 0]], np.float32)
        planes.append(Plane(*thing, there, (float(constant), float(along_x), float(along_y))))
    return planes


def draw_flow(rng: Generator, side: int, most: float) -> list[Plane]:
    """Planes of two frames: a later one hides those before it."""
    planes = []
    for number, thing in enumerate(_things(rng, side)):
        reach = most / 2 if number == 0 else most
        shift = rng.uniform(-1, 1, 2) * reach * rng.uniform(0.2, 1)
        angle, factor = rng.normal(0, 0.06), np.exp(rng.normal(0, 0.05))
        turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.array(thing.centre)
        there = np.column_stack([turn, centre + shift - turn @ centre]).astype(np.float32)
        planes.append(Plane(*thing, there, (float(number), 0.0, 0.0)))
    return planes


def _things(rng: Generator, side: int) -> list[_Object]:
    """A background, and six to twelve shapes before it, of which many are thin."""
    middle = (side / 2, side / 2)
    things = [_Object("all", middle, (1.0, 1.0), 0.0, draw_texture(rng))]
    for _ in range(int(rng.integers(6, 13))):
        x, y = rng.uniform(0, side, 2)
        large = rng.uniform(0.08, 0.3) * side
        small = max(2.5, large * rng.uniform(0.1, 1))
        shape = SHAPES[int(rng.integers(len(SHAPES)))]
        angle = float(rng.uniform(0, 2 * np.pi))
        things.append(_Object(shape, (float(x), float(y)), (float(large), float(small)), angle, draw_texture(rng)))
    return things
