"""The quick checks of a run: before its first step, and at the ends of epochs on the weights that it has by then."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unpool import machine
from unpool.assemble.data import Data
from unpool.checks.budget import Budget
from unpool.checks.findings import Finding
from unpool.checks.looking import look
from unpool.checks.report import Report, texts_of
from unpool.checks.setup import Setup
from unpool.checks.table import CHECKS
from unpool.custom_parts import CustomParts
from unpool.data.loader import Loader
from unpool.data.plain import is_iterated
from unpool.data.seeding import shared_restored
from unpool.errors import EnvironmentFault, RecipeError
from unpool.plain_objects import setup_of_job
from unpool.recipe import Recipe
from unpool.training import processes
from unpool.training.callbacks import Callback
from unpool.training.files import replace_file
from unpool.training.job import Job
from unpool.training.preflight import unchanged

LONGEST_S = 12.0  # before the first step: with the check that runs then, 15 at most
LEAST_STEPS = 20  # of a run; a shorter one tries whether it starts at all
SHARE = 0.02  # of the time trained that looking on may take
WATCHED = tuple(check for check in CHECKS if check.is_watched)
_log = logging.getLogger(__name__)


class Run:
    """One training run as checks see it.

    Args:
        recipe, data, job: of the run, settled.
        loader: of its training batches.
        custom: parts of the caller's.
    """

    def __init__(self, recipe: Recipe, data: Data, job: Job, *, loader: Loader, custom: CustomParts) -> None:
        self.recipe = recipe
        self.data = data
        self.job = job
        self.loader = loader
        self.custom = custom

    @property
    def unchecked_for(self) -> str:
        """Why nothing is checked; empty where one process can read batches again, in a run that is long enough."""
        if processes.world_size() > 1:
            return "several processes train it"
        if is_iterated(self.custom.train) or is_iterated(self.custom.val):
            return "its samples are an iterable, which may not give them twice"
        if self.custom.order is not None:
            return "the order of samples is the caller's, and may count how often it is asked for"
        return "" if self.job.total_steps >= LEAST_STEPS else f"it has fewer than {LEAST_STEPS} steps"

    @property
    def can_be_watched(self) -> bool:
        """Whether nothing depends on when samples are read, which the clock chooses: a caller's set may draw."""
        return not self.unchecked_for and self.custom.train is None and self.custom.val is None

    @contextmanager
    def setup(self, seconds: float) -> Iterator[Setup]:
        """The objects of the run as they are now; afterwards they are as before, bit for bit."""
        optimizer = self.job.optimizer
        groups, has_step = [dict(group) for group in optimizer.param_groups], "step" in vars(optimizer)
        with shared_restored(), unchanged(self.job):
            try:
                yield setup_of_job(self.recipe, self.data, self.job, loader=self.loader, budget=Budget(seconds / 60))
            finally:
                for group, kept in zip(optimizer.param_groups, groups, strict=True):
                    group.clear()
                    group.update(kept)
                if not has_step:  # torch's schedules wrap it
                    vars(optimizer).pop("step", None)


def guarded(run: Run, *, check: bool, is_new: bool) -> list[Callback]:
    """Checks a new run, and returns who looks on while it trains; nothing and nobody where `check` is False."""
    if check and is_new:
        check_first(run)
    return [Watcher(run)] if check else []


def check_first(run: Run) -> None:
    """Makes the quick checks; what all of them say is remembered by recipe and data: the same run then starts at once.

    Raises:
        RecipeError: a check failed; the message has cause, evidence and cure.
    """
    if LONGEST_S == 0:
        return
    if run.unchecked_for:
        _log.info("nothing of this run is checked before its first step: %s", run.unchecked_for)
        return
    file = None if run.custom.names else _remembered(run)
    warnings = None if file is None else _read(file)
    if warnings is None:
        with run.setup(LONGEST_S) as setup:
            report = look(setup, "run", only_quick=True)
        warnings = _warnings_of(report)
        if file is not None and not report.cut:
            _remember(file, warnings)
    for text in warnings:
        _log.warning(text)


def _warnings_of(report: Report) -> list[str]:
    failed = [one for one in report.wrong if one.verdict == "fail"]
    if failed:
        raise RecipeError(
            f"checks before the first step found what is wrong with this run\n{texts_of(failed)}\nMend it, or train "
            "all the same by --no-check (from Python check=False)"
        ).of(failed[0].cause)
    warnings = [_line(one) for one in report.wrong]
    made = sum(any(one.verdict != "not applicable" for one in result.findings) for result in report.results)
    seen = f"warn of {len(warnings)} things" if warnings else "found nothing wrong"
    _log.info("%d quick checks in %.0f s %s; `unpool check` makes all", made, report.seconds, seen)
    for text in report.cut:
        _log.info(text)
    return warnings


def _line(one: Finding) -> str:
    return f"{one.about} (do: {one.cure})" if one.cure else one.about


def _remembered(run: Run) -> Path | None:
    """The file of what is remembered of this recipe on these data, with these versions."""
    folder = machine.cache_folder("checks")
    known = [
        machine.versions(),
        run.recipe.model_dump(mode="json"),
        [run.data.train.record(), run.data.val.record()],
    ]
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
    return None if folder is None else folder / key


def _read(file: Path) -> list[str] | None:
    """The warnings that are remembered; None where nothing is."""
    try:
        warnings = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return warnings if isinstance(warnings, list) else None


def _remember(file: Path, warnings: list[str]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(warnings).encode())
    except (OSError, EnvironmentFault):
        return  # costs the checks once more, nothing else


class Watcher(Callback):
    """Looks at the ends of epochs for the same signs in the weights as they are then, and warns of each once.

    It looks once a look takes no more than `SHARE` of the time trained since the one before, so that a run is as long
    as without it; everything is put back, so that the run is the same.

    Args:
        run: that trains.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.warned: set[str] = set()
        self._began = time.monotonic()
        self._look_s = 1.0  # of the look before; at first a guess

    def start(self, job: Job) -> None:
        self._began = time.monotonic()

    def after_epoch(self, job: Job) -> None:
        if not self.run.can_be_watched or SHARE * (time.monotonic() - self._began) < self._look_s:
            return
        start = time.monotonic()
        for one in self.look():
            _log.warning("after epoch %d: %s", job.counters.epoch + 1, _line(one))
        self._began, self._look_s = time.monotonic(), time.monotonic() - start

    def look(self) -> list[Finding]:
        """What is wrong by now and was not said before."""
        with self.run.setup(LONGEST_S) as setup:
            report = look(setup, "run", checks=WATCHED)
        fresh = [one for one in report.wrong if one.cause not in self.warned]
        self.warned |= {one.cause for one in fresh}
        return fresh
