"""Samples of one split, read once for all checks of the data: pictures, targets, and small copies of the pictures."""

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from unpool.checks.source import Source, split
from unpool.data.seeding import seed_generators, shared_restored

if TYPE_CHECKING:
    from unpool.checks.setup import Form, Setup

LUMA = (0.299, 0.587, 0.114)
SMALL, TONES = 32, 64  # side of the small copies; tones that are told apart
KEPT = 128  # pictures that are kept as they were read; of the others only the small copy
MOST, SHARE = 800, 0.06  # samples of a split, and of the time that is left
FORM_KEYS: Mapping["Form", Sequence[str]] = {
    "class": ("label", "target", "targets", "y"),
    "flags": ("label", "labels", "target", "targets", "y"),
    "class map": ("mask", "label", "target", "targets", "y"),
    "picture": ("clean", "target", "targets", "y"),
    "points": ("keypoints", "target", "targets", "y"),
    "things": ("boxes",),
    "tokens": ("captions", "caption", "tokens", "text", "target"),
    "vector": ("identity", "label", "target", "y"),
    "numbers": ("target", "targets", "label", "boxes", "y"),
}


@dataclass(eq=False)
class Seen:
    """What was read of one split.

    Attributes:
        source: the split.
        indices: of the samples in the data set; empty where it has none.
        images: (C, H, W) float32 of the first `KEPT` samples.
        small: (N, C, 32, 32) of all of them; empty where the inputs are no pictures of one kind.
        tones: bits that the tones of each of them hold, see `bits_of_tones`.
        targets: of all of them, as tensors; None where a target is of a form that is not known.
        is_whole: whether that is all of the split.
    """

    source: Source
    indices: list[int] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)
    small: Tensor = field(default_factory=lambda: torch.zeros(0, 1, SMALL, SMALL))
    tones: list[float] = field(default_factory=list)
    targets: list[Tensor] | None = None
    is_whole: bool = False

    def __len__(self) -> int:
        return len(self.small)

    @cached_property
    def grey(self) -> Tensor:
        """(N, 32, 32): the luma of three channels, the mean of others."""
        if self.small.shape[1] != 3:
            return self.small.mean(1)
        return (self.small * torch.tensor(LUMA)[:, None, None]).sum(1)

    @cached_property
    def numbers(self) -> Tensor | None:
        """The targets as one tensor (N, ...); None where they differ in shape."""
        if not self.targets or len({one.shape for one in self.targets}) != 1:
            return None
        return torch.stack(self.targets)

    def moved(self, values: Tensor, by: int) -> Tensor:
        """Values (N, ...) of a whole split, each given to the sample so many places behind its own in the data set."""
        order = torch.tensor(self.indices).argsort()
        hits = torch.empty_like(values)
        hits[order] = values[order].roll(by, 0)
        return hits

    @cached_property
    def is_repeatable(self) -> bool:
        """Whether a sample is the same when it is read again with other random numbers."""
        dataset, chosen = self.source.dataset, self.indices[:8]
        if dataset is None or not chosen:
            return True
        return all(same(*read_twice(dataset, i)) for i in chosen)

    @cached_property
    def _names(self) -> list[str] | None:
        return self.source.files() or self.source.names()

    def where(self, position: int) -> str:
        """The file of a sample, else its name, else its number."""
        if self._names is not None and self.indices:
            return self._names[self.indices[position]]
        return f"{self.source.name}, sample {self.indices[position] if self.indices else position}"


def see(setup: "Setup", source: Source, *, most: int = MOST, seconds: float | None = None) -> Seen:
    """Reads samples of a split, drawn by the seed, until there are as many as asked for or the time is over.

    Args:
        setup: the run.
        source: the split.
        most: samples; the first of many are those that are read where few are asked for.
        seconds: that reading may take; by default a share of what is left.
    """
    seen = Seen(source)
    form = setup.target_form  # of a large network a matter of seconds, which are not those of reading
    deadline = time.monotonic() + (setup.budget.share_s(SHARE) if seconds is None else seconds)
    small = seen.small  # made as large as can be needed, and written row by row: a copy of it would double the memory
    targets: list[Tensor | None] = []
    with shared_restored():
        seed_generators(setup.seed, 0, 0)
        order = _order(source, setup.seed, most)
        dataset = setup.facts.get("in_window", {}).get(source.name, source.dataset)
        for index, (inputs, target) in _samples(source, dataset, order, most):
            image = as_image(inputs)
            if image is None or (targets and len(image) != small.shape[1]):
                return Seen(source)
            if len(seen.images) < KEPT:
                seen.images.append(image)
            if not targets:
                small = torch.zeros(most if order is None else len(order), len(image), SMALL, SMALL)
            small[len(targets)] = shrunk(image)
            seen.tones.append(bits_of_tones(image))
            targets.append(target_of(target, form))
            seen.indices += [] if index is None else [index]
            if time.monotonic() > deadline or len(targets) == most:
                break
    if not targets:
        return seen
    seen.small = small[: len(targets)]
    known = [one for one in targets if one is not None]
    if form == "tokens" and all(one.dim() == 1 for one in known):
        known = list(pad_sequence(known, batch_first=True))
    seen.targets = known if len(known) == len(targets) else None
    seen.is_whole = source.dataset is not None and len(seen.indices) == len(source)
    return seen


def _order(source: Source, seed: int, most: int) -> list[int] | None:
    """Samples drawn by the seed: where the time ends before them, those that were read are still drawn at random."""
    if source.dataset is None:
        return None
    return np.random.default_rng(seed).permutation(len(source))[:most].tolist()


def _samples(source: Source, dataset: Any, order: list[int] | None, most: int) -> Any:
    if order is None:
        for sample in source.samples(most):
            yield None, sample
        return
    for index in order:
        yield index, split(dataset[index])


def as_image(value: Any) -> Tensor | None:
    """A picture (C, H, W) float32 of what a data set yields; None where it is none. Several pictures are stacked."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, Tensor) or value.dim() < 2 or min(value.shape[-2:]) < 1:
        return None
    image = value.detach().cpu()
    if image.dim() == 3 and image.shape[-1] in (1, 3, 4) and image.shape[0] > 4:
        image = image.permute(2, 0, 1)
    image = image[None] if image.dim() == 2 else image.flatten(0, -3)
    return image.float()


def shrunk(image: Tensor) -> Tensor:
    """The picture at 32 x 32: blocks averaged, small ones enlarged."""
    if min(image.shape[-2:]) >= SMALL:
        return F.adaptive_avg_pool2d(image[None], SMALL)[0]
    return F.interpolate(image[None], (SMALL, SMALL), mode="bilinear", align_corners=False)[0]


def bits_of_tones(image: Tensor) -> float:
    """Entropy in bits of 64 tones between the darkest and the brightest of a picture (C, H, W); 0 of an empty one.

    Example:
        >>> bits_of_tones(torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]))
        1.0
    """
    step = max(1, max(image.shape[-2:]) // 128)
    grey = image.mean(0)[::step, ::step]
    low, high = grey.min(), grey.max()
    shares = torch.histc((grey - low) / (high - low).clamp_min(1e-6), TONES, 0, 1) / grey.numel()
    shares = shares[shares > 0]
    return abs(float((shares * shares.log2()).sum()))


def target_of(target: Any, form: "Form") -> Tensor | None:
    """The target of one sample as a tensor; None where there is no single one."""
    if isinstance(target, Mapping) and form == "points" and {"keypoints", "visible"} <= set(target):
        points, visible = (torch.as_tensor(target[key]).detach().cpu() for key in ("keypoints", "visible"))
        if points.shape[-1] == 2 and visible.shape == points.shape[:-1]:
            return torch.cat([points, visible[..., None].to(points)], -1)
    if isinstance(target, Mapping):
        key = next((one for one in FORM_KEYS.get(form, ()) if one in target), None)
        target = None if key is None else target[key]
    if isinstance(target, bool | int | float | np.number):
        return torch.tensor(target)
    if isinstance(target, np.ndarray):
        return torch.from_numpy(target)
    if isinstance(target, Tensor) and form == "tokens" and target.dtype == torch.uint8:
        return numbered(bytes(target.flatten().tolist()))
    return target.detach().cpu() if isinstance(target, Tensor) else None


def numbered(text: bytes) -> Tensor:
    """A number below 1,000 for each word of a text, the same in every split; two words seldom share one.

    Example:
        >>> len(numbered(b"a red disc")), bool((numbered(b"a red") == numbered(b"A  red")).all())
        (3, True)
    """
    return torch.tensor([1 + zlib.crc32(word) % 997 for word in text.lower().split()] or [0])


def read_twice(dataset: Any, index: int) -> tuple[Any, Any]:
    """One sample read with two states of the shared generators, which are put back."""
    values = []
    for epoch in (0, 1):
        with shared_restored():
            seed_generators(7, epoch, index)
            values.append(dataset[index])
    return values[0], values[1]


def same(first: Any, second: Any) -> bool:
    """Whether two samples hold the same numbers."""
    if isinstance(first, Mapping):
        return all(same(value, second[key]) for key, value in first.items())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, np.ndarray | Tensor):
        first, second = torch.as_tensor(first), torch.as_tensor(second)
        return first.shape == second.shape and bool((first == second).all())
    return bool(first == second)
