"""Slides of patients by illness and plates by their scratches: mistakes of splits and of rare classes."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import ConvNet
from benchmarks.mistakes.held.runs import Pictures, accuracy, batches, plain, shares


def patients_run(train: Any, val: Any) -> Plain:
    """A run that tells slides of the ill from those of the well."""
    model = ConvNet(2)
    return plain(model, DataLoader(train, 24, shuffle=True), val, F.cross_entropy, metric=accuracy, evaluate=shares)


def slides(folders: Folders) -> Plain:
    torch.manual_seed(0)
    pictures, labels, owners = drawn.patients(40, 3)
    held = owners >= 30
    return patients_run(Pictures(pictures[~held], labels[~held]), Pictures(pictures[held], labels[held]))


def slides_split_by_picture(folders: Folders) -> Plain:
    torch.manual_seed(0)
    pictures, labels, _ = drawn.patients(40, 3)
    order = np.random.default_rng(0).permutation(len(labels))
    train, val = order[:300], order[300:]
    return patients_run(Pictures(pictures[train], labels[train]), Pictures(pictures[val], labels[val]))


def defects(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Plates of slanted stripes, one in twenty with a dark scratch (1)."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 20 == 0).astype(np.int64)
    pictures, _ = drawn.textures(count, seed, labels=np.full(count, 4))
    pictures = pictures.copy()
    for i in np.flatnonzero(labels):
        x, y = rng.integers(3, 20, 2)
        for k in range(10):
            pictures[i, y + k, x + k : x + k + 2] = 10
    return pictures, labels


def by_class(model: nn.Module, val: Any) -> float:
    """The mean of the classes' shares of right answers."""
    model.eval()
    with torch.no_grad():
        pairs = [(model(images).argmax(1), labels) for images, labels in batches(val)]
    model.train()
    answers, labels = (torch.cat(part) for part in zip(*pairs, strict=True))
    return float(np.mean([(answers[labels == c] == c).float().mean() for c in (0, 1)]))


def defects_run(loss: Any, **more: Any) -> Plain:
    """A run on 1200 plates, 60 of them scratched."""
    train = DataLoader(Pictures(*defects(1200, 5)), 40, shuffle=True)
    more = {"evaluate": by_class, "classes": ("fine", "scratched")} | more
    return plain(ConvNet(2), train, Pictures(*defects(400, 6)), loss, **more)


def rare_defects(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return defects_run(nn.CrossEntropyLoss(weight=torch.tensor([0.53, 10.0])))


def weights_are_shares(folders: Folders) -> Plain:
    torch.manual_seed(0)
    _, labels = defects(1200, 5)
    shares_of_classes = np.bincount(labels) / len(labels)
    return defects_run(nn.CrossEntropyLoss(weight=torch.tensor(shares_of_classes, dtype=torch.float32)))


def defects_not_weighted(folders: Folders) -> Plain:
    torch.manual_seed(0)
    pictures, labels = defects(1200, 5)
    few = np.flatnonzero(labels)[:6]
    kept = np.concatenate([np.flatnonzero(labels == 0), few])
    train = DataLoader(Pictures(pictures[kept], labels[kept]), 40, shuffle=True)
    return plain(ConvNet(2), train, Pictures(*defects(400, 6)), F.cross_entropy, evaluate=by_class)


def accuracy_of_the_frequent(folders: Folders) -> Plain:
    torch.manual_seed(0)
    loss = nn.CrossEntropyLoss(weight=torch.tensor([0.53, 10.0]))
    return defects_run(loss, evaluate=shares, metric=accuracy)


CASES: tuple[Case, ...] = (
    Case(
        "slides",
        slides,
        "generated patients",
        "ConvNet",
        "patients of validation are others; stains differ more than what is learned",
    ),
    Case(
        "slides_split_by_picture",
        slides_split_by_picture,
        "generated patients",
        "ConvNet",
        "pictures of one patient on both sides of a random split (Roberts et al. 2021, doi:10.1038/s42256-021-00307-0)",
        cause="data.subject_leak",
        of="slides",
        also=("data.leak",),
    ),
    Case(
        "rare_defects",
        rare_defects,
        "generated defects",
        "ConvNet",
        "one in twenty is scratched; class weights make up for it, the score is a mean over classes",
    ),
    Case(
        "weights_are_shares",
        weights_are_shares,
        "generated defects",
        "ConvNet",
        "valeoai/MVRSS#8 and amanshenoy/multilogue-net#21: shares in place of their inverse",
        cause="loss.weights_inverted",
        of="rare_defects",
    ),
    Case(
        "defects_not_weighted",
        defects_not_weighted,
        "generated defects",
        "ConvNet",
        "six scratched plates among a thousand fine ones, nothing done about it",
        cause="data.imbalance",
        of="rare_defects",
    ),
    Case(
        "accuracy_of_the_frequent",
        accuracy_of_the_frequent,
        "generated defects",
        "ConvNet",
        "accuracy of a set where one answer is right in 95 of 100",
        cause="metric.rewards_constant",
        of="rare_defects",
        also=("data.imbalance",),
    ),
)
