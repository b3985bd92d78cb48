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
from unpool.training.notebook_bar import NotebookBar, is_notebook

SHORTEST_S = 0.1  # between two pictures of the bar
LINE_EVERY_S = 30.0  # between two lines where standard error is no terminal
SMOOTH = 0.9  # share of the old value in a shown loss and speed


class Progress(Callback):
    """A bar with loss, learning rate, images/s and the time left; plain lines where there is no terminal.

    After each evaluation a line with the mean training loss since the one before, and what was measured.

    Args:
        console: where to write; standard error where None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=lasting(sys.stderr), stderr=True)
        self._bar: Bar | NotebookBar | None = None
        self._task = TaskID(0)
        self._shown_s = 0.0
        self._last_s = 0.0
        self._loss: float | None = None
        self._losses = _Mean()
        self._step_s: float | None = None
        self._images_per_s: float | None = None

    def start(self, job: Job) -> None:
        self._last_s = self._shown_s = time.monotonic()
        if is_notebook():
            self._bar = NotebookBar(job.total_steps)
        elif self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
            bar = Bar(*columns, console=self.console, auto_refresh=False, transient=True)
            self._task = bar.add_task("starting", total=job.total_steps, completed=job.counters.step)
            bar.start()
            self._bar = bar

    def after_step(self, job: Job, record: StepRecord) -> None:
        now_s = time.monotonic()
        self._note(record, now_s - self._last_s)
        self._last_s = now_s
        if now_s - self._shown_s >= (LINE_EVERY_S if self._bar is None else SHORTEST_S):
            self._show(job, record)
            self._shown_s = now_s

    def after_evaluation(self, job: Job, metrics: dict[str, Any]) -> None:
        shown = {"training loss": self._losses.take(), "validation loss": metrics.get("loss")}
        if job.task.best != "loss":
            shown[job.task.best] = metrics.get(job.task.best)
        text = "  ".join(f"{name} {_four_digits(value)}" for name, value in shown.items())
        epoch = f"{job.counters.epoch + 1:{len(str(job.epochs))}}"
        self.console.print(f"epoch {epoch}/{job.epochs}  {text}", highlight=False, markup=False, soft_wrap=True)
        self._last_s = time.monotonic()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._losses.sum, "count": self._losses.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._losses.sum, self._losses.count = state["sum"], state["count"]

    def _note(self, record: StepRecord, step_s: float) -> None:
        self._losses.add(record.loss)
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


class _Mean:
    """The mean of what was added since it was taken last."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def add(self, value: float) -> None:
        self.sum, self.count = self.sum + value, self.count + 1

    def take(self) -> float | None:
        mean = self.sum / self.count if self.count else None
        self.sum, self.count = 0.0, 0
        return mean


def _four_digits(value: object) -> str:
    """A number in a column that its neighbours in other lines share: `0.6931`, ` 1726`."""
    if not isinstance(value, float):
        return "   n/a"
    return f"{value:6.4f}" if abs(value) < 10 else f"{value:6.5g}"


def as_time(seconds: float) -> str:
    """A duration as a reader says it: `45 s`, `12 min`, `3 h 05 min`, `62 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if (days := round(seconds / 86_400)) > 2:
        return f"{days} days"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _smoothed(old: float | None, new: float) -> float:
    return new if old is None else SMOOTH * old + (1 - SMOOTH) * new
