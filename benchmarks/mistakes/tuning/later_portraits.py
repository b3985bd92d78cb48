"""Denoising portraits at a level of noise that is told to the network, as FFDNet does."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

from benchmarks.mistakes.case import Case, Folders, Plain

WINDOW = 48


def _paths(folders: Folders, people: range) -> list[Path]:
    if folders.data is None:
        raise FileNotFoundError("orl_faces: give the folder of the public sets")
    return [folders.data / "orl_faces" / f"s{person}" / f"{number}.pgm" for person in people for number in range(1, 6)]


class NoisyPortraits(Dataset):
    """Noisy pictures above a plane of their level, and the clean ones."""

    def __init__(self, paths: list[Path], *, training: bool, dtype: str = "uint8") -> None:
        self.portraits = []
        for path in paths:
            with Image.open(path) as opened:
                self.portraits.append(np.array(opened, dtype=dtype))
        self.training = training

    def __len__(self) -> int:
        return len(self.portraits)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        clean = to_tensor(self.portraits[index])
        if self.training:
            y, x = (int(torch.randint(0, extent - WINDOW + 1, ())) for extent in clean.shape[1:])
            clean = clean[:, y : y + WINDOW, x : x + WINDOW]
            level, noise = torch.rand(()) * 50 / 255, torch.randn(clean.shape)
        else:
            level = torch.tensor((15, 25, 50)[index % 3] / 255)
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(index))
        return torch.cat([clean + level * noise, level.expand_as(clean)]), clean


class LevelNet(nn.Module):
    """Takes a picture and its level of noise, and subtracts the noise that it finds."""

    def __init__(self, *, with_level: bool = True, width: int = 24) -> None:
        super().__init__()
        self.with_level = with_level
        self.head = nn.Conv2d(2 if with_level else 1, width, 3, padding=1)
        self.body = nn.Sequential(
            *(layer for _ in range(4) for layer in (nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))), nn.ReLU()
        )
        self.tail = nn.Conv2d(width, 1, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.tail:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.tail.weight, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noisy = x[:, :1]
        return noisy - self.tail(self.body(self.head(x if self.with_level else noisy)))


def psnr(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    error = (outputs - targets).square().flatten(1).mean(1).clamp(min=1e-10)
    return (-10 * error.log10()).mean().item()


@torch.no_grad()
def mean_psnr(model: nn.Module, val: DataLoader) -> float:
    model.eval()
    scores = []
    for noisy, clean in val:
        error = (model(noisy) - clean).square().flatten(1).mean(1).clamp(min=1e-10)
        scores.append(-10 * error.log10())
    return torch.cat(scores).mean().item()


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(12)
    model = LevelNet(with_level=mistake != "level")
    train = NoisyPortraits(_paths(folders, range(1, 31)), training=True)
    val = NoisyPortraits(
        _paths(folders, range(31, 41))[::2], training=False, dtype="float32" if mistake == "range" else "uint8"
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    return Plain(
        {
            "model": model,
            "train": DataLoader(train, batch_size=12, shuffle=True),
            "val": DataLoader(val, batch_size=5),
            "loss": nn.MSELoss(),
            "optimizer": optimizer,
            "metric": psnr,
            "evaluate": mean_psnr,
            "schedule": torch.optim.lr_scheduler.MultiStepLR(optimizer, [600, 900], gamma=0.2),
            "epochs": 80,
            "task": "denoising",
        }
    )


_case = partial(Case, data="orl_faces", network="FFDNet-like", of="later_portraits", needs=("orl_faces",))
CASES: tuple[Case, ...] = (
    Case(
        "later_portraits",
        make,
        "orl_faces",
        "FFDNet-like",
        "a plane of the noise level beside the picture; noise is not clipped; whole portraits of 92x112 validate",
        needs=("orl_faces",),
    ),
    _case(
        "later_portraits_level_left_out",
        partial(make, mistake="level"),
        source="a network for one input channel taken over: it slices the picture off and never sees the level",
        cause="network.input_unused",
    ),
    _case(
        "later_portraits_float_arrays_validate",
        partial(make, mistake="range"),
        source="to_tensor divides by 255 only what is uint8; float arrays stay at 0 to 255 (torchvision's reference)",
        cause="data.value_range",
        also=("data.split_shift", "data.normalization"),
    ),
)
