"""Digits and small photographs by their class: mistakes of rates, precision, batches and augmentation."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held.classification import shifted
from benchmarks.mistakes.held.networks import DigitNet
from benchmarks.mistakes.held.runs import Pictures, accuracy, plain, read_cifar, read_mnist, shares, to_tensor


def digits_sets(folders: Folders) -> tuple[DataLoader, Pictures]:
    """800 digits of MNIST in batches of 50, and 300 to validate."""
    assert folders.data is not None
    train = Pictures(*read_mnist(folders.data / "mnist", "train", 800))
    return DataLoader(train, 50, shuffle=True), Pictures(*read_mnist(folders.data / "mnist", "val", 300))


def digits_run(folders: Folders, model: nn.Module, **more: Any) -> Plain:
    """A run on digits by Adam without any augmentation."""
    train, val = digits_sets(folders)
    optimizer = more.pop("optimizer", None) or torch.optim.Adam(model.parameters(), lr=1e-3)
    more = {"metric": accuracy, "evaluate": shares} | more
    return plain(model, train, val, more.pop("loss", F.cross_entropy), optimizer=optimizer, **more)


def digits(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return digits_run(folders, DigitNet())


class _AlwaysDropping(DigitNet):
    def forward(self, image: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(image)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.head(F.dropout(F.relu(self.hidden(x.flatten(1))), 0.3))


def dropout_by_function(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return digits_run(folders, _AlwaysDropping())


def rate_of_another_problem(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = DigitNet()
    return digits_run(folders, model, optimizer=torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9))


def all_in_half_precision(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = DigitNet().half()

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs.float(), labels)

    train, val = digits_sets(folders)
    halved = [
        Pictures(s.pictures, s.targets, transform=lambda picture: to_tensor(picture).half())
        for s in (train.dataset, val)
        if isinstance(s, Pictures)
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train = DataLoader(halved[0], 50, shuffle=True)
    return plain(model, train, halved[1], loss, optimizer=optimizer, metric=accuracy, evaluate=shares)


def photographs_run(folders: Folders, model: nn.Module, **more: Any) -> Plain:
    """A run on 500 photographs of CIFAR-10, shifted and mirrored."""
    assert folders.data is not None
    pictures, labels = read_cifar(folders.data / "cifar10_jpeg", "train")
    train = DataLoader(Pictures(pictures, labels, augment=shifted), 25, shuffle=True)
    val = Pictures(*read_cifar(folders.data / "cifar10_jpeg", "val"))
    more = {"metric": accuracy, "evaluate": shares, "augment": shifted, "rate": 1e-3} | more
    return plain(model, train, val, more.pop("loss", F.cross_entropy), **more)


def photographs(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return photographs_run(folders, torchvision.models.resnet18(num_classes=10))


def head_of_imagenet(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return photographs_run(folders, torchvision.models.resnet18())


class _NoGradNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = torchvision.models.resnet18()
        self.backbone.fc = nn.Identity()
        self.head = nn.Linear(512, 10)

    def forward(self, image: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(image)
        return self.head(features)


def features_without_gradient(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return photographs_run(folders, _NoGradNet())


def head_of_unit_variance(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    nn.init.normal_(model.fc.weight)
    return photographs_run(folders, model)


def two_photographs_a_batch(folders: Folders) -> Plain:
    torch.manual_seed(0)
    run = photographs_run(folders, torchvision.models.resnet18(num_classes=10))
    train = DataLoader(run.arguments["train"].dataset, 2, shuffle=True)
    return Plain({**run.arguments, "train": train})


def validated_on_shifted(folders: Folders) -> Plain:
    torch.manual_seed(0)
    assert folders.data is not None

    def jittered(image: Tensor, label: Any) -> tuple[Tensor, Any]:
        image, label = shifted(image, label)
        return image * torch.empty(()).uniform_(0.6, 1.4) + torch.empty(()).uniform_(-0.3, 0.3), label

    pictures, labels = read_cifar(folders.data / "cifar10_jpeg", "train")
    whole = Pictures(pictures, labels, augment=jittered)
    train, val = torch.utils.data.random_split(whole, [400, 100], torch.Generator().manual_seed(0))
    model = torchvision.models.resnet18(num_classes=10)
    return plain(
        model, DataLoader(train, 25, shuffle=True), val, F.cross_entropy, rate=1e-3, metric=accuracy, evaluate=shares,
        augment=jittered,
    )  # fmt: skip


class _SameInEachWorker(Pictures):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rng = np.random.default_rng(0)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, label = super().__getitem__(index)
        image = torch.roll(image, tuple(self.rng.integers(-4, 5, 2).tolist()), (1, 2))
        return (image.flip(2) if self.rng.uniform() < 0.5 else image), label


def generator_copied_to_workers(folders: Folders) -> Plain:
    torch.manual_seed(0)
    assert folders.data is not None
    run = photographs_run(folders, torchvision.models.resnet18(num_classes=10), augment=None)
    train = _SameInEachWorker(*read_cifar(folders.data / "cifar10_jpeg", "train"))
    loader = DataLoader(train, 25, shuffle=True, num_workers=2)
    return Plain({k: v for k, v in run.arguments.items() if k != "augment"} | {"train": loader})


CASES: tuple[Case, ...] = (
    Case(
        "digits",
        digits,
        "mnist",
        "DigitNet",
        "one channel, no norm, dropout, no augmentation",
        needs=("mnist",),
    ),
    Case(
        "dropout_by_function",
        dropout_by_function,
        "mnist",
        "DigitNet",
        "rixwew/pytorch-fm#21, delip/PyTorchNLPBook#28: F.dropout without training=self.training",
        cause="norm.dropout_in_eval",
        of="digits",
        needs=("mnist",),
    ),
    Case(
        "rate_of_another_problem",
        rate_of_another_problem,
        "mnist",
        "DigitNet",
        "a rate for fine-tuning with Adam kept with SGD from scratch",
        cause="optim.rate_low",
        of="digits",
        needs=("mnist",),
    ),
    Case(
        "all_in_half_precision",
        all_in_half_precision,
        "mnist",
        "DigitNet",
        "pytorch/pytorch#8860: Adam's 1e-8 is zero in half precision",
        cause="optim.precision",
        of="digits",
        needs=("mnist",),
    ),
    Case(
        "photographs",
        photographs,
        "cifar10_jpeg",
        "torchvision resnet18",
        "a network of 11 million weights on 500 pictures",
        needs=("cifar10_jpeg",),
    ),
    Case(
        "head_of_imagenet",
        head_of_imagenet,
        "cifar10_jpeg",
        "torchvision resnet18",
        "the last layer of 1000 classes is not replaced, which runs without an error",
        cause="network.output_size",
        of="photographs",
        needs=("cifar10_jpeg",),
    ),
    Case(
        "features_without_gradient",
        features_without_gradient,
        "cifar10_jpeg",
        "torchvision resnet18",
        "no_grad around the features, left from a time when they were frozen",
        cause="network.no_gradient",
        of="photographs",
        also=("norm.frozen",),
        needs=("cifar10_jpeg",),
    ),
    Case(
        "head_of_unit_variance",
        head_of_unit_variance,
        "cifar10_jpeg",
        "torchvision resnet18",
        "nn.init.normal_ with its default deviation of 1 on a layer of 512 inputs",
        cause="network.output_at_start",
        of="photographs",
        needs=("cifar10_jpeg",),
    ),
    Case(
        "two_photographs_a_batch",
        two_photographs_a_batch,
        "cifar10_jpeg",
        "torchvision resnet18",
        "batches of two for want of memory, batch norms kept (Wu and He, arXiv:1803.08494)",
        cause="norm.small_batch",
        of="photographs",
        needs=("cifar10_jpeg",),
    ),
    Case(
        "validated_on_shifted",
        validated_on_shifted,
        "cifar10_jpeg",
        "torchvision resnet18",
        "gpleiss/efficient_densenet_pytorch#51, udacity/deep-learning-v2-pytorch#132: one augmented set is split",
        cause="augment.on_validation",
        of="photographs",
        needs=("cifar10_jpeg",),
    ),
    Case(
        "generator_copied_to_workers",
        generator_copied_to_workers,
        "cifar10_jpeg",
        "torchvision resnet18",
        "pytorch/pytorch#5059, xingyizhou/CenterNet#233: each worker copies one generator, in each epoch anew",
        cause="augment.same_randomness",
        of="photographs",
        needs=("cifar10_jpeg",),
    ),
)
