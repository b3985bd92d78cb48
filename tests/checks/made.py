"""Small runs to be checked: drawn pictures, and targets that follow from them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from unpool.checks.findings import Finding
from unpool.checks.setup import Form, Setup
from unpool.checks.source import Source


class Samples(Dataset):
    """Pictures and targets, changed when they are read."""

    def __init__(self, images: Any, targets: Any, change: Callable[[Tensor, Any], tuple[Tensor, Any]] | None = None):
        self.images, self.targets, self.change = images, targets, change

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        pair = self.images[index], self.targets[index]
        return pair if self.change is None else self.change(*pair)


def drawn(count: int, seed: int, *, channels: int = 3, size: int = 32) -> Tensor:
    """(N, C, size, size) smooth colours with noise, from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    smooth = nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0.1, 0.9)
    return (smooth + 0.05 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)


def striped(count: int, seed: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Pictures of stripes, across, down or both, whose direction is the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    waves = torch.sin(torch.arange(32) * 1.1 + 6 * torch.rand(count, 1, generator=generator))
    across, down = waves[:, None, None, :].expand(-1, 1, 32, -1), waves[:, None, :, None].expand(-1, 1, -1, 32)
    kinds = torch.stack([across, down, across * down], 1)[torch.arange(count), labels]
    return (drawn(count, seed + 1) + 0.25 * kinds).clamp(0, 1), labels


def blobs(count: int, seed: int, size: int = 48) -> tuple[Tensor, Tensor]:
    """Pictures of one rectangle (1) and one square (2) on a ground (0), and their masks."""
    generator = torch.Generator().manual_seed(seed)
    images, masks = drawn(count, seed, size=size) * 0.5, torch.zeros(count, size, size, dtype=torch.long)
    for image, mask in zip(images, masks, strict=True):
        for kind, (height, width) in ((1, (8, 20)), (2, (12, 12))):
            top, left = torch.randint(1, size - 21, (2,), generator=generator).tolist()
            mask[top : top + height, left : left + width] = kind
            image[:, top : top + height, left : left + width] += 0.3 + 0.2 * torch.rand(3, 1, 1, generator=generator)
    return images, masks


class Net(nn.Module):
    """Scores of a picture, or of each of its pixels."""

    def __init__(self, outputs: int, *, maps: bool = False, channels: int = 3) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, outputs, 3, padding=1)
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        maps = self.layer(x)
        return maps if self.maps else maps.mean((2, 3))


def setup(train: Any, val: Any = None, *, outputs: int = 3, form: Form | None = None, **more: Any) -> Setup:
    """A run of these data, and a network of one layer."""
    torch.manual_seed(0)
    channels = train[0][0].shape[0]
    model = more.pop("model", None) or Net(outputs, maps=form == "class map", channels=channels)
    sources = [None if data is None else Source(data, name=name) for name, data in (("train", train), ("val", val))]
    return Setup(model=model, train=sources[0], val=sources[1], form=form, **more)


def found(result: Finding | Sequence[Finding]) -> list[str]:
    """The causes of what is wrong, "" of each finding that is not."""
    return [one.cause for one in ([result] if isinstance(result, Finding) else result)]
