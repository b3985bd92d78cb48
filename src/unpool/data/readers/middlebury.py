"""Middlebury's stereo sets of 2014: a folder a scene, with im0, im1 and disparities as PFM.

vision.middlebury.edu/stereo/data/scenes2014 has DIR/Adirondack-perfect/{im0.png, im1.png, disp0.pfm, disp1.pfm}, the
benchmark's version 3 DIR/trainingH/Adirondack/{im0.png, im1.png, disp0GT.pfm, mask0nocc.png}; either way `root` is the
folder of the scenes.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from unpool.data.dense_files import pfm_header, read_pfm
from unpool.data.image_file import Unusable, printable, probe, recognised
from unpool.data.listing import subfolders
from unpool.data.pair_scenes import PAIR
from unpool.data.readers.image_twos import ImageTwos, Two, drawn_twos
from unpool.data.readers.splits import WHOLE, Drawn, Split, Together
from unpool.data.root import require_root
from unpool.data.stored import read_values
from unpool.limits import Seed, ValShare
from unpool.ops.stereo import is_consistent
from unpool.types import Decoding, Sample

_IMAGES = ("im0.png", "im1.png")
_LEFT, _RIGHT, _MASK = ("disp0.pfm", "disp0GT.pfm"), ("disp1.pfm", "disp1GT.pfm"), "mask0nocc.png"
_RECTIFIED = ("-perfect", "-imperfect")  # two ways in which the set of 2014 has one scene
_SEEN = 255  # in the mask; 128 is hidden, 0 not known


class Middlebury(ImageTwos):
    """Stereo pairs with disparities of the left image, and of the right one where every scene has them.

    What is hidden comes from mask0nocc.png where every scene has it, else from the disparities of both images, which
    must point at one another; where neither is there, it is not given, and no figure is of visible pixels alone.

    A scene that is there both as SCENE-perfect and as SCENE-imperfect stays in one part.

    Args:
        val_share: part of the scenes drawn for validation; with 1 all are val, and all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    whole_options = WHOLE

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        decoding: Decoding = PAIR,
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        scenes = [scene for scene in subfolders(require_root(root)) if _named(root / scene, (*_IMAGES, *_LEFT))]
        left = {scene: _named(root / scene, _LEFT) or _LEFT[0] for scene in scenes}
        right = {scene: name for scene in scenes if (name := _named(root / scene, _RIGHT))}
        self._has_right = len(right) == len(scenes)
        self._has_mask = all((root / scene / _MASK).is_file() for scene in scenes)
        twos = [self._two(scene, left[scene], right.get(scene, "")) for scene in scenes]
        drawn = Drawn.of(val_share, seed, (*together, *_rectified_twice(scenes)))
        pairs = drawn_twos(root, twos, split, drawn, layout="SCENE/im0.png")
        super().__init__(root, pairs.of_split, decoding=decoding, what="Middlebury's")
        knows_hidden = self._has_mask or self._has_right
        others = ("other_disparity", "other_hidden") if self._has_right else ()
        self.gives: tuple[str, ...] = ("image", "disparity", *(("hidden",) if knows_hidden else ()), *others)
        self.target_bytes = 4 + knows_hidden + 5 * self._has_right
        self.faults, self.origin = pairs.faults, pairs.origin
        if not knows_hidden:
            self.notes.append(
                "not every scene has mask0nocc.png or disp1.pfm, so that what is hidden is not known: no figure is of "
                "visible pixels alone"
            )

    def _two(self, scene: str, left: str, right: str) -> Two:
        names = [left, *([right] if self._has_right else []), *([_MASK] if self._has_mask else [])]
        first, second = (f"{scene}/{name}" for name in _IMAGES)
        return Two(first, second, tuple(f"{scene}/{name}" for name in names))

    def targets(self, index: int) -> Sample:
        """Returns the targets of a pair: disparities, and what is hidden."""
        disparity, *others = self.files(index)[2:]
        left = read_pfm(disparity)
        right = read_pfm(others[0]) if self._has_right else None
        hidden = _hidden(others[-1]) if self._has_mask else None if right is None else _unconfirmed(left, right)
        sample: Sample = {"disparity": left}
        sample |= {} if hidden is None else {"hidden": hidden}
        if right is not None:
            sample |= {"other_disparity": right, "other_hidden": _unconfirmed(right.flip(-1), left.flip(-1)).flip(-1)}
        return sample

    def _target_size(self, path: Path) -> tuple[int, int]:
        if path.suffix == ".pfm":
            return pfm_header(path).size_hw
        header = probe(path, max_pixels=self.decoding.max_pixels)
        return header.height, header.width


def _named(folder: Path, names: Sequence[str]) -> str | None:
    return next((name for name in names if (folder / name).is_file()), None)


def _rectified_twice(scenes: Sequence[str]) -> list[tuple[str, ...]]:
    """Names of the first images of each scene that is there both as -perfect and as -imperfect."""
    both = [tuple(scene + end for end in _RECTIFIED) for scene in {s.removesuffix(_RECTIFIED[0]) for s in scenes}]
    return sorted(tuple(printable(f"{one}/{_IMAGES[0]}") for one in two) for two in both if set(two) <= set(scenes))


def _unconfirmed(disparity: Tensor, other: Tensor) -> Tensor:
    """(H, W) bool: the other image's map does not point back, so that it shows something else there."""
    return ~is_consistent(disparity[None], other[None])[0]


def _hidden(path: Path) -> Tensor:
    """(H, W) bool of the mask of visible pixels."""
    with recognised(path, printable(path)) as (form, stream):
        values = read_values(form, stream, printable(path), Decoding(channels=1)).bands
    mask = torch.from_numpy(values[..., 0].copy())
    if values.shape[2] != 1 or not torch.isin(mask, torch.tensor([0, 128, _SEEN], dtype=mask.dtype)).all():
        raise Unusable(printable(path), "holds other values than 0, 128 and 255: expected Middlebury's mask")
    return mask != _SEEN
