"""Reading numbers on plates, column by column, with CTC: MNIST's digits side by side."""

import gzip
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

HEIGHT, WIDTH, LONGEST = 28, 96, 4


def digits(folders: Folders, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    if folders.data is None:
        raise FileNotFoundError("mnist: give the folder of the public sets")
    with gzip.open(folders.data / "mnist" / f"{split}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(16 + 784 * count)[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(folders.data / "mnist" / f"{split}-labels-idx1-ubyte.gz") as file:
        return images, np.frombuffer(file.read(8 + count)[8:], np.uint8)


class Plates(Dataset):
    """Plates of two to four digits; targets are the digits + 1, and 0, CTC's blank, behind them."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.plates, self.numbers = [], []
        for _ in range(count):
            plate, number = np.zeros((HEIGHT, WIDTH), np.float32), np.zeros(LONGEST, np.int64)
            for place in range(rng.integers(2, LONGEST + 1)):
                chosen, x = rng.integers(len(images)), 23 * place + rng.integers(0, 4)
                window = plate[:, x : x + 22]
                np.maximum(window, images[chosen][:, 3:25], out=window)
                number[place] = labels[chosen] + 1
            plate = 255 - 0.75 * plate if rng.random() < 0.5 else 40 + 0.75 * plate
            self.plates.append(plate + rng.normal(0, 8, plate.shape))
            self.numbers.append(number)

    def __len__(self) -> int:
        return len(self.plates)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        plate = torch.from_numpy(self.plates[index]).float()[None]
        return plate / 127.5 - 1, torch.from_numpy(self.numbers[index])


class PlateReader(nn.Module):
    """Scores (B, columns, 11) by convolutions and an LSTM that runs both ways along the plate."""

    def __init__(self, *, batch_first: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.column = nn.Linear(32 * 7, 48)
        self.along = nn.LSTM(48, 32, bidirectional=True, batch_first=batch_first)
        self.scores = nn.Linear(64, 11)

    def forward(self, plates: torch.Tensor) -> torch.Tensor:
        columns = self.features(plates).permute(0, 3, 1, 2).flatten(2)
        return self.scores(self.along(self.column(columns).relu())[0])


def ctc(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    columns = torch.full((len(outputs),), outputs.shape[1])
    return functional.ctc_loss(
        outputs.log_softmax(2).transpose(0, 1), targets, columns, (targets > 0).sum(1), zero_infinity=True
    )


def _text(scores: torch.Tensor) -> str:
    best = torch.unique_consecutive(scores.argmax(1)).tolist()
    return "".join(str(number - 1) for number in best if number)


class ExactMatch:
    """Share of plates that are read without a fault."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.right, self.total = 0, 0

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        for scores, target in zip(outputs, targets, strict=True):
            self.right += _text(scores) == "".join(str(number - 1) for number in target.tolist() if number)
            self.total += 1

    def compute(self) -> float:
        return self.right / max(self.total, 1)


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(31)
    train = Plates(*digits(folders, "train", 3000), 320, 61)
    val = Plates(*digits(folders, "t10k", 800), 64, 62)
    model = PlateReader(batch_first=mistake != "axes")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    longest_gradient = 0.05 if mistake == "clip" else 5.0

    def step(batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        plates, numbers = batch
        model.train()
        optimizer.zero_grad()
        loss = ctc(model(plates), numbers)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), longest_gradient)
        optimizer.step()
        return loss.detach()

    return Plain(
        {
            "model": model,
            "train": DataLoader(train, batch_size=16, shuffle=True, drop_last=True),
            "val": DataLoader(val, batch_size=16),
            "loss": ctc,
            "optimizer": optimizer,
            "step": step,
            "metric": ExactMatch(),
            "epochs": 60,
            "task": "captions",
        }
    )


_case = partial(Case, data="mnist digits on plates", network="CRNN", of="later_plates", needs=("mnist",))
CASES: tuple[Case, ...] = (
    Case(
        "later_plates",
        make,
        "mnist digits on plates",
        "CRNN",
        "CTC with a blank that is 0 and pads too; dark on light and light on dark; a metric of whole words",
        needs=("mnist",),
    ),
    _case(
        "later_plates_lstm_along_the_batch",
        partial(make, mistake="axes"),
        source="nn.LSTM takes (time, batch, features) unless batch_first: it runs along the batch without a word",
        cause="network.batch_mixing",
    ),
    _case(
        "later_plates_clipped_to_a_twentieth",
        partial(make, mistake="clip"),
        source="a clip of 0.05 taken from a recipe with Adam and summed losses; every gradient is longer than it",
        cause="optim.always_clipped",
    ),
)
