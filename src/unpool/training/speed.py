"""Chooses precision and memory format by timing steps of every candidate in turns on this machine.

Candidates alternate, so that whatever else the machine does slows all of them alike, and the order turns round from
round to round. Compared are the medians of the ratios within a round, and the shortest times; in both, a candidate must
be faster than the one before it by a clear margin, and by a wide one where the times of one candidate differ as much
among themselves, as beside other work they do, or where one was timed once.
"""

import copy
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from unpool import machine
from unpool.errors import RecipeError, quoted
from unpool.task import Task
from unpool.training.job import MemoryFormat, Precision, lay_out, move
from unpool.training.optim import build_optimizer
from unpool.training.remembered_speed import Choice, key_of, recall, remember
from unpool.training.step import Step, total_loss
from unpool.types import Batch

_log = logging.getLogger(__name__)

FAST_BF16 = {"amx_bf16", "avx512_bf16", "bf16"}
MARGIN = 1.1  # a later candidate must be faster than the one kept by this factor
DISTURBED = 1.4  # from this ratio of the median to the shortest of a candidate's times on, the margin is WIDE
WIDE = 2.0
HOPELESS = 2.0  # a candidate this much slower than the fastest is not timed again
ROUNDS, LEAST_ROUNDS = 7, 2  # timed after the first step of each, which warms up
SAMPLE_S = 0.02  # short steps are timed several at once, for this long
SLOW_S = 1.0  # a first step that takes longer may show that a candidate is hopeless; a shorter one is mostly warm-up
LONG_S = 10.0  # where all first steps take longer, they are the measurement, for this run alone
ENOUGH_S = 5.0  # a round that would end later is left out
EMULATED = "this processor emulates bfloat16 (no amx_bf16, no avx512_bf16), some 13 times slower than float32"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16 by itself; emulated, it is far slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return bool(FAST_BF16 & set(machine.flags()))


def allowed_precisions(asked: str, device: torch.device, *, allow_emulated: bool = False) -> tuple[Precision, ...]:
    """Candidates to time: the one asked for, or for "auto" all that the device is fast in.

    Raises:
        RecipeError: bfloat16 where it is emulated, unless `allow_emulated`; float16 on a processor.
    """
    fast = has_fast_bf16(device)
    if asked == "auto":
        half: Precision = "float16" if device.type == "cuda" and not fast else "bfloat16"
        return ("float32", half) if fast or device.type == "cuda" else ("float32",)
    if asked == "bfloat16":
        if not fast and not allow_emulated:
            raise RecipeError(
                f"train.precision is bfloat16, but {EMULATED}: use train.precision=auto, or train.allow_emulated=true"
            )
        return ("bfloat16",)
    if asked == "float16":
        if device.type != "cuda":
            raise RecipeError(
                f"train.precision is float16, which needs a GPU; on {device.type} use float32 or bfloat16"
            )
        return ("float16",)
    if asked == "float32":
        return ("float32",)
    raise RecipeError(f"train.precision is {quoted(asked)}; choose auto, float32, bfloat16 or float16")


def allowed_formats(asked: str) -> tuple[MemoryFormat, ...]:
    """Candidates to time: the one asked for, or both for "auto".

    Raises:
        RecipeError: unknown name.
    """
    if asked == "auto":
        return ("contiguous", "channels_last")
    if asked == "contiguous":
        return ("contiguous",)
    if asked == "channels_last":
        return ("channels_last",)
    raise RecipeError(f"train.memory_format is {quoted(asked)}; choose auto, contiguous or channels_last")


def choose(
    model: nn.Module,
    task: Task,
    batch: Batch,
    *,
    prepare: Callable[[Batch], Batch],
    precisions: Sequence[Precision],
    memory_formats: Sequence[MemoryFormat],
    cache: Path | None = None,
) -> Choice:
    """The fastest pair of precision and memory format; the model and every generator are left as they were.

    Args:
        model: on its device; copies of it take the steps.
        task: gives the loss.
        batch: one of the loader.
        prepare: as in training.
        precisions: candidates, the preferred first.
        memory_formats: candidates, the preferred first.
        cache: folder that remembers choices by network, shapes, machine and versions; None remembers nothing, and so
            does a busy machine, and where a step takes longer than LONG_S.
    """
    names = [f"{precision} {layout}" for precision in precisions for layout in memory_formats]
    prepared = prepare(batch)  # whose sizes the network sees
    file = None if cache is None else cache / f"{key_of(model, task, prepared, names=names)}.json"
    known = recall(file, names)
    if known is not None:
        return known
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        timers = []
        for layout in memory_formats:
            step = Step(copy.deepcopy(model), copy.deepcopy(task), precision="float32", device=device)
            move(step, device, memory_format=layout).train()
            laid_out = lay_out(prepared, layout)
            timers += [Timer(step, laid_out, precision=precision, memory_format=layout) for precision in precisions]
        timers.sort(key=lambda timer: names.index(timer.name))
        _time_in_turns(timers)
    choice = _fastest(timers)
    if machine.is_busy():
        _log.info("the machine is busy with other work, so that this choice is for this run alone")
    elif max(len(timer.times) for timer in timers) >= LEAST_ROUNDS:
        remember(file, choice)
    return choice


class Timer:
    """The training steps of one candidate, and the seconds that a step took in each round."""

    def __init__(self, step: Step, batch: Batch, *, precision: Precision, memory_format: MemoryFormat) -> None:
        self.step, self.batch = step, batch
        self.precision: Precision = precision
        self.memory_format: MemoryFormat = memory_format
        self.name = f"{precision} {memory_format}"
        self.times: list[float] = []
        self._optimizer = build_optimizer(step, name="sgd", lr=0.0)
        self._scaler = torch.amp.GradScaler(step.device.type, enabled=precision == "float16")

    def warm_up(self) -> float:
        """Seconds of the first step; on a GPU of the first two."""
        started_s = time.perf_counter()
        for _ in range(2 if self.step.device.type == "cuda" else 1):
            self._take()
        return time.perf_counter() - started_s

    def sample(self) -> float:
        """Mean seconds of one step, over SAMPLE_S or one step."""
        started_s, count, taken_s = time.perf_counter(), 0, 0.0
        while taken_s < SAMPLE_S:
            self._take()
            count, taken_s = count + 1, time.perf_counter() - started_s
        return taken_s / count

    def _take(self) -> None:
        self.step.precision = self.precision
        self._scaler.scale(total_loss(self.step(self.batch))).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        if self.step.device.type == "cuda":
            torch.cuda.synchronize(self.step.device)


def _time_in_turns(timers: Sequence[Timer]) -> None:
    """Fills the times of all timers, in rounds; one that is hopeless takes no further part.

    The first step of the first candidate says nothing of it: it waits for all that the process does once.
    """
    started_s = time.perf_counter()
    first = {timer: timer.warm_up() for timer in timers}
    fastest_s = min(first.values())
    for timer, taken_s in first.items():
        is_hopeless = taken_s > max(SLOW_S, HOPELESS * fastest_s) and timer is not timers[0]
        if is_hopeless or fastest_s > LONG_S:
            timer.times.append(taken_s)
    alive = [timer for timer in timers if not timer.times]
    rounds = min(len(alive), 1) * (ROUNDS if len(timers) > 1 else LEAST_ROUNDS)
    for number in range(rounds):
        begun_s = time.perf_counter()
        for timer in alive if number % 2 == 0 else reversed(alive):
            timer.times.append(timer.sample())
        ended_s = time.perf_counter()
        fastest_s = min(min(timer.times) for timer in alive)
        alive = [timer for timer in alive if min(timer.times) < HOPELESS * fastest_s]
        if number + 1 >= LEAST_ROUNDS and 2 * ended_s - begun_s - started_s > ENOUGH_S:
            return


def _fastest(timers: Sequence[Timer]) -> Choice:
    """The first candidate, or a later one that is faster in the median and at best, which other work disturbs least."""
    best = timers[0]
    for timer in timers[1:]:
        ratios = [kept_s / taken_s for kept_s, taken_s in zip(best.times, timer.times, strict=False)]
        is_disturbed = any(statistics.median(one.times) > DISTURBED * min(one.times) for one in (best, timer))
        is_single = min(len(best.times), len(timer.times)) < LEAST_ROUNDS
        margin = WIDE if is_disturbed or is_single or machine.is_busy() else MARGIN
        if min(statistics.median(ratios), min(best.times) / min(timer.times)) > margin:
            best = timer
    medians = {timer.name: statistics.median(timer.times) for timer in timers}
    return Choice(best.precision, best.memory_format, medians[best.name], medians)
