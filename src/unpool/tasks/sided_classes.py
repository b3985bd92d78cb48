"""Classes that are called left and right, where training shows mirrored images."""

from collections.abc import Sequence

from unpool.errors import RecipeError
from unpool.ops.sides import class_order
from unpool.task import TrainingSetup


def mirrored_classes(classes: Sequence[str], setup: TrainingSetup) -> list[str]:
    """A warning where images are mirrored and a class is the mirror image of another one, or of none.

    Training keeps the labels of a mirrored image, so that two such classes are learned as one.
    """
    if "flip" not in setup.augmentations:
        return []
    try:
        pairs = [(i, j) for i, j in enumerate(class_order(classes)) if i < j]
    except RecipeError as error:
        return [f"data.augment has flip, and {error}: leave flip out"]
    if not pairs:
        return []
    named = ", ".join(f"{classes[i]} and {classes[j]}" for i, j in pairs)
    return [
        f"data.augment has flip, and classes are the mirror image of one another: {named}; a mirrored image keeps its "
        "label in training, so that it learns the two as one: leave flip out"
    ]
