"""One problem each: what it reads, its loss, its prediction, its metric, its picture."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from unpool.tasks.classification import Classification
from unpool.tasks.segmentation import Segmentation
from unpool.types import DataInfo, Preprocessing

TASKS: dict[str, type[Classification] | type[Segmentation]] = {
    "classification": Classification,
    "segmentation": Segmentation,
}


def build(
    name: str, info: DataInfo, *, options: Mapping[str, Any], preprocessing: Preprocessing
) -> Classification | Segmentation:
    """The task; one that answers by pixels is told what its images go through, to map the answer back."""
    kind = TASKS[name]
    takes_it = "preprocessing" in signature(kind).parameters
    return kind(info, **options, **({"preprocessing": preprocessing} if takes_it else {}))
