"""Airplanes, faces and motorcycles of Caltech-101 told apart by a small network of timm."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2 as transforms

from benchmarks.mistakes.case import Case, Folders, Plain

NORMALIZE = [
    transforms.ToImage(),
    transforms.ToDtype(torch.float32, scale=True),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
]


def by_pillow(path: str) -> Image.Image:
    return Image.open(path).convert("RGB")


def by_opencv(path: str) -> Image.Image:
    """The same pixels as Pillow gives, if only the channels were in its order."""
    return Image.fromarray(cv2.imread(path))


def lay_out(folders: Folders) -> None:
    """train/CLASS and val/CLASS of pictures of 80 pixels, a quarter for validation, motorcycles being scarce."""
    for kind, count in (("airplane", 120), ("face", 110), ("motorcycle", 60)):
        files = sorted((folders.data / "caltech101_loc3/images" / kind).glob("*.jpg"))[:count]
        for number, file in enumerate(files):
            target = folders.scratch / ("val" if number >= count * 3 // 4 else "train") / kind / f"{file.stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(file) as picture:
                picture.draft("RGB", (160, 160))
                picture.convert("RGB").resize((80, 80), Image.Resampling.BILINEAR).save(target)


class Net(nn.Module):
    """ResNet-10 of timm, from scratch, with a hidden layer."""

    def __init__(self, classes: int, *, functional_dropout: bool = False) -> None:
        super().__init__()
        self.body = timm.create_model("resnet10t", num_classes=0)
        self.hidden = nn.Linear(512, 128)
        self.out = nn.Linear(128, classes)
        self.functional_dropout = functional_dropout

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self.hidden(self.body(images)))
        dropped = F.dropout(hidden, 0.5) if self.functional_dropout else F.dropout(hidden, 0.5, self.training)
        return self.out(dropped)


class OneFolderAtATime(Sampler[list[int]]):
    """Batches of one folder's files, in random order."""

    def __init__(self, labels: Sequence[int], size: int) -> None:
        self.labels = labels
        self.size = size

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[list[int]]:
        batches = []
        for kind in sorted(set(self.labels)):
            mine = [index for index, label in enumerate(self.labels) if label == kind]
            random.shuffle(mine)
            batches += [mine[start : start + self.size] for start in range(0, len(mine), self.size)]
        random.shuffle(batches)
        yield from batches


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(1) == labels).float().mean())


def photographs(
    folders: Folders,
    *,
    val_loader: Callable[[str], Image.Image] = by_pillow,
    names: Sequence[str] = (),
    functional_dropout: bool = False,
    folder_batches: bool = False,
    predict_as_is: bool = False,
) -> Plain:
    torch.manual_seed(0)
    random.seed(0)
    lay_out(folders)
    even = transforms.Compose([transforms.Resize((64, 64)), *NORMALIZE])
    varied = [transforms.RandomResizedCrop((64, 64), (0.5, 1.0)), transforms.RandomHorizontalFlip()]
    train = ImageFolder(str(folders.scratch / "train"), transforms.Compose([*varied, *NORMALIZE]))
    val = ImageFolder(str(folders.scratch / "val"), even, loader=val_loader)
    names = names or train.classes
    model = Net(len(train.classes), functional_dropout=functional_dropout)
    weights = torch.bincount(torch.tensor(train.targets)).float()
    loss = nn.CrossEntropyLoss(weights.mean() / weights, label_smoothing=0.05)
    if folder_batches:
        loader = DataLoader(train, batch_sampler=OneFolderAtATime(train.targets, 16))
    else:
        loader = DataLoader(train, 16, shuffle=True, drop_last=True)

    def predict(path: Path | str) -> str:
        if not predict_as_is:
            model.eval()
        with torch.no_grad():
            return names[int(model(even(by_pillow(str(path)))[None]).argmax())]

    return Plain(
        {
            "model": model,
            "train": loader,
            "val": val,
            "loss": loss,
            "optimizer": torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.02),
            "metric": accuracy,
            "predict": predict,
            "classes": tuple(train.classes),
            "epochs": 12,
            "task": "classification",
        }
    )


def case(name: str, cause: str | None, source: str, also: tuple[str, ...] = (), **change: Any) -> Case:
    return Case(
        name=name,
        make=lambda folders: photographs(folders, **change),
        data="caltech101_loc3 pictures of 80 pixels",
        network="timm resnet10t from scratch",
        source=source,
        cause=cause,
        of="photographs_by_timm" if cause else "",
        also=also,
        needs=("caltech101_loc3",),
    )


CASES = (
    case(
        "photographs_by_timm",
        None,
        "weights of classes against one that is scarce, smoothed labels, functional dropout",
    ),
    case(
        "validation_by_opencv",
        "data.channel_order",
        "cv2.imread without cvtColor in one of two readers; opteroncx/SESR issue 5 has it in the test code",
        ("predict.preprocessing",),
        val_loader=by_opencv,
    ),
    case(
        "names_in_order_of_metadata",
        "predict.class_order",
        "the names as the paper lists them, while ImageFolder sorts the folders",
        names=("face", "airplane", "motorcycle"),
    ),
    case(
        "functional_dropout_always",
        "norm.dropout_in_eval",
        "F.dropout(x, 0.5) whose argument training is True unless it is given",
        ("predict.mode",),
        functional_dropout=True,
    ),
    case(
        "photographs_of_one_folder_a_batch",
        "norm.alike_batch",
        "files read folder by folder for speed: every batch has one class, batch norm sees one class at a time",
        ("optim.not_shuffled",),
        folder_batches=True,
    ),
    case(
        "predict_without_eval",
        "predict.mode",
        "an inference script that loads the weights and forgets model.eval(): batch norm over a single picture",
        predict_as_is=True,
    ),
)
