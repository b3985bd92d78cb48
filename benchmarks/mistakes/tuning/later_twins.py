"""Whether two portraits show one person: a twin network, pairs stacked in one tensor, the contrastive loss."""

from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

MARGIN = 1.0


def _people(folders: Folders, numbers: range) -> torch.Tensor:
    """Portraits of (people, 7, 1, 56, 46)."""
    if folders.data is None:
        raise FileNotFoundError("orl_faces: give the folder of the public sets")
    people = []
    for person in numbers:
        portraits = []
        for number in range(1, 8):
            with Image.open(folders.data / "orl_faces" / f"s{person}" / f"{number}.pgm") as opened:
                portraits.append(np.array(opened.resize((46, 56)), dtype=np.float32) / 127.5 - 1)
        people.append(np.stack(portraits))
    return torch.from_numpy(np.stack(people))[:, :, None]


class FacePairs(Dataset):
    """Half of the pairs show one person (target 1), half two (target 0); training draws them anew."""

    def __init__(self, people: torch.Tensor, count: int, *, training: bool, column: bool) -> None:
        self.people, self.count, self.training, self.column = people, count, training, column

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = None if self.training else torch.Generator().manual_seed(index)
        same = index % 2 == 0
        first, second = torch.randperm(len(self.people), generator=generator)[:2].tolist()
        one, other = torch.randperm(7, generator=generator)[:2].tolist()
        pair = torch.stack([self.people[first, one], self.people[first if same else second, other]])
        if self.training and torch.rand(()) < 0.5:
            pair = pair.flip(3)
        return pair, torch.tensor([float(same)] if self.column else float(same))


class TwinNet(nn.Module):
    """Two vectors (B, 2, 32) of two portraits (B, 2, 1, H, W), by the same layers."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 16), (16, 32), (32, 48)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(48 * 7 * 6, 32))

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        vectors = self.features(pairs.flatten(0, 1))
        return nn.functional.normalize(vectors, dim=1).reshape(*pairs.shape[:2], -1)


def distance(outputs: torch.Tensor) -> torch.Tensor:
    return (outputs[:, 0] - outputs[:, 1]).square().sum(1).add(1e-8).sqrt()


def contrastive(outputs: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Pulls pairs of one person together, and pushes others apart up to a margin."""
    d = distance(outputs)
    return (same * d.square() + (1 - same) * (MARGIN - d).clamp(min=0).square()).mean()


def contrastive_of_hadsell(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Equation 4 of Hadsell et al. 2006, where y is 1 of a dissimilar pair."""
    d = distance(outputs)
    return ((1 - y) * d.square() + y * (MARGIN - d).clamp(min=0).square()).mean()


@torch.no_grad()
def verification(model: nn.Module, val: DataLoader) -> float:
    """Share of right answers at the best threshold."""
    model.eval()
    return _best(model, val)


@torch.no_grad()
def verification_as_is(model: nn.Module, val: DataLoader) -> float:
    model.train()  # the loop before measured the loss so
    return _best(model, val)


def _best(model: nn.Module, val: DataLoader) -> float:
    rows = [(distance(model(pairs)), same.flatten()) for pairs, same in val]
    distances, same = (torch.cat(column) for column in zip(*rows, strict=True))
    return max(((distances < t) == same.bool()).float().mean().item() for t in distances.tolist())


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(19)
    column = mistake == "column"
    train = FacePairs(_people(folders, range(1, 31)), 320, training=True, column=column)
    val = FacePairs(_people(folders, range(31, 41)), 80, training=False, column=column)
    model = TwinNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Plain(
        {
            "model": model,
            "train": DataLoader(train, batch_size=16, shuffle=True, drop_last=True),
            "val": DataLoader(val, batch_size=8),
            "loss": contrastive_of_hadsell if mistake == "hadsell" else contrastive,
            "optimizer": optimizer,
            "evaluate": verification_as_is if mistake == "train_mode" else verification,
            "epochs": 40,
            "task": "embedding",
        }
    )


_case = partial(Case, data="orl_faces", network="twin network", of="later_twins", needs=("orl_faces",))
CASES: tuple[Case, ...] = (
    Case(
        "later_twins",
        make,
        "orl_faces",
        "twin network",
        "five-dimensional inputs, pairs drawn anew, people of validation are others; vectors of length one",
        needs=("orl_faces",),
    ),
    _case(
        "later_twins_same_is_one",
        partial(make, mistake="hadsell"),
        source="Hadsell, Chopra & LeCun 2006 call a dissimilar pair 1; the pairs of this set say 1 of the same person",
        cause="loss.pair_convention",
        also=("loss.wrong_way",),
    ),
    _case(
        "later_twins_column_of_targets",
        partial(make, mistake="column"),
        source="targets of (B, 1) beside distances of (B,): a loss of (B, B) without a word; Siamese tutorials",
        cause="network.broadcast",
    ),
    _case(
        "later_twins_measured_in_training_mode",
        partial(make, mistake="train_mode"),
        source="one loop for both phases that leaves the mode as training had it",
        cause="metric.train_mode",
    ),
)
