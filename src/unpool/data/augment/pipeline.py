"""From samples to a batch: `Augment` for training, `Collate` for evaluation.

All steps of a list become one map and one colour matrix for each sample, and each is applied once. What a step draws
depends on nothing but (seed, epoch, index of the sample, place in the list), so the number of workers changes nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.data.augment.pair_targets import PAIRS, seen_in_mirror
from unpool.data.augment.step import Bending, Colour, Finishing, Geometry, Joining, Step
from unpool.data.augment.targets import stack_targets, warp_targets
from unpool.data.draws import Draws
from unpool.errors import DataError, RecipeError
from unpool.ops import colour, geometry
from unpool.ops.bending import Bent, Field
from unpool.ops.cutting import Frame, cut
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.resampling import warp
from unpool.types import Batch, DataInfo, Sample

Pair = tuple[int, int]
Maps = Tensor | list[Bent]  # (B, 3, 3), or one of each image
PICTURES = ("image", "clean")  # move and change colour alike


class Plan(NamedTuple):
    """What is drawn for a batch.

    Attributes:
        maps: from the pixels of each window to those of its image.
        windows: their sizes.
        colours: (B, C, C + 1), None where no step changes colours.
    """

    maps: Maps
    windows: list[Pair]
    colours: Tensor | None


class Augment:
    """Training batches: uint8 images with everything that lies on them.

    Where no step chooses the scale (`resized_crop`, `iou_crop`), the image is first resized as in evaluation and the
    steps act on that: objects are as large in training as they will be. Where no step chooses a window (`crop` and
    those two), it is the middle; of images that are brought to `Preprocessing.shorter`, all that the steps made of
    each. These have windows of several sizes, padded at bottom and right with the mean colour to the largest of the
    batch; `valid_xyxy` and `size_hw` say what is no padding.

    Args:
        steps: augmentations in the order in which they act; one that joins images is the first, and those that change
            finished images are the last.
        size_hw: size of the windows; None takes that at which evaluation shows each image, and images that keep their
            size must then agree.
        preprocessing: for its size rule, and for its mean colour, which fills what lies outside of an image.
        info: for the keypoints that trade names in a mirror.
        seed: of the run.

    Raises:
        RecipeError: a step that joins images is not the first, one that changes finished images stands before others,
            or two mix images.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        size_hw: Pair | None,
        preprocessing: Preprocessing,
        info: DataInfo,
        seed: int,
    ) -> None:
        self._joining = [(i, s) for i, s in enumerate(steps) if isinstance(s, Joining)]
        self._geometry = [(i, s) for i, s in enumerate(steps) if isinstance(s, Geometry)]
        self._colour = [(i, s) for i, s in enumerate(steps) if isinstance(s, Colour)]
        self._finishing = [(i, s) for i, s in enumerate(steps) if isinstance(s, Finishing)]
        _require_last(steps)
        if any(i for i, _ in self._joining):
            raise RecipeError(
                "data.augment has mosaic behind another step, or twice; it joins images before all else: put it first"
            )
        self._size_hw = size_hw
        self._preprocessing = preprocessing
        self._info = info
        self._seed = seed

    def __call__(self, samples: list[Sample], epoch: int) -> Batch:
        samples, plan = self.planned(samples, epoch)
        pictures = {
            key: self._warp([sample[key] for sample in samples], plan.maps, plan.windows, colours=plan.colours)
            for key in PICTURES
            if key in samples[0]
        }
        return self.finished(self.moved(samples, plan, pictures), epoch)

    @property
    def fill(self) -> Tensor:
        """(C,) what lies beside an image, 0..255."""
        return self._preprocessing.fill

    def planned(self, samples: list[Sample], epoch: int) -> tuple[list[Sample], Plan]:
        """The samples, some of them made of several, and what is drawn for them."""
        index = torch.stack([sample["index"] for sample in samples])
        samples, is_sized = self._joined(samples, index, epoch)
        maps, windows = self._maps(samples, index, epoch, is_sized=is_sized)
        samples = [seen_in_mirror(sample, matrix) for sample, matrix in zip(samples, maps, strict=True)]
        return samples, Plan(maps, windows, self._colours(samples, index, epoch))

    def moved(self, samples: list[Sample], plan: Plan, pictures: Batch) -> Batch:
        """The pictures, what lies on them as the windows show it, and which part of each is no padding."""
        windows = plan.windows
        lying = [{key: value for key, value in sample.items() if key not in PICTURES} for sample in samples]
        parts = zip(lying, plan.maps, windows, strict=True)
        targets = [warp_targets(s, m, hw, flip_pairs=self._info.flip_pairs) for s, m, hw in parts]
        if "size_hw" in samples[0]:
            targets = [one | {"size_hw": torch.tensor(hw)} for one, hw in zip(targets, windows, strict=True)]
        batch = stack_targets(targets) | pictures
        batch["valid_xyxy"] = torch.tensor([[0.0, 0.0, width, height] for height, width in windows])
        if self._preprocessing.normalization == "image":
            batch["shown_xyxy"] = _shown_boxes([sample["image"] for sample in samples], plan.maps, windows)
        return batch

    def finished(self, batch: Batch, epoch: int) -> Batch:
        """The batch after the steps that change finished images, on whatever device these are."""
        size_hw = batch["valid_xyxy"][:, [3, 2]].double()
        for position, step in self._finishing:
            draws = Draws(self._seed, epoch, index=batch["index"], stream=position)
            changed = step.finish(batch["image"], draws, size_hw=size_hw, fill=self._preprocessing.fill)
            batch = batch | changed
        if "partner" in batch and "shown_xyxy" in batch:  # of the two images that now show
            pair = torch.stack((batch["shown_xyxy"], batch["shown_xyxy"][batch["partner"]]))
            batch["shown_xyxy"] = torch.cat((pair[..., :2].amin(0), pair[..., 2:].amax(0)), dim=1)
        return batch

    def _joined(self, samples: list[Sample], index: Tensor, epoch: int) -> tuple[list[Sample], Tensor]:
        """The samples, some of them made of several, and (B,) whether each has the size of evaluation already."""
        for position, step in self._joining:
            draws = Draws(self._seed, epoch, index=index, stream=position)
            joined = step.join(samples, draws, preprocessing=self._preprocessing)
            is_sized = torch.tensor([one is not None for one in joined])
            return [new or old for new, old in zip(joined, samples, strict=True)], is_sized
        return samples, torch.zeros(len(samples), dtype=torch.bool)

    def _maps(self, samples: list[Sample], index: Tensor, epoch: int, *, is_sized: Tensor) -> tuple[Maps, list[Pair]]:
        """From the pixels of each window to those of its image, and the sizes of the windows."""
        chooses_window = any(step.chooses_window for _, step in self._geometry)
        total, size_hw = geometry.identity(len(samples)), _sizes([sample["image"] for sample in samples])
        target = self._targets(size_hw, is_sized=is_sized)
        if not any(step.chooses_scale for _, step in self._geometry):
            maps, resized = self._preprocessing.maps(size_hw, whole=chooses_window)
            total = torch.where(is_sized[:, None, None], total, maps)
            size_hw = torch.where(is_sized[:, None], size_hw, resized)
        bends: list[tuple[Tensor, list[Field]]] = []
        for position, step in self._geometry:
            draws = Draws(self._seed, epoch, index=index, stream=position)
            if isinstance(step, Bending):
                bends.append((total, step.fields(draws, size_hw)))
                total = geometry.identity(len(samples))
                continue
            boxes = _boxes(samples, _bent(bends, total), size_hw) if step.reads_boxes else []
            matrix, size_hw = step.map_around(boxes, draws, size_hw, target_hw=target)
            total = total @ matrix
        if self._size_hw is None and self._preprocessing.shorter is not None and not chooses_window:
            target = size_hw.round()
        top, left = ((size_hw - target) / 2).floor().unbind(1)
        windows = [(height, width) for height, width in target.int().tolist()]
        return _bent(bends, total @ geometry.translation(left, top)), windows

    def _targets(self, size_hw: Tensor, *, is_sized: Tensor) -> Tensor:
        """(B, 2) float64: sizes that the network sees, from those of the images."""
        if self._size_hw is not None:
            return torch.tensor(self._size_hw, dtype=torch.float64).expand_as(size_hw)
        if self._preprocessing.keeps_size:
            _require_one(size_hw)
        return torch.where(is_sized[:, None], size_hw, self._preprocessing.maps(size_hw, whole=True)[1])

    def _warp(self, images: list[Tensor], maps: Maps, windows: list[Pair], *, colours: Tensor | None) -> Tensor:
        fill = self._preprocessing.fill
        is_even = len(set(windows)) == 1 and self._preprocessing.shorter is None
        is_small = len({image.shape for image in images}) == 1 and images[0].numel() <= _SMALL
        if is_even and is_small and isinstance(maps, Tensor):
            return warp(torch.stack(images), maps, windows[0], fill=fill, colours=colours)
        each = [None] * len(images) if colours is None else list(colours)
        parts = zip(images, maps, windows, each, strict=True)
        warped = [warp(i, m, hw, fill=fill, colours=c) for i, m, hw, c in parts]
        if is_even:
            return torch.stack(warped)
        height, width = self._preprocessing.padded((max(h for h, _ in windows), max(w for _, w in windows)))
        return torch.stack([cut(image, Frame(0, 0, height, width), fill) for image in warped])

    def _colours(self, samples: list[Sample], index: Tensor, epoch: int) -> Tensor | None:
        """(B, C, C + 1), None where no step changes colours; both images of a pair change alike, so that they match."""
        if not self._colour:
            return None
        mean = torch.stack([_mean_colour(sample["image"]) for sample in samples])
        if is_pair := any(key in samples[0] for key in PAIRS):
            mean = mean.unflatten(1, (2, -1)).mean(1)
        total = colour.identity(*mean.shape)
        for position, step in self._colour:
            draws = Draws(self._seed, epoch, index=index, stream=position)
            seen = colour.recolour(mean[:, :, None, None], total)[:, :, 0, 0].double()
            total = colour.compose(total, step.matrix(draws, seen))
        return colour.of_both(total) if is_pair else total


def _require_last(steps: Sequence[Step]) -> None:
    """Raises RecipeError where a step that changes finished images is not behind all others, or two mix them."""
    is_finishing = [isinstance(step, Finishing) for step in steps]
    if is_finishing != sorted(is_finishing):
        name = type(steps[is_finishing.index(True)]).__name__.lower()
        raise RecipeError(f"data.augment has {name} before another step; it changes finished images: put it last")
    if len(mixing := [step for step in steps if isinstance(step, Finishing) and step.mixes]) > 1:
        names = " and ".join(type(step).__name__.lower() for step in mixing)
        raise RecipeError(f"data.augment has {names}, and a batch is mixed once: leave one of them out")


def _bent(bends: list[tuple[Tensor, list[Field]]], total: Tensor) -> Maps:
    """The maps of a batch: `total` (B, 3, 3), behind it those that bend, of which the last one acts first."""
    if not bends:
        return total
    parts = [tuple((maps[i], fields[i]) for maps, fields in bends) for i in range(len(total))]
    return [Bent(of_one, last) for of_one, last in zip(parts, total, strict=True)]


def _shown_boxes(images: list[Tensor], maps: Maps, windows: list[Pair]) -> Tensor:
    """(B, 4) float32: the box around what each window shows of its image."""
    wholes = [torch.tensor([[0.0, 0.0, image.shape[-1], image.shape[-2]]]) for image in images]
    parts = zip(wholes, maps, windows, strict=True)
    return torch.cat([geometry.map_boxes(whole, m, size_hw=hw)[0] for whole, m, hw in parts])


def _boxes(samples: list[Sample], maps: Maps, size_hw: Tensor) -> list[Tensor]:
    """The boxes of each sample as the steps so far show them, cut to the image; without crowds and what has left."""
    shown = []
    for sample, matrix, (height, width) in zip(samples, maps, size_hw.tolist(), strict=True):
        boxes = sample["boxes"] if "boxes" in sample else torch.zeros(0, 4)
        moved, share = geometry.map_boxes(boxes, matrix, size_hw=(height, width))
        counts = share > 0
        shown.append(moved[counts & ~sample["crowd"] if "crowd" in sample else counts])
    return shown


_SMALL = (
    3 * 64 * 64
)  # values of an image up to which a batch is warped at once; larger ones stay in the cache one by one


def _mean_colour(image: Tensor) -> Tensor:
    """(C,) float64 over a grid of about 32 x 32 pixels, near enough for the pivot of a contrast."""
    rows, columns = (max(1, side // 32) for side in image.shape[-2:])
    return image[:, ::rows, ::columns].double().mean((1, 2))


class Collate:
    """Evaluation batches: images as the network sees them, targets as they lie on disk.

    Scores are resized to the targets afterwards, never targets to the scores. Targets of unequal shape become lists;
    images of unequal size are padded to the largest, and `valid_xyxy` says which part of each is no padding.

    Args:
        preprocessing: brings the images, and those that the network shall output, to size.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing

    def __call__(self, samples: list[Sample], epoch: int) -> Batch:
        keys = [key for key in ("image", "clean") if key in samples[0]]
        batch = stack_targets([{k: v for k, v in s.items() if k not in keys} for s in samples])
        for key in keys:
            batch[key], batch["valid_xyxy"] = self._preprocessing.collate([sample[key] for sample in samples])
        return batch


def _sizes(images: list[Tensor]) -> Tensor:
    return torch.tensor([image.shape[-2:] for image in images], dtype=torch.float64)


def _require_one(size_hw: Tensor) -> None:
    sizes = sorted({(int(height), int(width)) for height, width in size_hw.tolist()})
    if len(sizes) > 1:
        raise DataError(
            f"images of one batch have sizes {sizes[:3]} (H, W) and no size is set: set data.size, such as [224, 224], "
            "or data.order={grouped: {by: size}}"
        )
