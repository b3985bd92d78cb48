"""Images that a network answers in a second on this machine."""

import statistics
import time

import torch
from torch import nn

from unpool.tracing.recorder import evaluating

LEAST = 3  # passes that are timed, however long they take


def images_per_s(model: nn.Module, input_shape: tuple[int, ...], *, batch: int = 1, seconds: float = 1.0) -> float:
    """Times forward passes in evaluation, without gradients, and returns images by the median time.

    Args:
        model: with values, on the device to time.
        input_shape: (C, H, W) of an image.
        batch: images of a pass.
        seconds: how long passes are repeated, after one that warms up; at least three are timed.

    Example:
        >>> images_per_s(nn.Conv2d(3, 8, 3), (3, 32, 32), seconds=0.01) > 1
        True
    """
    weight = next(model.parameters(), torch.zeros(()))
    image = torch.randn(batch, *input_shape, generator=torch.Generator().manual_seed(0)).to(weight.device)
    times: list[float] = []
    with evaluating(model), torch.inference_mode():
        model(image)
        while len(times) < LEAST or sum(times) < seconds:
            _wait(weight.device)
            started = time.perf_counter()
            model(image)
            _wait(weight.device)
            times.append(time.perf_counter() - started)
    return batch / statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
