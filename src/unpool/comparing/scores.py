"""The score of a run's network on each image of a set, and on any choice of them, by the task's metric.

A metric's counts are kept for each image and added up. Where the score of a set is the mean of its images' scores,
means are taken; else the counts of the drawn images are merged, in groups of neighbours where there are many images.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unpool.assemble.job import Prepare, make_device
from unpool.assemble.loaders import make_eval_loader
from unpool.ops.drawing import drawable
from unpool.predictor.predictor import Predictor
from unpool.recipe import Recipe
from unpool.task import Exhibit, Task, first_sample
from unpool.training.job import streamed
from unpool.types import Batch, Metric, Samples

MOST_GROUPS = 200  # that are drawn where counts have to be merged
_CLOSE = 1e-9


class ImageScores(NamedTuple):
    """What one network reaches.

    Attributes:
        values: (N,) score of each image alone, NaN where it has none.
        whole: score of the set.
        units: what is drawn: one image each, or a group of neighbours.
        of_units: gives the score of some of them, by their numbers.
        is_mean: whether the score of a set is the mean of its images' scores.
    """

    values: NDArray[np.float64]
    whole: float | None
    units: int
    of_units: Callable[[NDArray[np.int64]], float | None]
    is_mean: bool = False


def score_images(
    trained: Predictor, settings: Recipe, samples: Samples, name: str, *, progress: Callable[[int, int], None]
) -> ImageScores:
    """Answers each sample, in float32, and scores it by itself.

    Args:
        trained: network, task and preprocessing.
        settings: of the loader and the device.
        samples: what is answered.
        name: of the metric.
        progress: called with (images done, images in all).
    """
    device = make_device(settings)
    prepare, task, model = Prepare(trained.preprocessing, device), trained.task.to(device), trained.model.to(device)
    loader = make_eval_loader(settings, samples, trained.preprocessing)
    modes = {module: module.training for module in (*model.modules(), *task.modules())}
    counted: list[tuple[int, Metric]] = []
    model.eval()
    task.eval()
    try:
        with torch.inference_mode(), streamed(loader, 0, 0, epochs=1) as stream:
            for batch in stream:
                prepared = prepare(batch)
                answers = task.answer(model, task.inputs_of(prepared))
                for number, index in enumerate(prepared["index"].tolist()):
                    metric = task.metric()
                    metric.update(_one(answers, number), _one(prepared, number))
                    counted.append((index, metric))
                progress(len(counted), len(samples))
    finally:
        loader.close()
        for module, mode in modes.items():
            module.training = mode
    return _scores(task, [metric for _, metric in sorted(counted, key=lambda entry: entry[0])], name)


def _one(values: dict[str, Any], number: int) -> dict[str, Any]:
    return {key: value[number : number + 1] for key, value in values.items()}


def _scores(task: Task, metrics: Sequence[Metric], name: str) -> ImageScores:
    single = [_number(metric.compute().get(name)) for metric in metrics]
    values = np.array([np.nan if value is None else value for value in single])
    everything = np.arange(len(metrics))
    whole = _merged(task, metrics, everything, name)
    halves = [everything, everything[::2], everything[1::2]]
    if not np.isnan(values).any() and all(
        (value := _merged(task, metrics, half, name)) is not None and abs(value - values[half].mean()) <= _CLOSE
        for half in halves
        if len(half)
    ):
        return ImageScores(values, whole, len(values), lambda drawn: float(values[drawn].mean()), is_mean=True)
    groups = [_joined(task, [metrics[i] for i in part]) for part in np.array_split(everything, _groups(len(metrics)))]
    return ImageScores(values, whole, len(groups), lambda drawn: _merged(task, groups, drawn, name))


def _groups(images: int) -> int:
    return min(images, MOST_GROUPS)


def _joined(task: Task, metrics: Sequence[Metric]) -> Metric:
    total = task.metric()
    for metric in metrics:
        total.merge(metric)
    return total


def _merged(task: Task, metrics: Sequence[Metric], drawn: NDArray[np.int64], name: str) -> float | None:
    return _number(_joined(task, [metrics[i] for i in drawn]).compute().get(name))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


@torch.inference_mode()
def exhibit_of(trained: Predictor, settings: Recipe, samples: Samples, index: int) -> Exhibit:
    """Draws one sample with its truth and the network's answer, as the report does."""
    task, device = trained.task, make_device(settings)
    loader = make_eval_loader(settings, samples, trained.preprocessing)
    try:
        batch: Batch = loader.transform([samples[index]], 0)
    finally:
        loader.close()
    prepared = Prepare(trained.preprocessing, device)(batch)
    was_training = trained.model.training
    trained.model.eval()
    try:
        answer = first_sample(task.answer(trained.model, task.inputs_of(prepared)))
    finally:
        trained.model.train(was_training)
    sample = samples[index]
    if task.is_image:  # what the network saw, which may have noise that the file has not
        sample = {**sample, **{key: batch[key][0] for key in task.needs}}
    image: Tensor = drawable(sample["image"].round().clamp(0, 255).to(torch.uint8)).expand(3, -1, -1)
    return task.exhibit(image, sample, task.thinned(task.record(answer), 1))
