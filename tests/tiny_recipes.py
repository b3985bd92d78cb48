"""What makes a shipped recipe run in seconds: overrides, and which tiny set it takes."""

import pytest

from unpool.models import known_options
from unpool.recipe import load_recipe, recipe_names

SMALL = {
    "train.epochs": 1,
    "train.warmup_epochs": 0,
    "train.batch": 2,
    "train.eval_batch": 2,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "data.workers": 0,
}
FITTED = ("bccd_rcnn_svm",)  # by `probe` on a trained network, and not trained


def one_of_each_kind(without=()):
    """All recipes, of which one of each reader and task is run each time, and the others with the slow tests."""
    params, seen = [], set()
    for name in recipe_names():
        recipe = load_recipe(name)
        kind = (recipe.data.reader, recipe.task.name)
        if name not in without:
            params.append(pytest.param(name, marks=pytest.mark.slow if kind in seen else ()))
            seen.add(kind)
    return params


def smaller(recipe):
    """Overrides that make a recipe's images, network and repeats as small as they may be."""
    small = {}
    if recipe.data.repeat > 1:
        small["data.repeat"] = 2
    side = 67 if recipe.model.name.startswith(("deeppose", "fcgn")) else 32
    side, small = (75, {**small, "model.size_hw": [75, 75]}) if "deepface" in recipe.model.name else (side, small)
    for size in ("train_size", "size"):
        if getattr(recipe.data, size) is not None:
            small[f"data.{size}"] = [side, side]
    if recipe.data.shorter is not None:
        small |= {"data.shorter": side, "data.longest": 2 * side}
    small |= _unplanned(recipe) | _paired(recipe)
    options = known_options(recipe.model.name, backbone=recipe.model.backbone)
    small |= {f"model.{name}": 4 for name in ("width", "lanes") if name in options}
    widths = ("neck_width", "head_width", "extra_width", "mask_width", "joint_width", "hidden")
    small |= {f"model.{name}": 8 for name in widths if name in options}
    if isinstance(options.get("grid"), tuple | list):  # of cells; that of an embedder is the side of a pooling
        small["model.grid"] = [1, 2]
    if "depth" in options:
        small["model.depth"] = 2
    if "widths" in options:
        small["model.widths"] = [8] * len(options["widths"])
    return small | _of_people(recipe) | _without_files(recipe)


def _of_people(recipe):
    """A batch of two people, where the recipe takes several images of each."""
    if "p_times_k" not in recipe.data.order:
        return {}
    return {"train.batch": 8, "data.order": {"p_times_k": {"per_class": 4}}}


def _paired(recipe):
    """Batches of evaluation in which there are pairs."""
    return {"train.eval_batch": 8} if recipe.task.name == "embedding" else {}


def _unplanned(recipe):
    """Anchors and regions that are not planned, which takes more boxes than a tiny set has."""
    small = {"model.anchors": []} if recipe.model.options.get("anchors") == "planned" else {}
    if recipe.data.proposals is not None:
        small["data.proposals"] = {"grid": {"sides": [12, 16], "step": 1.0}}
    return small


def _without_files(recipe):
    """No weights of a package, or of a run that is not there, and no values of masks that a tiny set does not have."""
    small = {} if recipe.model.weights is None else {"model.weights": None, "model.new_head": False}
    return small | (
        {"data.mask_values": None, "data.val_share": 0.25} if recipe.data.options.get("mask_values") else {}
    )


def tree_of(recipe):
    """The writer of the recipe's set: VOC's has two things an image, and localisation knows their number."""
    reader = recipe.data.reader
    return "voc_of_one" if (reader, recipe.task.name) == ("voc", "localization") else reader
