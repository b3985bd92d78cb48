"""Textures by their kind: mistakes of sets, order, prediction and counting."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.classification import CLASSES, texture_sets, textures_run
from benchmarks.mistakes.held.networks import ConvNet
from benchmarks.mistakes.held.runs import Pictures, to_tensor


def folders_read_in_order(folders: Folders) -> Plain:
    torch.manual_seed(0)
    pictures, labels = drawn.textures(480, 1)
    order = np.argsort(labels, kind="stable")
    train = DataLoader(Pictures(pictures[order], labels[order]), 32, drop_last=True)
    return textures_run(ConvNet(CLASSES), sets=(train, texture_sets()[1]))


def one_class_a_batch(folders: Folders) -> Plain:
    torch.manual_seed(0)
    pictures, labels = drawn.textures(480, 1)
    by_class = [np.flatnonzero(labels == c) for c in range(CLASSES)]
    chunks = [chunk.tolist() for indices in by_class for chunk in np.array_split(indices, 4)]
    order = np.random.default_rng(0).permutation(len(chunks))
    train = DataLoader(Pictures(pictures, labels), batch_sampler=[chunks[i] for i in order])
    return textures_run(ConvNet(CLASSES), sets=(train, texture_sets()[1]))


def read_with_one_buffer(folders: Folders) -> Plain:
    torch.manual_seed(0)
    pictures, labels = drawn.textures(480, 1)
    buffer = np.empty((3, 32, 32), np.float32)
    samples = []
    for picture, label in zip(pictures, labels, strict=True):
        np.divide(picture.transpose(2, 0, 1), 127.5, out=buffer)
        np.subtract(buffer, 1, out=buffer)
        samples.append((torch.from_numpy(buffer), int(label)))
    return textures_run(ConvNet(CLASSES), sets=(DataLoader(samples, 32, shuffle=True), texture_sets()[1]))


def split_after_augmentation(folders: Folders) -> Plain:
    torch.manual_seed(0)
    pictures, labels = drawn.textures(200, 1)
    rng = np.random.default_rng(0)
    brighter = (pictures * rng.uniform(0.9, 1.1, (200, 1, 1, 1))).clip(0, 255).astype(np.uint8)
    pictures, labels = np.concatenate([pictures, pictures[:, :, ::-1], brighter]), np.tile(labels, 3)
    order = rng.permutation(600)
    train = DataLoader(Pictures(pictures[order[:480]], labels[order[:480]]), 32, shuffle=True)
    return textures_run(ConvNet(CLASSES), sets=(train, Pictures(pictures[order[480:]], labels[order[480:]])))


def names_in_another_order(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(CLASSES)
    names = ["upright stripes", "flat stripes", "slanted stripes", "checks", "dots", "bricks"]

    def predict(picture: Any) -> str:
        model.eval()
        with torch.no_grad():
            return names[int(model(to_tensor(picture)[None]).argmax(1))]

    return textures_run(model, predict=predict)


def predicted_in_training_mode(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(CLASSES)
    model.head = nn.Sequential(nn.Dropout(0.4), model.head)

    def predict(picture: Any) -> str:
        model.train()
        with torch.no_grad():
            return drawn.TEXTURES[int(model(to_tensor(picture)[None]).argmax(1))]

    return textures_run(model, predict=predict)


def counted_by_batches(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def evaluate(model: nn.Module, val: Any) -> float:
        loader = DataLoader(val, 32)
        model.eval()
        right = 0
        with torch.no_grad():
            for images, labels in loader:
                right += (model(images).argmax(1) == labels).sum().item()
        return right / (len(loader) * 32)

    return textures_run(ConvNet(CLASSES), evaluate=evaluate)


def numbers_of_each_split(folders: Folders) -> Plain:
    torch.manual_seed(0)
    sets = []
    for (pictures, labels), absent in ((drawn.textures(480, 1), ""), (drawn.textures(144, 2), "bricks")):
        names = [drawn.TEXTURES[label] for label in labels]
        kept = [i for i, name in enumerate(names) if name != absent]
        numbers = {name: i for i, name in enumerate(sorted({names[i] for i in kept}))}
        sets.append(Pictures(pictures[kept], np.array([numbers[names[i]] for i in kept])))
    return textures_run(ConvNet(CLASSES), sets=(DataLoader(sets[0], 32, shuffle=True, drop_last=True), sets[1]))


CASES: tuple[Case, ...] = (
    Case(
        "folders_read_in_order",
        folders_read_in_order,
        "generated textures",
        "ConvNet",
        "files listed by folder and shuffle left at its default, False",
        cause="optim.not_shuffled",
        of="textures",
        also=("norm.alike_batch",),
    ),
    Case(
        "one_class_a_batch",
        one_class_a_batch,
        "generated textures",
        "ConvNet",
        "discuss.pytorch.org/t/7146 and Wu and Johnson, arXiv:2105.07576: batches of one class or domain",
        cause="norm.alike_batch",
        of="textures",
        also=("optim.not_shuffled",),
    ),
    Case(
        "read_with_one_buffer",
        read_with_one_buffer,
        "generated textures",
        "ConvNet",
        "torch.from_numpy shares memory: one buffer filled again and again makes all samples the last one",
        cause="data.constant",
        of="textures",
        also=("data.target_mismatch",),
    ),
    Case(
        "split_after_augmentation",
        split_after_augmentation,
        "generated textures",
        "ConvNet",
        "rsarka34/RDLINet#1: augmented first, split then, so that copies lie on both sides",
        cause="data.leak",
        of="textures",
    ),
    Case(
        "names_in_another_order",
        names_in_another_order,
        "generated textures",
        "ConvNet",
        "anujshah1003/own_data_cnn_implementation_keras#4: a list of names in another order than the folders",
        cause="predict.class_order",
        of="textures",
    ),
    Case(
        "predicted_in_training_mode",
        predicted_in_training_mode,
        "generated textures",
        "ConvNet",
        "ipolharvard/ethos-ares#20: no call of eval before predicting",
        cause="predict.mode",
        of="textures",
        also=("predict.differs",),
    ),
    Case(
        "counted_by_batches",
        counted_by_batches,
        "generated textures",
        "ConvNet",
        "right answers divided by batches times batch size, where the last batch is smaller",
        cause="metric.not_perfect",
        of="textures",
        also=("metric.averaged_batches", "metric.disagrees"),
    ),
    Case(
        "numbers_of_each_split",
        numbers_of_each_split,
        "generated textures",
        "ConvNet",
        "names numbered apart in each split, one of which lacks a class, as two ImageFolders do",
        cause="data.class_one_split",
        of="textures",
    ),
)
