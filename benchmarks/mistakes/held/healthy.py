"""Runs that are odd and right: batches of two, sigmoids, dicts, half precision, warm-up from zero, large pictures."""

from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import ConvNet, UNet, groups
from benchmarks.mistakes.held.runs import Pictures, accuracy, batches, plain, shares, to_tensor
from benchmarks.mistakes.held.segmentation import VOID, MeanIoU


def membrane_crops(folders: Folders, slices: range, count: int, seed: int) -> Pictures:
    """Crops of 96x96 of the slices of a stack, and where the membranes are (1, 96, 96) as 0 and 1."""
    assert folders.data is not None
    volume = Image.open(folders.data / "isbi2012_em" / "train-volume.tif")
    labels = Image.open(folders.data / "isbi2012_em" / "train-labels.tif")
    rng = np.random.default_rng(seed)
    pictures, masks = [], []
    for k in range(count):
        page = slices[k % len(slices)]
        volume.seek(page)
        labels.seek(page)
        x, y = rng.integers(0, 512 - 96, 2)
        box = (int(x), int(y), int(x) + 96, int(y) + 96)
        pictures.append(np.asarray(volume.crop(box)))
        masks.append(torch.from_numpy((np.asarray(labels.crop(box)) == 0).astype(np.float32))[None])
    return Pictures(pictures, masks)


def membranes(folders: Folders) -> Plain:
    torch.manual_seed(0)
    train = membrane_crops(folders, range(20), 160, 1)
    val = membrane_crops(folders, range(20, 24), 24, 2)
    model = nn.Sequential(UNet(1, channels=1, width=8, norm=groups), nn.Sigmoid())

    def dice(outputs: Tensor, masks: Tensor) -> Tensor:
        answers = (outputs > 0.5).float()
        return 2 * (answers * masks).sum() / (answers.sum() + masks.sum()).clamp(min=1)

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        hits = both = 0.0
        with torch.no_grad():
            for images, masks in batches(val, 8):
                answers = (model(images) > 0.5).float()
                hits += (answers * masks).sum().item()
                both += (answers.sum() + masks.sum()).item()
        model.train()
        return 2 * hits / both

    loader = DataLoader(train, 2, shuffle=True)
    return plain(
        model, loader, val, F.binary_cross_entropy, metric=dice, evaluate=evaluate, task="segmentation", epochs=4
    )


class Streets(Dataset):
    """Photographs of CamVid at 96x72 with masks of eleven classes, in dicts; void is 255."""

    def __init__(self, folders: Folders, split: str, count: int) -> None:
        assert folders.data is not None
        root = folders.data / "camvid" / "CamVid"
        files = sorted((root / split).glob("*.jpg"))[::2][:count]
        self.images = [to_tensor(np.asarray(Image.open(file).resize((96, 72)))) for file in files]
        masks = [np.array(Image.open(root / f"{split}annot" / f"{f.stem}.png").resize((96, 72), 0)) for f in files]
        self.masks = [torch.from_numpy(np.where(mask == 11, VOID, mask).astype(np.int64)) for mask in masks]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.images[index], "mask": self.masks[index]}


def streets(folders: Folders) -> Plain:
    torch.manual_seed(0)
    train, val = Streets(folders, "train", 140), Streets(folders, "val", 30)
    counts = torch.bincount(torch.stack(train.masks).flatten(), minlength=256)[:11]
    weights = (counts.median() / counts).sqrt()
    model = UNet(11)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs, batch["mask"], weights, ignore_index=VOID)

    def step(batch: dict[str, Tensor]) -> Tensor:
        model.train()
        optimizer.zero_grad()
        value = loss(model(batch["image"]), batch)
        value.backward()
        optimizer.step()
        return value.detach()

    def evaluate(model: nn.Module, val: Any) -> float:
        metric = MeanIoU(11)
        model.eval()
        with torch.no_grad():
            for batch in batches(val, 8):
                metric.update(model(batch["image"]), batch["mask"])
        model.train()
        return metric.compute()

    loader = DataLoader(train, 8, shuffle=True)
    return plain(model, loader, val, loss, optimizer=optimizer, step=step, evaluate=evaluate, task="segmentation")


def half_of_it_in_bfloat16(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=len(drawn.TEXTURES))
    train = DataLoader(Pictures(*drawn.textures(480, 1)), 32, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps, warm = 15 * len(train), 3 * len(train)

    def factor(k: int) -> float:
        return k / warm if k < warm else 0.5 + 0.5 * float(np.cos(np.pi * (k - warm) / (steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def step(batch: Any) -> Tensor:
        model.train()
        images, labels = batch
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.detach()

    return plain(
        model, train, Pictures(*drawn.textures(120, 2)), F.cross_entropy, optimizer=optimizer, schedule=schedule,
        step=step, metric=accuracy, evaluate=shares, classes=drawn.TEXTURES, epochs=15,
    )  # fmt: skip


def few_large_pictures(folders: Folders) -> Plain:
    torch.manual_seed(0)
    train = Pictures(*drawn.textures(36, 1, size=224))
    val = Pictures(*drawn.textures(24, 2, size=224))
    model = ConvNet(len(drawn.TEXTURES), width=8, norm=groups)
    loader = DataLoader(train, 6, shuffle=True)
    return plain(model, loader, val, F.cross_entropy, metric=accuracy, evaluate=shares, epochs=30)


def trained_before(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(len(drawn.TEXTURES))
    before = DataLoader(Pictures(*drawn.textures(480, 7)), 32, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(6):
        for images, labels in before:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
    model.head = nn.Linear(model.head.in_features, 3)
    pictures, labels = drawn.textures(240, 1)
    val_pictures, val_labels = drawn.textures(120, 2)
    train, val = Pictures(pictures, labels // 2), Pictures(val_pictures, val_labels // 2)
    rates = [
        {"params": model.features.parameters(), "lr": 2e-4},
        {"params": model.head.parameters(), "lr": 2e-3},
    ]
    optimizer = torch.optim.AdamW(rates)
    loader = DataLoader(train, 32, shuffle=True)
    return plain(model, loader, val, F.cross_entropy, optimizer=optimizer, metric=accuracy, evaluate=shares, epochs=8)


CASES: tuple[Case, ...] = (
    Case(
        "membranes",
        membranes,
        "isbi2012_em",
        "UNet with group norms and sigmoid",
        "batches of two, group norms, one channel, sigmoid in the network and binary cross-entropy",
        needs=("isbi2012_em",),
    ),
    Case(
        "streets",
        streets,
        "camvid",
        "UNet",
        "batches of dicts, class weights, void left out, classes that are rare",
        needs=("camvid",),
    ),
    Case(
        "half_of_it_in_bfloat16",
        half_of_it_in_bfloat16,
        "generated textures",
        "timm resnet10t",
        "warm-up from a rate of zero, a schedule stepped by batch, autocast to bfloat16",
    ),
    Case(
        "few_large_pictures",
        few_large_pictures,
        "generated textures, large",
        "ConvNet with group norms",
        "36 pictures of 224x224, no augmentation",
    ),
    Case(
        "trained_before",
        trained_before,
        "generated textures",
        "ConvNet, trained",
        "trained before; a new last layer, and a tenth of its rate for the others",
    ),
)
