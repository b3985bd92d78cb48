"""Saves the state of a run while it trains."""

import json
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from unpool.training.callbacks import Callback
from unpool.training.checkpoint import remove_later, remove_unfinished, save
from unpool.training.job import Job, StepRecord
from unpool.training.state import job_state

SHARE = 20  # one save costs at most one part in this many of the time between two


class Save(Callback):
    """Saves at the start, every `every_s` seconds, when the run is stopped, and at the end.

    The save at the start of a new run shows before the first step that the disk takes a state. Where a save is slow,
    saves come less often, so that they take 5 % of the time at most.

    Args:
        folder: of the states; nobody else writes there.
        callbacks: whose state is saved too; this one is left out where it is among them.
        every_s: seconds between two saves; 0 saves after every step, whatever it costs.
    """

    rank = 100
    saves = True

    def __init__(self, folder: Path, *, callbacks: Sequence[Callback] = (), every_s: float = 30.0) -> None:
        self.folder = folder
        self.callbacks = callbacks
        self.every_s = every_s
        self._saved: tuple[Any, ...] | None = None

    def start(self, job: Job) -> None:
        remove_unfinished(self.folder)
        if job.counters.step == 0:
            self._save(job)
            return
        remove_later(self.folder, job.counters.step)
        self._saved = self._state(job)
        self._due_s = time.monotonic() + self.every_s

    def after_step(self, job: Job, record: StepRecord) -> None:
        if time.monotonic() >= self._due_s:
            self._save(job)

    def stopped(self, job: Job) -> None:
        self._save(job)

    def end(self, job: Job) -> None:
        self._save(job)

    def _save(self, job: Job) -> None:
        if self._saved == self._state(job):
            return
        started_s = time.monotonic()
        tensors, meta = job_state(job, self._others())
        save(self.folder, tensors, meta)
        ended_s = time.monotonic()
        self._saved = self._state(job)
        self._due_s = ended_s + (max(self.every_s, SHARE * (ended_s - started_s)) if self.every_s else 0.0)

    def _others(self) -> list[Callback]:
        return [callback for callback in self.callbacks if callback is not self]

    def _state(self, job: Job) -> tuple[Any, ...]:
        """What differs between two states worth saving; callbacks may change theirs at the end, without a step."""
        return (*astuple(job.counters), json.dumps([callback.state_dict() for callback in self._others()]))
