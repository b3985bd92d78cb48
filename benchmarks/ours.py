"""The same networks, pictures and batches as the peers, trained by `unpool.train` and timed the same way."""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import unpool
from benchmarks.peers.loop import WARM_UP, data_steps, intervals, median_of_windows, times, versions
from unpool.cli.environment import prepare_torch
from unpool.training.callbacks import Callback
from unpool.training.job import Counters, Job, StepRecord, streamed
from unpool.training.loop import fit
from unpool.training.stopping import StopRequest
from unpool.types import Batch

RECIPES = Path(__file__).parent / "recipes"


class Enough(Exception):
    """Ends a run that has been timed."""


class Clock(Callback):
    """Notes when each step ended, and ends the run after `steps` of them and the warm-up."""

    def __init__(self, steps: int) -> None:
        self.marks: list[float] = []
        self.steps = steps
        self.job: Job | None = None

    def after_step(self, job: Job, record: StepRecord) -> None:
        self.marks.append(time.perf_counter())
        if len(self.marks) > WARM_UP + self.steps:
            self.job = job
            raise Enough

    def times_s(self) -> list[float]:
        return intervals(self.marks[WARM_UP:])


class Repeat:
    """One batch again and again, in place of a loader: what is timed is the network alone."""

    steps_per_epoch = 1_000_000
    waited_s = ready_s = 0.0

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def stream(self, epoch: int, position: int, epochs: int) -> Iterator[Batch]:
        while True:
            yield self.batch

    def close(self) -> None:
        """There is nothing to end."""


def ours(recipe: Path, root: Path, *, steps: int, batch: int | None = None) -> dict[str, Any]:
    """images/s of whole steps, of the data alone and of the network alone, as `benchmarks.peers.loop.measure` gives."""
    overrides = {"data.root": str(root)} | ({} if batch is None else {"train.batch": batch})
    whole = Clock(steps)
    with tempfile.TemporaryDirectory(prefix="unpool-speed-") as folder, suppress(Enough):
        unpool.train(recipe, overrides, callbacks=[whole], run=Path(folder) / "run")
    job = whole.job
    if job is None:
        raise RuntimeError(f"{recipe.name} ended before {steps} steps; give it more epochs")
    loader, size = job.loader, unpool.load_recipe(recipe, overrides).train.batch
    workers = getattr(loader, "workers", 0)
    with streamed(loader, 0, 0, epochs=1_000_000) as stream:
        data_s = times(lambda: next(stream), data_steps(workers, steps))
        kept = next(stream)
    loader.close()
    return {
        "network": recipe.stem,
        "images_per_s": size / median_of_windows(whole.times_s(), workers),
        "step_only": size / median_of_windows(_step_times(job, kept, steps), 1),
        "data_only": size * len(data_s) / sum(data_s),
        "batch": size,
        "workers": workers,
        "threads": torch.get_num_threads(),
        "precision": job.precision,
        "memory_format": job.memory_format,
        "step_s": whole.times_s(),
        "versions": versions(),
    }


def _step_times(job: Job, batch: Batch, steps: int) -> list[float]:
    clock = Clock(steps)
    with suppress(Enough):
        fit(replace(job, loader=Repeat(batch), counters=Counters(), stop=StopRequest()), [clock])
    return clock.times_s()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.ours", description=__doc__)
    parser.add_argument("network", choices=sorted(path.stem for path in RECIPES.glob("*.yaml")))
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--steps", type=int, default=5, help="timed steps")
    parser.add_argument("--batch", type=int)
    options = parser.parse_args()
    prepare_torch()
    result = ours(RECIPES / f"{options.network}.yaml", options.root, steps=options.steps, batch=options.batch)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
