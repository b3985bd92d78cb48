"""Vectors that are compared: faces by an angular margin, and generated signs in pairs."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler

from benchmarks.mistakes.case import Case, Folders, Plain

PEOPLE = [f"s{number}" for number in range(1, 41)]


class Faces(Dataset):
    """Pictures of a folder for each person; the first five of each are learned from."""

    def __init__(self, root: Path, numbers: range, people: list[str] = PEOPLE) -> None:
        self.classes = people
        self.samples = [
            (str(root / person / f"{number}.pgm"), label) for label, person in enumerate(people) for number in numbers
        ]
        self.images = [read_face(path) for path, _ in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.samples[index][1]


def read_face(path: str) -> Tensor:
    with Image.open(path) as picture:
        small = picture.convert("L").resize((46, 56), Image.BILINEAR)
    return (torch.from_numpy(np.asarray(small).copy()).float()[None] / 255 - 0.44) / 0.2


class Embedder(nn.Module):
    def __init__(self, width: int = 16, dim: int = 64) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 1
        for wide in (width, 2 * width, 4 * width, 4 * width):
            stages += [nn.Conv2d(before, wide, 3, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.PReLU(wide)]
            before = wide
        self.stages = nn.Sequential(*stages)
        self.neck = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(before * 4 * 3, dim), nn.BatchNorm1d(dim))

    def forward(self, faces: Tensor) -> Tensor:
        return self.neck(self.stages(faces))


class ArcFace(nn.Module):
    """Deng et al. 2019: cross-entropy over scaled cosines, the right one's angle made larger by a margin."""

    def __init__(self, dim: int, people: int, scale: float = 16.0, margin: float = 0.2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(people, dim))
        nn.init.xavier_uniform_(self.weight)
        self.scale, self.margin = scale, margin

    def forward(self, vectors: Tensor, labels: Tensor) -> Tensor:
        cosine = F.linear(F.normalize(vectors), F.normalize(self.weight)).clamp(-1 + 1e-6, 1 - 1e-6)
        harder = torch.cos(torch.acos(cosine) + self.margin)
        right = F.one_hot(labels, len(self.weight)).bool()
        return F.cross_entropy(self.scale * torch.where(right, harder, cosine), labels)


class OnePersonABatch(Sampler[list[int]]):
    """Batches of all pictures of a person, as miners of hard pairs like them, people in drawn order."""

    def __init__(self, labels: list[int]) -> None:
        self.of = {label: [at for at, other in enumerate(labels) if other == label] for label in sorted(set(labels))}

    def __len__(self) -> int:
        return len(self.of)

    def __iter__(self) -> Iterator[list[int]]:
        for label in torch.randperm(len(self.of)).tolist():
            yield self.of[label]


def embed(model: nn.Module, loader: DataLoader) -> tuple[Tensor, Tensor]:
    model.eval()
    with torch.no_grad():
        parts = [(F.normalize(model(images)), labels) for images, labels in loader]
    return torch.cat([vectors for vectors, _ in parts]), torch.cat([labels for _, labels in parts])


def embed_as_in_the_loop(model: nn.Module, loader: DataLoader) -> tuple[Tensor, Tensor]:
    vectors, labels = [], []
    model.train()
    for images, people in loader:
        with torch.no_grad():
            vectors.append(F.normalize(model(images)))
        labels.append(people)
    return torch.cat(vectors), torch.cat(labels)


def faces_run(
    folders: Folders,
    *,
    embedding: Callable[[nn.Module, DataLoader], tuple[Tensor, Tensor]] = embed,
    with_margin: bool = True,
    by_person: bool = False,
    listed: bool = False,
) -> Plain:
    torch.manual_seed(5)
    root = folders.data / "orl_faces"  # type: ignore[operator]
    train, val = Faces(root, range(1, 6)), Faces(root, range(6, 8))
    model, loss = Embedder(), ArcFace(64, len(PEOPLE))
    learned = [*model.parameters(), *loss.parameters()] if with_margin else list(model.parameters())
    optimizer = torch.optim.Adam(learned, lr=1e-3)
    if by_person:
        loader = DataLoader(train, batch_sampler=OnePersonABatch([label for _, label in train.samples]))
    else:
        loader = DataLoader(train, 20, shuffle=True, drop_last=True)
    gallery = DataLoader(train, 50)
    names = sorted(at.name for at in root.iterdir() if at.is_dir()) if listed else list(train.classes)

    def rank_one(network: nn.Module, probes: DataLoader) -> float:
        """Share of the pictures whose nearest among those learned from is of the same person."""
        known, people = embedding(network, gallery)
        asked, truth = embedding(network, probes)
        return float((people[(asked @ known.T).argmax(1)] == truth).float().mean())

    def who(path: str) -> str:
        model.eval()
        with torch.no_grad():
            vector = F.normalize(model(read_face(path)[None]))
        return names[int((vector @ F.normalize(loss.weight).T).argmax())]

    return Plain(
        {
            "model": model,
            "train": loader,
            "val": DataLoader(val, 20),
            "loss": loss,
            "optimizer": optimizer,
            "evaluate": rank_one,
            "predict": who,
            "classes": train.classes,
            "epochs": 30,
            "task": "embedding",
        }
    )


# Pairs of generated signs ----------------------------------------------------------------


def draw_sign(strokes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One writing of a sign: its strokes moved a little, turned, on uneven paper."""
    image = Image.new("L", (32, 32), int(rng.integers(170, 230)))
    pen = ImageDraw.Draw(image)
    angle, size = rng.normal(0, 0.12), rng.uniform(0.85, 1.1)
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = 16 + rng.uniform(-2, 2, 2)
    for stroke in strokes:
        points = (stroke + rng.normal(0, 0.5, stroke.shape)) @ turn.T + shift
        pen.line([tuple(point) for point in points], fill=int(rng.integers(10, 70)), width=2)
    return np.asarray(image).astype(np.float32) / 255 + rng.normal(0, 0.04, (32, 32)).astype(np.float32)


class Pairs(Dataset):
    """Two writings, and whether they are of one sign: (2, 1, 32, 32), 1 or 0."""

    def __init__(self, count: int, seed: int, signs: int = 30) -> None:
        shapes = np.random.default_rng(99).uniform(-11, 11, (signs, 3, 2, 2))
        rng = np.random.default_rng(seed)
        self.pairs = []
        for index in range(count):
            same = index % 2
            first = int(rng.integers(signs))
            second = first if same else int((first + rng.integers(1, signs)) % signs)
            both = np.stack([draw_sign(shapes[first], rng), draw_sign(shapes[second], rng)])[:, None]
            self.pairs.append((torch.from_numpy((both - 0.7) / 0.25).float(), float(same)))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair, same = self.pairs[index]
        return pair, torch.tensor(same)


class Siamese(nn.Module):
    """Both pictures of a pair through one network: (B, 2, 1, H, W) to (B, 2, 32)."""

    def __init__(self, *, interleaved: bool = True) -> None:
        super().__init__()
        self.interleaved = interleaved
        self.trunk = nn.Sequential(
            *(nn.Conv2d(1, 24, 5, 2, 2), nn.GroupNorm(4, 24), nn.ReLU()),
            *(nn.Conv2d(24, 48, 3, 2, 1), nn.GroupNorm(4, 48), nn.ReLU()),
            *(nn.Conv2d(48, 64, 3, 2, 1), nn.GroupNorm(4, 64), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(64 * 16, 32)),
        )

    def forward(self, pairs: Tensor) -> Tensor:
        count = len(pairs)
        if self.interleaved:
            vectors = self.trunk(pairs.flatten(0, 1))
        else:
            vectors = self.trunk(torch.cat([pairs[:, 0], pairs[:, 1]]))
        return F.normalize(vectors, dim=1).view(count, 2, -1)


def contrastive(vectors: Tensor, same: Tensor, margin: float = 1.0) -> Tensor:
    """Hadsell et al. 2006, of pairs that are the same where `same` is 1."""
    distance = (vectors[:, 0] - vectors[:, 1]).pow(2).sum(1).add(1e-9).sqrt()
    return (same * distance.pow(2) + (1 - same) * (margin - distance).clamp(min=0).pow(2)).mean() / 2


def contrastive_of_the_paper(vectors: Tensor, label: Tensor, margin: float = 1.0) -> Tensor:
    distance = F.pairwise_distance(vectors[:, 0], vectors[:, 1])
    similar = (1 - label) * 0.5 * distance.pow(2)
    dissimilar = label * 0.5 * torch.clamp(margin - distance, min=0.0).pow(2)
    return torch.mean(similar + dissimilar)


def told_apart(vectors: Tensor, same: Tensor) -> Tensor:
    """Share of the pairs that a distance of half the margin tells rightly."""
    near = (vectors[:, 0] - vectors[:, 1]).norm(dim=1) < 0.5
    return (near == same.bool()).float().mean()


def pairs_run(
    folders: Folders,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = contrastive,
    interleaved: bool = True,
) -> Plain:
    torch.manual_seed(6)
    train, val = Pairs(640, 51), Pairs(200, 52)
    model = Siamese(interleaved=interleaved)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 32, shuffle=True, drop_last=True),
            "val": DataLoader(val, 50),
            "loss": loss,
            "optimizer": optimizer,
            "metric": told_apart,
            "epochs": 12,
            "task": "embedding",
        }
    )


def _face(name: str, make: Callable[[Folders], Plain], source: str, **more: Any) -> Case:
    return Case(name, make, "orl_faces", "4 convolutions, PReLU", source, needs=("orl_faces",), **more)


def _pair(name: str, make: Callable[[Folders], Plain], source: str, **more: Any) -> Case:
    return Case(name, make, "generated signs", "siamese, group norm", source, **more)


FACES, SIGNS = "faces_of_orl_by_angular_margin", "signs_compared_in_pairs"
CASES = (
    _face(FACES, faces_run, "The loss has parameters of its own; the score is a search."),
    _pair(SIGNS, pairs_run, "A sample is two pictures; the network's output has an axis for the pair."),
    _face(
        "directions_of_people_are_not_in_the_optimizer",
        partial(faces_run, with_margin=False),
        "wujiyang/Face_Pytorch issue 10 and KevinMusgrave/pytorch-metric-learning issue 534: ArcFace's weights belong "
        "to the loss, and model.parameters() does not hold them.",
        cause="optim.missing_parameters",
        of=FACES,
    ),
    _face(
        "a_batch_is_one_person",
        partial(faces_run, by_person=True),
        "A sampler that was written for mining within a person is kept for a loss over all; batch norm and each step "
        "then see one face.",
        cause="norm.alike_batch",
        of=FACES,
        also=("optim.not_shuffled",),
    ),
    _face(
        "vectors_for_the_score_are_made_in_training_mode",
        partial(faces_run, embedding=embed_as_in_the_loop),
        "The loop over batches is copied from training, model.train() with it; dropout is active.",
        cause="metric.train_mode",
        of=FACES,
    ),
    _face(
        "names_listed_as_text_s1_s10_s11",
        partial(faces_run, listed=True),
        "Training numbers people by their number, the program that answers takes the folders sorted as text.",
        cause="predict.class_order",
        of=FACES,
    ),
    _pair(
        "one_means_different_as_in_the_paper",
        partial(pairs_run, loss=contrastive_of_the_paper),
        "Hadsell et al. 2006 write Y = 0 for similar pairs; data sets mark the same person with 1.",
        cause="loss.pair_convention",
        of=SIGNS,
    ),
    _pair(
        "halves_joined_and_viewed_as_pairs",
        partial(pairs_run, interleaved=False),
        "torch.cat of first and second pictures, then view(B, 2, D) as if they alternated; chunk(2) was meant.",
        cause="network.batch_mixing",
        of=SIGNS,
    ),
)
