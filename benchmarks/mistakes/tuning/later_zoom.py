"""Doubling the size of photographs: crops of pairs, an average of the weights, PSNR."""

import copy
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

SMALL = 24


def pairs(folders: Folders, numbers: range) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Photographs, and the same at half the size."""
    if folders.data is None:
        raise FileNotFoundError("bsd_denoise: give the folder of the public sets")
    files = sorted((folders.data / "bsd_denoise" / "Train400").glob("*.png"))
    found = []
    for number in numbers:
        with Image.open(files[number]) as opened:
            picture = opened.convert("L")
            small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)
            found.append(tuple(torch.from_numpy(np.array(one))[None] / 255 for one in (small, picture)))
    return found


def cropped(small: torch.Tensor, large: torch.Tensor, *, scaled: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """The same random window of both, mirrored or not."""
    y, x = (int(torch.randint(0, extent - SMALL + 1, ())) for extent in small.shape[1:])
    small = small[:, y : y + SMALL, x : x + SMALL]
    top, left = (2 * y, 2 * x) if scaled else (y, x)
    large = large[:, top : top + 2 * SMALL, left : left + 2 * SMALL]
    if torch.rand(()) < 0.5:
        small, large = small.flip(2), large.flip(2)
    return small, large


class Patches(Dataset):
    def __init__(self, pictures: list[tuple[torch.Tensor, torch.Tensor]], *, scaled: bool, repeats: int = 4) -> None:
        self.pictures, self.scaled, self.repeats = pictures, scaled, repeats

    def __len__(self) -> int:
        return self.repeats * len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return cropped(*self.pictures[index % len(self.pictures)], scaled=self.scaled)


class Doubler(nn.Module):
    """Adds to the enlarged picture what convolutions and a pixel shuffle find."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(4))
        self.last = nn.Conv2d(width, 4, 3, padding=1)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bicubic", align_corners=False)
        nn.init.normal_(self.last.weight, std=1e-3)
        nn.init.zeros_(self.last.bias)

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        x = self.first(small)
        for layer in self.body:
            x = x + 0.5 * layer(nn.functional.silu(x))
        return self.enlarge(small) + nn.functional.pixel_shuffle(self.last(x), 2)


def absolute(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    edges = sum((outputs.diff(dim=dim) - targets.diff(dim=dim)).abs().mean() for dim in (2, 3))
    return nn.functional.l1_loss(outputs, targets) + 0.1 * edges


def absolute_and_edges(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    edges = sum((outputs.diff(dim=dim) - targets.diff(dim=dim)).abs().sum() for dim in (2, 3))
    return nn.functional.l1_loss(outputs, targets) + 0.1 * edges


def psnr(outputs: torch.Tensor, targets: torch.Tensor, peak: float = 1.0) -> float:
    """Mean over the pictures."""
    error = (outputs.clamp(0, 1) - targets).square().mean((1, 2, 3)).clamp(min=1e-10)
    return (10 * torch.log10(peak**2 / error)).mean().item()


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(9)
    model = Doubler()
    average = copy.deepcopy(model).requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    loss = absolute_and_edges if mistake == "edges" else absolute
    train = Patches(pairs(folders, range(64)), scaled=mistake != "crop")
    val = [(small[:, :40, :40], large[:, :80, :80]) for small, large in pairs(folders, range(64, 88))]

    def step(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        value = loss(model(batch[0]), batch[1])
        value.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
        return value.detach()

    arguments = {
        "model": model,
        "train": DataLoader(train, batch_size=16, shuffle=True, drop_last=True),
        "val": DataLoader(val, batch_size=8),
        "loss": loss,
        "optimizer": optimizer,
        "step": step,
        "metric": partial(psnr, peak=255.0) if mistake == "peak" else psnr,
        "epochs": 60,
        "task": "denoising",
    }
    if mistake in ("", "crop"):
        arguments["augment"] = partial(cropped, scaled=mistake != "crop")
    return Plain(arguments)


_case = partial(Case, data="bsd_denoise", network="residual pixel shuffle", of="later_zoom", needs=("bsd_denoise",))
CASES: tuple[Case, ...] = (
    Case(
        "later_zoom",
        make,
        "bsd_denoise",
        "residual pixel shuffle",
        "outputs of twice the input's size, no norm, starts at bicubic; steps keep an average of the weights",
        needs=("bsd_denoise",),
    ),
    _case(
        "later_zoom_crop_not_doubled",
        partial(make, mistake="crop"),
        source="the place of the crop in the large picture is to be multiplied by the scale; forgotten in paired crops",
        cause="augment.target_left",
        also=("data.target_mismatch",),
    ),
    _case(
        "later_zoom_edges_summed",
        partial(make, mistake="edges"),
        source="a second term with .sum() beside a mean: a crop's edges weigh some thousand times as much",
        cause="loss.scale",
    ),
    _case(
        "later_zoom_psnr_of_bytes",
        partial(make, mistake="peak"),
        source="PSNR with a peak of 255 on pictures of 0 to 1: 48 dB too much; a question at every PSNR function",
        cause="metric.disagrees",
    ),
)
