"""Measures a network on a whole set, and keeps the best weights."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.errors import DataError, Stopped, TimeLimit
from unpool.task import Task
from unpool.task_facts import with_facts
from unpool.training import processes
from unpool.training.averaging import Averaging
from unpool.training.calibration import recalibrate
from unpool.training.callbacks import Callback
from unpool.training.job import BatchSource, Job, MemoryFormat, Precision, count_images, lay_out, streamed
from unpool.training.log import without_tables
from unpool.training.norms import precise_statistics, with_statistics
from unpool.training.state import final_state, share_statistics
from unpool.training.step import Step
from unpool.types import Batch, Losses, Metric

_log = logging.getLogger(__name__)


def _go_on() -> None:
    return


def evaluate(
    model: nn.Module,
    task: Task,
    loader: BatchSource,
    *,
    prepare: Callable[[Batch], Batch],
    precision: Precision = "float32",
    memory_format: MemoryFormat = "contiguous",
    poll: Callable[[], None] = _go_on,
) -> dict[str, Any]:
    """The task's metrics over every batch of epoch 0, with `loss` and `images`; every module's mode is restored.

    The loss is None where it counted nothing.

    A process measures what its loader has, by itself, also inside a run of several.

    A loss that is not finite is logged: in evaluation mode a network can exceed what it did in training.

    Args:
        model: on its device.
        task: gives loss, prediction and metric.
        loader: only its epoch 0 is read.
        prepare: uint8 batch of the loader -> float batch on the model's device.
        precision: of the network; loss and metric see float32.
        memory_format: of the images.
        poll: called before every batch; what it raises ends the evaluation.

    Raises:
        DataError: the set is empty.
    """
    counted = _counted(
        model, task, loader, prepare=prepare, precision=precision, memory_format=memory_format, poll=poll
    )
    return _metrics([counted])


def evaluate_together(job: Job, loader: BatchSource, *, prepare: Callable[[Batch], Batch]) -> dict[str, Any]:
    """As `evaluate`, of a set that the loaders of all processes share: each process gets the metrics of all of it.

    All must call it; a stop that one of them is asked for is raised by all.
    """
    counted = _counted(
        job.model,
        job.task,
        loader,
        prepare=prepare,
        precision=job.precision,
        memory_format=job.memory_format,
        poll=job.stop.check,
    )
    return _metrics(processes.gathered(counted))


class _Counted(NamedTuple):
    """What a process has measured, or why it stopped before the end."""

    metric: Metric
    total: "_LossTotal"
    images: int
    stopped: Stopped | TimeLimit | None


def _counted(
    model: nn.Module,
    task: Task,
    loader: BatchSource,
    *,
    prepare: Callable[[Batch], Batch],
    precision: Precision,
    memory_format: MemoryFormat,
    poll: Callable[[], None],
) -> _Counted:
    step = Step(model, task, precision=precision, device=_device_of(model))
    modes = {module: module.training for module in step.modules()}
    metric, total, images = task.metric(), _LossTotal(), 0
    stopped: Stopped | TimeLimit | None = None
    step.eval()
    try:
        with torch.inference_mode(), streamed(loader, 0, 0, epochs=1) as stream:
            for batch in stream:
                poll()
                prepared = lay_out(prepare(batch), memory_format)
                losses, prediction = step.evaluated(prepared)
                total.add(losses)
                metric.update(prediction, prepared)
                images += count_images(batch)
                del losses, prediction  # else they are held beside the next ones
    except (Stopped, TimeLimit) as error:
        stopped = error  # raised once the other processes know of it
    finally:
        for module, mode in modes.items():
            module.training = mode
    return _Counted(metric, total, images, stopped)


def _metrics(parts: Sequence[_Counted]) -> dict[str, Any]:
    """The metrics of what the processes counted; raises where one of them was asked to stop."""
    for part in parts:
        if part.stopped is not None:
            part.stopped.is_of_all = len(parts) > 1
            raise part.stopped
    (metric, total, images, _), *others = parts
    for other in others:
        metric.merge(other.metric)
        total.merge(other.total)
        images += other.images
    if not images:
        raise DataError("the set to evaluate is empty: give it at least one sample")
    loss = total.value()
    if loss is not None and not math.isfinite(loss):
        _log.warning(
            "the loss of this evaluation is not finite (%s): the network's outputs are too large for numbers; "
            "lower train.lr, set train.clip_norm, or use train.precision=float32",
            loss,
        )
    return with_facts(metric.compute(), loss=loss, images=images)


def _device_of(model: nn.Module) -> torch.device:
    weight = next(model.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device


class _LossTotal:
    """Sums and counts over the whole set, in double precision."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, float] = {}
        self.weights: dict[str, float] = {}

    def add(self, losses: Losses) -> None:
        for name, term in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(term.sum)
            self.counts[name] = self.counts.get(name, 0.0) + float(term.count)
            self.weights[name] = term.weight

    def merge(self, other: "_LossTotal") -> None:
        for name in other.sums:
            self.sums[name] = self.sums.get(name, 0.0) + other.sums[name]
            self.counts[name] = self.counts.get(name, 0.0) + other.counts[name]
        self.weights |= other.weights

    def value(self) -> float | None:
        """The loss; None where nothing was counted, such as of a loss over people of whom the set has none."""
        if not any(self.counts.values()):
            return None
        return sum(self.weights[name] * self.sums[name] / (self.counts[name] or 1.0) for name in self.sums)


class Evaluate(Callback):
    """Measures every `every` epochs and after the last; keeps the weights of the best value.

    Averaged weights are measured and kept where the job averages. `history` holds the metrics of every measurement,
    tables such as a confusion matrix of the last one only, since all of it is saved with the state.

    Args:
        loader: of the set to measure on; closed at the end.
        every: epochs between two measurements.
        best: called with the best weights so far, by name, to keep them; None keeps none.
        prepare: as in `evaluate`; the job's own where None.
        calibrating: epoch -> batches of the training set, for averaged weights (see `calibration`); none where None.
        is_precise: whether batch norm gets the statistics of the whole training set at the end (see `norms`), with
            which the last weights are measured once more.
    """

    def __init__(
        self,
        loader: BatchSource,
        *,
        every: int = 1,
        best: Callable[[Mapping[str, Tensor]], None] | None = None,
        prepare: Callable[[Batch], Batch] | None = None,
        calibrating: Callable[[int], Iterable[Batch]] | None = None,
        is_precise: bool = False,
    ) -> None:
        self.loader = loader
        self.every = every
        self.best = best
        self.prepare = prepare
        self.calibrating = calibrating
        self.is_precise = is_precise
        self.history: list[dict[str, Any]] = []
        self.best_value: float | None = None
        self.best_step: int | None = None
        self._said: set[str] = set()

    def after_epoch(self, job: Job) -> dict[str, Any] | None:
        epoch = job.counters.epoch + 1
        if epoch % self.every and epoch < job.epochs:
            return None
        if self.calibrating is not None:
            warnings = recalibrate(job, self.calibrating)
            for warning in set(warnings) - self._said:
                _log.warning(warning)
            self._said.update(warnings)
        share_statistics(job)
        metrics = self._measured(job)
        self.history = [without_tables(line) for line in self.history]
        self.history.append(with_facts(metrics, epoch=epoch, step=job.counters.step))
        self._keep_best(job, metrics)
        return metrics

    def _measured(self, job: Job) -> dict[str, Any]:
        averaging = job.averaging or Averaging(0.0)
        with averaging.applied(job.learned), with_statistics(job):
            metrics = evaluate_together(job, self.loader, prepare=self.prepare or job.prepare)
            job.task.settle(metrics)  # into the weights that were measured, be they averaged ones
            return metrics

    def end(self, job: Job) -> None:
        if not self.is_precise or not self.history:
            return
        job.statistics = precise_statistics(job)
        metrics, name, last = self._measured(job), job.task.best, self.history[-1]
        _log.info(
            "%s is %s with running statistics of batch norm, %s with those of the whole training set, which are kept",
            *(name, last.get(name), metrics.get(name)),
        )
        self.history[-1] = with_facts(metrics, epoch=last["epoch"], step=last["step"])
        self._keep_best(job, metrics)

    def _keep_best(self, job: Job, metrics: dict[str, Any]) -> None:
        value = metrics.get(job.task.best)
        if value is None or not math.isfinite(value):
            return
        sign = 1 if job.task.description(job.task.best).higher_is_better else -1
        if self.best_value is not None and sign * value <= sign * self.best_value:
            return
        if self.best is not None:
            self.best(final_state(job))
        self.best_value, self.best_step = float(value), job.counters.step

    def forget_best(self) -> None:
        """The next value is the best one so far."""
        self.best_value, self.best_step = None, None

    def close(self) -> None:
        self.loader.close()

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "best_value": self.best_value, "best_step": self.best_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = list(state["history"])
        self.best_value, self.best_step = state["best_value"], state["best_step"]
