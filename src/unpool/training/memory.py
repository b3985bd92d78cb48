"""Whether a training step fits into memory, and the batch that does where it does not."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any, cast

import torch
from torch import Tensor

from unpool.errors import EnvironmentFault, is_out_of_memory
from unpool.machine import free_bytes
from unpool.training.job import Job, count_images, lay_out
from unpool.training.preflight import head, taking, unchanged
from unpool.training.processes import world_size
from unpool.training.step import Step, step_of, total_loss
from unpool.types import Batch


@contextmanager
def batch_that_fits(job: Job, batch: Batch) -> Iterator[None]:
    """A context for the first steps of a batch; where memory ends in it, smaller batches are tried.

    Raises:
        EnvironmentFault: memory was used up, or would be; the message has the largest batch that was tried and fits.
    """
    try:
        require_memory(job, batch)
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, EnvironmentFault) or not is_out_of_memory(error):
            raise
    else:
        return
    full = count_images(batch)  # from here on, nothing of the failed step is held
    size = _largest(job, batch, full // 2)
    raise EnvironmentFault(f"memory is used up by a step of {_images(full)}; {_advice(size)}")


def require_memory(job: Job, batch: Batch) -> None:
    """Raises EnvironmentFault if what a step keeps for its gradients exceeds the free memory of the host.

    It is measured on two images. A system that promises more memory than it has would end the process without a word;
    a device raises an error of its own.
    """
    full = count_images(batch)
    if job.device.type != "cpu" or full <= 2:
        return
    needed = kept_bytes(job, head(batch, 2)) * full / 2
    free = free_bytes()
    if needed > free:
        size = _largest(job, batch, int(full * free / needed / 2))  # as much again for gradients of maps and workers
        raise EnvironmentFault(
            f"a step of {_images(full)} keeps {needed / 2**30:.1f} GiB for its gradients and {free / 2**30:.1f} GiB of "
            f"memory are free; {_advice(size)}"
        )


def largest_batch(job: Job, batch: Batch, sizes: Sequence[int]) -> int:
    """The largest of `sizes` of images of which a training step fits.

    On a device steps are tried. On the host, which would end the process without a word, it is computed: from what a
    step of two images keeps, as much again for the gradients of maps and for workers, and three copies of the weights.

    Args:
        job: in float32; its weights, modes and generators stay as they are.
        batch: at least one sample, which is repeated.
        sizes: of batches to try, rising.

    Raises:
        EnvironmentFault: the smallest one does not fit.
    """
    if job.device.type == "cpu":
        each = kept_bytes(job, _repeated(batch, sizes[0])) / sizes[0]
        weights = sum(weight.untyped_storage().nbytes() for weight in job.learned.parameters())
        free = free_bytes()
        fitting = [size for size in sizes if 2 * size * each + 3 * weights <= free]
    else:
        fitting = list(takewhile(lambda size: _largest(job, _repeated(batch, size), size, least=size) == size, sizes))
    if not fitting:
        raise EnvironmentFault(f"memory is used up by a step of {_images(sizes[0])}; {_advice(0, least=sizes[0])}")
    return fitting[-1]


def _repeated(batch: Batch, size: int) -> Batch:
    """A batch of `size` samples, those of another one in turn."""
    count = count_images(batch)
    more = {
        key: torch.cat([value] * -(-size // count)) if isinstance(value, Tensor) else value * -(-size // count)
        for key, value in batch.items()
    }
    return head(more, size)


def kept_bytes(job: Job, batch: Batch) -> int:
    """Bytes that the forward pass of a batch keeps for the backward pass, the weights not counted."""
    weights = {weight.untyped_storage().data_ptr() for weight in job.learned.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with unchanged(job), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        job.learned.train()
        step = step_of(job)
        prepared = lay_out(job.prepare(batch), job.memory_format)
        with taking(prepared):
            losses = step(prepared)
            del losses
    return sum(size for pointer, size in kept.items() if pointer not in weights)


def _largest(job: Job, batch: Batch, size: int, *, least: int = 1) -> int:
    """The first of `size`, its half and so on to `least` of which a whole training step fits; 0 if none does."""
    while size >= least:
        try:
            _whole_step(job, head(batch, size))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return size
        if job.device.type == "cuda":
            torch.cuda.empty_cache()
        size //= 2
    return 0


def _whole_step(job: Job, batch: Batch) -> None:
    """One step of a copy by the job's kind of optimiser, which keeps as much for each weight as in training."""
    with unchanged(job):
        step = Step(copy.deepcopy(job.model), copy.deepcopy(job.task), precision=job.precision, device=job.device)
        momentum = job.optimizer.defaults.get("momentum")  # without it sgd keeps nothing
        kept = {"momentum": momentum} if momentum else {}
        optimizer = cast("Any", type(job.optimizer))(step.weights, lr=0.0, **kept)
        step.train()
        total_loss(step(lay_out(job.prepare(batch), job.memory_format))).backward()
        optimizer.step()


def _images(count: int) -> str:
    """Of a step of this process and, where it is one of several, of all of them: what train.batch counts."""
    processes = world_size()
    each = f", {count} in each of {processes} processes" if processes > 1 else ""
    return f"{count * processes} images{each}"


def _advice(size: int, *, least: int = 1) -> str:
    if size:
        return f"lower train.batch: a step of {size * world_size()} fits"
    none = "one image fits" if least == 1 else f"{least} images fit"
    return f"not even {none}: lower data.size or data.train_size, or take a smaller network"
