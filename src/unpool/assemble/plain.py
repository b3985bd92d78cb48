"""From plain PyTorch objects to readers, and to the recipe that their samples ask for."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn
from torch.utils.data import Subset

from unpool.assemble.inputs import colours, enough_disparities, say_colours, say_disparities, say_sizes, sizes
from unpool.assemble.names import check_alike, check_numbers, info_of, numbers_by_name, numbers_of, say_numbers
from unpool.data.loader import Order
from unpool.data.noise import AddNoise
from unpool.data.order import Sequential
from unpool.data.plain import (
    DatasetReader,
    Levels,
    Setting,
    Source,
    Values,
    check_looked,
    find_drawing,
    find_levels,
    find_normalization,
    known_besides,
    look_at,
    unwrapped,
)
from unpool.data.plain.sampled import Sampled
from unpool.data.plain.sizing import Sizing, find_sizing
from unpool.errors import DataError, RecipeError
from unpool.recipe import Model, Recipe, load_recipe, recipe_names
from unpool.recipe.levels import levels_of
from unpool.tasks import TASKS
from unpool.types import DataInfo, Reader, Samples

PREFIX = "dataset_"  # of the recipes of plain data sets; the task's name follows
_LOOKED_AT = 64  # samples of a set, before anything is decided
_READ_TWICE = 16
_SMALL_SIDE = 64  # up to which images are those of small networks
_log = logging.getLogger(__name__)


class Wrapped(NamedTuple):
    """A set as the rest reads it.

    Attributes:
        reader: of its samples.
        order: from the samples that can be read to the order in which an epoch uses them; None for the recipe's.
        why_no_resume: why a run on it cannot be resumed; empty where it can.
    """

    reader: Reader
    order: Callable[[Samples], Order] | None = None
    why_no_resume: str = ""


def is_reader(data: Any) -> bool:
    """Whether an object is a reader already."""
    return all(hasattr(data, name) for name in ("gives", "info", "names", "faults"))


def wrap(data: Any, recipe: Recipe, info: DataInfo | None, *, part: str, by_name: bool = False) -> Wrapped:
    """A reader on a data set, a DataLoader or an iterable; a reader is returned as it is.

    Args:
        data: what the caller passed.
        recipe: its task says what samples hold; its data section may say which values are black and white.
        info: names of the classes or joints; None for those that the data set has itself.
        part: "train", "val" or another name of the argument.
        by_name: classes that the data set names are matched with those of `info` by name; else they must agree.

    Raises:
        RecipeError: it is nothing that has samples, or names of classes are missing.
        DataError: its samples are not what the task needs, its classes are others, or its values mean other levels.
    """
    if is_reader(data):
        return Wrapped(data)
    source, gives = _source(data, part=part), gives_of(recipe)
    if part == "train" and source.batches is None and source.batch not in (None, recipe.train.batch):
        _log.warning(
            "train is a DataLoader of %d samples a batch and train.batch is %s, which is used",
            source.batch,
            recipe.train.batch,
        )
    if info is None:
        info = info_of(None, source.dataset, gives, part=part)
    numbers = numbers_of(info, gives)
    if by_name:
        numbers = numbers_by_name(source.dataset, info, gives, part=part)
    else:
        check_numbers(source.dataset, info, gives, part=part)
    looked = _look(source, gives, part=part)
    levels = levels_of(recipe) or find_levels(_images(looked), find_normalization(source.dataset))
    return _wrap(source, recipe, Setting(info, levels, numbers), looked, part=part)


def _source(data: Any, *, part: str) -> Source:
    source = unwrapped(data, name=part)
    for note in source.notes:
        _log.warning(note)
    if not len(source.dataset):
        raise DataError(f"{part} has no samples")
    if part != "train" and source.batches is not None:  # measured once each, whatever their order
        indices, again = (sorted(set(chain.from_iterable(source.batches))) for _ in range(2))
        if indices != again:
            raise RecipeError(
                f"the sampler of {part} takes other samples each time, so that scores differ: give {part} without it"
            )
        return source._replace(dataset=Subset(source.dataset, indices), batches=None, why_no_resume="")
    return source


def _wrap(source: Source, recipe: Recipe, setting: Setting, looked: Mapping[int, Values], *, part: str) -> Wrapped:
    check_looked(looked.values(), find_normalization(source.dataset), setting, part=part)
    gives = tuple(dict.fromkeys((*gives_of(recipe), *known_besides(looked.values()))))
    say_numbers(setting.info, setting.numbers, gives if part == "train" else ())
    draws = find_drawing(source.dataset, _spread(source, _READ_TWICE, of=list(looked)), gives_of(recipe))
    if draws == "private" and not source.is_iterated:
        _log.warning(
            "%s draws random numbers that cannot be seeded, such as those of a generator of its own: another number of "
            "processes, another run or a resumed one draws others, processes may draw the same, and a resume does not "
            "notice other samples; draw from torch, np.random or random",
            part,
        )
    if draws and part == "train":
        _log.info("the training samples differ from one reading to the next: they are read anew in each epoch")
    elif draws:
        _log.warning(
            "samples of %s differ from one reading to the next, so that scores differ too: leave random transforms out "
            "of it",
            part,
        )
    reader = DatasetReader(
        source.dataset,
        gives=gives,
        info=setting.info,
        levels=setting.levels,
        numbers=setting.numbers,
        part=part,
        is_random=part == "train" and (draws != "" or source.is_iterated),
        drawing=draws,
    )
    order: Callable[[Samples], Order] | None = None
    if part == "train" and source.is_iterated:
        order = _in_order(recipe.train.images, drop_last=recipe.train.drop_last)
    elif source.batches is not None:
        order = _sampled(source.batches, count=len(source.dataset), batch=recipe.train.images)
    return Wrapped(reader, order, source.why_no_resume if part == "train" else "")


def gives_of(recipe: Recipe) -> tuple[str, ...]:
    """Batch keys that a sample must have; noise that the recipe adds needs no clean image beside it."""
    added = AddNoise.gives if recipe.data.noise else ()
    return tuple(key for key in TASKS[recipe.task.name].needs if key not in added)


class Plan(NamedTuple):
    """What is trained, where no recipe was named.

    Attributes:
        recipe: with everything that was decided by the samples.
        info: names of the classes or joints.
        train, val: sets as the recipe reads them.
    """

    recipe: Recipe
    info: DataInfo
    train: Wrapped
    val: Wrapped


def plan(
    recipe: Recipe,
    asked: Collection[str],
    *,
    model: nn.Module | None,
    train: Any,
    val: Any,
    classes: Sequence[str] | DataInfo | None,
) -> Plan:
    """The recipe for a task on two data sets, of which it looks at a few samples; the log says what was decided.

    Args:
        recipe: as `recipe_of` returns it, with the caller's overrides.
        asked: the keys that these set, which are not decided here.
        model: a network of the caller's, or None for that of the recipe.
        train: a data set, DataLoader, iterable, or reader.
        val: the same.
        classes: names by number, or all that is known of the set; None takes the data set's own.

    Raises:
        RecipeError: a set or the names of classes are missing.
        DataError: samples are not what the task needs.
    """
    for part, data in (("train", train), ("val", val)):
        if data is None:
            raise RecipeError(
                f"{part} is missing: give both train and val, as torch.utils.data.random_split makes them of one set"
            )
    if is_reader(train):
        planned = Plan(recipe, train.info, Wrapped(train), wrap(val, recipe, train.info, part="val"))
        check_alike(train, planned.val.reader, gives_of(recipe))
        return planned
    source = _source(train, part="train")
    info = info_of(classes, source.dataset, gives_of(recipe), part="train")
    looked = _look(source, gives_of(recipe), part="train")
    images = _images(looked)
    is_unknown = is_reader(val) or "data.size" in asked
    sizing = Sizing() if is_unknown else find_sizing(unwrapped(val, name="val").dataset)
    values = _decided(recipe, source, info, looked=looked, model=model, sizing=sizing)
    if model is None and not any(key.startswith("model.") for key in asked):
        recipe = _for_size(recipe, max(max(image.shape[-2:]) for image in images))
    recipe = load_recipe(recipe, {key: value for key, value in values.items() if key not in asked})
    say_colours(recipe, images)
    say_sizes(recipe, images, sizing)
    if "disparity" in gives_of(recipe):
        say_disparities(recipe.task.options["disparities"], looked.values())
    known = info if classes is not None else None  # else those of the validation set, to be compared
    levels = levels_of(recipe) or find_levels(images, find_normalization(source.dataset))
    setting = Setting(info, levels, numbers_of(info, gives_of(recipe)))
    reading = _wrap(source, recipe, setting, looked, part="train")
    planned = Plan(recipe, info, reading, wrap(val, recipe, known, part="val"))
    check_alike(planned.train.reader, planned.val.reader, gives_of(recipe))
    return planned


def recipe_of(task: str) -> str:
    """Name of the recipe of plain data sets for a task; raises RecipeError where there is no such task."""
    known = [name.removeprefix(PREFIX) for name in recipe_names() if name.startswith(PREFIX)]
    if task not in known:
        raise RecipeError(f"task is {task!r}; expected one of {', '.join(known)}")
    return PREFIX + task


def _for_size(recipe: Recipe, side: int) -> Recipe:
    """The recipe with another network where images are smaller than its own was made for."""
    if recipe.model.name != "resnet18" or side > _SMALL_SIDE:
        return recipe
    _log.info("sides are of at most %d pixels: the network is cifar_resnet20, which is made for such", side)
    return recipe.model_copy(update={"model": Model(name="cifar_resnet20")})


def _decided(
    recipe: Recipe,
    source: Source,
    info: DataInfo,
    *,
    looked: Mapping[int, Values],
    model: nn.Module | None,
    sizing: Sizing,
) -> dict[str, Any]:
    """Values of the recipe that the samples and their loader decide, by dotted key."""
    images = _images(looked)
    levels = levels_of(recipe) or find_levels(images, find_normalization(source.dataset))
    values: dict[str, Any] = {
        **{f"data.{key}": value for key, value in _options_of(levels).items()},
        **colours(recipe, images, levels, model=model),
        **sizes(recipe, images, sizing),
    }
    if source.batch is not None:
        values |= {"train.batch": source.batch, "train.drop_last": bool(source.drop_last)}
    if "disparity" in gives_of(recipe):
        values["task.disparities"] = enough_disparities(looked.values())
    if "limbs" in recipe.model.options:
        values["model.limbs"] = len(info.limbs)
    return values


def _look(source: Source, gives: Sequence[str], *, part: str) -> dict[int, Values]:
    return look_at(source.dataset, _spread(source, _LOOKED_AT), gives, part=part)


def _images(looked: Mapping[int, Values]) -> list[Tensor]:
    return [values["image"] for values in looked.values()]


def _options_of(levels: Levels) -> Mapping[str, Any]:
    return {"black": levels.black, "white": levels.white, "normalized": bool(levels.mean)}


def _spread(source: Source, most: int, *, of: Sequence[int] = ()) -> list[int]:
    """Positions over the whole set, or `of` these; of an iterable the first."""
    positions = of or range(len(source.dataset))
    count = min(len(positions), most)
    last = count - 1 if source.is_iterated else len(positions) - 1
    return [positions[index] for index in np.linspace(0, last, count).astype(int).tolist()]


def _in_order(batch: int, *, drop_last: bool) -> Callable[[Samples], Order]:
    def order(samples: Samples) -> Order:
        return Sequential(len(samples), batch=min(batch, len(samples)), drop_last=drop_last)

    return order


def _sampled(batches: Any, *, count: int, batch: int) -> Callable[[Samples], Order]:
    def order(samples: Samples) -> Order:
        if len(samples) != count:
            raise DataError(
                f"{count - len(samples)} of {count} samples cannot be read, and a sampler goes by their positions: "
                "leave them out of the data set"
            )
        return Sampled(batches, num_samples=count, batch=batch)

    return order
