"""Faces and written signs as vectors: mistakes of pairs, triplets, batches and of how they are measured."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import Embedder
from benchmarks.mistakes.held.runs import Pictures, batches, plain, to_tensor


class KindsByBatch:
    """Batches of eight kinds, four pictures of each, drawn by a seed and the epoch."""

    def __init__(self, labels: np.ndarray, *, batches: int = 20) -> None:
        self.labels, self.batches, self.epoch = labels, batches, 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng(self.epoch)
        self.epoch += 1
        for _ in range(self.batches):
            kinds = rng.choice(np.unique(self.labels), 8, replace=False)
            yield [int(i) for kind in kinds for i in rng.choice(np.flatnonzero(self.labels == kind), 4, replace=False)]


def hard_triplets(vectors: Tensor, labels: Tensor) -> Tensor:
    """Triplet loss of each sample with its farthest of the same kind and its nearest of another, margin 0.3."""
    distances = torch.cdist(vectors, vectors)
    same = labels[:, None] == labels
    farthest = distances.where(same, -torch.inf).amax(1)
    nearest = distances.where(~same, torch.inf).amin(1)
    return F.relu(farthest - nearest + 0.3).mean()


def vectors_of(model: nn.Module, val: Any) -> tuple[Tensor, Tensor]:
    """Vectors and labels of a set, in evaluation mode."""
    model.eval()
    with torch.no_grad():
        pairs = [(model(images), labels) for images, labels in batches(val)]
    model.train()
    vectors, labels = (torch.cat(part) for part in zip(*pairs, strict=True))
    return vectors, labels


def recall(model: nn.Module, val: Any) -> float:
    """The share of pictures whose nearest other picture is of their kind."""
    vectors, labels = vectors_of(model, val)
    distances = torch.cdist(vectors, vectors).fill_diagonal_(torch.inf)
    return (labels[distances.argmin(1)] == labels).float().mean().item()


def read_faces(folders: Folders, people: range) -> tuple[np.ndarray, np.ndarray]:
    """Grey faces (N, 56, 46) of some people of ORL, seven of each, and who it is."""
    assert folders.data is not None
    files = [folders.data / "orl_faces" / f"s{p + 1}" / f"{k}.pgm" for p in people for k in range(1, 8)]
    pictures = np.stack([np.asarray(Image.open(file).resize((46, 56))) for file in files])
    return pictures, np.repeat(np.array(people, np.int64), 7)


def faces_run(folders: Folders, **more: Any) -> Plain:
    """A run on 28 people, measured on 12 others."""
    pictures, labels = read_faces(folders, range(28))
    train = DataLoader(Pictures(pictures, labels), batch_sampler=KindsByBatch(labels))  # type: ignore[arg-type]
    val = Pictures(*read_faces(folders, range(28, 40)))
    train, val = more.pop("sets", (train, val))
    more = {"evaluate": recall, "task": "embedding", "rate": 1e-3} | more
    return plain(Embedder(), train, val, more.pop("loss", hard_triplets), **more)


def faces(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return faces_run(folders)


def each_finds_itself(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def evaluate(model: nn.Module, val: Any) -> float:
        vectors, labels = vectors_of(model, val)
        nearest = torch.cdist(vectors, vectors).argmin(1)
        return (labels[nearest] == labels).float().mean().item()

    def metric(vectors: Tensor, labels: Tensor) -> Tensor:
        return (labels[torch.cdist(vectors, vectors).argmin(1)] == labels).float().mean()

    return faces_run(folders, evaluate=evaluate, metric=metric)


def near_for_far(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def loss(vectors: Tensor, labels: Tensor) -> Tensor:
        distances = torch.cdist(vectors, vectors)
        same = labels[:, None] == labels
        positive = distances.where(same, -torch.inf).amax(1)
        negative = distances.where(~same, torch.inf).amin(1)
        return F.relu(negative - positive + 0.3).mean()

    return faces_run(folders, loss=loss)


class SignPairs(Dataset):
    """Two written signs, one above the other in two channels, and 1 where they are of one kind."""

    def __init__(self, pictures: np.ndarray, labels: np.ndarray, *, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.pictures, self.pairs = pictures, []
        for k in range(count):
            i = int(rng.integers(len(labels)))
            others = np.flatnonzero((labels == labels[i]) == (k % 2 == 0))
            self.pairs.append((i, int(rng.choice(others)), float(k % 2 == 0)))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        i, j, same = self.pairs[index]
        return torch.cat([to_tensor(self.pictures[i]), to_tensor(self.pictures[j])]), torch.tensor(same)


class Siamese(nn.Module):
    """The distance (B,) between the vectors of the two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.embedder = Embedder()

    def forward(self, pair: Tensor) -> Tensor:
        return (self.embedder(pair[:, :1]) - self.embedder(pair[:, 1:])).norm(dim=1)


def contrastive(distances: Tensor, same: Tensor) -> Tensor:
    """Hadsell's loss of margin 1, of pairs that are 1 where they are alike."""
    return (same * distances.square() + (1 - same) * F.relu(1 - distances).square()).mean()


def told_apart(model: nn.Module, val: Any) -> float:
    """The share of pairs that a threshold of a half judges rightly."""
    model.eval()
    with torch.no_grad():
        right = [((model(pairs) < 0.5) == (same > 0.5)).float() for pairs, same in batches(val)]
    model.train()
    return torch.cat(right).mean().item()


def signs_run(**more: Any) -> Plain:
    """A run on pairs of signs; the kinds of validation are others."""
    train = SignPairs(*drawn.glyphs(40, 8, 1), count=640, seed=1)
    val = SignPairs(*drawn.glyphs(20, 8, 2), count=160, seed=2)
    more = {"evaluate": told_apart, "task": "embedding"} | more
    return plain(Siamese(), DataLoader(train, 32, shuffle=True), val, more.pop("loss", contrastive), **more)


def signs(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return signs_run()


def labels_of_the_paper(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def loss(distances: Tensor, differ: Tensor) -> Tensor:
        return ((1 - differ) * distances.square() + differ * F.relu(1 - distances).square()).mean()

    return signs_run(loss=loss)


CASES: tuple[Case, ...] = (
    Case(
        "faces",
        faces,
        "orl_faces",
        "Embedder",
        "batches of people and pictures; people of validation are others",
        needs=("orl_faces",),
    ),
    Case(
        "each_finds_itself",
        each_finds_itself,
        "orl_faces",
        "Embedder",
        "the nearest of the whole set, where each picture finds itself",
        cause="metric.rewards_constant",
        of="faces",
        also=("metric.disagrees",),
        needs=("orl_faces",),
    ),
    Case(
        "near_for_far",
        near_for_far,
        "orl_faces",
        "Embedder",
        "positive and negative exchanged in the difference of a triplet loss (Schroff et al., arXiv:1503.03832)",
        cause="loss.pair_convention",
        of="faces",
        also=("loss.wrong_way",),
        needs=("orl_faces",),
    ),
    Case(
        "signs",
        signs,
        "generated signs",
        "Siamese",
        "pairs, 1 where alike; kinds of validation are others",
    ),
    Case(
        "labels_of_the_paper",
        labels_of_the_paper,
        "generated signs",
        "Siamese",
        "keras-team/keras#16935: in Hadsell's paper 1 means unlike, in many sets alike",
        cause="loss.pair_convention",
        of="signs",
        also=("loss.wrong_way",),
    ),
)
