"""Mistakes of embedding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import sets
from benchmarks.mistakes.tuning.healthy_vectors import (
    FACES,
    SIGNS,
    TWIN,
    PTimesK,
    faces_run,
    shifted,
    signs_run,
    twin_run,
)
from benchmarks.mistakes.tuning.pieces import Pairs, answers, batched, changed, loader, planted


def labels_of_the_paper(folders: Folders) -> Plain:
    """1 means different in the paper of Hadsell et al., and the same in these pairs."""

    def loss(vectors: Tensor, same: Tensor) -> Tensor:
        distance = (vectors[:, 0] - vectors[:, 1]).norm(dim=1)
        return ((1 - same) * distance**2 + same * F.relu(0.8 - distance) ** 2).mean()

    return changed(twin_run(folders), loss=loss)


def margin_without_effect(folders: Folders) -> Plain:
    """A margin of squared distances of raw vectors, for vectors of length 1, and the mean over all triplets."""

    def loss(vectors: Tensor, labels: Tensor) -> Tensor:
        distances = torch.cdist(vectors, vectors)
        same = labels[:, None] == labels
        far = distances.masked_fill(~same, -1).max(1).values
        near = distances.masked_fill(same, 9).min(1).values
        return F.relu(far - near - 2.0).mean() + 0.0 * vectors.sum()

    return changed(signs_run(folders), loss=loss)


def images_of_everybody(folders: Folders) -> Plain:
    """Each person's images are divided between training and validation, where strangers are to be verified."""
    train, val = sets.faces(folders, range(40), range(1, 6)), sets.faces(folders, range(40), range(6, 8))
    batches = PTimesK(train[1], 8, 3, 20)
    return changed(
        faces_run(folders),
        train=DataLoader(Pairs(*train, augment=shifted), batch_sampler=batches),
        val=loader(TensorDataset(*val), 20),
    )


def second_image_alone(folders: Folders) -> Plain:
    """Both vectors are of the first image."""

    def forward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        first, second = batch[0][:, 0], batch[0][:, 0]
        return torch.stack([model(first), model(second)], 1)

    def evaluate(model: nn.Module, val: Any) -> float:
        right = [
            (((v[:, 0] - v[:, 1]).norm(dim=1) < 0.5) == (b[1] > 0.5)).float().sum()
            for v, b in answers(model, val, forward)
        ]
        return float(torch.stack(right).sum()) / len(val.dataset)

    return changed(twin_run(folders), forward=forward, evaluate=evaluate)


def nearest_is_itself(folders: Folders) -> Plain:
    """Recall with the image itself among its neighbours: always 1."""

    def evaluate(model: nn.Module, val: Any) -> float:
        vectors, labels = (torch.cat(parts) for parts in zip(*answers(model, batched(val)), strict=True))
        return float((labels[torch.cdist(vectors, vectors).argmin(1)] == labels).float().mean())

    return changed(signs_run(folders), evaluate=evaluate)


CASES = (
    planted(
        TWIN,
        "labels_of_the_paper",
        "loss.pair_convention",
        labels_of_the_paper,
        "VinhLoiIT/signet-pytorch#2; keras-team/keras#16935",
    ),
    planted(
        SIGNS,
        "margin_below_zero",
        "loss.pair_convention",
        margin_without_effect,
        "omoindrot/tensorflow-triplet-loss#25: the loss drops to 0",
    ),
    planted(
        FACES,
        "people_in_both_parts",
        "data.subject_leak",
        images_of_everybody,
        "UCSD-AI4H/COVID-CT#11; Lightning-Universe/lightning-Covid19#11",
    ),
    planted(TWIN, "first_image_twice", "network.input_unused", second_image_alone, "a copied line whose index stays"),
    planted(
        SIGNS,
        "nearest_is_the_image_itself",
        "metric.rewards_constant",
        nearest_is_itself,
        "queries stand in their own gallery",
        also=("metric.disagrees",),
    ),
)
