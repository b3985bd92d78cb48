"""One problem each, all of it: what it reads, its loss, its answer, its metric, its picture and its files."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch

from unpool.errors import RecipeError, quoted
from unpool.ops.preprocessing import Preprocessing
from unpool.task import Task
from unpool.task_facts import check_described
from unpool.tasks.captions import Captions
from unpool.tasks.classification import Classification
from unpool.tasks.denoising import Denoising
from unpool.tasks.detection import Detection
from unpool.tasks.embedding import Embedding
from unpool.tasks.flow import Flow
from unpool.tasks.instances import Instances
from unpool.tasks.localization import Localization
from unpool.tasks.people import People
from unpool.tasks.people_in_boxes import PeopleInBoxes
from unpool.tasks.pose import Pose
from unpool.tasks.pose_coordinates import PoseCoordinates
from unpool.tasks.reading import Reading
from unpool.tasks.segmentation import Segmentation
from unpool.tasks.stereo import Stereo
from unpool.types import DataInfo, Samples

TASKS: dict[str, type[Task]] = {
    "captions": Captions,
    "classification": Classification,
    "denoising": Denoising,
    "detection": Detection,
    "embedding": Embedding,
    "flow": Flow,
    "instances": Instances,
    "localization": Localization,
    "people": People,
    "people_in_boxes": PeopleInBoxes,
    "pose": Pose,
    "pose_coordinates": PoseCoordinates,
    "reading": Reading,
    "segmentation": Segmentation,
    "stereo": Stereo,
}


def build(
    name: str,
    info: DataInfo,
    *,
    options: Mapping[str, Any],
    preprocessing: Preprocessing,
    samples: Samples | None = None,
    seed: int = 0,
) -> Task:
    """The task of a name, ready to train and to answer; torch's generator is left as it was.

    Args:
        name: a row of `TASKS`.
        info: names in the data.
        options: keywords of the task, as a recipe or a model file has them.
        preprocessing: what images go through; passed to tasks that map answers back to the image.
        samples: the training set; passed to tasks that count in it.
        seed: of the parameters that the task draws.

    Raises:
        TypeError: the task's names of metrics contradict one another, or those of a run's own facts.
    """
    kind = TASKS[name]
    parts = {"preprocessing": preprocessing, "samples": samples}
    known = signature(kind).parameters
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task = kind(info, **options, **{key: value for key, value in parts.items() if key in known})
    check_described(task)
    return task


def published_task(weights: str, gives: str) -> str:
    """Name of the task whose networks have published weights of this kind; where there are several, by their output.

    Args:
        weights: one of the words of published weights.
        gives: what the network gives, a kind of `network_names.OUTPUTS`.

    Raises:
        RecipeError: none has.
    """
    names = [name for name, kind in TASKS.items() if weights in kind.published]
    if not names:
        raise RecipeError(f"no task answers with published weights {quoted(weights)}")
    return next((name for name in names if TASKS[name].takes[:1] == (gives,)), names[0])
