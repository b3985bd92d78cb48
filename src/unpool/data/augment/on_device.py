"""The two halves of `Augment` where a device augments: small things in the loader, pixels on the device.

The loader draws all numbers, makes the maps, and moves boxes, joints and masks of things, whose number varies. That is
the code of `Augment`, and so are the numbers. Images and masks of classes go to the device as they are decoded, which
moves a batch of them by the same maps.
"""

import torch

from unpool.data.augment.pipeline import PICTURES, Augment
from unpool.data.augment.step import Bending, Joining
from unpool.errors import DataError, RecipeError
from unpool.ops.resampling import warp_together
from unpool.types import IGNORE, Batch, Sample, Samples

_PLAN = ("planned_maps", "planned_colours", "planned_epoch")


class OnDevice:
    """Transform of the loader, whose batches `apply` finishes on the device: together they do what `augment` does.

    A batch has `image`, `clean` and `mask` as decoded, (B, C, h, w) and (B, h, w) uint8, and beside them the keys that
    begin with `planned_`; all else is finished. Masks, and all that lies on an image, become the same values; those of
    images differ by one level at most, times what colours are multiplied by (`warp_together`).

    Args:
        augment: of none of the steps that `refuses` names; images have one size, and not `Preprocessing.shorter`.

    Attributes:
        refuses: steps without one matrix for each image.
    """

    refuses = (Bending, Joining)

    def __init__(self, augment: Augment) -> None:
        self._augment = augment

    def __call__(self, samples: list[Sample], epoch: int) -> Batch:
        _require_one(samples)
        samples, plan = self._augment.planned(samples, epoch)
        decoded = {k: torch.stack([one[k] for one in samples]) for k in (*PICTURES, "mask") if k in samples[0]}
        lying = [{key: value for key, value in one.items() if key != "mask"} for one in samples]
        batch = self._augment.moved(lying, plan, decoded)
        batch |= {"planned_maps": plan.maps, "planned_epoch": torch.full((len(samples),), epoch)}
        return batch if plan.colours is None else batch | {"planned_colours": plan.colours}

    @staticmethod
    def is_due(batch: Batch) -> bool:
        """Whether a batch is one that `apply` has yet to finish."""
        return "planned_maps" in batch

    def apply(self, batch: Batch, device: torch.device) -> Batch:
        """The batch of the loader with its pictures and masks augmented, on `device`; all else stays where it is."""
        width, height = (int(side) for side in batch["valid_xyxy"][0, 2:])
        size_hw, maps, colours = (height, width), batch["planned_maps"], batch.get("planned_colours")
        done = {key: value for key, value in batch.items() if key not in _PLAN}
        for key in [key for key in PICTURES if key in batch]:
            images = batch[key].to(device, non_blocking=True)
            done[key] = warp_together(images, maps, size_hw, fill=self._augment.fill, colours=colours)
        if "mask" in batch:
            masks = batch["mask"].to(device, non_blocking=True)[:, None]
            done["mask"] = warp_together(masks, maps, size_hw, mode="nearest", fill=IGNORE)[:, 0].long()
        return self._augment.finished(done, int(batch["planned_epoch"][0]))


def _require_one(samples: list[Sample]) -> None:
    """Raises DataError where a data set draws images of several sizes, though it had one when it was read first."""
    drawn = sorted({tuple(sample["image"].shape[-2:]) for sample in samples})
    if len(drawn) > 1:
        raise DataError(
            f"data.augment_on is device, and images of one batch have sizes {drawn[:3]} (H, W): set "
            "data.augment_on=loader, or let the data set give images of one size"
        )


def require_alike(samples: Samples) -> None:
    """Raises RecipeError where the images of a set have several sizes, so that no batch of them can be moved."""
    sizes = sorted(set(map(tuple, samples.sizes_hw)))
    if len(sizes) > 1:
        (height, width), (last_height, last_width) = sizes[0], sizes[-1]
        raise RecipeError(
            f"data.augment_on is device, which takes a batch of images as decoded, and training images have "
            f"{len(sizes)} sizes, from {width}x{height} to {last_width}x{last_height}: set data.augment_on=loader, or "
            "bring the files to one size"
        )
