"""Pictures for the report: a few validation images with truth and prediction, and those that went worst."""

from typing import Any, NamedTuple

import torch

from unpool.assemble.data import Data
from unpool.ops.drawing import drawable
from unpool.report import Example
from unpool.task import first_sample
from unpool.training.job import Job, lay_out
from unpool.training.step import Step, total_loss
from unpool.types import Batch, Transform

LOOKED_AT = 200  # samples, evenly spread, among which the worst are sought
SHOWN = 8


class _Seen(NamedTuple):
    position: int
    loss: float


def draw_examples(job: Job, data: Data, collate: Transform) -> tuple[list[Example], list[Example]]:
    """Evenly spread validation images, and those of the highest loss, both drawn with truth and prediction.

    The job's model must hold the weights to be shown; `collate` makes batches as in evaluation.
    """
    samples = data.val.samples
    spread = _spread(len(samples), LOOKED_AT)
    seen = [_Seen(index, _look(job, collate([samples[index]], 0))[1]) for index in spread]
    worst = [one.position for one in sorted(seen, key=lambda one: one.loss, reverse=True)[:SHOWN]]
    shown = _spread(len(samples), SHOWN)
    drawn = {index: _example(job, data, collate, index=index) for index in dict.fromkeys((*shown, *worst))}
    return [drawn[index] for index in shown], [drawn[index] for index in worst]


def _spread(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


@torch.inference_mode()
def _look(job: Job, batch: Batch) -> tuple[dict[str, Any], float]:
    """Prediction of the only sample of a batch without its leading B, and its loss."""
    prepared = lay_out(job.prepare(batch), job.memory_format)
    job.learned.eval()
    losses, predictions = Step(job.model, job.task, precision=job.precision, device=job.device).evaluated(prepared)
    return first_sample(predictions), float(total_loss(losses))


def _example(job: Job, data: Data, collate: Transform, *, index: int) -> Example:
    sample = data.val.samples[index]
    batch = collate([sample], 0)
    prediction, loss = _look(job, batch)
    if job.task.is_image:  # what the network saw, which may have noise that the file has not
        sample = {**sample, **{key: batch[key][0] for key in job.task.needs}}
    image = drawable(sample["image"].round().clamp(0, 255).to(torch.uint8)).expand(3, -1, -1)
    exhibit = job.task.exhibit(image, sample, job.task.thinned(job.task.record(prediction), 1))
    return Example(data.val.samples.names[index], exhibit, loss)
