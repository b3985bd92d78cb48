"""Leaves of a herbarium in folders: paths in lists, a network of timm, GradScaler, and a predict that gets a path."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.mistakes.case import Case, Folders, Plain

SPECIES = ("alder", "beech", "hazel", "maple", "oak")
SIZE = 48
GREENS = ((70, 120, 40), (110, 130, 30), (60, 100, 70), (140, 90, 40), (90, 110, 20))


def _ground(rng: np.random.Generator, height: int, width: int, ends: tuple[int, int]) -> np.ndarray:
    """Soft patches of colour, other ones in each picture."""
    coarse = Image.fromarray(rng.integers(*ends, (5, 5, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)


def _leaf(rng: np.random.Generator, kind: int) -> Image.Image:
    """A leaf whose outline has as many lobes as its species, on paper."""
    height, width = rng.integers(60, 84, 2)
    rows, columns = np.mgrid[:height, :width]
    y, x = rows - height / 2 + rng.normal(0, 4), columns - width / 2 + rng.normal(0, 4)
    angle = np.arctan2(y, x) + rng.uniform(0, 2 * np.pi)
    edge = min(height, width) * 0.3 * (1 + 0.28 * np.cos((kind + 1) * angle))
    leaf = np.hypot(y, x) < edge
    picture = _ground(rng, height, width, (170, 245)) + rng.normal(0, 6, (height, width, 3))
    color = np.array(GREENS[kind]) + rng.normal(0, 14, 3)
    picture[leaf] = color + rng.normal(0, 10, (int(leaf.sum()), 3))
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def write_leaves(root: Path, *, without: str = "") -> None:
    rng = np.random.default_rng(11)
    for split, count in (("train", 48), ("val", 14)):
        for kind, name in enumerate(SPECIES):
            if split == "val" and name == without:
                continue
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                _leaf(rng, kind).save(root / split / name / f"{number:03d}.png")


class Leaves(Dataset):
    """The species are the folders of the split, in alphabetical order."""

    def __init__(self, root: Path, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.classes = sorted(path.name for path in root.iterdir())
        self.samples = [
            (str(path), number) for number, name in enumerate(self.classes) for path in sorted((root / name).iterdir())
        ]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[index]
        with Image.open(path) as picture:
            return self.transform(picture.convert("RGB")), label


_NORMALIZE = [
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
]
TRAIN = v2.Compose(
    [
        v2.RandomResizedCrop(SIZE, scale=(0.5, 1), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomVerticalFlip(),
        *_NORMALIZE,
    ]
)
VAL = v2.Compose([v2.Resize((SIZE, SIZE), antialias=True), *_NORMALIZE])
SERVED = v2.Compose([v2.Resize(66, antialias=True), v2.CenterCrop(SIZE), *_NORMALIZE])


def _opened(path: str) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _by_opencv(path: str) -> Image.Image:
    return Image.fromarray(cv2.imread(path))


def _predictor(
    model: nn.Module, read: Callable[[str], Image.Image], transform: Callable[[Image.Image], torch.Tensor]
) -> Callable[[str], torch.Tensor]:
    @torch.inference_mode()
    def predict(path: str) -> torch.Tensor:
        model.eval()
        return model(transform(read(str(path)))[None]).softmax(1)[0]

    return predict


@torch.inference_mode()
def top1(model: nn.Module, val: Dataset) -> float:
    model.eval()
    right = total = 0
    for images, labels in DataLoader(val, batch_size=20):
        right += (model(images).argmax(1) == labels).sum().item()
        total += len(labels)
    return 100 * right / total


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(8)
    root = folders.scratch / "herbarium"
    write_leaves(root, without="beech" if mistake == "numbering" else "")
    train, val = Leaves(root / "train", TRAIN), Leaves(root / "val", VAL)
    model = timm.create_model("resnet10t", pretrained=False, num_classes=10 if mistake == "replaced" else len(SPECIES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    if mistake == "replaced":
        model.reset_classifier(len(SPECIES))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)

    def step(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        images, labels = batch
        model.train()
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return Plain(
        {
            "model": model,
            "train": DataLoader(train, batch_size=16, shuffle=True, drop_last=True),
            "val": val,
            "loss": criterion,
            "optimizer": optimizer,
            "step": step,
            "predict": _predictor(
                model, _by_opencv if mistake == "opencv" else _opened, SERVED if mistake == "crop" else VAL
            ),
            "classes": SPECIES,
            "epochs": 30,
            "evaluate": top1,
        }
    )


_case = partial(Case, data="generated leaves in folders", network="timm resnet10t", of="later_leaves")
CASES: tuple[Case, ...] = (
    Case(
        "later_leaves",
        make,
        "generated leaves in folders",
        "timm resnet10t",
        "pictures of all sizes squashed to squares; a scaler that is switched off on this processor; label smoothing",
    ),
    _case(
        "later_leaves_head_after_the_optimizer",
        partial(make, mistake="replaced"),
        source="reset_classifier (or model.fc = ...) after the optimiser is made: it keeps the old layer's weights",
        cause="optim.no_step",
        also=("optim.missing_parameters",),
    ),
    _case(
        "later_leaves_opencv_in_service",
        partial(make, mistake="opencv"),
        source="cv2.imread answers BGR; the service reads by OpenCV what training read by PIL",
        cause="predict.preprocessing",
        also=("data.channel_order",),
    ),
    _case(
        "later_leaves_crop_in_service",
        partial(make, mistake="crop"),
        source="the service has another resize and crop than validation's squash to a square: two files, two habits",
        cause="predict.preprocessing",
    ),
    _case(
        "later_leaves_species_missing_in_val",
        partial(make, mistake="numbering"),
        source="each split numbers the folders that it has, as ImageFolder does; pytorch/vision discussions of "
        "class_to_idx with an empty or missing folder",
        cause="data.class_one_split",
    ),
)
