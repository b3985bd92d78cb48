"""Settings to objects: the only place where data, models, tasks and training meet."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unpool import models, tasks
from unpool.data.augment import AUGMENTATIONS, Augment, Collate, Geometry
from unpool.data.loader import Loader
from unpool.data.noise import NOISES, AddNoise
from unpool.data.readers import READERS
from unpool.data.repeated import Repeated
from unpool.data.statistics import count_pixels
from unpool.data.store import ScanResult, scan
from unpool.errors import EnvironmentFault, RecipeError
from unpool.ops import mean_image
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import Recipe
from unpool.tasks import TASKS
from unpool.tasks.segmentation import Segmentation
from unpool.training.averaging import Averaging
from unpool.training.job import Job
from unpool.training.optim import build_optimizer
from unpool.training.schedules import build_schedule
from unpool.training.stopping import StopRequest
from unpool.types import Batch, DataInfo, Reader, Samples, Task, Transform


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a recipe's data section became.

    Attributes:
        train, val: scanned splits.
        preprocessing: shared by training, evaluation and prediction.
        info: class names and the like, as the training split has them.
    """

    train: ScanResult
    val: ScanResult
    preprocessing: Preprocessing
    info: DataInfo


def make_reader(recipe: Recipe, split: str, *, classes: Sequence[str] | None = None) -> Reader:
    """The recipe's reader on one split; `classes` matches the folder's names with those of a trained network.

    Raises:
        RecipeError: no root is given, or the reader does not give what the task needs.
        DataError: the tree is not in the reader's format.
    """
    kind = READERS[recipe.data.reader]
    accepted = signature(kind).parameters
    if recipe.data.root is None and accepted["root"].default is Parameter.empty:
        raise RecipeError(f"reader {recipe.data.reader} needs a folder; say which: data.root=DIR")
    options = dict(recipe.data.options)
    if "channels" in accepted:
        options["channels"] = recipe.data.channels
    if classes is not None and "classes" in accepted:
        options["classes"] = list(classes)
    root = Path(recipe.data.root) if recipe.data.root else None
    reader = kind(root, split, **options)
    check_gives(recipe, reader, f"reader {recipe.data.reader}")
    return reader


def check_gives(recipe: Recipe, reader: Reader, called: str) -> None:
    """Raises RecipeError where the reader does not give what the recipe's task needs."""
    added = {"clean"} if recipe.data.noise else set()
    if twice := added & set(reader.gives):
        raise RecipeError(f"{called} gives {', '.join(twice)} itself; leave data.noise out, or choose another reader")
    missing = sorted(set(TASKS[recipe.task.name].needs) - set(reader.gives) - added)
    if missing:
        raise RecipeError(
            f"task {recipe.task.name} needs {', '.join(missing)}, but {called} gives {', '.join(reader.gives)}; "
            f"choose another data.reader or task.name{', or set data.noise' if missing == ['clean'] else ''}"
        )


def make_data(
    recipe: Recipe, readers: tuple[Reader, Reader], *, progress: Callable[[int, int], None] | None = None
) -> Data:
    """Both splits scanned, with one Preprocessing and one DataInfo.

    Args:
        recipe: its data section says what to hold in memory.
        readers: of training and of validation.
        progress: called with (files done, files in all) while files are read.

    Raises:
        DataError: files that cannot be used; all of them in one message.
    """
    memory = None if recipe.data.memory == "auto" else bool(recipe.data.memory)
    shared = num_workers(recipe) > 0
    train, val = (scan(reader, memory=memory, shared=shared, progress=progress) for reader in readers)
    return Data(train=train, val=val, preprocessing=make_preprocessing(recipe), info=readers[0].info)


def make_preprocessing(recipe: Recipe) -> Preprocessing:
    """The data section's size rule, channels and statistics.

    The readers' `exif` says on which pixels joints were annotated. A new photograph has no joints: it is seen upright.
    """
    data = recipe.data
    has_joints = bool({"keypoints", "people"} & set(TASKS[recipe.task.name].needs))
    return Preprocessing(
        size_hw=None if data.size is None else (data.size[0], data.size[1]),
        rule=data.rule,
        crop=data.crop,
        channels=data.channels,
        order=data.color_order,
        value_range=data.value_range,
        normalization=data.normalize,
        mean=tuple(data.mean),
        std=tuple(data.std),
        mean_image=mean_image.read(Path(data.mean_image), (data.channels, *data.size))
        if data.mean_image and data.size
        else None,
        multiple=data.multiple,
        exif="apply" if has_joints else data.options.get("exif", "apply"),
    )


def make_task(recipe: Recipe, info: DataInfo, train: Samples) -> Task:
    """The recipe's task; class weights are read from the masks of `train`."""
    options: dict[str, Any] = dict(recipe.task.options)
    if options.get("class_weights") in ("median", "sqrt_median"):
        options |= count_pixels(train, len(info.classes))._asdict()
    return tasks.build(recipe.task.name, info, options=options, preprocessing=make_preprocessing(recipe))


def make_task_again(config: Mapping[str, Any], info: DataInfo, preprocessing: Preprocessing) -> Task:
    """The task of a run, with the class weights it had, from its config.json."""
    return tasks.build(config["task"]["name"], info, options=config["task"]["options"], preprocessing=preprocessing)


def make_model(recipe: Recipe, task: Task, *, is_resumed: bool = False) -> nn.Module:
    """The recipe's network with new weights, drawn from the seed, or those that it starts from.

    A resumed run gets new ones: its saved state replaces them, so that nothing is downloaded or read again.
    """
    torch.manual_seed(recipe.train.seed)
    model = recipe.model
    return models.build(
        model.name,
        weights=None if is_resumed else model.weights,
        backbone=model.backbone,
        num_classes=task.outputs,
        in_channels=recipe.data.channels + task.added_channels,
        **model.options,
    )


def make_train_loader(recipe: Recipe, data: Data) -> Loader:
    """Shuffled, augmented batches.

    Raises:
        RecipeError: a step would take the noise out of images that are noisy on disk.
    """
    if "clean" in data.train.samples.gives:
        _check_noise_stays(recipe)
    steps = [AUGMENTATIONS[name](**options) for name, options in recipe.data.steps]
    size = recipe.data.train_size or recipe.data.size
    transform = Augment(
        steps,
        size_hw=None if size is None else (size[0], size[1]),
        preprocessing=data.preprocessing,
        info=data.info,
        seed=recipe.train.seed,
    )
    samples = data.train.samples
    if recipe.data.repeat > 1:
        samples = Repeated(samples, recipe.data.repeat)
    return Loader(
        samples,
        with_noise(recipe, transform, seed=recipe.train.seed, evaluates=False),
        batch=min(recipe.train.batch, len(samples)),
        seed=recipe.train.seed,
        shuffle=True,
        workers=num_workers(recipe),
        drop_last=recipe.train.drop_last,
    )


def _check_noise_stays(recipe: Recipe) -> None:
    for name, _ in recipe.data.steps:
        kind = AUGMENTATIONS[name]
        if issubclass(kind, Geometry) and not kind.keeps_pixels:
            raise RecipeError(
                f"data.augment has {name}, which mixes neighbouring pixels and so takes away the noise that the files "
                "have; leave it out: crop, flip, turn and translate move whole pixels"
            )


def told_of_small_images(recipe: Recipe, data: Data) -> str | None:
    """What to tell of training images that do not fill the window, where the fill would be taken for a clean image."""
    if recipe.data.train_size is None or recipe.data.size is not None or "clean" not in TASKS[recipe.task.name].needs:
        return None
    if any(getattr(AUGMENTATIONS[name], "chooses_scale", False) for name, _ in recipe.data.steps):
        return None
    height, width = recipe.data.train_size
    sizes = data.train.samples.sizes_hw
    small = sum(size[0] < height or size[1] < width for size in sizes)
    if not small:
        return None
    return (
        f"{small} of {len(sizes)} training images are smaller than data.train_size {[height, width]}, so that the rest "
        "of their patches is fill of one colour: make data.train_size smaller, or leave these images out"
    )


def told_of_unpaired_joints(recipe: Recipe, info: DataInfo) -> str | None:
    """What to tell of joints of which none has a mirror image by its name, where images are mirrored.

    No refusal: joints may all lie on the body's middle.
    """
    asked = ["data.augment has flip"] if "flip" in dict(recipe.data.steps) else []
    asked += ["task.flip_test is set"] if recipe.task.options.get("flip_test") else []
    if not asked or len(info.keypoints) < 2 or info.flip_pairs:
        return None
    joints = ", ".join(info.keypoints[:8]) + (", ..." if len(info.keypoints) > 8 else "")
    return (
        f"{' and '.join(asked)}, but no joint trades places in a mirror: {joints}; name those on the two sides left_ "
        "and right_ (left_eye, right_eye) in the data, or leave mirroring out"
    )


def with_noise(recipe: Recipe, transform: Transform, *, seed: int, evaluates: bool) -> Transform:
    """The same batches with the recipe's noise, where it has any."""
    for name, options in (recipe.data.noise or {}).items():
        transform = AddNoise(transform, NOISES[name](**options), seed=seed, evaluates=evaluates)
    return transform


def make_eval_transform(recipe: Recipe, preprocessing: Preprocessing) -> Transform:
    """Batches as in evaluation, in which the noise is that of `data.noise_seed` in every epoch."""
    return with_noise(recipe, Collate(preprocessing), seed=recipe.data.noise_seed, evaluates=True)


def make_eval_loader(recipe: Recipe, samples: Samples, preprocessing: Preprocessing) -> Loader:
    """Every sample once, in order, neighbours of one size together."""
    sizes = samples.sizes_hw

    def group(index: int) -> tuple[int, int]:
        return preprocessing.size_hw or sizes[index]

    return Loader(
        samples,
        make_eval_transform(recipe, preprocessing),
        batch=recipe.train.eval_batch or recipe.train.batch,
        seed=recipe.train.seed,
        shuffle=False,
        workers=0,
        group=group,
    )


def num_workers(recipe: Recipe) -> int:
    """Processes that make training batches: one for each core but one, at least one and at most eight."""
    if recipe.data.workers != "auto":
        return int(recipe.data.workers)
    return max(1, min(8, (os.cpu_count() or 1) - 1))


def make_device(recipe: Recipe) -> torch.device:
    """The device that the recipe asks for.

    Raises:
        EnvironmentFault: cuda was asked for and there is none.
    """
    name = recipe.train.device
    if name == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("train.device is cuda, but torch finds no GPU here; use train.device=cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


class Prepare:
    """From the loader's uint8 batch to float on the device; one more use of Preprocessing, not a copy of it."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        self.preprocessing = preprocessing
        self.device = device

    def __call__(self, batch: Batch) -> Batch:
        moved = {key: self._move(value) for key, value in batch.items()}
        return moved | {"image": self.preprocessing.normalize(moved["image"], moved["valid_xyxy"])}

    def _move(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._move(item) for item in value]
        return value.to(self.device, non_blocking=True)


def make_config(recipe: Recipe, task: Task, data: Data, *, own: Sequence[str]) -> dict[str, Any]:
    """What config.json holds: all that `predict` and `evaluate` need beside the weights.

    `own` names the parts that the caller brought instead of the recipe's.
    """
    model, options = recipe.model, dict(recipe.task.options)
    if isinstance(task, Segmentation) and task.class_weights is not None:
        options["class_weights"] = task.class_weights.tolist()
    return {
        "format": 1,
        "network": {
            "name": model.name,
            "backbone": model.backbone,
            "num_classes": task.outputs,
            "in_channels": data.preprocessing.channels + task.added_channels,
            "options": model.options,
        },
        "task": {"name": recipe.task.name, "options": options},
        "preprocessing": data.preprocessing.to_json(),
        "info": data.info.to_json(),
        "own": list(own),
    }


def make_job(
    recipe: Recipe, parts: tuple[nn.Module, Task, Loader], *, data: Data, device: torch.device, stop: StopRequest
) -> Job:
    """Everything the loop takes, in float32 until a faster way is chosen; the model is on `device`."""
    model, task, loader = parts
    train = recipe.train
    steps_per_epoch = -(-loader.steps_per_epoch // train.accumulate)
    schedule = build_schedule(
        train.schedule,
        lr=train.lr,
        total_steps=steps_per_epoch * train.epochs,
        warmup_steps=round(train.warmup_epochs * steps_per_epoch),
        milestones=[round(epoch * steps_per_epoch) for epoch in train.milestones],
        gamma=train.gamma,
        power=train.power,
    )
    optimizer = build_optimizer(
        model, name=train.optimizer, lr=train.lr, momentum=train.momentum, weight_decay=train.weight_decay
    )
    return Job(
        model=model,
        task=task,
        optimizer=optimizer,
        schedule=schedule,
        loader=loader,
        epochs=train.epochs,
        prepare=Prepare(data.preprocessing, device),
        device=device,
        accumulate=train.accumulate,
        clip_norm=train.clip_norm,
        seed=train.seed,
        names=loader.samples.names,
        num_classes=len(data.info.classes),
        averaging=None if train.ema is None else Averaging(train.ema),
        stop=stop,
    )
