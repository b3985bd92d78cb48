"""What a run says of itself in six lines before its first step."""

from collections.abc import Sequence
from pathlib import Path

import torch

from unpool.assemble.data import Data
from unpool.data.loader import Loader
from unpool.data.order import whole_of
from unpool.recipe import Recipe
from unpool.run_directory import shown_path
from unpool.training.job import Job
from unpool.training.processes import world_size
from unpool.training.progress import as_time

_SIDE = 9  # characters of the names


def six_lines(recipe: Recipe, job: Job, data: Data, loader: Loader, *, network: str, run: Path, batch_s: float) -> str:
    """Data, network, device and precision, steps, directory and expected time, a line each.

    Args:
        recipe: with every choice made.
        job: what is trained; a resumed one stands where it was saved.
        data: scanned.
        loader: of training batches.
        network: its name, or words for one of the caller's.
        run: the directory.
        batch_s: seconds that a batch takes.
    """
    lines = [
        ("data", _data(data, job.task.needs)),
        ("network", f"{network}, {sum(p.numel() for p in job.model.parameters()):,} parameters"),
        ("device", f"{_device(job.device)}, {job.precision}, {job.memory_format}"),
        ("steps", _steps(recipe, job, loader)),
        ("run", shown_path(run)),
        ("time", _time(job, batch_s * recipe.train.accumulate)),
    ]
    return "\n".join(f"{name:{_SIDE}}{text}" for name, text in lines)


def _data(data: Data, keys: Sequence[str]) -> str:
    train, val = len(data.train.samples), len(data.val.samples)
    classes = data.train.counts.brief(keys)
    images = f"{train:,} {'image' if train == 1 else 'images'} to train on, {val:,} to validate"
    return f"{images}, {classes}" if classes else images


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return f"{world_size()} processes, {name}" if world_size() > 1 else name
    threads = torch.get_num_threads()
    of_each = f"{threads} {'thread' if threads == 1 else 'threads'}"
    return (
        f"{device.type} ({of_each})"
        if world_size() == 1
        else f"{device.type} ({world_size()} processes, {of_each} each)"
    )


def _steps(recipe: Recipe, job: Job, loader: Loader) -> str:
    accumulated = f" of {recipe.train.accumulate} batches" if recipe.train.accumulate > 1 else ""
    done = f", {job.counters.step:,} of them done" if job.counters.step else ""
    epochs = f"{job.epochs:,} {'epoch' if job.epochs == 1 else 'epochs'}"
    batch = whole_of(loader.order).batch
    images = f"{batch} {'image' if batch == 1 else 'images'} a batch"
    return f"{job.total_steps:,} in {epochs}, {images}{accumulated}{done}"


def _time(job: Job, step_s: float) -> str:
    return f"about {as_time(step_s * (job.total_steps - job.counters.step))}, evaluation not counted"
