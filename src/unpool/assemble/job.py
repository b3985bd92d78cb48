"""From a recipe, its data and perhaps a network of the caller's to the job that the loop trains."""

import logging

import torch
from torch import nn

from unpool.assemble.data import Data
from unpool.assemble.loaders import require_one_size
from unpool.assemble.model import make_model, make_task, scale_by_data
from unpool.data.augment import OnDevice
from unpool.data.findings import most_skipped
from unpool.data.loader import Loader
from unpool.data.order import ByRank, whole_of
from unpool.errors import EnvironmentFault, RecipeError
from unpool.launched import environment
from unpool.layers.transfer import freeze, rate_factors
from unpool.models.pretrained import is_file
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import Recipe, Train
from unpool.training.averaging import Averaging, EqualAveraging
from unpool.training.job import Job, to_device, whole
from unpool.training.norms import require_norms, set_momentum
from unpool.training.optim import build_optimizer, check_weights
from unpool.training.processes import world_size
from unpool.training.schedules import Schedule, build_schedule, with_cycles
from unpool.training.stopping import StopRequest
from unpool.types import Batch, Transform

_log = logging.getLogger(__name__)


def make_job(
    recipe: Recipe,
    data: Data,
    loader: Loader,
    *,
    model: nn.Module | None,
    stop: StopRequest,
    is_resumed: bool = False,
) -> Job:
    """Everything the loop takes, in float32 until a faster way is chosen.

    Args:
        recipe: what to make.
        data: scanned.
        loader: of training batches.
        model: a network of the caller's; None builds the recipe's.
        stop: asked after every step.
        is_resumed: a saved state will replace the weights.

    Raises:
        DataError: images of several sizes would meet in a batch.
        RecipeError: training does not start from the weights of the caller's network, they were to be drawn anew, or a
            key of batch norm is set and there is none.
    """
    if model is not None and recipe.model.init is not None:
        raise RecipeError("model.init draws the weights of the recipe's network, and this one is yours: leave it out")
    require_one_size(recipe, loader)
    device, train = make_device(recipe), recipe.train
    task = make_task(recipe, data)
    starts_new = model is None and not is_resumed
    if recipe.model.frozen and recipe.model.weights is None and model is None and not is_resumed:
        _log.warning("model.frozen is set and model.weights is not: what is frozen stays as it is drawn")
    model = make_model(recipe, task, data.info, is_resumed=is_resumed) if model is None else model
    check_weights(model)
    if starts_new:
        task.initialize(model, from_file=recipe.model.weights is not None and is_file(recipe.model.weights))
    task.freeze(model)
    freeze(model, recipe.model.frozen)
    learned = nn.ModuleDict({"model": model, "task": task}).to(device)
    prepare = Prepare(data.preprocessing, device, transform=loader.transform)
    if starts_new:
        scale_by_data(recipe, model, lambda: task.losses(model, prepare(first_batch(loader))))
    _set_norms(learned, train)
    optimizer = build_optimizer(
        learned,
        name=train.optimizer,
        lr=train.lr,
        momentum=train.momentum,
        weight_decay=train.weight_decay,
        factors=rate_factors(model, backbone=train.backbone_lr, decay=train.layer_decay),
        rms_decay=train.rms_decay,
        decay_norms=train.decay_norms,
    )
    steps_per_epoch = -(-loader.steps_per_epoch // train.accumulate)
    return Job(
        model=model,
        task=task,
        optimizer=optimizer,
        schedule=make_schedule(train, steps_per_epoch),
        loader=loader,
        epochs=train.epochs,
        prepare=prepare,
        device=device,
        accumulate=train.accumulate,
        clip_norm=train.clip_norm,
        seed=train.seed,
        names=loader.samples.names,
        most_unreadable=most_skipped(len(data.train.samples)),
        num_classes=len(data.info.classes),
        averaging=make_averaging(train, steps_per_epoch),
        stop=stop,
        part=loader.order.part if isinstance(loader.order, ByRank) else whole,
        synchronizes_norms=recipe.model.sync_batch_norm and world_size() > 1,
    )


def _set_norms(learned: nn.Module, train: Train) -> None:
    if train.norm_momentum is not None:
        set_momentum(learned, None if train.norm_momentum == "average" else train.norm_momentum)
    if train.precise_norms:
        require_norms(learned, "train.precise_norms")


def first_batch(loader: Loader) -> Batch:
    """The first batch of the training order, of all processes, as the loader has it."""
    return loader.batch_of(whole_of(loader.order).batches(0)[0], 0)


def make_schedule(train: Train, steps_per_epoch: int) -> Schedule:
    """The learning rate at each step, by the recipe's section `train`."""
    schedule = build_schedule(
        train.schedule,
        lr=train.lr,
        total_steps=steps_per_epoch * train.epochs,
        warmup_steps=round(train.warmup_epochs * steps_per_epoch),
        milestones=[round(epoch * steps_per_epoch) for epoch in train.milestones],
        gamma=train.gamma,
        power=train.power,
    )
    if train.swa is None:
        return schedule
    cycle = None if train.swa_cycle is None else train.swa_cycle * steps_per_epoch
    return with_cycles(schedule, start=train.averaged_epochs.start * steps_per_epoch, lr=train.swa_lr, cycle=cycle)


def make_averaging(train: Train, steps_per_epoch: int) -> Averaging | None:
    """The average of the weights that the recipe asks for."""
    if train.ema is not None:
        return Averaging(train.ema)
    if train.swa is None:
        return None
    return EqualAveraging([epoch * steps_per_epoch for epoch in train.averaged_epochs])


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
    return torch.device(name, environment().local_rank) if name == "cuda" else torch.device(name)


class Prepare:
    """From the loader's uint8 batch to float on the device; one more use of Preprocessing, not a copy of it.

    Args:
        preprocessing: for its normalisation.
        device: of the result.
        transform: of the loader of training batches, which may leave images to the device.
    """

    def __init__(
        self, preprocessing: Preprocessing, device: torch.device, *, transform: Transform | None = None
    ) -> None:
        self.preprocessing = preprocessing
        self.device = device
        self._on_device = transform if isinstance(transform, OnDevice) else None

    def __call__(self, batch: Batch) -> Batch:
        if OnDevice.is_due(batch):
            if self._on_device is None:
                raise ValueError(
                    "the batch has images that the device is to augment: give Prepare the loader's transform"
                )
            batch = self._on_device.apply(batch, self.device)
        moved = {key: to_device(value, self.device, key=key) for key, value in batch.items()}
        image, normalize = moved["image"], self.preprocessing.normalize
        if isinstance(image, list):
            return moved | {"image": [normalize(one) for one in image]}
        return moved | {"image": normalize(image, moved.get("shown_xyxy", moved.get("valid_xyxy")))}
