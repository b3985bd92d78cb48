"""Nuclei on stained tissue: binary masks, a module in the manner of Lightning, answers of the picture's own size."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.mistakes.case import Case, Folders, Plain

SIZE = 64


def tissue(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey slide with dark, grainy nuclei, and where they are."""
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(height * width // 600):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        a, b = rng.uniform(3, 8, 2)
        mask |= ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1
    slow = np.sin(rows / rng.uniform(5, 12) + rng.uniform(0, 6)) * np.cos(columns / rng.uniform(5, 12))
    picture = 0.7 + 0.07 * slow - 0.25 * mask + rng.normal(0, 0.07, mask.shape)
    return picture.clip(0, 1).astype(np.float32), mask


class Slides:
    """Batches of arrays in memory, reshuffled and turned each time that they are run through."""

    def __init__(self, seed: int, count: int, batch: int, *, training: bool) -> None:
        rng = np.random.default_rng(seed)
        pairs = [tissue(rng, SIZE, SIZE) for _ in range(count)]
        self.images = torch.from_numpy(np.stack([image for image, _ in pairs]))[:, None]
        self.masks = torch.from_numpy(np.stack([mask for _, mask in pairs]))[:, None].float()
        self.batch, self.training = batch, training

    def __len__(self) -> int:
        return len(self.images) // self.batch

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        order = torch.randperm(len(self.images)) if self.training else torch.arange(len(self.images))
        for start in range(0, len(self) * self.batch, self.batch):
            chosen = order[start : start + self.batch]
            images, masks = self.images[chosen], self.masks[chosen]
            if self.training:
                turns = int(torch.randint(4, ()))
                images, masks = images.rot90(turns, (2, 3)), masks.rot90(turns, (2, 3))
            yield images, masks


def _unit(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class PooledContext(nn.Module):
    """What the whole picture looks like, beside each position, as in DeepLabv3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_unit(width, width, 1))
        self.local = _unit(width, width)
        self.merge = _unit(2 * width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.merge(torch.cat([self.local(x), self.pooled(x).expand(-1, -1, *x.shape[2:])], 1))


def _upsampling(inputs: int, outputs: int, *, transposed: bool) -> nn.Module:
    if transposed:
        return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1), nn.ReLU())
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), _unit(inputs, outputs))


class NucleiModule(nn.Module):
    """Network, loss, optimiser and training step in one, as Lightning's modules have them."""

    def __init__(self, *, transposed: bool = False, lr: float = 2e-3) -> None:
        super().__init__()
        self.encoder = nn.Sequential(_unit(1, 16), _unit(16, 24, stride=2), _unit(24, 32, stride=2), PooledContext(32))
        self.decoder = nn.Sequential(
            _upsampling(32, 24, transposed=transposed), _upsampling(24, 16, transposed=transposed)
        )
        self.head = nn.Conv2d(16, 1, 1)
        self.lr = lr

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.decoder(self.encoder(x)))

    def loss(self, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        p = logits.sigmoid()
        overlap = (2 * (p * masks).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
        return functional.binary_cross_entropy_with_logits(logits, masks) + (1 - overlap).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def _predictor(model: nn.Module, *, centered: bool) -> Callable[[torch.Tensor], np.ndarray]:
    """The mask of a slide of any size: padded to what the network divides by, and cut back."""

    @torch.no_grad()
    def predict(picture: torch.Tensor) -> np.ndarray:
        model.eval()
        image = torch.as_tensor(picture, dtype=torch.float32).reshape(1, 1, *picture.shape[-2:])
        height, width = image.shape[2:]
        down, across = 16 - height % 16, 16 - width % 16
        top, left = (down // 2, across // 2) if centered else (0, 0)
        padded = functional.pad(image, (left, across - left, top, down - top), mode="reflect")
        return (model(padded)[0, 0, :height, :width] > 0).numpy()

    return predict


def dice(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    answer = outputs > 0
    return (2 * (answer & targets.bool()).sum() / (answer.sum() + targets.sum()).clamp(min=1)).item()


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(4)
    module = NucleiModule(transposed=mistake == "transposed")
    optimizer = module.configure_optimizers()

    def step(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        module.train()
        images, masks = batch
        loss = module.loss(module(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Plain(
        {
            "model": module,
            "train": Slides(6, 192, 2 if mistake == "two" else 12, training=True),
            "val": Slides(7, 48, 12, training=False),
            "loss": module.loss,
            "optimizer": optimizer,
            "step": step,
            "metric": dice,
            "predict": _predictor(module, centered=mistake == "centered"),
            "epochs": 25,
            "task": "segmentation",
        }
    )


_case = partial(Case, data="generated nuclei", network="convolutions with pooled context", of="later_nuclei")
CASES: tuple[Case, ...] = (
    Case(
        "later_nuclei",
        make,
        "generated nuclei",
        "convolutions with pooled context",
        "one channel, one output, Dice and cross-entropy together, batch norm behind a global pooling, own batches",
    ),
    _case(
        "later_nuclei_transposed_of_three",
        partial(make, mistake="transposed"),
        source="ConvTranspose2d(3, stride=2, output_padding=1) of many decoders; Odena et al., distill.pub 2016",
        cause="network.checkerboard",
    ),
    _case(
        "later_nuclei_batch_of_two",
        partial(make, mistake="two"),
        source="batch 2 for want of memory: DeepLabv3's pooled branch normalises two numbers a channel",
        cause="norm.small_batch",
        also=("norm.train_eval_gap",),
    ),
    _case(
        "later_nuclei_padded_in_the_middle",
        partial(make, mistake="centered"),
        source="padding on both sides (albumentations' PadIfNeeded centres) and the answer cut from the corner",
        cause="predict.size",
    ),
)
