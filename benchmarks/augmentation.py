"""Augments the same images by the same operations with Unpool, torchvision v2 and albumentations, in turns.

Everything is on one thread and begins with decoded images: uint8 tensors, for torchvision's other backend PIL images,
for albumentations arrays. It ends with a batch of uint8 tensors, and masks where there are any. albumentations takes
part where it is installed; it is no dependency. The libraries take turns batch by batch, since a machine that others
share changes its speed within a minute; the figure is that of the median batch.

What differs: Unpool makes one coordinate map and one colour matrix of all steps, and hue turns by that matrix, where
the others turn it in HSV. Elastic deformation is that of Simard et al. in all of them.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from benchmarks.record import RESULTS, Row, write_result
from unpool.data.augment import AUGMENTATIONS, Augment
from unpool.ops.preprocessing import Preprocessing
from unpool.types import DataInfo

SEED, WARM_UP = 0, 2
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
Steps = Sequence[tuple[str, dict[str, Any]]]


class Work(NamedTuple):
    """One list of operations in each library's words.

    Attributes:
        about: what it is.
        image_hw: size of the decoded images.
        size_hw: size of the result.
        has_mask: whether a mask moves along.
        ours: steps of `data.augment`.
        torchvision: the v2 transforms.
        albumentations: the module -> its transforms.
    """

    about: str
    image_hw: tuple[int, int]
    size_hw: tuple[int, int]
    has_mask: bool
    ours: Steps
    torchvision: Sequence[v2.Transform]
    albumentations: Callable[[Any], list[Any]]


WORKS = {
    "classification": Work(
        "flip, crop by area and aspect to 224, colour jitter",
        *((375, 500), (224, 224), False),
        [("resized_crop", {}), ("flip", {}), ("color_jitter", JITTER)],
        [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), v2.ColorJitter(**JITTER)],
        lambda a: [a.RandomResizedCrop(size=(224, 224)), a.HorizontalFlip(), a.ColorJitter(**JITTER, p=1)],
    ),
    "scale": Work(
        "shorter side of 256 to 480, crop of 224, flip",
        *((375, 500), (224, 224), False),
        [("shorter_side", {}), ("crop", {}), ("flip", {})],
        [v2.RandomShortestSize(list(range(256, 481))), v2.RandomCrop(224), v2.RandomHorizontalFlip()],
        lambda a: [
            a.SmallestMaxSize(max_size=list(range(256, 481))),
            a.RandomCrop(height=224, width=224),
            a.HorizontalFlip(),
        ],
    ),
    "segmentation": Work(
        "flip, rotation by 15 degrees, colour jitter, with a mask",
        *((360, 480), (360, 480), True),
        [("flip", {}), ("rotate", {"degrees": 15}), ("color_jitter", {"brightness": 0.4, "contrast": 0.4})],
        [
            v2.RandomHorizontalFlip(),
            v2.RandomRotation([-15, 15], interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(brightness=0.4, contrast=0.4),
        ],
        lambda a: [
            a.HorizontalFlip(),
            a.Rotate(limit=15, border_mode=0, p=1),
            a.ColorJitter(brightness=0.4, contrast=0.4, saturation=0, hue=0, p=1),
        ],
    ),
    "elastic": Work(
        "elastic deformation, flip, with a mask",
        *((256, 256), (256, 256), True),
        [("elastic_gaussian", {"sigma": 6, "alpha": 60}), ("flip", {})],
        [v2.ElasticTransform(alpha=60.0, sigma=6.0), v2.RandomHorizontalFlip()],
        lambda a: [a.ElasticTransform(alpha=60, sigma=6, p=1), a.HorizontalFlip()],
    ),
    "small": Work(
        "crop of 32 from a padding of 4, flip",
        *((32, 32), (32, 32), False),
        [("translate", {"pixels": 4}), ("flip", {})],
        [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()],
        lambda a: [a.PadIfNeeded(40, 40), a.RandomCrop(32, 32), a.HorizontalFlip()],
    ),
}


def decoded(work: Work, count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Images (3, H, W) uint8 of smooth colours, and masks (H, W) uint8 of coarse squares."""
    generator = torch.Generator().manual_seed(SEED)
    coarse = torch.rand(count, 3, 12, 16, generator=generator) * 255
    images = torch.nn.functional.interpolate(coarse, work.image_hw, mode="bicubic").clamp(0, 255).to(torch.uint8)
    masks = torch.randint(0, 11, (count, 1, 9, 12), generator=generator).float()
    masks = torch.nn.functional.interpolate(masks, work.image_hw, mode="nearest")[:, 0].to(torch.uint8)
    return list(images), list(masks)


def ours(work: Work, images: list[Tensor], masks: list[Tensor]) -> Callable[[int], Any]:
    """What makes a batch of an epoch."""
    steps = [AUGMENTATIONS[name](**options) for name, options in work.ours]
    rule = Preprocessing(size_hw=work.size_hw, rule="cover")
    augment = Augment(steps, size_hw=work.size_hw, preprocessing=rule, info=DataInfo(), seed=SEED)
    samples = [{"image": image, "index": torch.tensor(i)} for i, image in enumerate(images)]
    if work.has_mask:
        samples = [sample | {"mask": mask} for sample, mask in zip(samples, masks, strict=True)]
    return lambda epoch: augment(samples, epoch)


def torchvision_tensors(work: Work, images: list[Tensor], masks: list[Tensor]) -> Callable[[int], Any]:
    """The same with torchvision on tensors."""
    change = v2.Compose(list(work.torchvision))
    inputs: list[Any] = [tv_tensors.Image(image) for image in images]
    if work.has_mask:
        inputs = [(image, tv_tensors.Mask(mask)) for image, mask in zip(inputs, masks, strict=True)]
    return lambda epoch: _stacked([change(one) for one in inputs])


def torchvision_pil(work: Work, images: list[Tensor], masks: list[Tensor]) -> Callable[[int], Any]:
    """The same with torchvision on PIL images; masks are tensors."""
    change = v2.Compose(list(work.torchvision))
    inputs: list[Any] = [Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()) for image in images]
    if not work.has_mask:
        return lambda epoch: torch.stack([pil_to_tensor(change(one)) for one in inputs])
    pairs = [(image, tv_tensors.Mask(mask)) for image, mask in zip(inputs, masks, strict=True)]

    def both(epoch: int) -> Any:
        changed = [change(pair) for pair in pairs]
        return _stacked([(pil_to_tensor(image), mask) for image, mask in changed])

    return both


def albumentations(work: Work, images: list[Tensor], masks: list[Tensor]) -> Callable[[int], Any] | None:
    """The same with albumentations, None where it is not installed."""
    try:
        import albumentations as a  # pyright: ignore[reportMissingImports]
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(0)
    change = a.Compose(work.albumentations(a))
    arrays = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in images]

    def batch(epoch: int) -> Any:
        named = [{"image": array} for array in arrays]
        if work.has_mask:
            named = [one | {"mask": mask.numpy()} for one, mask in zip(named, masks, strict=True)]
        changed = [change(**one) for one in named]
        stacked = torch.stack([torch.from_numpy(one["image"]).permute(2, 0, 1) for one in changed]).contiguous()
        return (stacked, torch.stack([torch.from_numpy(one["mask"]) for one in changed])) if work.has_mask else stacked

    return batch


def _stacked(changed: list[Any]) -> Any:
    if isinstance(changed[0], tuple):
        return tuple(torch.stack([one[part].as_subclass(Tensor) for one in changed]) for part in (0, 1))
    return torch.stack([one.as_subclass(Tensor) for one in changed])


LIBRARIES = {
    "Unpool": ours,
    "torchvision, tensors": torchvision_tensors,
    "torchvision, PIL": torchvision_pil,
    "albumentations": albumentations,
}


def measure(work: Work, *, batch: int, rounds: int) -> dict[str, float]:
    """Images each second, by library; those that are not installed are left out."""
    images, masks = decoded(work, batch)
    makers = {name: made for name, make in LIBRARIES.items() if (made := make(work, images, masks)) is not None}
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for number in range(WARM_UP + rounds):
        for name, make in makers.items():
            began = time.perf_counter()
            make(number)
            seconds[name].append(time.perf_counter() - began)
    return {name: batch / statistics.median(times[WARM_UP:]) for name, times in seconds.items()}


def row_of(work: Work, speed: dict[str, float]) -> Row:
    """A claim of RESULTS.md."""
    others = ", ".join(f"{name} {value:,.0f}" for name, value in speed.items() if name != "Unpool")
    what = f"augmentation, images/s per core: {work.about}, {work.image_hw[1]}x{work.image_hw[0]}"
    return Row(what=what, figure=f"{speed['Unpool']:,.0f}", reference=others)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures each list of operations and writes benchmarks/results/augmentation.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(WORKS), nargs="*", default=list(WORKS), help="by default all")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=20, help="batches of each library")
    parser.add_argument("--dry", action="store_true", help="write no file")
    values = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    began, speeds = time.monotonic(), {}
    for name in values.only:
        speeds[name] = measure(WORKS[name], batch=values.batch, rounds=values.rounds)
        print(name, {library: round(speed, 1) for library, speed in speeds[name].items()}, flush=True)
    if not values.dry:
        write_result(
            RESULTS / "augmentation.json",
            [row_of(WORKS[name], speed) for name, speed in speeds.items()],
            command=f"python -m benchmarks.augmentation --batch {values.batch} --rounds {values.rounds}",
            seed=SEED,
            wall_s=time.monotonic() - began,
            details={"images/s": speeds},
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
