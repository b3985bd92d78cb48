"""Remembers which precision and memory format were the fastest, by network, shapes, machine and versions."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool import machine
from unpool.errors import EnvironmentFault
from unpool.task import Task
from unpool.training.files import replace_file
from unpool.training.job import MemoryFormat, Precision
from unpool.types import Batch

_FORMAT = 1  # of a remembered choice
_LARGEST_FILE = 100_000  # bytes
_LONGEST_S = 1e6
_log = logging.getLogger(__name__)


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


def processor_name(device: torch.device) -> str:
    """Name of the GPU or processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return machine.processor()


def key_of(model: nn.Module, task: Task, batch: Batch, *, names: Sequence[str]) -> str:
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


def recall(file: Path | None, names: Sequence[str]) -> Choice | None:
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


def remember(file: Path | None, choice: Choice) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps({"format": _FORMAT, **choice._asdict()}).encode())
    except (OSError, EnvironmentFault):
        return  # a cache that cannot be written costs a few seconds the next time, nothing else
