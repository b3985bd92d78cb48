"""A dry run of a full batch and of the smallest one of an epoch, before anything is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.errors import RecipeError, UnpoolError, is_out_of_memory
from unpool.ops.targets import check_classes
from unpool.training.job import Job, count_images, lay_out
from unpool.training.step import Step
from unpool.types import Batch


def dry_run(job: Job, batch: Batch, *, smallest: int) -> list[str]:
    """Runs forward and loss on a full batch and on one of `smallest` samples; weights and generators stay as they are.

    Args:
        job: its model's modes and statistics are put back.
        batch: a full one of the loader.
        smallest: samples in the smallest batch of an epoch.

    Returns:
        Warnings: what works but is doubtful.

    Raises:
        RecipeError: batch norm would see one value a channel, or the network cannot take the batch.
        DataError: a target is out of range.
    """
    full = count_images(batch)
    if job.num_classes is not None:
        check_classes(batch, job.num_classes, names=job.names)
    norms = _batch_norms(job.learned)
    with unchanged(job), torch.no_grad():
        job.learned.train()
        for size in dict.fromkeys((full, smallest)):
            _run_once(job, head(batch, size), norms)
        alive = [name for name, norm in norms.items() if norm.training]
    if alive and smallest == 1 < full:
        return [
            f"the smallest batch of an epoch has 1 sample, so batch norm ({alive[0]} and {len(alive) - 1} more) takes "
            "its statistics from one image there: set train.drop_last=true or another train.batch"
        ]
    return []


def _run_once(job: Job, batch: Batch, norms: dict[str, _BatchNorm]) -> None:
    step = Step(job.model, job.task, precision=job.precision, device=job.device)
    prepared = lay_out(job.prepare(batch), job.memory_format)
    hooks = [norm.register_forward_pre_hook(_refuse_one_value(name)) for name, norm in norms.items()]
    try:
        step(prepared)
    except UnpoolError:
        raise
    except (RuntimeError, ValueError) as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise RecipeError(f"the network cannot take a batch of {_shape(prepared)}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()


def _shape(batch: Batch) -> str:
    image = batch.get("image", ())
    if isinstance(image, Tensor):
        return f"{tuple(image.shape)} (B, C, H, W)"
    return f"{len(image)} images, {sorted({tuple(one.shape) for one in image})} (C, H, W)"


def _refuse_one_value(name: str) -> Any:
    def refuse(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        image = inputs[0]
        if norm.training and image.numel() == image.shape[1]:
            raise RecipeError(
                f"a batch of {len(image)} {'samples' if len(image) > 1 else 'sample'} gives batch norm at layer {name} "
                "one value a channel, which has no variance: set train.drop_last=true, train.batch, or larger images"
            )

    return refuse


def _batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    return {name.removeprefix("model."): norm for name, norm in norms.items()}


def head(batch: Batch, size: int) -> Batch:
    """The first `size` samples of a batch."""
    return {key: value[:size] for key, value in batch.items()}


@contextmanager
def unchanged(job: Job) -> Iterator[None]:
    """A context that leaves modes, statistics and generators of a job as they were."""
    modes = {module: module.training for module in job.learned.modules()}
    buffers = {buffer: buffer.clone() for buffer in job.learned.buffers()}
    devices = [job.device] if job.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for buffer, value in buffers.items():
                buffer.copy_(value)
