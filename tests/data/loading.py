"""Sets and transforms that worker processes can import."""

import os
import signal
import time
from pathlib import Path

import torch

from unpool.data.augment import AUGMENTATIONS, Augment
from unpool.errors import DataError
from unpool.ops.preprocessing import Preprocessing
from unpool.types import Batch, DataInfo, Sample


class Numbers:
    """Pictures that say their own index; `trouble` happens at sample 5."""

    gives = ("image", "label")
    info = DataInfo(classes=("even", "odd"))

    def __init__(self, size: int = 23, *, side: int = 8, trouble: str = "", seconds: float = 0.0) -> None:
        self.names = [f"number/{i}.png" for i in range(size)]
        self.sizes_hw = [(side, side)] * size
        self.side = side
        self.trouble = trouble
        self.seconds = seconds

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        time.sleep(self.seconds)
        if index == 5 and self.trouble:
            getattr(self, self.trouble)()
        image = torch.full((3, self.side, self.side), index % 256, dtype=torch.uint8)
        image[:, : self.side // 2] += 40
        place = {"index": torch.tensor(index), "size_hw": torch.tensor([self.side, self.side])}
        return {"image": image, "label": torch.tensor(index % 2), **place}

    def targets(self, index: int) -> Sample:
        return {"label": torch.tensor(index % 2)}

    def broken(self) -> None:
        raise DataError("number/5.png: broken")

    def faulty(self) -> None:
        raise KeyError("a mistake in a reader")

    def stuck(self) -> None:
        time.sleep(600)

    def killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def plain(samples: list[Sample], epoch: int) -> Batch:
    """Stacks, and notes the epoch."""
    batch: Batch = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}
    return batch | {"epoch": torch.full((len(samples),), epoch)}


def augmented(side: int) -> Augment:
    """Every kind of step, to a size of its own."""
    steps = [
        AUGMENTATIONS["scale"](range=[0.7, 1.4]),
        AUGMENTATIONS["rotate"](degrees=15),
        AUGMENTATIONS["crop"](),
        AUGMENTATIONS["flip"](),
        AUGMENTATIONS["color_jitter"](brightness=0.2, contrast=0.2, saturation=0.2, lighting=0.02),
    ]
    return Augment(steps, size_hw=(side, side), preprocessing=Preprocessing(), info=DataInfo(), seed=4)


def wait_until_gone(pid: int, *, seconds: float) -> bool:
    """Whether the process ends in time; a zombie has ended."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False
