"""Grey pictures of 12 bits in files, as X-rays are, several of each patient: ShuffleNet for one channel."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import copy

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import shufflenet_v2_x0_5

from benchmarks.mistakes.case import Case, Folders, Plain

CLASSES = ("clear", "haze", "nodule")
SIDE = 48


def anatomy(rng: np.random.Generator) -> np.ndarray:
    """A body that is of one patient alone, 0 to 1, with a margin of 6 to each side."""
    side = SIDE + 12
    y, x = np.mgrid[0:side, 0:side] / side
    lungs = np.zeros((side, side))
    for centre in (0.3, 0.7):
        wide, high = rng.uniform(0.1, 0.15), rng.uniform(0.24, 0.33)
        lungs += ((x - centre + rng.normal(0, 0.02)) / wide) ** 2 + ((y - 0.5) / high) ** 2 < 1
    ribs = 0.06 * np.sin(
        2 * np.pi * (rng.uniform(5, 8) * y + rng.uniform(0.5, 1.5) * np.abs(x - 0.5)) + rng.uniform(0, 6)
    )
    texture = gaussian_filter(rng.standard_normal((side, side)), 2) * 0.3
    return gaussian_filter(0.55 - 0.25 * np.clip(lungs, 0, 1), 1) + ribs + texture


def finding(kind: str, rng: np.random.Generator) -> np.ndarray:
    side = SIDE + 12
    y, x = np.mgrid[0:side, 0:side] / side
    shadow = np.zeros((side, side))
    if kind == "haze":
        shadow = 0.4 * np.exp(
            -(((x - rng.choice([0.3, 0.7])) / 0.2) ** 2) - ((y - rng.uniform(0.55, 0.65)) / 0.16) ** 2
        )
    if kind == "nodule":
        for _ in range(2):
            centre = rng.choice([0.3, 0.7]) + rng.normal(0, 0.04), rng.uniform(0.3, 0.7)
            shadow += 0.5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 0.055**2)
    return gaussian_filter(shadow, 0.7)


def pictures_of(patient: int, kind: str, count: int) -> list[np.ndarray]:
    """Pictures of one patient on several days: moved a little, other noise, other exposure."""
    rng = np.random.default_rng(900 + patient)
    body = anatomy(rng) + finding(kind, rng)
    pictures = []
    for _ in range(count):
        top, left = rng.integers(4, 9, 2)
        seen = body[top : top + SIDE, left : left + SIDE] * rng.uniform(0.9, 1.1) + rng.normal(0, 0.03, (SIDE, SIDE))
        pictures.append((seen.clip(0, 1) * 4095).astype(np.uint16))
    return pictures


def write(folder: Path, *, by_patient: bool) -> None:
    """The tree train|val/<class>/<patient>_<day>.png; a quarter validates."""
    rng = np.random.default_rng(5)
    for patient in range(72):
        kind = CLASSES[(0, 0, 0, 0, 0, 1, 1, 2, 2)[patient % 9]]
        patient_split = "val" if patient // 9 % 4 == 3 else "train"
        for day, picture in enumerate(pictures_of(patient, kind, 4)):
            split = patient_split if by_patient else ("val" if rng.random() < 0.25 else "train")
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / split / kind / f"p{patient:03}_{day}.png")


def checkpoints(folder: Path) -> None:
    """What a notebook server leaves where somebody opened two pictures in it."""
    hidden = folder / "train" / ".ipynb_checkpoints"
    hidden.mkdir()
    for path in sorted((folder / "train" / "haze").glob("*.png"))[:2]:
        copy(path, hidden / f"{path.stem}-checkpoint.png")


def twelve_bits(path: str) -> Tensor:
    values = np.asarray(Image.open(path)).astype(np.float32) / 4095
    return torch.from_numpy((values - 0.5) / 0.25)[None]


def as_eight_bits(path: str) -> Tensor:
    values = np.asarray(Image.open(path).convert("L")).astype(np.float32) / 255
    return torch.from_numpy((values - 0.5) / 0.25)[None]


def network(classes: int) -> nn.Module:
    model = shufflenet_v2_x0_5(weights=None, num_classes=classes)
    model.conv1[0] = nn.Conv2d(1, 24, 3, stride=1, padding=1, bias=False)
    return model


def accuracy(model: nn.Module, loader: DataLoader, *, evaluating: bool = True) -> float:
    """The mean of the classes' recalls."""
    if evaluating:
        model.eval()
    right, total = torch.zeros(9), torch.zeros(9)
    with torch.no_grad():
        for pictures, kinds in loader:
            hits = (model(pictures).argmax(1) == kinds).float()
            right.index_add_(0, kinds, hits)
            total.index_add_(0, kinds, torch.ones_like(hits))
    return float((right / total.clamp(min=1))[total > 0].mean())


def run(
    folders: Folders,
    *,
    layout: str = "by patient",
    loader: Callable[[str], Tensor] = twelve_bits,
    weights_of: Callable[[Tensor], Tensor] = lambda counts: counts.sum() / (len(counts) * counts),
    names: tuple[str, ...] = CLASSES,
    late_head: bool = False,
    evaluating: bool = True,
) -> Plain:
    torch.manual_seed(0)
    write(folders.scratch, by_patient=layout != "by picture")
    if layout == "with checkpoints":
        checkpoints(folders.scratch)
    train_set = ImageFolder(str(folders.scratch / "train"), loader=loader)
    val_set = ImageFolder(str(folders.scratch / "val"), loader=loader)
    train = DataLoader(train_set, 16, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(0))
    val = DataLoader(val_set, 16)
    classes = len(train_set.classes)
    model = network(1000 if late_head else classes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    if late_head:
        model.fc = nn.Linear(1024, classes)
    counts = torch.bincount(torch.tensor(train_set.targets), minlength=classes).float()

    def predict(path: str | Path) -> str:
        model.eval()
        with torch.no_grad():
            return names[int(model(loader(str(path))[None]).argmax())]

    arguments = {
        "model": model,
        "train": train,
        "val": val,
        "loss": nn.CrossEntropyLoss(weight=weights_of(counts)),
        "optimizer": optimizer,
        "epochs": 12,
        "evaluate": partial(accuracy, evaluating=evaluating),
        "classes": tuple(train_set.classes),
        "task": "classification",
    }
    if layout != "with checkpoints":
        arguments["predict"] = predict
    return Plain(arguments)


HEALTHY = "shadows_of_twelve_bits_by_patient"
planted = partial(Case, data="generated X-rays", network="shufflenet_v2_x0_5 of torchvision", of=HEALTHY)

CASES: tuple[Case, ...] = (
    Case(
        HEALTHY,
        run,
        "generated X-rays",
        "shufflenet_v2_x0_5 of torchvision",
        "one channel of 12 bits, unbalanced with weights, several pictures of a patient, patients split",
    ),
    planted(
        "shadows_split_by_picture",
        partial(run, layout="by picture"),
        cause="data.subject_leak",
        source="UCSD-AI4H/COVID-CT #11, frankkramer-lab/MIScnn #34: slices of one patient in both splits",
        also=("data.leak",),
    ),
    planted(
        "shadows_with_checkpoints_as_class",
        partial(run, layout="with checkpoints"),
        cause="data.class_one_split",
        source="open-mmlab/mmpretrain #507: .ipynb_checkpoints is read as class 0 and shifts the numbers of the others",
    ),
    planted(
        "shadows_converted_to_eight_bits",
        partial(run, loader=as_eight_bits),
        cause="data.value_range",
        source="python-pillow/Pillow: convert('L') clips 16 bits at 255 and does not scale; readers for photographs "
        "do it",
        also=("data.constant",),
    ),
    planted(
        "shadows_weighted_by_frequency",
        partial(run, weights_of=lambda counts: len(counts) * counts / counts.sum()),
        cause="loss.weights_inverted",
        source="people give CrossEntropyLoss the share of each class, as they found it, for its weight",
    ),
    planted(
        "shadows_named_in_order_of_the_readme",
        partial(run, names=("clear", "nodule", "haze")),
        cause="predict.class_order",
        source="weecology/DeepForest pull 1147, ultralytics pull 26192: ImageFolder sorts names, the application "
        "has a list "
        "of its own",
    ),
    planted(
        "shadows_head_replaced_after_optimizer",
        partial(run, late_head=True),
        cause="optim.missing_parameters",
        source="people move the optimiser up to where the model is made, above the new head of transfer learning",
        also=("optim.no_step",),
    ),
    planted(
        "shadows_validated_in_train_mode",
        partial(run, evaluating=False),
        cause="metric.train_mode",
        source="people write the loop of validation with no_grad and take that for eval()",
    ),
)
