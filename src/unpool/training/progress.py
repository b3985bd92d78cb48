"""Shows the progress of a run on standard error."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from unpool.streams import lasting
from unpool.training.callbacks import Callback
from unpool.training.job import Job, StepRecord

SHORTEST_S = 0.1  # between two pictures of the bar
LINE_EVERY_S = 30.0  # between two lines where standard error is no terminal
SMOOTH = 0.9  # share of the old value in a shown loss and speed


class Progress(Callback):
    """A bar with loss, learning rate, images/s and the time left; plain lines where there is no terminal.

    Args:
        console: where to write; standard error where None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=lasting(sys.stderr), stderr=True)
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._shown_s = 0.0
        self._last_s = 0.0
        self._loss: float | None = None
        self._step_s: float | None = None
        self._images_per_s: float | None = None

    def start(self, job: Job) -> None:
        self._last_s = self._shown_s = time.monotonic()
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
            self._bar = Bar(*columns, console=self.console, auto_refresh=False, transient=True)
            self._task = self._bar.add_task("starting", total=job.total_steps, completed=job.counters.step)
            self._bar.start()

    def after_step(self, job: Job, record: StepRecord) -> None:
        now_s = time.monotonic()
        self._note(record, now_s - self._last_s)
        self._last_s = now_s
        if now_s - self._shown_s >= (LINE_EVERY_S if self._bar is None else SHORTEST_S):
            self._show(job, record)
            self._shown_s = now_s

    def after_evaluation(self, job: Job, metrics: dict[str, Any]) -> None:
        named = [job.task.best, "loss"]
        shown = {name: metrics[name] for name in named if isinstance(metrics.get(name), float)}
        text = ", ".join(f"{name} {value:.4f}" for name, value in shown.items())
        self.console.print(f"epoch {job.counters.epoch + 1}/{job.epochs}: {text}", highlight=False, markup=False)
        self._last_s = time.monotonic()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _note(self, record: StepRecord, step_s: float) -> None:
        self._loss = _smoothed(self._loss, record.loss)
        self._step_s = _smoothed(self._step_s, step_s)
        self._images_per_s = _smoothed(self._images_per_s, record.images / max(step_s, 1e-9))

    def _show(self, job: Job, record: StepRecord) -> None:
        left_s = (job.total_steps - record.step) * (self._step_s or 0.0)
        text = (
            f"epoch {record.epoch + 1}/{job.epochs} step {record.step}/{job.total_steps} loss {self._loss:.4f} "
            f"lr {record.lr:.2e} {self._images_per_s:.1f} images/s, {as_time(left_s)} left"
        )
        if self._bar is None:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            self._bar.update(self._task, completed=record.step, description=text, refresh=True)


def as_time(seconds: float) -> str:
    """A duration as a reader says it: `45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _smoothed(old: float | None, new: float) -> float:
    return new if old is None else SMOOTH * old + (1 - SMOOTH) * new
