"""Generated scenes of textured shapes whose classes are things: boxes and masks, for detectors.

The images are drawn as those of `synthetic.Scenes`; of fewer classes they are other images.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from unpool.data.classes import match
from unpool.data.generated import Generated
from unpool.data.measure import Measure
from unpool.data.synthetic import KINDS, LEAST_VISIBLE, SIDE, draw_scene
from unpool.errors import DataError
from unpool.limits import MANY, Seed
from unpool.types import DataInfo, Sample

SPLITS = {"train": (0, 6000), "val": (1, 200), "test": (2, 200)}  # stream of random numbers, default size
_CLASSES = tuple(kind.name for kind in KINDS[:3])


class BoxScenes(Generated):
    """Textured objects that occlude each other on a textured background; sample i is a function of (seed, split, i).

    A box is that of the pixels of an object that show; an object of which fewer than 40 show has none.

    Args:
        root: not used; every reader has it.
        split: "train", "val" or "test", which share no image.
        seed: of the images.
        count: number of images, at most 1,000,000, by default 6000 for training, else 200.
        side: height and width in pixels, 32 to 4096.
        masks: whether to give the visible pixels of each object too.
        classes: names of the shapes that are drawn, by index: some of disc, square, triangle and cross.
    """

    def __init__(
        self,
        root: Path | None = None,
        split: Literal["train", "val", "test"] = "train",
        *,
        seed: Seed = 0,
        count: Annotated[int, MANY] | None = None,
        side: Annotated[int, SIDE] = 96,
        masks: bool = False,
        classes: Sequence[str] = _CLASSES,
    ) -> None:
        super().__init__("scenes", split, SPLITS, seed=seed, count=count, side=side)
        kinds = match(classes, [kind.name for kind in KINDS], "scenes")
        self._label_of = {kind: label for label, kind in enumerate(kinds)}
        if not classes or len(self._label_of) < len(classes):
            raise DataError(f"scenes have the classes {', '.join(classes) or '(none)'}; expected each shape once")
        self._kinds = sorted(kinds)  # the order of the classes changes no image
        self.gives: tuple[str, ...] = ("image", "boxes", "labels", "areas", *(("masks",) if masks else ()))
        self.info = DataInfo(classes=tuple(classes))

    def __getitem__(self, index: int) -> Sample:
        image, owner, objects = draw_scene(self._random_of(index), self._side, self._kinds)
        masks = owner == np.arange(1, len(objects) + 1)[:, None, None]  # (N, H, W)
        areas = masks.sum((1, 2))
        shows = areas >= LEAST_VISIBLE
        labels = np.array([self._label_of[kind] for kind, _, _ in objects], np.int64)
        sample = {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "boxes": torch.from_numpy(_boxes_around(masks[shows])),
            "labels": torch.from_numpy(labels[shows]),
            "areas": torch.from_numpy(areas[shows].astype(np.float32)),
            "masks": torch.from_numpy(masks[shows]),
        }
        return {key: sample[key] for key in self.gives}

    def measure(self, index: int) -> Measure:
        """Returns the size of an image, the same for all; bytes as of a scene of four and a half objects, the mean."""
        planes = 3 + 4.5 * ("masks" in self.gives)
        return Measure((self._side, self._side), int(planes * self._side * self._side))


def _boxes_around(masks: np.ndarray) -> np.ndarray:
    """Returns (N, 4) float32: left, top, right and bottom of what each mask shows."""
    edges = []
    for axis in (1, 2):
        shows = np.any(masks, axis=axis)  # (N, W), then (N, H)
        edges.append((shows.argmax(1), shows.shape[1] - shows[:, ::-1].argmax(1)))
    (left, right), (top, bottom) = edges
    return np.stack([left, top, right, bottom], axis=1).astype(np.float32)
