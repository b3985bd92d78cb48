"""Embeddings of ORL's faces: triplets of batches of people, and a classifier with an angular margin."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from benchmarks.mistakes.case import Case, Folders, Plain

PEOPLE = 40
LEARNED = 24


def cut_out(file: Path, draw: np.random.Generator) -> Tensor:
    """A face of 48x40 in 0..1 as a detector cuts it out: never quite in the same place, in more or less light."""
    with Image.open(file) as picture:
        left, upper = draw.uniform(2, 14, 2)
        box = (left, upper, left + 76, upper + 96)
        small = picture.convert("L").resize((40, 48), Image.Resampling.BILINEAR, box=box)
    image = np.array(small, dtype=np.float32) / 255
    return torch.from_numpy((image * draw.uniform(0.7, 1.2)).clip(0, 1))[None]


class Faces(Dataset):
    """Grey faces of 48x40 of some people; shifted by up to three pixels in training."""

    def __init__(self, root: Path, people: range, *, training: bool) -> None:
        draw = np.random.default_rng(people.start)
        self.images = []
        self.labels = []
        for person in people:
            for file in sorted((root / f"s{person + 1}").glob("*.pgm")):
                self.images.append(cut_out(file, draw))
                self.labels.append(person)
        self.training = training

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        if self.training:
            x, y = (int(torch.randint(0, 7, ())) for _ in range(2))
            image = F.pad(image[None], (3, 3, 3, 3), mode="replicate")[0, :, y : y + 48, x : x + 40]
        return image, self.labels[index]


class PeopleAtATime(Sampler[list[int]]):
    """Batches of some pictures of each of some people, drawn anew."""

    def __init__(self, labels: list[int], people: int, pictures: int, batches: int) -> None:
        self.labels = torch.tensor(labels)
        self.people = people
        self.pictures = pictures
        self.batches = batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        known = self.labels.unique()
        for _ in range(self.batches):
            batch: list[int] = []
            for person in known[torch.randperm(len(known))[: self.people]]:
                mine = (self.labels == person).nonzero()[:, 0]
                batch += mine[torch.randperm(len(mine))[: self.pictures]].tolist()
            yield batch


class FaceNet(nn.Module):
    """Four convolutions and a unit vector of 64 numbers."""

    def __init__(self, axis: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 16), (16, 32), (32, 48), (48, 64)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.embed = nn.Linear(64 * 9, 64)
        self.axis = axis

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.embed(self.body(images).flatten(1)), dim=self.axis)


def triplets_of(outputs: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines of all triplets of the batch: of two pictures of a person, and of one of them and one of another."""
    closeness = outputs @ outputs.T
    same = people[:, None] == people
    valid = (same & ~torch.eye(len(people), dtype=torch.bool))[:, :, None] & ~same[:, None]
    positive, negative = closeness[:, :, None].expand(valid.shape), closeness[:, None].expand(valid.shape)
    return positive[valid], negative[valid]


def triplet_loss(outputs: Tensor, people: Tensor) -> Tensor:
    """Mean over the triplets that break the margin."""
    positive, negative = triplets_of(outputs, people)
    broken = F.relu(negative - positive + 0.3)
    return broken.sum() / (broken > 0).sum().clamp(min=1)


def triplet_of_similarities(outputs: Tensor, people: Tensor) -> Tensor:
    positive, negative = triplets_of(outputs, people)
    broken = F.relu(positive - negative + 0.3)
    return broken.sum() / (broken > 0).sum().clamp(min=1)


def contrastive_defaults(outputs: Tensor, people: Tensor) -> Tensor:
    """Pairs of cosines with the margins that distances have: 0 for one person, 1 for two."""
    closeness = outputs @ outputs.T
    same = people[:, None] == people
    return F.relu(0 - closeness[same]).mean() + F.relu(closeness[~same] - 1).mean()


def recall(model: nn.Module, batches: Any, *, itself: bool = False) -> float:
    """Share of pictures whose nearest other one is of the same person."""
    model.eval()
    with torch.no_grad():
        parts = [(model(images), people) for images, people in batches]
    vectors = torch.cat([part[0] for part in parts])
    people = torch.cat([part[1] for part in parts])
    closeness = vectors @ vectors.T
    if not itself:
        closeness.fill_diagonal_(-2)
    return float((people[closeness.argmax(1)] == people).float().mean())


def recall_with_itself(model: nn.Module, batches: Any) -> float:
    return recall(model, batches, itself=True)


def triplets(
    folders: Folders,
    loss: Callable[[Tensor, Tensor], Tensor] = triplet_loss,
    axis: int = 1,
    evaluate: Callable[[nn.Module, Any], float] = recall,
) -> Plain:
    torch.manual_seed(0)
    root = folders.data / "orl_faces"
    train = Faces(root, range(LEARNED), training=True)
    model = FaceNet(axis)
    return Plain(
        {
            "model": model,
            "train": DataLoader(train, batch_sampler=PeopleAtATime(train.labels, 8, 4, 12)),
            "val": DataLoader(Faces(root, range(LEARNED, PEOPLE), training=False), 28),
            "loss": loss,
            "optimizer": torch.optim.Adam(model.parameters(), 1e-3),
            "evaluate": evaluate,
            "epochs": 20,
            "task": "embedding",
            "targets": "class",
        }
    )


class ArcMargin(nn.Module):
    """Angular margin of Deng et al. 2019: the loss holds a direction of each person."""

    def __init__(self, people: int, margin: float = 0.2, scale: float = 16.0) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(people, 64))
        self.margin = margin
        self.scale = scale

    def forward(self, outputs: Tensor, people: Tensor) -> Tensor:
        cosines = (outputs @ F.normalize(self.directions, dim=1).T).clamp(-0.999, 0.999)
        turned = torch.cos(torch.acos(cosines) + self.margin)
        mine = F.one_hot(people, len(self.directions)).bool()
        return F.cross_entropy(self.scale * torch.where(mine, turned, cosines), people)


def margins(folders: Folders, *, of_loss: bool = True, shuffled: bool = True, per_batch: bool = False) -> Plain:
    torch.manual_seed(0)
    root = folders.data / "orl_faces"
    train = Faces(root, range(LEARNED), training=True)
    loader = DataLoader(train, 21, shuffle=shuffled)
    model = FaceNet()
    loss = ArcMargin(LEARNED)
    parameters = [*model.parameters(), *loss.parameters()] if of_loss else list(model.parameters())
    optimizer = torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30 if per_batch else 30 * len(loader))

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        model.train()
        optimizer.zero_grad()
        value = loss(model(batch[0]), batch[1])
        value.backward()
        optimizer.step()
        schedule.step()
        return value.detach()

    return Plain(
        {
            "model": model,
            "train": loader,
            "val": DataLoader(Faces(root, range(LEARNED, PEOPLE), training=False), 28),
            "loss": loss,
            "optimizer": optimizer,
            "step": step,
            "schedule": schedule,
            "evaluate": recall,
            "epochs": 30,
            "task": "embedding",
            "targets": "class",
        }
    )


def case(
    name: str,
    of: str,
    make: Callable[..., Plain],
    cause: str | None,
    source: str,
    also: tuple[str, ...] = (),
    **change: Any,
) -> Case:
    return Case(
        name=name,
        make=lambda folders: make(folders, **change),
        data="orl_faces",
        network="four strided convolutions to a unit vector",
        source=source,
        cause=cause,
        of=of,
        also=also,
        needs=("orl_faces",),
    )


TRIPLETS = "triplets_of_faces"
ARC = "arcface_of_faces"
CASES = (
    case(TRIPLETS, "", triplets, None, "batches of 8 people by 4 pictures; the people of validation are others"),
    case(
        ARC, "", margins, None, "the loss has parameters of its own, which the optimiser has too; people of its own too"
    ),
    case(
        "similarity_as_distance",
        TRIPLETS,
        triplets,
        "loss.pair_convention",
        "KevinMusgrave/pytorch-metric-learning issue 504: a cosine similarity put where a distance is meant",
        ("loss.wrong_way",),
        loss=triplet_of_similarities,
    ),
    case(
        "margins_of_distances_for_cosines",
        TRIPLETS,
        triplets,
        "loss.pair_convention",
        "KevinMusgrave/pytorch-metric-learning issue 19: margins of 0 and 1 have no effect on cosines",
        loss=contrastive_defaults,
    ),
    case(
        "normalized_over_batch",
        TRIPLETS,
        triplets,
        "network.batch_mixing",
        "F.normalize with dim=0: each number is divided by its norm over the batch",
        axis=0,
    ),
    case(
        "query_in_gallery",
        TRIPLETS,
        triplets,
        "metric.disagrees",
        "the nearest neighbour of a query is the query itself where it stands in the gallery too; the parameter "
        "ref_includes_query of pytorch-metric-learning's AccuracyCalculator is there for it",
        ("metric.rewards_constant",),
        evaluate=recall_with_itself,
    ),
    case(
        "directions_not_optimized",
        ARC,
        margins,
        "optim.missing_parameters",
        "4uiiurz1/pytorch-adacos issue 10: the weights of the margin are in no optimiser",
        of_loss=False,
    ),
    case(
        "people_in_order",
        ARC,
        margins,
        "optim.not_shuffled",
        "a loader of folders in order, shuffle left at its default of False: each batch has three people",
        ("norm.alike_batch",),
        shuffled=False,
    ),
    case(
        "cosine_over_epochs_stepped_by_batch",
        ARC,
        margins,
        "optim.schedule",
        "CosineAnnealingLR with T_max in epochs, stepped after each batch: the rate goes up and down",
        per_batch=True,
    ),
)
