"""From a recipe to the plain objects of its run, as `check` takes those of anybody."""

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset

from unpool import models
from unpool.assemble.copies import enrolled_images
from unpool.assemble.data import Data, is_drawn, read_data
from unpool.assemble.job import Prepare, make_job
from unpool.assemble.loaders import make_eval_loader, make_train_loader
from unpool.assemble.settling import settled
from unpool.checks.augmenter import Augmenter
from unpool.checks.budget import Budget
from unpool.checks.setup import Form, Setup
from unpool.checks.source import Source, picked
from unpool.data.augment.pipeline import Augment
from unpool.data.loader import Loader
from unpool.predictor import Predictor
from unpool.recipe import Recipe
from unpool.task import Task
from unpool.tasks.one_forward import OneForward
from unpool.training.evaluation import evaluate as measure
from unpool.training.job import Job
from unpool.training.step import total_loss
from unpool.training.stopping import StopRequest
from unpool.types import Batch, Samples

FORMS: Mapping[str, Form] = {  # by the key of a batch that a task needs
    **{"label": "class", "mask": "class map", "clean": "picture", "keypoints": "points", "boxes": "things"},
    **{"people": "things", "identity": "vector", "captions": "tokens", "text": "tokens"},
}
SCORED = (
    "class",
    "class map",
)  # targets of evaluation lie where the network's outputs do; others on the image as decoded
ANSWERS = ("label", "mask", "clean", "keypoints", "boxes", "embedding")  # of a record, that which is compared


def learned(batch: Batch, keys: Collection[str]) -> Batch:
    """A batch or sample without the targets that a task does not read, such as the classes of birds beside their parts.

    Example:
        >>> sorted(learned({"image": 0, "label": 1, "keypoints": 2, "visible": 3}, ("image", "keypoints")))
        ['image', 'keypoints', 'visible']
    """
    return {key: value for key, value in batch.items() if key in keys or key not in FORMS}


def _keys(task: Task) -> tuple[str, ...]:
    return (*task.needs, *task.inputs)


class Batches:
    """Prepared batches of epoch 0, from the first one whenever it is run; workers that a run uses are left alone."""

    def __init__(self, loader: Loader, prepare: Callable[[Batch], Batch], task: Task) -> None:
        self.loader = loader
        self.prepare = prepare
        self.task = task

    def __len__(self) -> int:
        return self.loader.steps_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        for indices in self.loader.order.batches(0):
            batch = self.loader.batch_of(indices, 0)
            kept = {key: value for key, value in batch.items() if key != "replaced"}
            yield learned(self.prepare(kept), _keys(self.task))


class Prepared(Dataset):
    """Single samples of a split as evaluation sees them: prepared, not augmented.

    Attributes:
        samples: (path, 0) of each where the split has files below a folder, as torchvision's folders list them.
        names: of each.
    """

    def __init__(self, loader: Loader, prepare: Prepare, task: Task, *, root: Path | None) -> None:
        self.loader = loader
        self.task = task
        self.prepare = prepare
        names = [str(name) for name in loader.samples.names]
        is_files = root is not None and bool(names) and all((root / name).is_file() for name in names[:3])
        self.samples = [(str(root / name), 0) for name in names] if is_files and root is not None else []
        self.names = names

    def __len__(self) -> int:
        return len(self.loader.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return learned(picked(self.prepare(self.loader.batch_of([index], 0)), 0), _keys(self.task))


class Scores:
    """The task's metric of network outputs, counted over a set."""

    def __init__(self, task: OneForward) -> None:
        self.task = task
        self.counted = task.metric()

    def reset(self) -> None:
        self.counted = self.task.metric()

    def update(self, outputs: Any, batch: Batch) -> None:
        self.counted.update(self.task.decode(outputs, self.task.inputs_of(batch)), batch)

    def compute(self) -> float:
        return float(self.counted.compute()[self.task.best])


def setup_of(
    recipe: Recipe,
    *,
    budget: Budget,
    progress: Callable[[int, int], None] | None = None,
) -> Setup:
    """Makes the objects of a recipe's run: data, network, loss, optimiser, schedule, evaluation and prediction.

    Args:
        recipe: of the run.
        budget: of its checks, reading included.
        progress: called with (files done, files in all) while the data is read.

    Raises:
        RecipeError, DataError, EnvironmentFault: as `train` does before its first step.
    """
    data = read_data(recipe, progress=progress)
    recipe = settled(recipe, data)
    loader = make_train_loader(recipe, data)
    with StopRequest() as stop:
        job = make_job(recipe, data, loader, model=None, stop=stop)
    return setup_of_job(recipe, data, job, loader=loader, budget=budget)


def setup_of_job(recipe: Recipe, data: Data, job: Job, *, loader: Loader, budget: Budget) -> Setup:
    """Makes the objects of a job as it stands, at its step and with its weights; see `setup_of`."""
    task, seed = job.task, recipe.train.seed
    in_evaluation = Prepare(data.preprocessing, job.device)
    root = None if data.train.contents is None else data.train.contents.root
    measured = make_eval_loader(recipe, data.val.samples, data.preprocessing)
    plain = make_eval_loader(recipe, data.train.samples, data.preprocessing)
    train = Source(
        Batches(loader, job.prepare, task),
        name="train",
        seed=seed,
        dataset=Prepared(plain, in_evaluation, task, root=root),
    )
    val = Source(
        Batches(measured, in_evaluation, task),
        name="val",
        seed=seed,
        dataset=Prepared(measured, in_evaluation, task, root=root),
        asked=_asked(data.val.samples, root),
    )
    form = _form(task)
    return Setup(
        model=job.model,
        train=train,
        val=val,
        loss=_loss_of(task),
        optimizer=job.optimizer,
        forward=task.output if isinstance(task, OneForward) else task.losses,
        schedule=LambdaLR(job.optimizer, _factor(job, recipe.train.lr)),
        epochs=recipe.train.epochs,
        metric=Scores(task) if isinstance(task, OneForward) and form in SCORED else None,
        evaluate=_evaluation(task, measured, in_evaluation),
        predict=None if recipe.data.noise else _prediction(job, data),  # which adds no noise to a picture, as val does
        classes=data.info.classes,
        budget=budget,
        form=form,
        facts=_facts(recipe, job)
        | {"augmenter": _augmenter(loader, job), **_noticed(data), **_apart(recipe), **_in_window(recipe, data, task)},
        seed=seed,
    )


def _form(task: Task) -> Form:
    for key in task.needs:
        if key in FORMS:
            return FORMS[key]
    return "unknown"


def _loss_of(task: Task) -> Callable[[Any, Any], Tensor]:
    if isinstance(task, OneForward):
        return lambda outputs, batch: total_loss(task.loss(outputs, batch))
    return lambda losses, batch: total_loss(losses)  # a detector's losses come from its forward pass itself


def _factor(job: Job, rate: float) -> Callable[[int], float]:
    last, first = max(job.total_steps - 1, 0), job.counters.step
    return lambda step: job.schedule(min(first + step, last)) / rate


def _evaluation(task: Task, loader: Loader, prepare: Prepare) -> Callable[[nn.Module, Any], float]:
    def evaluate(model: nn.Module, val: Any) -> float:
        del val
        value = measure(model, task, loader, prepare=prepare)[task.best]
        return float("nan") if value is None else float(value)

    return evaluate


def _prediction(job: Job, data: Data) -> Callable[[Any], Any]:
    def predict(picture: Any) -> Any:
        model_mode = job.model.training
        job.model.eval()
        try:
            (record,) = Predictor(job.model, data.preprocessing, data.info, job.task)([picture])
        finally:
            job.model.train(model_mode)
        return next((record[key] for key in ANSWERS if key in record), record)

    return predict


def _asked(samples: Samples, root: Path | None) -> Callable[[int], Any]:
    """The file of a sample where that is all of it, else its image as decoded: a crop, a page, a row of an archive."""

    def asked(index: int) -> Any:
        path = None if root is None else root / str(samples.names[index])
        if path is not None and path.is_file() and sorted(_image_size(path)) == sorted(samples.sizes_hw[index]):
            return str(path)
        return samples[index]["image"]

    return asked


def _image_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image by its header."""
    with Image.open(path) as image:
        return image.size


def _augmenter(loader: Loader, job: Job) -> Augmenter:
    """What the loader of training batches does to one sample, as bytes before and prepared after."""

    def raw(i: int) -> tuple[Tensor, Any]:
        sample = loader.samples[i]
        return sample["image"], sample

    def change(i: int, picture: Tensor, target: Any, draw: int) -> tuple[Any, Any]:
        del i
        batch = loader.transform([{**target, "image": picture}], draw)
        batch.pop("replaced", None)
        sample = learned(picked(job.prepare(batch), 0), _keys(job.task))
        return sample["image"], sample

    return Augmenter(len(loader.samples), raw, change)


def _apart(recipe: Recipe) -> dict[str, Any]:
    """`unlike_weights`: preparation of the pictures, and that of the weights, where these differ."""
    data, model = recipe.data, recipe.model
    if model.weights is None or data.channels == 1:
        return {}
    theirs = models.colours_of(model.name, model.backbone, model.weights) or {}
    ours = {"mean": data.mean, "std": data.std, "color_order": data.color_order, "value_range": data.value_range}
    apart = {key: (ours[key], theirs[key]) for key in ours if key in theirs and ours[key] != theirs[key]}
    return {"unlike_weights": apart} if apart else {}


class InWindow(Dataset):
    """Single samples as training sees them without augmentation: what lies on a picture moves with it."""

    def __init__(self, recipe: Recipe, data: Data, samples: Samples, task: Task) -> None:
        size = recipe.data.size
        self.samples = samples
        self.task = task
        self.transform = Augment(
            [],
            size_hw=None if size is None else (size[0], size[1]),
            preprocessing=data.preprocessing,
            info=data.info,
            seed=recipe.train.seed,
        )
        self.prepare = Prepare(data.preprocessing, torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return learned(picked(self.prepare(self.transform([self.samples[index]], 0)), 0), _keys(self.task))


def _in_window(recipe: Recipe, data: Data, task: Task) -> dict[str, Any]:
    if recipe.data.noise:  # which is added by the loader
        return {}
    return {"in_window": {name: InWindow(recipe, data, part.samples, task)
                          for name, part in (("train", data.train), ("val", data.val))}}  # fmt: skip


def _noticed(data: Data) -> dict[str, Any]:
    """What the scan of both splits said.

    `notes`: sentences; `skipped`: files that were left out, with the reason; `copies`: (name in training, name in
    validation, how); `kept_together`: names of groups that a drawn split did not divide; `enrolled`: positions in
    validation of images that are searched among.
    """
    manifests, copies = [data.train.manifest, data.val.manifest], data.copies
    said = [_sentence(note) for one in manifests for note in one["notes"]]
    return {
        "notes": tuple(dict.fromkeys(said)),
        "skipped": tuple(f"{one['path']}: {one['reason']}" for part in manifests for one in part["skipped"]),
        "copies": tuple((copies.names[i], copies.names[j], how) for i, j, how in copies.across),
        "kept_together": copies.groups() if is_drawn(manifests[0]) else (),
        "enrolled": tuple(sorted(enrolled_images(data.val.samples, first=0))),
    }


def _sentence(note: Mapping[str, Any]) -> str:
    """A note of a scan, with the files that it is of."""
    return f"{note['note']}: {note['count']} files, first {note['first']}" if note["first"] else note["note"]


def _facts(recipe: Recipe, job: Job) -> dict[str, Any]:
    """What plain objects cannot say, by name.

    `steps_schedule`: the schedule is stepped after each step; `loss_prepares_targets`: the task brings targets, such as
    bytes, to the scale of its loss; `clip_norm`; `steps`: of the whole run; `accumulate`;
    `starts_from_weights`; `augmentations`; `higher_is_better`: of what `evaluate` returns. `setup_of_job` adds
    `augmenter`, which tries them on single samples, and what the readers noticed.
    """
    return {
        "steps_schedule": True,
        "loss_prepares_targets": True,
        "clip_norm": job.clip_norm,
        "steps": job.total_steps,
        "accumulate": job.accumulate,
        "starts_from_weights": recipe.model.weights is not None,
        "augmentations": tuple(name for name, _ in recipe.data.steps),
        "higher_is_better": job.task.description(job.task.best).higher_is_better,
    }
