"""A small convolutional network, trained within a time on parts of a set, that says of each part what the others teach.

Cross-validation: the set is cut into folds, and a network trained on all folds but one gives the scores of that one.
The learning rate follows the time that has passed, so that training is whole however slow the machine is.
"""

import time
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unpool.checks.seen import SMALL
from unpool.data.seeding import shared_restored
from unpool.training.speed import has_fast_bf16

FOLDS, EPOCHS, BATCH = 3, 10, 128
RATE, MOMENTUM, DECAY, RISE = 0.2, 0.9, 5e-4, 0.2  # SGD; the rate rises for a fifth of the time, then falls to 0
WIDTHS = (32, 64, 128)
SHIFT = 2  # pixels at most


class Judge(NamedTuple):
    """How the networks are trained.

    Attributes:
        classes: in all.
        seconds: for all folds.
        is_mirrored: pictures may be mirrored.
        device: of the networks.
        seed: of weights, order and augmentation.
    """

    classes: int
    seconds: float
    is_mirrored: bool
    device: torch.device
    seed: int


def cross_scores(judge: Judge, images: Tensor, labels: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (N, classes) of images (N, C, 32, 32), by networks that saw other folds only, and of other images.

    Each of the others is judged by one of the networks, as the images are.
    """
    mean, deviation = images.mean(), images.std().clamp_min(1e-6)
    scores = torch.zeros(len(images), judge.classes)
    other_scores = torch.zeros(len(others), judge.classes)
    with shared_restored():
        torch.manual_seed(judge.seed)
        folds, other_folds = torch.randperm(len(images)) % FOLDS, torch.randperm(len(others)) % FOLDS
        for fold in range(FOLDS):
            rest = (folds != fold).nonzero().flatten()
            network = _network(images.shape[1], judge.classes).to(judge.device)
            normed = _Normed(mean, deviation, judge.device)
            _train(network, judge, images, labels, rest, normed)
            for values, made, which in ((images, scores, folds), (others, other_scores, other_folds)):
                chosen = (which == fold).nonzero().flatten()
                for some in chosen.split(500):
                    made[some] = _probabilities(network, judge, normed(values[some]))
    return scores, other_scores


class _Normed(NamedTuple):
    mean: Tensor
    deviation: Tensor
    device: torch.device

    def __call__(self, images: Tensor) -> Tensor:
        normed = (images - self.mean) / self.deviation
        return normed.to(self.device).contiguous(memory_format=torch.channels_last)


def _network(channels: int, classes: int) -> nn.Sequential:
    """Six convolutions: half the side at once, then twice by pooling."""
    first, second, third = WIDTHS
    return nn.Sequential(
        *_normed_convolution(channels, first, kernel=4, stride=2),
        *_normed_convolution(first, first),
        *_normed_convolution(first, second),
        nn.MaxPool2d(2),
        *_normed_convolution(second, second),
        *_normed_convolution(second, third),
        nn.MaxPool2d(2),
        *_normed_convolution(third, third),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(third, classes),
    )


def _normed_convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()


def _train(network: nn.Module, judge: Judge, images: Tensor, labels: Tensor, rest: Tensor, normed: _Normed) -> None:
    """Trains on the samples `rest` for some epochs, or as many as there is time for."""
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=DECAY, nesterov=True)
    a_pass = max(1, len(rest) // BATCH)
    start, steps, order = time.monotonic(), EPOCHS * a_pass, rest
    network.train()
    for step in range(steps):
        done = max(step / steps, (time.monotonic() - start) * FOLDS / judge.seconds)
        if done >= 1:
            break
        if step % a_pass == 0:
            order = rest[torch.randperm(len(rest))]
        some = order[step % a_pass * BATCH :][:BATCH]
        optimizer.param_groups[0]["lr"] = RATE * min(done / RISE, (1 - done) / (1 - RISE))
        with _half(judge.device):
            outputs = network(_moved(normed(images[some]), is_mirrored=judge.is_mirrored))
        loss = F.cross_entropy(outputs.float(), labels[some].to(judge.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _moved(images: Tensor, *, is_mirrored: bool) -> Tensor:
    """Pictures at another place, all of a batch at the same one, and half of them mirrored."""
    top, left = torch.randint(2 * SHIFT + 1, (2,)).tolist()
    images = F.pad(images, (SHIFT,) * 4, mode="replicate")[..., top : top + SMALL, left : left + SMALL]
    if is_mirrored:
        half = len(images) // 2
        images = torch.cat([images[:half].flip(-1), images[half:]])
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _probabilities(network: nn.Module, judge: Judge, images: Tensor) -> Tensor:
    network.eval()
    with _half(judge.device):
        outputs = network(images).float()
        if judge.is_mirrored:
            outputs = (outputs + network(images.flip(-1)).float()) / 2
    return outputs.softmax(1).cpu()


def _half(device: torch.device) -> torch.autocast:
    """bfloat16 where the device multiplies in it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device))
