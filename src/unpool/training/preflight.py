"""A dry run of a full batch and of the smallest one of an epoch, before anything is trained."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.errors import RecipeError, UnpoolError, is_out_of_memory
from unpool.ops.mixing import partners
from unpool.ops.targets import check_classes
from unpool.tracing.foreign import foreign_code
from unpool.training.job import Job, count_images, lay_out
from unpool.training.step import step_of
from unpool.training.whole_batch import noted_doubts
from unpool.types import Batch, Losses, Part

_ROUNDING = 1e-3  # of a sum of shares
_SHARES = (
    "the network ends in softmax or sigmoid, and cross-entropy takes logits: it learns badly, and the scores of "
    "its answers are wrong; leave the last layer out"
)


def dry_run(
    job: Job, batch: Batch, *, smallest: int, parts: tuple[Part | None, Part | None] = (None, None)
) -> list[str]:
    """Runs forward and loss on a full batch and on one of `smallest` samples; weights and generators stay as they are.

    Args:
        job: its model's modes and statistics are put back.
        batch: a full one of the loader.
        smallest: samples in the smallest batch of an epoch.
        parts: which part of the whole batch each of the two is, of one of several processes.

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
    with unchanged(job), torch.no_grad(), noted_doubts() as doubts:
        job.learned.train()
        sizes = dict.fromkeys(zip((full, smallest), parts, strict=True))
        takes_shares = [_run_once(job, head(batch, size), part, norms) for size, part in sizes]
        alive = [name for name, norm in norms.items() if norm.training]
    warnings = [*([_SHARES] if all(takes_shares) else []), *doubts, *_half_frozen({n: norms[n] for n in alive})]
    if alive and smallest == 1 < full and not job.synchronizes_norms:
        warnings.append(
            f"the smallest batch of an epoch has 1 sample, so batch norm ({alive[0]} and {len(alive) - 1} more) takes "
            "its statistics from one image there: set train.drop_last=true or another train.batch"
        )
    return warnings


def _run_once(job: Job, batch: Batch, part: Part | None, norms: dict[str, _BatchNorm]) -> bool:
    """Forward and loss; whether the loss is a cross-entropy and the network gives it shares in place of logits."""
    step = step_of(job)
    prepared = lay_out(job.prepare(batch), job.memory_format)
    refused = {} if job.synchronizes_norms else norms  # which see those of the other processes too
    hooks = [norm.register_forward_pre_hook(_refuse_one_value(name)) for name, norm in refused.items()]
    outputs: list[Any] = []
    squashed: list[Any] = []
    hooks.append(job.model.register_forward_hook(lambda *passed: outputs.append(passed[-1])))
    for module in job.model.modules():
        if isinstance(module, nn.Sigmoid | nn.Softmax | nn.Softmax2d):
            hooks.append(module.register_forward_hook(lambda *passed: squashed.append(passed[-1])))
    losses: Losses = {}
    try:
        with taking(prepared):
            losses = step(prepared, part)
    finally:
        for hook in hooks:
            hook.remove()
    return "cross_entropy" in losses and any(_has_shares(output, squashed) for output in outputs)


def _has_shares(output: Any, squashed: Sequence[Any]) -> bool:
    """Whether a tensor of an output left a sigmoid or softmax last, or sums to 1 over the classes as softmax does."""
    if isinstance(output, Tensor):
        is_squashed = any(output is one for one in squashed)
        has_classes = output.dim() > 1 and output.shape[1] > 1 and output.numel() > 0
        return is_squashed or (has_classes and bool((output >= 0).all()) and _sums_to_one(output))
    values = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return any(_has_shares(value, squashed) for value in values)


def _sums_to_one(output: Tensor) -> bool:
    return bool(((output.float().sum(1) - 1).abs() < _ROUNDING).all())


@contextmanager
def taking(batch: Batch) -> Iterator[None]:
    """Inside, an error of a network's code on a batch is a RecipeError with the batch's shape.

    Errors that say what was wrong, and those of memory, are raised as they are.
    """
    with foreign_code() as failure:
        yield
    error = failure.error
    if error is None:
        return
    if isinstance(error, UnpoolError) or (isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error)):
        raise error
    raise RecipeError(f"the network cannot take a batch of {_shape(batch)}: {type(error).__name__}: {error}") from error


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


def _half_frozen(norms: Mapping[str, _BatchNorm]) -> list[str]:
    """A warning where norms that run as in training have weights that are not trained, as of layers that are fixed."""
    names = [
        name
        for name, norm in norms.items()
        if norm.running_mean is not None and norm.affine and not norm.weight.requires_grad
    ]
    if not names:
        return []
    part = names[0].rpartition(".")[0] or names[0]
    return [
        f"the weights of batch norm {names[0]} and {len(names) - 1} more are not trained, and it follows the training "
        "images all the same: its statistics change, and so does what the layers around it give. To keep a part as it "
        f"is, such as this one, set model.frozen=[{part}]"
    ]


def head(batch: Batch, size: int) -> Batch:
    """The first `size` samples of a batch; of mixed ones, the last may be alone, as in a batch of that size.

    Example:
        >>> alone = head({"label": torch.arange(4), "partner": partners(4), "mix": torch.full((4,), 0.5)}, 3)
        >>> alone["partner"].tolist(), alone["mix"].tolist()
        ([1, 0, 2], [0.5, 0.5, 1.0])
    """
    first = {key: value[:size] for key, value in batch.items()}
    if "partner" in first:
        position = torch.arange(len(first["partner"]))
        partner = partners(len(position))
        is_alone = partner == position
        first |= {"partner": partner, "mix": torch.where(is_alone, torch.ones(()), first["mix"])}
    return first


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
