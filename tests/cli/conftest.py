"""A stand-in for `unpool.run`, so that the command line is tested without training."""

import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from unpool.cli import environment
from unpool.errors import STOP_SIGNALS


class FakeRun(ModuleType):
    """Notes what the verbs were called with; raises what it is told to, after the run has begun."""

    def __init__(self) -> None:
        super().__init__("unpool.run")
        self.calls: list[tuple[Any, ...]] = []
        self.error: BaseException | None = None
        self.records: list[dict[str, Any]] = []
        self.metrics: dict[str, Any] = {"mean_iou": 0.5, "iou": {"car": 0.25, "sky": None}, "history": [{"epoch": 1}]}

    def train(
        self, recipe: str, overrides: list[str], *, check: bool, run: Path | None, progress: Any, on_start: Any
    ) -> dict:
        self.calls.append(("train", recipe, overrides, run, *([] if check else ["unchecked"])))
        place = (run or Path("runs/fake-1")).absolute()
        (place / "last").mkdir(parents=True)
        on_start(place)
        progress(1, 2)
        return self._done(place)

    def resume(self, run: Path, overrides: list[str], *, progress: Any) -> dict:
        self.calls.append(("resume", run, overrides))
        return self._done(run)

    def evaluate(self, runs: list[Path], overrides: list[str], *, split: str, weights: str, **options: Any) -> dict:
        (run,) = runs
        self.calls.append(("evaluate", run, overrides, split, weights))
        return self._done(run)

    def predict(self, runs: list[Path], images: list[Path], out: Path, **options: Any) -> list[dict]:
        (run,) = runs
        self.calls.append(("predict", run, images, out, *options.values()))
        for done, record in enumerate(self.records):
            options["progress"](done, len(self.records))
            options["on_answer"](record, record.get("brief", ""))
        self._done(run)
        return self.records

    def default_output(self, run: Path, weights: str) -> Path:
        return run / "predictions"

    def _done(self, place: Path) -> dict:
        sys.stdout.write("a library prints\n")
        logging.getLogger("unpool.somewhere").info("a library tells")
        if self.error is not None:
            raise self.error
        return {**self.metrics, "run": str(place)}


@pytest.fixture(autouse=True)
def _program() -> Iterator[None]:
    """Handlers and streams of a test that runs the program in this process are put back."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    streams = sys.stdout, sys.stderr
    yield
    sys.stdout, sys.stderr = streams
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def fake(monkeypatch, tmp_path) -> FakeRun:
    run = FakeRun()
    monkeypatch.setitem(sys.modules, "unpool.run", run)
    monkeypatch.setattr(environment, "prepare_torch", lambda: None)
    monkeypatch.chdir(tmp_path)
    return run
