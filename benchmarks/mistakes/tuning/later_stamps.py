"""Stamps found again by vectors: a prototype of each, cosine logits with scale and margin (Wang et al. 2018)."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from benchmarks.mistakes.case import Case, Folders, Plain

STAMPS, FRAMES, SIZE = 16, 16, 40


def _design(rng: np.random.Generator) -> np.ndarray:
    """A pattern of 6x6 patches in three inks."""
    return np.kron(rng.integers(0, 3, (6, 6)), np.ones((4, 4), int))


def _ground(rng: np.random.Generator, height: int, width: int, ends: tuple[int, int]) -> np.ndarray:
    """Soft patches of colour, other ones in each picture."""
    coarse = Image.fromarray(rng.integers(*ends, (5, 5, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)


def _view(rng: np.random.Generator, design: np.ndarray, inks: np.ndarray) -> np.ndarray:
    picture = _ground(rng, SIZE, SIZE, (10, 150))
    size = rng.integers(20, 31)
    y, x = rng.integers(0, SIZE - size + 1, 2)
    rows = np.arange(size) * len(design) // size
    picture[y : y + size, x : x + size] = inks[design[np.ix_(rows, rows)]]
    return (picture * rng.uniform(0.75, 1.25) + rng.normal(0, 10, picture.shape)).clip(0, 255).astype(np.uint8)


class Stamps(Dataset):
    """Views of the stamps, as frames of one video a stamp."""

    def __init__(self, seed: int, frames: int) -> None:
        designs = np.random.default_rng(3)
        kinds = [(_design(designs), designs.uniform(60, 230, (3, 3))) for _ in range(STAMPS)]
        rng = np.random.default_rng(seed)
        self.frames = [_view(rng, *kind) for kind in kinds for _ in range(frames)]
        self.targets = [number for number in range(STAMPS) for _ in range(frames)]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.frames[index]).permute(2, 0, 1) / 255.0 - 0.4, self.targets[index]


class OneVideoABatch(Sampler[list[int]]):
    """Keeps the frames of a video together, so that it is decoded once; the order of the videos is random."""

    def __init__(self, targets: list[int]) -> None:
        self.videos = [[i for i, kind in enumerate(targets) if kind == video] for video in sorted(set(targets))]

    def __len__(self) -> int:
        return len(self.videos)

    def __iter__(self) -> Iterator[list[int]]:
        for video in torch.randperm(len(self.videos)).tolist():
            yield [self.videos[video][i] for i in torch.randperm(len(self.videos[video])).tolist()]


class StampNet(nn.Module):
    """Vectors of length one, and the prototypes that its loss compares them with."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 48)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.backbone = nn.Sequential(*layers, nn.Flatten(), nn.Linear(48 * 25, 32))
        self.prototypes = nn.Parameter(torch.randn(STAMPS, 32))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return functional.normalize(self.backbone(images), dim=1)


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(23)
    train, val = Stamps(41, FRAMES), Stamps(42, 4)
    model = StampNet()

    def loss(vectors: torch.Tensor, numbers: torch.Tensor, scale: float = 8.0, margin: float = 0.1) -> torch.Tensor:
        cosines = vectors @ functional.normalize(model.prototypes, dim=1).T
        return functional.cross_entropy(scale * (cosines - margin * functional.one_hot(numbers, STAMPS)), numbers)

    if mistake == "video":
        loader = DataLoader(train, batch_sampler=OneVideoABatch(train.targets))
    else:
        loader = DataLoader(train, batch_size=16, shuffle=True)
    trained = model.backbone.parameters() if mistake == "backbone" else model.parameters()
    return Plain(
        {
            "model": model,
            "train": loader,
            "val": DataLoader(val, batch_size=16),
            "loss": loss,
            "optimizer": torch.optim.SGD(trained, lr=0.02, momentum=0.9, weight_decay=5e-4),
            "epochs": 40,
            "task": "embedding",
        }
    )


_case = partial(Case, data="generated stamps", network="cosine prototypes", of="later_stamps")
CASES: tuple[Case, ...] = (
    Case(
        "later_stamps",
        make,
        "generated stamps",
        "cosine prototypes",
        "a parameter that the loss alone uses, a margin in the loss, outputs of length one",
    ),
    _case(
        "later_stamps_prototypes_not_trained",
        partial(make, mistake="backbone"),
        source="the margin head's weights are not among backbone.parameters(): pytorch-metric-learning's "
        "documentation asks for an optimiser of its own for them",
        cause="optim.missing_parameters",
    ),
    _case(
        "later_stamps_one_video_a_batch",
        partial(make, mistake="video"),
        source="a batch sampler that keeps a video's frames together, to decode it once",
        cause="norm.alike_batch",
        also=("optim.not_shuffled",),
    ),
)
