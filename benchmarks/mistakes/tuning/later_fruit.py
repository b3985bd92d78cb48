"""Fruit on a conveyor belt, arrays in memory, dict batches of `pixel_values` and `labels`, and a trainer class."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

NAMES = ("apple", "banana", "grapes", "lemon")
SIZE = 48
MEAN, STD = (0.42, 0.42, 0.41), (0.15, 0.15, 0.15)


def _ground(rng: np.random.Generator, height: int, width: int, ends: tuple[int, int]) -> np.ndarray:
    """Soft patches of colour, other ones in each picture."""
    coarse = Image.fromarray(rng.integers(*ends, (5, 5, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)


def _photograph(rng: np.random.Generator, kind: int) -> np.ndarray:
    """A fruit of a random place, size and colour on a belt; its form says which it is."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    y, x = rng.uniform(18, 30, 2)
    r = rng.uniform(9, 13)
    disk = (rows - y) ** 2 + (columns - x) ** 2 < r**2
    if kind == 1:
        disk &= (rows - y + r * 0.7) ** 2 + (columns - x) ** 2 > r**2
    elif kind == 2:
        disk = np.zeros_like(disk)
        for dy, dx in rng.uniform(-r, r, (9, 2)):
            disk |= (rows - y - dy) ** 2 + (columns - x - dx) ** 2 < 9
    elif kind == 3:
        disk = ((rows - y) / 0.55) ** 2 + (columns - x) ** 2 < (r * 1.2) ** 2
    picture = _ground(rng, SIZE, SIZE, (50, 140)) + 12 * np.sin(rows / rng.uniform(2, 5))[..., None]
    picture[disk] = rng.uniform(90, 240, 3)
    return (picture + rng.normal(0, 9, picture.shape)).clip(0, 255).astype(np.uint8)


def photographs(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(np.arange(count) % len(NAMES))
    return np.stack([_photograph(rng, int(kind)) for kind in kinds]), kinds


def prepare(picture: np.ndarray) -> torch.Tensor:
    image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255
    return (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def random_view(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Moves by up to four pixels, mirrors, and changes the light."""
    padded = np.pad(picture, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    y, x = rng.integers(0, 9, 2)
    picture = padded[y : y + SIZE, x : x + SIZE]
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    return (picture * rng.uniform(0.8, 1.2)).clip(0, 255).astype(np.uint8)


class Fruit(Dataset):
    def __init__(self, seed: int, count: int, *, training: bool, repeatable: bool = False) -> None:
        self.pictures, self.kinds = photographs(seed, count)
        self.training, self.repeatable = training, repeatable

    def __len__(self) -> int:
        return len(self.kinds)

    def raw(self, index: int) -> np.ndarray:
        return self.pictures[index]

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture = self.pictures[index]
        if self.training:
            seed = index if self.repeatable else int(torch.randint(2**31, ()))
            picture = random_view(picture, np.random.default_rng(seed))
        return {"pixel_values": prepare(picture), "labels": int(self.kinds[index])}


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class FruitNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_block(3, 16), _block(16, 32), _block(32, 48))
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(48, len(NAMES))

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(self.features(pixel_values).mean((2, 3))))


def loss_of(logits: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, batch["labels"])


class Trainer:
    """Accumulates the gradients of some batches, clips, and steps optimiser and schedule."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, *, accumulate: int) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.accumulate, self.seen = accumulate, 0
        self.prepare_model: Callable[[nn.Module], None] = lambda model: None
        self.divide = True

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.model.train()
        self.prepare_model(self.model)
        loss = loss_of(self.model(batch["pixel_values"]), batch)
        (loss / self.accumulate if self.divide else loss).backward()
        self.seen += 1
        if self.seen % self.accumulate == 0:
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


def keep_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


@torch.no_grad()
def measure_norms(model: nn.Module, pictures: np.ndarray) -> None:
    """Sets the running statistics to those of pictures as they are in memory."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    model.train()
    for start in range(0, 96, 32):
        model(torch.from_numpy(pictures[start : start + 32]).permute(0, 3, 1, 2).float())
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1


@torch.no_grad()
def accuracy(model: nn.Module, val: Dataset) -> float:
    model.eval()
    batches = DataLoader(val, batch_size=32)
    right = [model(batch["pixel_values"]).argmax(1) == batch["labels"] for batch in batches]
    return torch.cat(right).float().mean().item()


def _predictor(model: nn.Module, *, eval_mode: bool, names: tuple[str, ...]) -> Callable[[np.ndarray], str]:
    @torch.no_grad()
    def predict(picture: np.ndarray) -> str:
        if eval_mode:
            model.eval()
        return names[int(model(prepare(picture)[None]).argmax(1))]

    return predict


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(5)
    model = FruitNet()
    train = Fruit(1, 288, training=True, repeatable=mistake == "randomness")
    val = Fruit(2, 96, training=False)
    loader = DataLoader(train, batch_size=8, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    epochs, accumulate = 20, 4
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader) // accumulate)
    trainer = Trainer(model, optimizer, schedule, accumulate=accumulate)
    if mistake == "accumulation":
        trainer.divide = False
    elif mistake == "frozen":
        trainer.prepare_model = keep_norms
    elif mistake == "statistics":
        measure_norms(model, train.pictures)
        trainer.prepare_model = keep_norms
    menu = ("lemon", "apple", "grapes", "banana")  # as the scales of the shop number them
    return Plain(
        {
            "model": model,
            "train": loader,
            "val": val,
            "loss": loss_of,
            "optimizer": optimizer,
            "step": trainer.training_step,
            "forward": lambda model, batch: model(batch["pixel_values"]),
            "schedule": schedule,
            "epochs": epochs,
            "evaluate": accuracy,
            "predict": _predictor(model, eval_mode=mistake != "mode", names=menu if mistake == "order" else NAMES),
            "classes": NAMES,
            "task": "classification",
        }
    )


_case = partial(Case, data="generated fruit", network="convolutions with batch norm", of="later_fruit")
CASES: tuple[Case, ...] = (
    Case(
        "later_fruit",
        make,
        "generated fruit",
        "convolutions with batch norm",
        "dict batches of other keys than image; four batches are accumulated and divided; steps of the schedule too",
    ),
    _case(
        "later_fruit_accumulation_undivided",
        partial(make, mistake="accumulation"),
        source="a hand-written loop forgets the division that Trainer and Accelerate make",
        cause="optim.accumulation",
        also=("optim.rate_high",),
    ),
    _case(
        "later_fruit_norms_in_eval",
        partial(make, mistake="frozen"),
        source="the freeze_bn of detection code (BatchNorm2d.eval() each step) kept in a run from scratch",
        cause="norm.frozen",
    ),
    _case(
        "later_fruit_statistics_of_raw_pictures",
        partial(make, mistake="statistics"),
        source="batch norm recalibrated (as update_bn of torch.optim.swa_utils) on pictures that are not normalised",
        cause="norm.other_statistics",
        also=("norm.frozen", "norm.train_eval_gap"),
    ),
    _case(
        "later_fruit_predict_without_eval",
        partial(make, mistake="mode"),
        source="the demo asks the model of the training process and never calls eval(); the forums' oldest question",
        cause="predict.mode",
    ),
    _case(
        "later_fruit_names_of_the_scales",
        partial(make, mistake="order"),
        source="the service reads the names from the shop's own list, which numbers the fruit otherwise",
        cause="predict.class_order",
    ),
    _case(
        "later_fruit_same_view_each_epoch",
        partial(make, mistake="randomness"),
        source="a generator seeded by the index, to be repeatable: each picture has one view for ever",
        cause="augment.same_randomness",
    ),
)
