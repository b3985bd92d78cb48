"""Joints of puppets that look at the viewer: points between 0 and 1, two annotators' orders, mirrored pictures."""

from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

JOINTS = ("head", "left_hand", "right_hand", "left_foot", "right_foot")
SWAPPED = [0, 2, 1, 4, 3]  # the same order for whoever names the right side first
SIZE = 64


def _ground(rng: np.random.Generator, height: int, width: int, ends: tuple[int, int]) -> np.ndarray:
    """Soft patches of colour, other ones in each picture."""
    coarse = Image.fromarray(rng.integers(*ends, (5, 5, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)


def _stroke(picture: np.ndarray, start: np.ndarray, end: np.ndarray, color: np.ndarray) -> None:
    for t in np.linspace(0, 1, 30):
        x, y = (start + t * (end - start)).round().astype(int)
        picture[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = color


def puppet(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A puppet before a wall, and its joints (x, y); its left is at the picture's right."""
    picture = _ground(rng, SIZE, SIZE, (100, 210)) + rng.normal(0, 8, (SIZE, SIZE, 3))
    neck = np.array([rng.uniform(27, 37), rng.uniform(20, 26)])
    hip = neck + np.array([rng.normal(0, 2), rng.uniform(13, 17)])
    head = neck + np.array([rng.normal(0, 1.5), -6])
    hands = [neck + np.array([side * rng.uniform(9, 15), rng.uniform(-8, 14)]) for side in (1, -1)]
    feet = [hip + np.array([side * rng.uniform(2, 10), rng.uniform(13, 17)]) for side in (1, -1)]
    color = rng.uniform(0, 80, 3)
    for start, end in ((neck, hip), (neck, hands[0]), (neck, hands[1]), (hip, feet[0]), (hip, feet[1])):
        _stroke(picture, start, end, color)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    picture[(columns - head[0]) ** 2 + (rows - head[1]) ** 2 < 22] = color
    for side in (-2, 2):
        picture[(columns - head[0] - side) ** 2 + (rows - head[1] + 1) ** 2 < 1.5] = 250
    return picture.clip(0, 255).astype(np.uint8), np.stack([head, *hands, *feet]).astype(np.float32)


def mirrored(image: torch.Tensor, joints: torch.Tensor, *, exchange: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Half of the time the puppet as in a mirror, where left is right."""
    if torch.rand(()) < 0.5:
        image, joints = image.flip(2), joints.clone()
        joints[:, 0] = 1 - joints[:, 0]
        if exchange:
            joints = joints[SWAPPED]
    return image, joints


class Puppets(Dataset):
    def __init__(self, seed: int, count: int, *, order: list[int] | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.samples = [puppet(rng) for _ in range(count)]
        if order is not None:
            self.samples = [(picture, joints[order]) for picture, joints in self.samples]
        self.unit, self.augment = float(SIZE), None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        picture, joints = self.samples[index]
        image = torch.from_numpy(picture).permute(2, 0, 1) / 127.5 - 1
        points = torch.from_numpy(joints) / self.unit
        return (image, points) if self.augment is None else self.augment(image, points)


class PuppetNet(nn.Module):
    """Convolutions with group norm, and a layer that answers all joints."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 24), (24, 32)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(4, outputs), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.regress = nn.Sequential(nn.Linear(32 * 64, 64), nn.ReLU(), nn.Linear(64, 2 * len(JOINTS)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.regress(self.trunk(x)).reshape(-1, len(JOINTS), 2)


def pck(outputs: torch.Tensor, targets: torch.Tensor, radius: float = 4.0) -> float:
    """Share of joints within a radius, in pixels."""
    return ((outputs - targets).norm(dim=2) * SIZE < radius).float().mean().item()


def pck_of_pixels(outputs: torch.Tensor, targets: torch.Tensor, radius: float = 4.0) -> float:
    """The same with targets in pixels, as the annotations are."""
    return ((outputs * SIZE - targets).norm(dim=2) < radius).float().mean().item()


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(15)
    train = Puppets(21, 256, order=SWAPPED if mistake == "order" else None)
    val = Puppets(22, 64)
    if mistake in ("", "mirror"):
        train.augment = partial(mirrored, exchange=mistake != "mirror")
    if mistake == "pixels":
        train.unit = val.unit = 1.0
    model = PuppetNet()
    arguments = {
        "model": model,
        "train": DataLoader(train, batch_size=16, shuffle=True),
        "val": DataLoader(val, batch_size=16),
        "loss": nn.MSELoss() if mistake == "pixels" else nn.SmoothL1Loss(beta=0.05),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
        "epochs": 60,
        "task": "pose",
        "classes": JOINTS,
    }
    if train.augment is not None:
        arguments["augment"] = train.augment
    if mistake != "pixels":
        arguments["metric"] = pck_of_pixels if mistake == "metric" else pck
    return Plain(arguments)


_case = partial(Case, data="generated puppets", network="convolutions with group norm", of="later_puppets")
CASES: tuple[Case, ...] = (
    Case(
        "later_puppets",
        make,
        "generated puppets",
        "convolutions with group norm",
        "joints as numbers of 0 to 1, answered by a linear layer; a mirror that exchanges left and right",
    ),
    _case(
        "later_puppets_mirror_keeps_names",
        partial(make, mistake="mirror"),
        source="albumentations' HorizontalFlip moves keypoints and does not exchange them; its keypoints guide warns",
        cause="augment.pairs_not_swapped",
    ),
    _case(
        "later_puppets_joints_in_pixels",
        partial(make, mistake="pixels"),
        source="the annotation's pixels go to MSE as they are; DeepPose (Toshev & Szegedy 2014, 3.1) normalises them",
        cause="loss.target_scale",
        also=("network.output_at_start",),
    ),
    _case(
        "later_puppets_metric_of_old_targets",
        partial(make, mistake="metric"),
        source="targets were normalised later and the metric still takes them for pixels",
        cause="metric.not_perfect",
        also=("metric.disagrees",),
    ),
    _case(
        "later_puppets_right_first_in_train",
        partial(make, mistake="order"),
        source="MPII and LSP name right joints first, COCO left ones; train is of one, validation of the other",
        cause="data.left_right",
    ),
)
