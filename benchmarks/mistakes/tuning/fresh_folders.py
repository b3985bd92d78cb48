"""Photographs in folders (ImageFolder of small JPEGs) with a timm network, asked by path."""

import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.tuning.fresh_classes import accuracy

PHOTOGRAPHS = ("airplane", "automobile", "frog", "ship")
MEAN, DEVIATION = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)


def _unpack(data: Path, root: Path) -> None:
    for split, many in (("train", 150), ("test", 40)):
        target = root / {"train": "train", "test": "val"}[split]
        with tarfile.open(data / "cifar10_jpeg" / f"{split}.tar.gz") as archive:
            for member in archive:
                path = Path(member.name)
                if path.suffix == ".jpg" and path.parent.name in PHOTOGRAPHS and int(path.stem) < many:
                    stream = archive.extractfile(member)
                    if stream is not None:
                        (target / path.parent.name).mkdir(parents=True, exist_ok=True)
                        (target / path.parent.name / path.name).write_bytes(stream.read())


def _ends() -> list[Any]:
    return [transforms.Resize(64), transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]


def _folders_run(folders: Folders, starts: list[Any] | None = None) -> dict[str, Any]:
    if folders.data is None:
        raise FileNotFoundError("cifar10_jpeg is needed")
    _unpack(folders.data, folders.scratch)
    torch.manual_seed(5)
    starts = starts or [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    train = datasets.ImageFolder(str(folders.scratch / "train"), transforms.Compose(starts + _ends()))
    prepare = transforms.Compose(_ends())
    val = datasets.ImageFolder(str(folders.scratch / "val"), prepare)
    model = timm.create_model("regnetx_002", pretrained=False, num_classes=len(train.classes))

    def predict(path: str) -> str:
        model.eval()
        with Image.open(path) as picture, torch.no_grad():
            x = prepare(picture.convert("RGB"))
            return train.classes[int(model(x[None]).argmax())]

    return {
        "model": model,
        "train": DataLoader(train, batch_size=20, shuffle=True, num_workers=0),
        "val": DataLoader(val, batch_size=20),
        "loss": nn.CrossEntropyLoss(label_smoothing=0.1),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
        "epochs": 20,
        "evaluate": accuracy,
        "predict": predict,
        "classes": tuple(train.classes),
    }


def _folders_healthy(folders: Folders) -> Plain:
    return Plain(_folders_run(folders))


def _names_by_hand(folders: Folders) -> Plain:
    run = _folders_run(folders)
    model, names = run["model"], ["airplane", "automobile", "ship", "frog"]
    prepare = transforms.Compose(_ends())

    def predict(path: str) -> str:
        model.eval()
        image = prepare(Image.open(path).convert("RGB")).unsqueeze(0)
        with torch.inference_mode():
            return names[model(image).softmax(1).argmax(1).item()]

    return Plain(run | {"predict": predict})


def _opencv_in_predict(folders: Folders) -> Plain:
    run = _folders_run(folders)
    model, names = run["model"], run["classes"]

    def predict(path: str) -> str:
        model.eval()
        image = cv2.resize(cv2.imread(str(path)), (64, 64)).astype(np.float32) / 255.0
        image = (image - np.float32(MEAN)) / np.float32(DEVIATION)
        tensor = torch.from_numpy(image.transpose(2, 0, 1))[None]
        with torch.no_grad():
            return names[int(model(tensor).argmax(1))]

    return Plain(run | {"predict": predict})


def _one_transform_for_both(folders: Folders) -> Plain:
    starts = [
        transforms.RandomResizedCrop(32, scale=(0.5, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.3, 0.3, 0.3),
    ]
    run = _folders_run(folders, starts)
    val = datasets.ImageFolder(str(folders.scratch / "val"), run["train"].dataset.transform)
    return Plain(run | {"val": DataLoader(val, batch_size=20)})


def _folder_left_out(folders: Folders) -> Plain:
    run = _folders_run(folders)
    for path in (folders.scratch / "val" / "automobile").iterdir():
        path.unlink()
    (folders.scratch / "val" / "automobile").rmdir()
    val = datasets.ImageFolder(str(folders.scratch / "val"), run["val"].dataset.transform)
    return Plain(run | {"val": DataLoader(val, batch_size=20)})


def _head_only(folders: Folders) -> Plain:
    run = _folders_run(folders)
    head = run["model"].get_classifier()
    return Plain(run | {"optimizer": torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.01)})


def _tiny_crops(folders: Folders) -> Plain:
    starts = [transforms.RandomResizedCrop(32, scale=(0.02, 0.05)), transforms.RandomHorizontalFlip()]
    return Plain(_folders_run(folders, starts))


_folder_case = partial(
    Case, data="cifar10_jpeg", network="timm regnetx_002", of="fresh_photographs", needs=("cifar10_jpeg",)
)

CASES: tuple[Case, ...] = (
    Case(
        "fresh_photographs",
        _folders_healthy,
        "cifar10_jpeg",
        "timm regnetx_002",
        source="150 small JPEGs a class, from scratch, smoothed labels, predict by path.",
        needs=("cifar10_jpeg",),
    ),
    _folder_case(
        "fresh_names_by_hand",
        _names_by_hand,
        cause="predict.class_order",
        source="Names typed into the demo in the author's order; ImageFolder sorts (torchvision's documentation).",
    ),
    _folder_case(
        "fresh_opencv_in_predict",
        _opencv_in_predict,
        cause="predict.preprocessing",
        also=("data.channel_order",),
        source="PIL in training, cv2.imread in inference: Silent-Face-Anti-Spoofing issue 71, yolov5-fastapi-demo 8.",
    ),
    _folder_case(
        "fresh_one_transform_for_both",
        _one_transform_for_both,
        cause="augment.on_validation",
        source="udacity/deep-learning-v2-pytorch issue 132, gpleiss/efficient_densenet_pytorch issue 51.",
    ),
    _folder_case(
        "fresh_class_folder_left_out_of_val",
        _folder_left_out,
        cause="data.class_one_split",
        source="ultralytics issue 13936 and pull request 26192: ImageFolder numbers each split by its own folders.",
    ),
    _folder_case(
        "fresh_only_the_head_optimised",
        _head_only,
        cause="optim.missing_parameters",
        source="Optimiser line of the transfer-learning tutorial kept when pretrained became False.",
    ),
    _folder_case(
        "fresh_crops_of_six_pixels",
        _tiny_crops,
        cause="augment.too_strong",
        source="RandomResizedCrop's scale is of the area, not of the side; people pass a tenth of what they mean.",
    ),
)
