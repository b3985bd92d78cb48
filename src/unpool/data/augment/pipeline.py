"""From samples to a batch: `Augment` for training, `Collate` for evaluation.

All steps of a list become one map and one colour matrix for each sample, and each is applied once. What a step draws
depends on nothing but (seed, epoch, index of the sample, place in the list), so the number of workers changes nothing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.data.augment.step import Colour, Geometry
from unpool.data.augment.targets import stack_targets, warp_targets
from unpool.data.draws import Draws
from unpool.errors import DataError
from unpool.ops import colour, geometry
from unpool.ops.preprocessing import Preprocessing
from unpool.types import Batch, DataInfo, Sample


class Augment:
    """Training batches: uint8 images of one size with everything that lies on them.

    Where no step chooses the scale (`resized_crop`), the image is first resized as in evaluation and the steps act on
    that: objects are as large in training as they will be. Where no step chooses a window (`crop`, `resized_crop`), it
    is the middle.

    Args:
        steps: augmentations in the order in which they act.
        size_hw: size of the batch; None keeps the size of the images, which must then agree.
        preprocessing: for its size rule, and for its mean colour, which fills what lies outside of an image.
        info: for the keypoints that trade names in a mirror.
        seed: of the run.
    """

    def __init__(
        self,
        steps: Sequence[Geometry | Colour],
        *,
        size_hw: tuple[int, int] | None,
        preprocessing: Preprocessing,
        info: DataInfo,
        seed: int,
    ) -> None:
        self._geometry = [(i, s) for i, s in enumerate(steps) if isinstance(s, Geometry)]
        self._colour = [(i, s) for i, s in enumerate(steps) if isinstance(s, Colour)]
        self._size_hw = size_hw
        self._preprocessing = preprocessing
        self._info = info
        self._seed = seed

    def __call__(self, samples: list[Sample], epoch: int) -> Batch:
        images = [sample["image"] for sample in samples]
        target_hw = self._size_hw or _common_size(images)
        index = torch.stack([sample["index"] for sample in samples])
        maps = self._maps(index, epoch, images=images, target_hw=target_hw)
        colours = self._colours(images, index, epoch)
        window = torch.tensor([0.0, 0.0, target_hw[1], target_hw[0]])
        batch = {"image": self._warp(images, maps, target_hw, colours=colours)}
        batch["valid_xyxy"] = window.repeat(len(samples), 1)
        if self._preprocessing.normalization == "image":
            batch["shown_xyxy"] = _shown_boxes(images, maps, target_hw)
        if "clean" in samples[0]:  # moves and changes colour with its image
            batch["clean"] = self._warp([sample["clean"] for sample in samples], maps, target_hw, colours=colours)
        moved = [
            warp_targets(s, m, target_hw, flip_pairs=self._info.flip_pairs) for s, m in zip(samples, maps, strict=True)
        ]
        targets = [{k: v for k, v in one.items() if k != "clean"} for one in moved]
        if "size_hw" in samples[0]:
            targets = [one | {"size_hw": torch.tensor(target_hw)} for one in targets]
        return stack_targets(targets) | batch

    def _maps(self, index: Tensor, epoch: int, *, images: list[Tensor], target_hw: tuple[int, int]) -> Tensor:
        """(B, 3, 3): from the batch's pixels to those of the images."""
        size_hw = torch.tensor([image.shape[-2:] for image in images], dtype=torch.float64)
        target = torch.tensor(target_hw, dtype=torch.float64)
        total = geometry.identity(len(images))
        if not any(step.chooses_scale for _, step in self._geometry):
            whole = any(step.chooses_window for _, step in self._geometry)
            total, size_hw = self._preprocessing.maps(size_hw, whole=whole)
        for position, step in self._geometry:
            draws = Draws(self._seed, epoch, index=index, stream=position)
            matrix, size_hw = step.map(draws, size_hw, target_hw=target_hw)
            total = total @ matrix
        top, left = ((size_hw - target) / 2).floor().unbind(1)
        return total @ geometry.translation(left, top)

    def _warp(
        self, images: list[Tensor], maps: Tensor, target_hw: tuple[int, int], *, colours: Tensor | None
    ) -> Tensor:
        fill = self._preprocessing.fill
        if len({image.shape for image in images}) == 1 and images[0].numel() <= _SMALL:
            return geometry.warp(torch.stack(images), maps, target_hw, fill=fill, colours=colours)
        each = [None] * len(images) if colours is None else list(colours)
        parts = zip(images, maps, each, strict=True)
        return torch.stack([geometry.warp(i, m, target_hw, fill=fill, colours=c) for i, m, c in parts])

    def _colours(self, images: list[Tensor], index: Tensor, epoch: int) -> Tensor | None:
        """(B, C, C + 1), None where no step changes colours."""
        if not self._colour:
            return None
        mean = torch.stack([_mean_colour(image) for image in images])
        total = colour.identity(*mean.shape)
        for position, step in self._colour:
            draws = Draws(self._seed, epoch, index=index, stream=position)
            seen = colour.recolour(mean[:, :, None, None], total)[:, :, 0, 0].double()
            total = colour.compose(total, step.matrix(draws, seen))
        return total


def _shown_boxes(images: list[Tensor], maps: Tensor, target_hw: tuple[int, int]) -> Tensor:
    """(B, 4) float32: the box around what each window of `target_hw` shows of its image."""
    wholes = [torch.tensor([[0.0, 0.0, image.shape[-1], image.shape[-2]]]) for image in images]
    return torch.cat([geometry.map_boxes(w, m, size_hw=target_hw)[0] for w, m in zip(wholes, maps, strict=True)])


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


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _common_size(images: list[Tensor]) -> tuple[int, int]:
    sizes = sorted({_size(image) for image in images})
    if len(sizes) > 1:
        raise DataError(
            f"images of one batch have sizes {sizes[:3]} (H, W) and no size is set: set data.size, such as [224, 224], "
            "or data.order={grouped: {by: size}}"
        )
    return sizes[0]
