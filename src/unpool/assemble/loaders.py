"""The loaders over scanned splits: augmentation, noise, and the order of an epoch."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unpool.assemble.data import Data
from unpool.assemble.processes import num_workers
from unpool.data.augment import AUGMENTATIONS, Augment, Collate, Finishing, Geometry, Joining, OnDevice, Step
from unpool.data.augment.on_device import require_alike
from unpool.data.augment.pair_targets import PAIRS, refusal
from unpool.data.labels import read_labels
from unpool.data.loader import Loader, Order
from unpool.data.noise import NOISES, AddNoise
from unpool.data.order import ORDERS, Batching, ByRank, Sequential, WholeBatches
from unpool.data.repeated import Repeated
from unpool.data.replacing import Replacing
from unpool.errors import DataError, RecipeError
from unpool.ops.mixing import PAIR
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import Recipe
from unpool.training.processes import rank, world_size
from unpool.types import Samples, Transform

_PAIR_OF_COLOURS = 6  # channels


def make_train_loader(recipe: Recipe, data: Data, *, order: Callable[[Samples], Order] | None = None) -> Loader:
    """Augmented batches in the recipe's order, or in another one."""
    size = recipe.data.train_size or recipe.data.size
    steps = [AUGMENTATIONS[name](**options) for name, options in recipe.data.steps]
    _require_in_view(steps, _shortest_side(data))
    _require_targets(recipe, data.train.samples.gives)
    _require_colours(recipe, data.train.samples.gives)
    _require_stretched(recipe)
    _require_unpadded(steps, data.preprocessing, size_hw=None if size is None else (size[0], size[1]))
    transform = Augment(
        steps,
        size_hw=None if size is None else (size[0], size[1]),
        preprocessing=data.preprocessing,
        info=data.info,
        seed=recipe.train.seed,
    )
    samples = data.train.samples
    if recipe.data.augment_on == "device":
        require_alike(samples)
        transform = OnDevice(transform)
    if recipe.data.repeat > 1:
        samples = Repeated(samples, recipe.data.repeat)
    if recipe.data.verify == "headers" and not data.train.manifest["memory"]:
        samples = Replacing(samples, seed=recipe.train.seed, groups=_alike(recipe, samples))
    whole = make_train_order(recipe, samples) if order is None else order(samples)
    _require_others(steps, whole, named=recipe.data.order if order is None else {})
    if order is not None and world_size() > 1:
        raise RecipeError(
            "a sampler of your own, or an iterable, gives each process samples of its own order, so that some would be "
            "used twice and others never: pass the data set itself, or train by one process"
        )
    return Loader(
        samples,
        _with_noise(recipe, transform, seed=recipe.train.seed, evaluates=False),
        order=whole if world_size() == 1 else _shared_out(whole, steps),
        workers=num_workers(recipe, data.train.samples),
        seed=recipe.train.seed,
    )


def _mixing(steps: Sequence[Step]) -> str | None:
    """The name of the step that mixes images with one another."""
    return next((type(step).__name__.lower() for step in steps if isinstance(step, Finishing) and step.mixes), None)


def _require_others(steps: Sequence[Step], order: Order, *, named: Mapping[str, Any]) -> None:
    """Raises RecipeError where images would be mixed with none, or with one of their class; `named` is data.order."""
    name = _mixing(steps)
    is_alike = named.get("p_times_k", {}).get("per_class", 1) > 1
    if name is None or (order.batch >= PAIR and not is_alike):
        return
    if is_alike:
        problem = "and data.order p_times_k puts images of one class side by side, so that no labels are mixed"
        raise RecipeError(f"data.augment has {name}, {problem}: take data.order=shuffled or weighted")
    problem = "which mixes images of one batch, and a batch has one image: none is mixed"
    raise RecipeError(f"data.augment has {name}, {problem}; set train.batch to 2 or more, or leave {name} out")


def _require_unpadded(steps: Sequence[Step], preprocessing: Preprocessing, *, size_hw: tuple[int, int] | None) -> None:
    """Raises RecipeError where images would be mixed with the padding of others, by shares that do not count it."""
    name = _mixing(steps)
    if name is None or preprocessing.shorter is None or (size_hw and preprocessing.padded(size_hw) == size_hw):
        return
    raise RecipeError(
        f"data.augment has {name}, which mixes whole images, and data.shorter pads the smaller images of a batch, so "
        "that labels would be mixed by other shares than images: set data.size in place of data.shorter, or "
        "data.train_size, a multiple of data.multiple, with a crop"
    )


def _shared_out(whole: Order, steps: Sequence[Step]) -> ByRank:
    """The order of this process among several; two images that are mixed with one another stay together."""
    return ByRank(whole, rank=rank(), world_size=world_size(), unit=PAIR if _mixing(steps) else 1)


def require_one_size(recipe: Recipe, loader: Loader) -> None:
    """Raises DataError where images of several sizes meet in a batch of the first epoch, and no size is set."""
    every = list(map(tuple, loader.samples.sizes_hw))
    if not recipe.data.keeps_size or recipe.data.train_size or len(set(every)) < 2:
        return
    for batch in loader.order.batches(0):
        sizes = Counter(every[index] for index in batch).most_common()
        if len(sizes) > 1:
            (height, width), odd = sizes[0][0], sizes[-1][0]
            name = loader.samples.names[next(index for index in batch if every[index] == odd)]
            raise DataError(
                f"{name} is {odd[1]}x{odd[0]} and others of its batch are {width}x{height}: set data.size, such as "
                "[224, 224], data.train_size with a crop, or data.order={grouped: {by: size}}"
            )


def _alike(recipe: Recipe, samples: Samples) -> Tensor:
    """(n,) int64: samples of one number can stand in for one another in a batch of the recipe's order."""
    keys = torch.zeros(len(samples), 3, dtype=torch.int64)
    if recipe.data.keeps_size and recipe.data.train_size is None:
        keys[:, :2] = torch.tensor(samples.sizes_hw)
    if {"weighted", "p_times_k"} & set(recipe.data.order):
        keys[:, 2] = torch.as_tensor(read_labels(samples))
    return keys.unique(dim=0, return_inverse=True)[1]


def _shortest_side(data: Data) -> int:
    """Pixels of the smallest image as augmentations get it."""
    size_hw = data.preprocessing.size_hw
    if size_hw is not None:
        return min(size_hw)
    return int(data.preprocessing.maps(torch.tensor(data.train.samples.sizes_hw), whole=True)[1].min())


def _require_stretched(recipe: Recipe) -> None:
    """Raises RecipeError for a step that shows images at another aspect than evaluation does."""
    size, rule = recipe.data.size, recipe.data.rule
    for name, kind in ((name, AUGMENTATIONS[name]) for name, _ in recipe.data.steps):
        if not issubclass(kind, Geometry) or not kind.chooses_scale:
            continue
        if kind.keeps_aspect:
            if size and rule == "stretch":
                raise RecipeError(
                    f"data.augment has {name}, which shows images at their aspect, and data.rule is stretch, so that "
                    "things would have another shape in evaluation; set data.rule=cover"
                )
            continue
        if rule == "fit" if size else kind.reads_boxes:
            shown = "data.rule is fit" if size else "data.size is not set"
            raise RecipeError(
                f"data.augment has {name}, which stretches a window to the network's input, and {shown}, so that "
                "evaluation shows images at their aspect: things would have another shape in training; set data.size "
                f"and data.rule=stretch, or take scale and crop for {name}"
            )


def _require_targets(recipe: Recipe, gives: Sequence[str]) -> None:
    """Raises RecipeError for an augmentation that needs other targets than the samples have, or all of a batch."""
    for name, kind in ((name, AUGMENTATIONS[name]) for name, _ in recipe.data.steps):
        if reason := refusal(kind, gives):
            raise RecipeError(f"data.augment has {name}, which {reason}: leave {name} out")
        if issubclass(kind, Geometry) and kind.reads_boxes and "boxes" not in gives:
            raise RecipeError(
                f"data.augment has {name}, which chooses windows by boxes, and samples give {', '.join(gives)}: take "
                "resized_crop, or a reader that gives boxes"
            )
        if issubclass(kind, Finishing) and "clean" in gives:
            raise RecipeError(
                f"data.augment has {name}, which changes images alone, and samples give the clean image of each, which "
                f"would be learned as if it lay under the change: leave {name} out"
            )
        if not issubclass(kind, Joining):
            continue
        if alone := sorted(set(gives) - kind.joins):
            raise RecipeError(
                f"data.augment has {name}, which makes one picture of several, and samples give {', '.join(alone)}, of "
                f"which a picture has one: leave {name} out"
            )
        if world_size() > 1:
            raise RecipeError(
                f"data.augment has {name}, which joins images of one batch, and each of {world_size()} processes has a "
                f"part of the batch, so that the pictures would be others than those of one process: leave {name} out, "
                "or train by one process"
            )


def _require_colours(recipe: Recipe, gives: Sequence[str]) -> None:
    """Raises RecipeError for changes of colours that channels do not make up; six do where they are a pair's."""
    jitter = dict(recipe.data.steps).get("color_jitter", {})
    if recipe.data.channels != _PAIR_OF_COLOURS or not (jitter.get("saturation") or jitter.get("hue")):
        return
    if not set(PAIRS) & set(gives):
        raise RecipeError(
            "data.augment has color_jitter with saturation or hue, which RGB has, and images have 6 channels that are "
            "no pair of images: leave both out"
        )


def _require_in_view(steps: Sequence[Step], side: int) -> None:
    """Raises RecipeError for a step that may move all of an image of that side out of the window."""
    for step in steps:
        if isinstance(step, Geometry) and step.shift >= side:
            raise RecipeError(
                f"data.augment shifts images by up to {step.shift} pixels and the smallest has a side of {side}: "
                f"nothing of it may be left; set translate.pixels below {side}, or a fraction in its stead"
            )


def make_train_order(recipe: Recipe, samples: Samples) -> Order:
    """The recipe's order of `samples`; a batch is no larger than the set, in the sizes that the order takes.

    Raises:
        RecipeError: the order needs labels that the set does not have, or options that do not fit it.
    """
    train = recipe.train
    (name, options), *_ = recipe.data.order.items()
    unit = options.get("per_class", 1)
    largest = len(samples) // unit * unit or max(len(samples), 1)
    batching = Batching(batch=min(train.images, largest), seed=train.seed, drop_last=train.drop_last)
    return ORDERS[name](samples, batching, **options)


def make_eval_loader(
    recipe: Recipe, samples: Samples, preprocessing: Preprocessing, *, is_shared: bool = False
) -> Loader:
    """Every sample once, in order, neighbours of one size together; the noise is that of `data.noise_seed`.

    Where `is_shared`, the loaders of all processes together give every sample once.
    """
    whole = Sequential(
        len(samples),
        batch=recipe.train.eval_batch or recipe.train.images,
        groups=None if preprocessing.size_hw else samples.sizes_hw,
    )
    return Loader(
        samples,
        _with_noise(recipe, Collate(preprocessing), seed=recipe.data.noise_seed, evaluates=True),
        order=WholeBatches(whole, rank=rank(), world_size=world_size()) if is_shared and world_size() > 1 else whole,
        workers=0,
    )


def _with_noise(recipe: Recipe, transform: Transform, *, seed: int, evaluates: bool) -> Transform:
    for name, options in (recipe.data.noise or {}).items():
        transform = AddNoise(transform, NOISES[name](**options), seed=seed, evaluates=evaluates)
    return transform
