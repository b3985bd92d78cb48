"""What two pictures are to a network's answers by its structure alone, whatever its weights are."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from unpool.checks.source import IMAGE_KEYS, Batch, picked, split
from unpool.inspection.paths import all_paths_open
from unpool.tracing.foreign import foreign_code
from unpool.tracing.recorder import tensors_of

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

SAMPLES = 2


@dataclasses.dataclass
class Paths:
    """What two pictures are to the network's answers by its structure alone.

    Attributes:
        channels: by input, (C,): whether any answer depends on the channel.
        pixels: by input, (H, W): whether any answer depends on the pixel.
        mixed: whether the answer to the first picture depends on the second; None where answers have no sample axis.
        holes: by layer whose stride is larger than its kernel, the share of its input that nothing reads.
        field: height and width that the middle of an output map depends on; None where it is no map.
        inner_field: the same of the last map inside of the network.
        failure: why nothing could be measured.
    """

    channels: list[Tensor] = dataclasses.field(default_factory=list)
    pixels: list[Tensor] = dataclasses.field(default_factory=list)
    mixed: bool | None = None
    holes: dict[str, float] = dataclasses.field(default_factory=dict)
    field: tuple[int, int] | None = None
    inner_field: tuple[int, int] | None = None
    failure: str = ""


def paths_of(setup: "Setup") -> Paths:
    """Measures it in double precision, where the network's code allows that, else in single."""
    seconds = 12 * SAMPLES * setup.first_pass.seconds / max(1, setup.first_pass.samples)
    if seconds > setup.budget.share_s(0.15):
        return Paths(failure=f"it would take about {seconds:.0f} s: give more minutes")
    for dtype in (torch.float64, torch.float32):
        paths = Paths()
        with foreign_code() as failure, setup.trying(training=False):
            _measure(setup, paths, dtype)
        if not failure:
            return paths
    return Paths(failure=f"a copy of the network did not run: {failure}")


def _measure(setup: "Setup", paths: Paths, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(setup.seed)
    batch = picked(setup.train.batches(1)[0], slice(0, SAMPLES))
    images = [
        (torch.rand(one.shape, generator=generator, dtype=dtype) + 0.5).requires_grad_() for one in images_of(batch)
    ]
    with all_paths_open(setup.model, dtype=dtype) as copy, _large_strides(copy) as maps, _maps_of(copy) as coarse:
        replaced = with_images(batch, images)
        outputs = setup.forward(copy, replaced) if setup.forward is not None else copy(split(replaced)[0])
        # a detector that finds nothing in a picture says nothing of it
        answers = [one for one in tensors_of(outputs) if one.is_floating_point() and one.requires_grad and one.numel()]
        if not answers:
            paths.failure = "no answer has a gradient back to the picture"
            return
        weights = [torch.rand(one.shape, generator=generator, dtype=one.dtype) + 0.5 for one in answers]
        total = torch.stack([(one * weight).sum() for one, weight in zip(answers, weights, strict=True)]).sum()
        read = _gradients(total, [*images, *maps.values()])
        are_listed = images[0].ndim == 3  # pictures of several sizes, of which answers need no axis of samples
        of_images = read[: len(images)]
        if are_listed:
            of_images = [one for one in of_images if bool(one.any())] or of_images
        for gradient in of_images:
            gradient = gradient[None] if gradient.ndim == 3 else gradient  # of a list of pictures
            paths.channels.append((gradient != 0).movedim(1, 0).flatten(1).any(1))
            paths.pixels.append((gradient != 0).flatten(0, 1).any(0))
        for name, gradient in zip(maps, read[len(images) :], strict=True):
            paths.holes[name] = unread_share((gradient != 0).flatten(0, 1).any(0))
        # of each sample: a network that reads the batch as time passes it on one way only
        for sample in range(0 if are_listed else len(images[0])):
            part = _of_sample(answers, sample, len(images[0]))
            if part:
                reached = _gradients(torch.stack([one.sum() for one in part]).sum(), images)
                others = [i for i in range(len(images[0])) if i != sample]
                paths.mixed = bool(paths.mixed) or any(bool((one[others] != 0).any()) for one in reached)
        paths.field = _field(answers, images)
        paths.inner_field = _field(coarse[-1:], images) if coarse else None


def _gradients(total: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    gradients = torch.autograd.grad(total, inputs, retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(one) if gradient is None else gradient for one, gradient in zip(inputs, gradients, strict=True)
    ]


def _of_sample(answers: list[Tensor], sample: int, samples: int) -> list[Tensor]:
    """The part of each answer that belongs to one sample."""
    parts = []
    for one in answers:
        if samples < 2 or one.ndim == 0 or tuple(one.shape[:2]) == (samples, samples):
            continue
        if one.shape[0] == samples:
            parts.append(one[sample])
        elif one.ndim > 1 and one.shape[1] == samples:
            parts.append(one[:, sample])
    return parts


@contextmanager
def _maps_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """The outputs of the convolutions, those of a single position left out."""
    maps: list[Tensor] = []

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.requires_grad and min(output.shape[-2:]) > 1:
            maps[:] = [output]

    handles = [m.register_forward_hook(leave) for m in model.modules() if isinstance(m, _ConvNd)]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _field(answers: list[Tensor], images: list[Tensor]) -> tuple[int, int] | None:
    largest = max(answers, key=lambda one: one.numel())
    if largest.ndim != 4 or min(largest.shape[-2:]) < 2 or images[0].ndim != 4:
        return None
    row, column = largest.shape[-2] // 2, largest.shape[-1] // 2
    (gradient, *_) = _gradients(largest[0, :, row, column].sum(), images)
    rows, columns = (gradient[0] != 0).any(0).any(1), (gradient[0] != 0).any(0).any(0)
    return _extent(rows), _extent(columns)


def _extent(reached: Tensor) -> int:
    positions = reached.nonzero()
    return int(positions.max() - positions.min()) + 1 if len(positions) else 0


def unread_share(read: Tensor) -> float:
    return float((~read).float().mean())


@contextmanager
def _large_strides(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """The inputs of the layers whose stride is larger than their kernel."""
    maps: dict[str, Tensor] = {}

    def enter(name: str, module: nn.Module, inputs: Any) -> None:
        if isinstance(inputs[0], Tensor) and inputs[0].requires_grad:
            maps.setdefault(name, inputs[0])

    handles = [
        module.register_forward_pre_hook(partial(enter, name))
        for name, module in model.named_modules()
        if has_large_stride(module)
    ]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def has_large_stride(module: nn.Module) -> bool:
    """Whether a convolution or pooling jumps further than its kernel reaches."""
    if isinstance(module, _ConvTransposeNd) or not isinstance(module, _ConvNd | _MaxPoolNd | _AvgPoolNd):
        return False
    kernel, stride = _pair(module.kernel_size), _pair(module.stride)
    dilation = _pair(module.dilation if isinstance(module, _ConvNd | _MaxPoolNd) else 1)
    return any(s > (k - 1) * d + 1 for k, s, d in zip(kernel, stride, dilation, strict=False))


def _pair(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def images_of(batch: Batch) -> list[Tensor]:
    return [one for one in tensors_of(split(batch)[0]) if one.is_floating_point()]


def with_images(batch: Batch, images: list[Tensor]) -> Batch:
    left = iter(images)
    inputs = _exchanged(split(batch)[0], lambda: next(left))
    if isinstance(batch, Mapping):
        return {**batch, next(key for key in IMAGE_KEYS if key in batch): inputs}
    return (inputs, *batch[1:])


def _exchanged(value: Any, following: Callable[[], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return following() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _exchanged(one, following) for key, one in value.items()}
    return type(value)([_exchanged(one, following) for one in value]) if type(value) in (tuple, list) else value
