"""One problem each: what it reads, its loss, its prediction, its metric, its picture."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from unpool.ops.preprocessing import Preprocessing
from unpool.tasks.classification import Classification
from unpool.tasks.denoising import Denoising
from unpool.tasks.people import People
from unpool.tasks.pose import Pose
from unpool.tasks.pose_coordinates import PoseCoordinates
from unpool.tasks.segmentation import Segmentation
from unpool.types import DataInfo, Task

TASKS: dict[
    str,
    type[Classification] | type[Denoising] | type[People] | type[Pose] | type[PoseCoordinates] | type[Segmentation],
] = {
    "classification": Classification,
    "denoising": Denoising,
    "people": People,
    "pose": Pose,
    "pose_coordinates": PoseCoordinates,
    "segmentation": Segmentation,
}


def build(name: str, info: DataInfo, *, options: Mapping[str, Any], preprocessing: Preprocessing) -> Task:
    """The task; one that answers by pixels is told what its images go through, to map the answer back."""
    kind = TASKS[name]
    given: dict[str, Any] = {"preprocessing": preprocessing} if "preprocessing" in signature(kind).parameters else {}
    return kind(info, **options, **given)
