"""A network of your own on data of your own.

    python examples/own_network.py [section.key=value ...]

Any object with these four attributes and two methods is a reader; any module that maps images to scores is a network.
"""

import sys
from collections.abc import Sequence

import torch
from torch import nn

import unpool
from unpool.types import DataInfo, Fault, Sample


class Stripes:
    """Noisy stripes of 32x32 pixels, upright or level. Read your own files in `__getitem__` instead."""

    gives: tuple[str, ...] = ("image", "label")
    info = DataInfo(classes=("upright", "level"))

    def __init__(self, split: str, count: int) -> None:
        self.names: Sequence[str] = [f"{split}/{index}" for index in range(count)]
        self.faults: list[Fault] = []  # files that cannot be used, with the reason
        self.first = 0 if split == "train" else 1_000_000

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        noise = torch.randint(0, 128, (3, 32, 32), generator=torch.Generator().manual_seed(self.first + index))
        upright = noise + 100 * (torch.arange(32) // 4 % 2)
        image = upright if index % 2 == 0 else upright.transpose(1, 2)
        return {"image": image.to(torch.uint8), "label": torch.tensor(index % 2)}


def build_network() -> nn.Module:
    conv = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(conv, nn.Flatten(), nn.Linear(8, 2))


def main() -> None:
    metrics = unpool.train(
        "cifar10_resnet20",  # gives the task and the optimiser
        ["data.workers=0", "train.epochs=4", "train.batch=16", "train.eval_batch=16", *sys.argv[1:]],
        model=build_network(),
        train=Stripes("train", 128),
        val=Stripes("val", 32),
    )
    print(f"top-1 {metrics['top1']:.2f}, report in {metrics['run']}/report.html")

    predictor = unpool.load(metrics["run"], model=build_network())  # a network of your own is asked for again
    (record,) = predictor(Stripes("test", 2)[1]["image"].permute(1, 2, 0).numpy())
    print(f"level stripes are called {record['class']}: {record}")


if __name__ == "__main__":
    main()
