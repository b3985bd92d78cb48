"""What trades places in a mirror: the joints that a recipe names, else the reader's, else by their names; classes."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from unpool.errors import DataError, RecipeError, shortened
from unpool.ops.heatmaps import mirror_order
from unpool.ops.sides import class_sides, flip_pairs
from unpool.recipe import Recipe
from unpool.recipe.mistakes import nearest
from unpool.tasks import TASKS
from unpool.types import DataInfo

_log = logging.getLogger(__name__)
_BY_CLASS = {"label", "mask", "labels"}  # targets that hold numbers of classes


def with_flip_pairs(info: DataInfo, chosen: Sequence[tuple[str, str]] | None) -> DataInfo:
    """Returns `info` with the pairs in effect, and logs them with the joints that are in none.

    Args:
        info: of the training reader.
        chosen: names of joints; empty for no pair, None for those of the reader.

    Raises:
        RecipeError: a chosen name is no joint, or chosen twice.
        DataError: the reader's pairs are no pairs of its joints.
    """
    if not info.keypoints:
        if chosen is not None:
            raise RecipeError("data.flip_pairs is set and the data has no joints; leave it out")
        return info
    if chosen is None:
        info = replace(info, flip_pairs=info.flip_pairs or flip_pairs(info.keypoints))
    else:
        info = replace(info, flip_pairs=_indices(chosen, info.keypoints))
    try:
        order = mirror_order(len(info.keypoints), info.flip_pairs)
    except ValueError as error:
        raise DataError(f"the training reader's info: {error}") from error
    pairs = ", ".join(f"{info.keypoints[a]} and {info.keypoints[b]}" for a, b in info.flip_pairs)
    middle = ", ".join(name for i, name in enumerate(info.keypoints) if order[i] == i)
    _log.log(
        logging.INFO if info.flip_pairs else logging.DEBUG,
        "in a mirror trade places: %s; taken as lying on the middle: %s (data.flip_pairs changes it)",
        pairs or "no joints",
        middle or "none",
    )
    return info


def kept_sides(recipe: Recipe, info: DataInfo) -> list[str]:
    """A warning where training mirrors images and keeps their classes, of which some are left or right by name.

    Views at test time keep the classes of such a run too (`Predictor.keeps_sides`), and exchange those of others.
    """
    if "flip" not in dict(recipe.data.steps) or _BY_CLASS.isdisjoint(TASKS[recipe.task.name].needs):
        return []
    pairs, alone = class_sides(info.classes)
    sided = [f"{info.classes[a]} and {info.classes[b]}" for a, b in pairs] + [info.classes[i] for i in alone]
    if not sided:
        return []
    return [
        f"data.augment has flip, which keeps the class of a mirrored image, and by name {shortened(', '.join(sided))} "
        "are sides, so that images of one side are learned as the other: leave flip out where they look like one "
        "another's mirror images"
    ]


def _indices(chosen: Sequence[tuple[str, str]], joints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    names = [name for pair in chosen for name in pair]
    for name in names:
        if name not in joints:
            raise RecipeError(f"data.flip_pairs names {name!r}, which is no joint of the data{nearest(name, joints)}")
        if names.count(name) > 1:
            raise RecipeError(f"data.flip_pairs names {name!r} {names.count(name)} times; expected each joint once")
    return tuple((joints.index(first), joints.index(second)) for first, second in chosen)
