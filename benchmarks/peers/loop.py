"""The training loop that tutorials teach, timed: eager float32, NCHW, a DataLoader, SGD with momentum."""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from unpool.models import build

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WARM_UP = 2  # steps before the clock counts: allocator and oneDNN settle


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One script: which network of ours it trains, on what, as a user would."""

    network: str
    batch: int
    num_classes: int
    dataset: Callable[[Path], Dataset]
    lr: float
    ignore_index: int = -100


def run(peer: Peer) -> None:
    """Parses the command line, trains, prints one JSON line."""
    parser = argparse.ArgumentParser(description=f"{peer.network} as a user trains it today")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5, help="timed steps")
    parser.add_argument("--batch", type=int, default=peer.batch)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    loader = DataLoader(
        peer.dataset(options.root),
        batch_size=options.batch,
        shuffle=True,
        num_workers=options.workers,
        drop_last=True,
        persistent_workers=options.workers > 0,
    )
    print(json.dumps(measure(peer, loader, steps=options.steps)))


def measure(peer: Peer, loader: DataLoader, *, steps: int) -> dict[str, Any]:
    """images/s of whole steps, of the data alone and of the network alone."""
    step = make_step(peer)
    batches = _forever(loader)
    whole_s = times(lambda: step(*next(batches)), steps)
    kept = next(batches)
    step_s = times(lambda: step(*kept), steps)
    data_s = times(lambda: next(batches), data_steps(loader.num_workers, steps))
    batch = loader.batch_size or 1
    return {
        "network": peer.network,
        "images_per_s": batch / median_of_windows(whole_s, loader.num_workers),
        "step_only": batch / median_of_windows(step_s, 1),
        # what workers made in advance comes at once, so a median over batches would mean nothing
        "data_only": batch * len(data_s) / sum(data_s),
        "batch": batch,
        "workers": loader.num_workers,
        "threads": torch.get_num_threads(),
        "step_s": whole_s,
        "versions": versions(),
    }


def make_step(peer: Peer) -> Callable[[Tensor, Tensor], None]:
    """One optimiser step on (image, target)."""
    model = build(peer.network, num_classes=peer.num_classes, in_channels=3)
    model.train()
    criterion = nn.CrossEntropyLoss(ignore_index=peer.ignore_index)
    optimizer = torch.optim.SGD(model.parameters(), lr=peer.lr, momentum=0.9, weight_decay=1e-4)

    def step(image: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        loss = criterion(model(image), target)
        loss.backward()
        optimizer.step()

    return step


def versions() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }


def _forever(loader: DataLoader) -> Iterator[Any]:
    while True:
        yield from loader


def times(action: Callable[[], object], steps: int) -> list[float]:
    """Seconds of each of `steps` calls, after a warm-up."""
    for _ in range(WARM_UP):
        action()
    marks = [time.perf_counter()]
    for _ in range(steps):
        action()
        marks.append(time.perf_counter())
    return intervals(marks)


def intervals(marks: Sequence[float]) -> list[float]:
    """From each mark to the next."""
    return [after - before for before, after in itertools.pairwise(marks)]


def median_of_windows(times_s: Sequence[float], workers: int) -> float:
    """Median over windows of as many steps as there are workers, whose batches come in bunches of that many."""
    window = max(1, min(workers, len(times_s)))
    means = [statistics.fmean(times_s[i : i + window]) for i in range(0, len(times_s) - window + 1, window)]
    return statistics.median(means)


def data_steps(workers: int, steps: int) -> int:
    """Enough batches that those made in advance, a few a worker, weigh little."""
    return max(steps, 8 * workers)
