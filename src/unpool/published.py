"""What `evaluate` measures of a network with published weights: a set whose classes are among the network's."""

import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from unpool.assemble.data import make_reader
from unpool.data.classes import match, nfc
from unpool.data.measure import MeasuringReader
from unpool.data.readers import READERS, whole_options
from unpool.data.synset_tree import read_tree
from unpool.errors import DataError
from unpool.models import row_of
from unpool.models.pretrained import Origin, origin
from unpool.predictor.loading import load_published
from unpool.predictor.predictor import Predictor
from unpool.recipe import Overrides, Recipe, load_recipe
from unpool.recipe.keywords import DERIVED, options_of
from unpool.recipe.overrides import parse_overrides
from unpool.tasks import TASKS, published_task
from unpool.types import Reader

_log = logging.getLogger(__name__)
_SYNSET = re.compile(r"(n\d{8})(?![0-9])")


class Measured(NamedTuple):
    """A published network, and the set to measure it on."""

    predictor: Predictor
    settings: Recipe
    reader: Reader


def published_on(
    name: str,
    weights: str,
    overrides: Overrides,
    *,
    split: Literal["train", "val", "test"],
    allowed: Sequence[str],
) -> Measured:
    """Returns the network and the reader of the set, whose classes are matched with the network's by name.

    Args:
        name: the network.
        weights: one of `pretrained.WORDS`.
        overrides: such as `data.root`; where the folder has no splits, all of it is measured.
        split: the part of the set to read.
        allowed: keys that may be overridden, beside the reader and its options.

    Raises:
        RecipeError: no such weights are published for the network, or an override changes the network or its input.
        DataError: the set cannot be read, or a class is none of the network's, or may be two of them, or the joints
            of the set are not the network's.
    """
    source = origin(name, weights)
    base = TASKS[published_task(weights, row_of(name).gives)].published[weights]
    kind = str(parse_overrides(overrides).get("data.reader", load_recipe(base).data.reader))
    options = [key for key in options_of(READERS[kind], DERIVED["data"]) if key != "classes"] if kind in READERS else []
    only = [*allowed, "data.reader", *(f"data.{key}" for key in options)]
    settings = load_recipe(base, overrides, only=only)
    if split != "train":
        chosen = {f"data.{key}": value for key, value in whole_options(kind).items()}
        settings = load_recipe(settings, {**chosen, **parse_overrides(overrides)})
    reader = make_reader(settings, split)
    classes = classes_by_name(reader.info.classes, source, reader.info.synsets)
    reader = make_reader(settings, split, classes=classes)
    if source.keypoints:
        _require_joints(reader.info.keypoints, source.keypoints)
    if reader.info.tree and source.synsets:  # the set's words may be those of a few classes
        tree = read_tree(Path(settings.data.root or "") / settings.data.options["tree"], source.synsets)
        reader.info = replace(reader.info, synsets=source.synsets, tree=tree)
    if isinstance(reader, MeasuringReader) and reader.origin["drawn"]:
        _log.warning("%s has no %s split: all of its %d images are measured", settings.data.root, split, len(reader))
    return Measured(load_published(name, weights, classes=classes), settings, reader)


def _require_joints(of_set: Sequence[str], of_network: Sequence[str]) -> None:
    """Raises DataError unless a set has the joints of a network in its order, by which they are compared."""
    if tuple(of_set) != tuple(of_network):
        others = ", ".join(sorted({*of_set} ^ {*of_network}))
        problem = f"{others} only one of them has" if others else "in another order"
        raise DataError(
            f"the set has {len(of_set)} joints and the network {len(of_network)}, {problem}; measure it on a set with "
            f"{', '.join(of_network)}"
        )


def classes_by_name(names: Sequence[str], source: Origin, synsets: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns the names of a network's classes, those of a set being called as in the set.

    There a class has the network's name, in any case and with "_" for blanks; or one of them where it has several
    ("tench" of "tench, Tinca tinca"); or its WordNet number, alone or first (n01440764, n01440764_tench). Its position
    or number in the set says nothing.

    Args:
        names: of the classes of the set.
        source: classes, and WordNet numbers where they are ImageNet's.
        synsets: WordNet numbers of the set's classes, where it has them: they count in place of names, where the
            network's are known.

    Raises:
        DataError: a name is none of a class, or that of several, or two names are those of one class.
    """
    exact, any_of = defaultdict(set), defaultdict(set)
    for index, title in enumerate(source.classes):
        exact[_plain(title)].add(index)
        for synonym in title.split(", "):
            any_of[_plain(synonym)].add(index)
    for index, synset in enumerate(source.synsets):
        exact[synset].add(index)
    result = [title if len(exact[_plain(title)]) == 1 else f"{title} ({i})" for i, title in enumerate(source.classes)]
    taken: dict[int, str] = {}
    titles = ({}, {}) if synsets and source.synsets else (exact, any_of)
    for name, synset in zip(names, synsets or names, strict=True):
        number = _SYNSET.match(synset)
        candidates = [exact.get(number[1]) if number else None, *(title.get(_plain(name)) for title in titles)]
        indices = next(filter(None, candidates), set())
        if not indices:
            match([name], result, "the set")
        index, *more = sorted(indices)
        if more:
            numbers = [source.synsets[i] if source.synsets else result[i] for i in (index, *more)]
            raise DataError(f"class '{name}' of the set may be {len(numbers)}: call it {' or '.join(numbers)}")
        if index in taken:
            both = f"classes '{taken[index]}' and '{name}' of the set"
            raise DataError(f"{both} are one of the network, {source.classes[index]}: join them")
        taken[index] = name
    theirs = {nfc(name) for name in names}
    others = [f"{title} ({i})" if nfc(title) in theirs else title for i, title in enumerate(result)]
    return tuple(taken.get(i, title) for i, title in enumerate(others))


def only_counted(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the metrics without the classes that the set has not, which have no value."""
    return {
        key: {name: value for name, value in values.items() if value is not None}
        if isinstance(values, dict)
        else values
        for key, values in metrics.items()
    }


def _plain(name: str) -> str:
    return nfc(name).replace("_", " ").casefold()
