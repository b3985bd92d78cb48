"""Chooses precision and memory format by timing a few steps of each candidate on this machine."""

import copy
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool import machine
from unpool.errors import EnvironmentFault, RecipeError, quoted
from unpool.task import Task
from unpool.training.files import replace_file
from unpool.training.job import MemoryFormat, Precision, lay_out, move
from unpool.training.optim import build_optimizer
from unpool.training.step import Step, total_loss
from unpool.types import Batch

FAST_BF16 = {"amx_bf16", "avx512_bf16", "bf16"}
GAIN = 1.05  # a later candidate must be faster than the one kept by this factor
SLOW = 1.3  # a candidate this much slower in its first timed step is given up
TIMED_STEPS = 3
ENOUGH_S = 2.0  # timing of one candidate ends after this
_FORMAT = 1  # of a remembered choice
_LARGEST_FILE = 100_000  # bytes
_LONGEST_S = 1e6
_log = logging.getLogger(__name__)
EMULATED = "this processor emulates bfloat16 (no amx_bf16, no avx512_bf16), some 13 times slower than float32"


class Choice(NamedTuple):
    """How to train here.

    Attributes:
        seconds_per_step: of the chosen candidate, for one batch.
        measured: seconds of one step by "precision memory_format", the slow ones after fewer steps.
    """

    precision: Precision
    memory_format: MemoryFormat
    seconds_per_step: float
    measured: dict[str, float]


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
        cache: folder that remembers choices by network, shapes, machine and versions; None remembers nothing.
    """
    names = [f"{precision} {layout}" for precision in precisions for layout in memory_formats]
    file = None if cache is None else cache / f"{_key(model, task, batch, names=names)}.json"
    known = _recall(file, names)
    if known is not None:
        return known
    device = next(model.parameters()).device
    best: Choice | None = None
    measured: dict[str, float] = {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for precision in precisions:
            for layout in memory_formats:
                limit_s = best.seconds_per_step * SLOW if best else float("inf")
                step = Step(copy.deepcopy(model), copy.deepcopy(task), precision=precision, device=device)
                move(step, device, memory_format=layout).train()
                taken_s = _time(step, lay_out(prepare(batch), layout), limit_s=limit_s)
                measured[f"{precision} {layout}"] = taken_s
                if best is None or taken_s * GAIN < best.seconds_per_step:
                    best = Choice(precision, layout, taken_s, measured)
    if best is None:
        raise ValueError("no candidate to time: give at least one precision and one memory format")
    _remember(file, best)
    return best


def processor_name(device: torch.device) -> str:
    """Name of the GPU or processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return machine.processor()


def _time(step: Step, batch: Batch, *, limit_s: float) -> float:
    """Seconds of the quickest of a few steps, the first left out unless it alone took long enough."""
    optimizer = build_optimizer(step, name="sgd", lr=0.0)
    scaler = torch.amp.GradScaler(step.device.type, enabled=step.precision == "float16")
    warm_up = _one_step(step, batch, optimizer, scaler)
    if warm_up > ENOUGH_S:
        return warm_up
    if step.device.type == "cuda":
        _one_step(step, batch, optimizer, scaler)
    times = [_one_step(step, batch, optimizer, scaler)]
    while len(times) < TIMED_STEPS and sum(times) < ENOUGH_S and times[0] < limit_s:
        times.append(_one_step(step, batch, optimizer, scaler))
    return min(times)


def _one_step(step: Step, batch: Batch, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> float:
    started_s = time.perf_counter()
    loss = total_loss(step(batch))
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    if step.device.type == "cuda":
        torch.cuda.synchronize(step.device)
    return time.perf_counter() - started_s


def _key(model: nn.Module, task: Task, batch: Batch, *, names: Sequence[str]) -> str:
    device = next(model.parameters()).device
    known: list[Any] = [
        [(name, list(weight.shape)) for name, weight in model.named_parameters()],
        [repr(model), repr(task), [(name, list(weight.shape)) for name, weight in task.named_parameters()]],
        {key: _form(value) for key, value in batch.items()},
        [processor_name(device), torch.get_num_threads(), torch.__version__, *names],
        sorted(name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))),
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


def _form(value: Tensor | list[Any]) -> Any:
    """What a cache key holds of a batch value; for a list, only what is the same in every batch.

    The first axis of what a list holds counts boxes, words or people, and changes from batch to batch; so it is left
    out, and so are axes on which the tensors of this batch differ. The number of tensors, that of their axes, and the
    sizes on which all agree (4 of boxes (N, 4), the window of masks (N, H, W)) stay. Where all agree by chance on an
    axis that varies, the key is another one, which costs one more timing.
    """
    if isinstance(value, Tensor):
        return list(value.shape)
    if any(isinstance(item, list) for item in value):
        return {"list": len(value), "of": "lists"}
    if len({item.dim() for item in value}) > 1:
        return {"list": len(value), "of": "tensors of several numbers of axes"}
    axes = list(zip(*(item.shape for item in value), strict=True))
    return {"list": len(value), "trailing": [sizes[0] if len(set(sizes)) == 1 else None for sizes in axes[1:]]}


def _recall(file: Path | None, names: Sequence[str]) -> Choice | None:
    """A remembered choice; None where there is none, or this version did not write the file, which is logged."""
    if file is None:
        return None
    try:
        values = json.loads(file.read_bytes()[:_LARGEST_FILE])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("the speed remembered in %s cannot be read (%s): it is measured anew", file, _reason(error))
        return None
    if not _is_choice(values, names):
        _log.warning("the speed remembered in %s is damaged or of another version: it is measured anew", file)
        return None
    return Choice(**{key: values[key] for key in Choice._fields})


def _is_choice(values: Any, names: Sequence[str]) -> bool:
    if not isinstance(values, dict) or values.keys() != {"format", *Choice._fields} or values["format"] != _FORMAT:
        return False
    measured = values["measured"]
    is_measured = isinstance(measured, dict) and set(measured) <= set(names) and all(map(_is_time, measured.values()))
    return is_measured and _is_time(values["seconds_per_step"]) and _name(values) in names


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < _LONGEST_S


def _name(values: dict[str, Any]) -> str:
    return " ".join(str(values[name]) for name in Choice._fields[:2])


def _reason(error: Exception) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else "it is no JSON"


def _remember(file: Path | None, choice: Choice) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps({"format": _FORMAT, **choice._asdict()}).encode())
    except (OSError, EnvironmentFault):
        return  # a cache that cannot be written costs a few seconds the next time, nothing else
