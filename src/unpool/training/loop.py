"""The only training loop: batches in, optimiser steps out; all else is a callback."""

import logging
import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice

import torch
from torch import nn

from unpool.errors import DataError, Diverged, EnvironmentFault, Stopped, TimeLimit
from unpool.ops.targets import check_classes, names_of
from unpool.training import processes
from unpool.training.callbacks import Callback
from unpool.training.gradients import Gradients, compute_gradients, distributed
from unpool.training.job import Counters, Job, StepRecord, count_images, lay_out, streamed
from unpool.training.optim import set_lr
from unpool.training.step import Step, step_of
from unpool.types import Batch

SKIPS_IN_A_ROW = 3
MASK_64 = (1 << 64) - 1
_log = logging.getLogger(__name__)


class TooManyUnreadable(DataError):
    """The state is saved before it is raised: the run can go on once the files are repaired."""


SAVED = (Stopped, TimeLimit, TooManyUnreadable)  # ends of a run that save its state: it can go on


def fit(job: Job, callbacks: Sequence[Callback] = ()) -> Counters:
    """Trains from where `job.counters` stand to the last epoch; the loader is closed at the end.

    A callback may set the end before it: `counters.is_ended`.

    Callbacks are called in their order, those with a higher `rank` later.

    Raises:
        DataError: the loader has no batch, or a target is out of range.
        Diverged: the loss, or four gradients in a row, were not finite; nothing was saved after that.
        TooManyUnreadable: more images had to be replaced than `job.most_unreadable`; the state was saved.
        Stopped, TimeLimit: `job.stop` asked for it; `stopped` of every callback was called before.
    """
    ordered = sorted(callbacks, key=lambda callback: callback.rank)
    if job.loader.steps_per_epoch < 1:
        raise DataError(
            "an epoch has no batch: the training set is smaller than one batch; "
            "lower train.batch or set train.drop_last to false"
        )
    if job.averaging is not None:
        job.averaging.start(job.learned)
    processes.watch_closely()
    try:
        with job.stop:
            _fit(job, ordered)
    finally:
        for callback in ordered:
            callback.close()
        job.loader.close()
    return job.counters


def _fit(job: Job, callbacks: Sequence[Callback]) -> None:
    for callback in callbacks:
        callback.start(job)
    try:
        _run(job, callbacks)
        for callback in callbacks:
            callback.end(job)
    except SAVED as error:
        for callback in callbacks:
            callback.stopped(job)
        processes.wait()  # for who saves
        if any(callback.saves for callback in callbacks):
            error.add_note(f"saved at step {job.counters.step}")
        raise


def _run(job: Job, callbacks: Sequence[Callback]) -> None:
    counters, batches_per_epoch = job.counters, job.loader.steps_per_epoch
    job.learned.train()
    if counters.position >= batches_per_epoch:
        _finish_epoch(job, callbacks)
    if _is_over(job):
        return
    step = step_of(job)
    forward = distributed(step, accumulate=job.accumulate)
    with streamed(job.loader, counters.epoch, counters.position, epochs=job.epochs) as stream:
        while not _is_over(job):
            batches = _take(stream, min(job.accumulate, batches_per_epoch - counters.position))
            _count_replaced(job, batches)
            record = _step(job, step, batches, forward=forward)
            counters.position += len(batches)
            for callback in callbacks:
                callback.after_step(job, record)
            check_stop(job)
            if counters.position >= batches_per_epoch:
                _finish_epoch(job, callbacks)


def _is_over(job: Job) -> bool:
    return job.counters.epoch >= job.epochs or job.counters.is_ended


def _finish_epoch(job: Job, callbacks: Sequence[Callback]) -> None:
    for callback in callbacks:
        metrics = callback.after_epoch(job)
        if metrics is not None:
            for listener in callbacks:
                listener.after_evaluation(job, metrics)
    job.counters.epoch += 1
    job.counters.position = 0
    check_stop(job)


def check_stop(job: Job) -> None:
    """Raises Stopped or TimeLimit in every process at once, where any of them is asked to stop."""
    for reason in processes.gathered_where_any(job.stop.reason()):
        if reason is not None:
            reason.is_of_all = True
            raise reason


def _take(stream: Iterator[Batch], count: int) -> list[Batch]:
    batches = list(islice(stream, count))
    if len(batches) < count:
        raise EnvironmentFault(f"the loader ended early: {len(batches)} batches came where {count} were due")
    return batches


def _count_replaced(job: Job, batches: Sequence[Batch]) -> None:
    """Raises before the step that uses the batches where too many images cannot be read."""
    counters = job.counters
    replaced = [int(i) for batch in batches for i in batch.pop("replaced", ()) if i >= 0]
    positions = list(chain.from_iterable(processes.gathered_where_any(replaced)))
    asked = [job.names[i] for i in positions]
    counters.unreadable = sorted({*counters.unreadable, *asked})
    if asked and len(counters.unreadable) > job.most_unreadable:
        raise TooManyUnreadable(
            f"{len(counters.unreadable)} training images cannot be read, more than the {job.most_unreadable} allowed: "
            f"{_listed(counters.unreadable)}: put whole files in their places and resume, or leave data.verify=headers "
            "out of a new run, which then begins without them"
        )
    counters.replaced += len(asked)


def _step(job: Job, step: Step, batches: Sequence[Batch], *, forward: nn.Module) -> StepRecord:
    """One optimiser step, taken or left out; moves every counter but `position`."""
    counters = job.counters
    torch.manual_seed(step_seed(job.seed, counters.step))
    lr = job.schedule(counters.step) * counters.rate_factor
    set_lr(job.optimizer, lr)
    if job.num_classes is not None:
        for batch in batches:
            check_classes(batch, job.num_classes, names=job.names)
    prepared = [lay_out(job.prepare(batch), job.memory_format) for batch in batches]
    parts = [job.part(counters.epoch, counters.position + number) for number in range(len(batches))]
    step_gradients = compute_gradients(step, prepared, job.scaler, parts=parts, forward=forward)
    norm = _clip(job, step)
    loss, length, *terms = torch.stack([step_gradients.loss, norm, *step_gradients.terms.values()]).tolist()
    if not math.isfinite(loss):
        raise _diverged(job, step_gradients, prepared)
    taken = math.isfinite(length)
    _apply(job, taken=taken)
    counters.step += 1
    if job.averaging is not None:
        job.averaging.after_step(job.learned, counters.step, taken=taken)
    images = sum(
        count_images(batch) if part is None else part.total for batch, part in zip(batches, parts, strict=True)
    )
    counters.images += images
    named = dict(zip(step_gradients.terms, terms, strict=True))
    return StepRecord(counters.step, counters.epoch, loss, named, lr, length, images, taken)


def _clip(job: Job, step: Step) -> torch.Tensor:
    """Length of the whole gradient, (); afterwards it is `clip_norm` at most."""
    job.scaler.unscale_(job.optimizer)
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in step.weights if weight.grad is not None])
    if job.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(step.weights, job.clip_norm, norm)
    return norm.float()


def _apply(job: Job, *, taken: bool) -> None:
    counters = job.counters
    if taken:
        job.scaler.step(job.optimizer)
        counters.skipped_in_a_row = 0
    else:
        if not counters.skipped and not job.scaler.is_enabled():
            _log.warning("step %d is left out: its gradient is not finite; log.jsonl counts such", counters.step + 1)
        counters.skipped += 1
        counters.skipped_in_a_row += 1
    job.scaler.update()
    job.optimizer.zero_grad()
    if counters.skipped_in_a_row > SKIPS_IN_A_ROW and not _scale_can_fall(job.scaler):
        raise Diverged(
            f"the gradient was not finite in {counters.skipped_in_a_row} steps in a row, the last being step "
            f"{counters.step + 1}, though the loss was: lower train.lr, or set train.clip_norm"
        )


def _scale_can_fall(scaler: torch.amp.GradScaler) -> bool:
    return scaler.is_enabled() and scaler.get_scale() > 1.0


def _diverged(job: Job, step_gradients: Gradients, batches: Sequence[Batch]) -> DataError | Diverged:
    """Why the loss is not finite, over the samples of all processes; for a step that all of them take."""
    step = job.counters.step + 1
    broken, names = [], []
    for batch in batches:
        finite = [bool(torch.isfinite(image).all()) for image in batch.get("image", ())]  # also those of a list
        names += names_of(batch, job.names)
        broken += [name for name, good in zip(names_of(batch, job.names), finite, strict=False) if not good]
    parts = processes.gathered((broken, names))
    broken, names = (list(dict.fromkeys(chain.from_iterable(lists))) for lists in zip(*parts, strict=True))
    if broken:
        return DataError(f"images hold values that are not finite: {_listed(broken)} (step {step})")
    terms = ", ".join(f"{name} {value.item():g}" for name, value in step_gradients.terms.items())
    saved = "the last save is from before it" if step > 1 else "nothing was learned before it"
    return Diverged(
        f"the loss is not finite at step {step}, epoch {job.counters.epoch} ({terms}), on {_listed(names)}; "
        f"{saved}: lower train.lr, set train.clip_norm, or use train.precision=float32"
    )


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "samples without names"


def step_seed(seed: int, step: int) -> int:
    """A well mixed number of 63 bits for torch's generator (SplitMix64, Steele et al. 2014)."""
    state = (seed * 0x9E3779B97F4A7C15 + step + 1) * 0xD1342543DE82EF95 & MASK_64
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK_64
    state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK_64
    return (state ^ state >> 31) >> 1
