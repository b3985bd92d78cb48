"""The written record of a run: log.jsonl, TensorBoard events, and the list of its variables."""

import hashlib
import importlib.util
import json
import logging
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from unpool.errors import EnvironmentFault, ModelFileError
from unpool.task_facts import with_facts
from unpool.training.callbacks import Callback
from unpool.training.job import Job, StepRecord

_log = logging.getLogger(__name__)
try:
    import resource
except ImportError:  # Windows
    resource = None


class Figures:
    """What a line of steps tells, of the steps since the line before; the time of evaluations is left out.

    In a resumed run the loss counts the steps before it was saved as well, speed and waiting begin anew.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._images = 0
        self._time_s = 0.0
        self._seen_s = 0.0
        self._waited_s = 0.0
        self._ready_s = 0.0

    def start(self, job: Job) -> None:
        """Speed and waiting begin here."""
        self._images, self._time_s, self._seen_s = 0, 0.0, time.monotonic()
        self._waited_s, self._ready_s = job.loader.waited_s, job.loader.ready_s

    def add(self, record: StepRecord) -> None:
        """Counts a step, at its end."""
        self.losses.append(record.loss)
        self._images += record.images
        now_s = time.monotonic()
        self._time_s += now_s - self._seen_s
        self._seen_s = now_s

    def go_on(self) -> None:
        """What passed since the last step was no training."""
        self._seen_s = time.monotonic()

    def take(self, job: Job, record: StepRecord) -> dict[str, float | None]:
        """The figures by name, `record` being of the last step; the next ones begin anew."""
        taken = {
            "loss": sum(self.losses) / len(self.losses),
            "lr": record.lr,
            "gradient_norm": record.gradient_norm,
            "skipped": job.counters.skipped,
            "replaced": job.counters.replaced,
            "images_per_s": self._images / max(self._time_s, 1e-9),
            "waited_for_data_s": job.loader.waited_s - self._waited_s,
            "data_waited_s": job.loader.ready_s - self._ready_s,
            "memory_mib": peak_memory_mib(job.device),
        }
        self.losses = []
        self.start(job)
        return taken


class Monitor(Callback):
    """Writes one JSON line every `every` steps and after each evaluation; a resumed run goes on where it was saved.

    A line of steps holds `kind` "step", `step`, `epoch` (from 0), `loss` (mean since the line before), `lr`,
    `gradient_norm`, `skipped` and `replaced` (in all), `images_per_s`, `waited_for_data_s` and `data_waited_s` (since
    the line before), `memory_mib` (highest so far). A line of an evaluation holds `kind` "evaluation", `step`, `epoch`
    (number of epochs done) and the metrics, tables left out. What is not finite is null.
    """

    def __init__(self, path: Path, *, every: int = 1) -> None:
        self.path = path
        self.every = every
        self._figures = Figures()
        self._file: IO[bytes] | None = None
        self._size = 0
        self._sum = hashlib.sha256()  # of the first `_size` bytes
        self._saved: dict[str, Any] = {"size": 0}

    def start(self, job: Job) -> None:
        try:
            self._size, self._sum = self._kept()
            self._file = self.path.open("ab")
            self._file.truncate(self._size)
        except OSError as error:
            raise _not_written(self.path, error) from error
        self._figures.start(job)

    def _kept(self) -> tuple[int, Any]:
        """Size and sha256 of the lines that the saved state counts on; of none where there is no file."""
        size = self._saved["size"]
        if not size:
            return 0, hashlib.sha256()
        if not self.path.exists():
            _log.warning("%s is gone: its lines begin anew", self.path)
            return 0, hashlib.sha256()
        with self.path.open("rb") as file:
            kept = hashlib.sha256(file.read(size))
        if kept.hexdigest() != self._saved["sha256"]:
            raise ModelFileError(
                f"{self.path} is not as the run wrote it, in its first {size} bytes; put it back, or remove it: the "
                "run then goes on without its lines so far"
            )
        return size, kept

    def after_step(self, job: Job, record: StepRecord) -> None:
        self._figures.add(record)
        if record.step % self.every == 0:
            position = {"kind": "step", "step": record.step, "epoch": record.epoch}
            self._write({**position, **self._figures.take(job, record)})

    def after_evaluation(self, job: Job, metrics: dict[str, Any]) -> None:
        position = {"kind": "evaluation", "step": job.counters.step, "epoch": job.counters.epoch + 1}
        self._write(with_facts(without_tables(metrics), **position))
        self._figures.go_on()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def state_dict(self) -> dict[str, Any]:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        return {"size": self._size, "sha256": self._sum.hexdigest(), "losses": self._figures.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._saved = state
        self._figures.losses = list(state["losses"])

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            data = json.dumps(as_json(line), allow_nan=False).encode() + b"\n"
            self._file.write(data)
            self._file.flush()
            self._size += len(data)
            self._sum.update(data)
        except OSError as error:
            raise _not_written(self.path, error) from error


class TensorBoard(Callback):
    """Writes the same figures as TensorBoard events, as train/<figure>, val/<metric> and val/<metric>/<class>.

    Figures are of the last `every` steps. Needs the package `tensorboard`.
    """

    def __init__(self, folder: Path, *, every: int = 10) -> None:
        self.folder = folder
        self.every = every
        self._figures = Figures()
        self._writer: Any = None

    def start(self, job: Job) -> None:
        from torch.utils.tensorboard import SummaryWriter

        resumed = job.counters.step + 1 if job.counters.step else None
        self._writer = SummaryWriter(str(self.folder), purge_step=resumed)
        self._figures.start(job)

    def after_step(self, job: Job, record: StepRecord) -> None:
        self._figures.add(record)
        if record.step % self.every == 0:
            self._write("train", self._figures.take(job, record), record.step)

    def after_evaluation(self, job: Job, metrics: dict[str, Any]) -> None:
        self._write("val", metrics, job.counters.step)
        self._figures.go_on()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self._figures.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._figures.losses = list(state["losses"])

    def _write(self, tag: str, values: Mapping[str, Any], step: int) -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                self._write(f"{tag}/{name}", value, step)
            elif isinstance(value, int | float):
                self._writer.add_scalar(f"{tag}/{name}", value, step)


def has_tensorboard() -> bool:
    """Whether `TensorBoard` can work here."""
    return importlib.util.find_spec("tensorboard") is not None


def list_variables(model: nn.Module) -> str:
    """A table of every trained tensor: name, shape, number of values; their sum and its size in float32."""
    rows = [(name, "x".join(map(str, weight.shape)), weight.numel()) for name, weight in model.named_parameters()]
    width = max((len(name) for name, _, _ in rows), default=4)
    lines = [f"{name:<{width}}  {shape:>16}  {count:>13,}" for name, shape, count in rows]
    total = sum(count for _, _, count in rows)
    return "\n".join([*lines, f"{len(rows)} variables, {total:,} values, {4 * total / 1e6:.1f} MB in float32"])


def without_tables(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics but for lists of lists, such as a confusion matrix, which grow with the square of the classes."""
    return {name: value for name, value in metrics.items() if not _is_table(value)}


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(row, list) for row in value)


def as_json(value: Any) -> Any:
    """The same dicts and lists, None for every number that JSON cannot say."""
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def peak_memory_mib(device: torch.device) -> float | None:
    """Highest memory so far: of the GPU, or of this process; None where the system does not say."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def _not_written(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"cannot write {path}: {error.strerror or error}; free some space or make the folder writable, then resume"
    )
