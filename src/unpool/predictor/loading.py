"""From a run directory, or a network's name and published weights, to a Predictor."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from unpool import models, tasks
from unpool.errors import EnvironmentFault, RecipeError
from unpool.model_file import FILES, load_network, read_config
from unpool.models.pretrained import WORDS, Origin, origin
from unpool.network_names import not_a_run
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.sides import flip_pairs
from unpool.ops.skeleton import COCO_LIMBS, limbs_named
from unpool.predictor.predictor import Predictor
from unpool.recipe import check_recipe, load_run_recipe
from unpool.recipe.levels import levels_of
from unpool.types import MOST_PIXELS, DataInfo

Weights = Literal["last", "best", "imagenet", "voc", "coco", "efficientnet_lite0"]
Device = Literal["auto", "cpu", "cuda"]
_BACKGROUND = "__background__"  # a class of torchvision's RetinaNet that is never right


def load(
    run: str | Path,
    weights: Weights = "last",
    *,
    device: Device = "auto",
    model: nn.Module | None = None,
    max_pixels: int = MOST_PIXELS,
) -> Predictor:
    """The predictor of a finished or stopped run, or of a published network.

    Args:
        run: a run directory, with config.json and the weights; or a network's name, for published weights.
        weights: of a run "last", or "best" on the validation set; of a network "imagenet", "voc" or "coco",
            downloaded once, or "efficientnet_lite0" of an installed package.
        device: "auto" takes the accelerator where there is one.
        model: the network of your own that the run trained; takes the weights.
        max_pixels: of an image; larger ones are refused by their header. No run and no file of weights can raise it.

    Raises:
        RecipeError: the run trained a network of your own and none is given, or the reverse.
        ModelFileError: a file is missing, was changed or damaged, or is from a newer version.
        EnvironmentFault: the device is not there, published weights cannot be downloaded, or a package is missing.

    Example:
        >>> import tempfile
        >>> import unpool
        >>> from PIL import Image
        >>> small = {"data.count": 8, "data.workers": 0, "model.width": 4, "train.epochs": 1}
        >>> small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = unpool.train("scenes_unet", small, run=Path(folder, "run"))["run"]
        ...     predictor = load(run)
        >>> predictor(Image.new("RGB", (48, 32)))[0]["mask"].shape
        torch.Size([32, 48])
    """
    if weights in WORDS:
        if model is not None:
            raise RecipeError(f"weights {weights!r} are of the network {str(run)!r}: leave model=... out")
        return load_published(str(run), weights, device=device, max_pixels=max_pixels)
    run = Path(run)
    if weights not in FILES:
        raise ValueError(f"weights is {weights!r}; it must be one of {', '.join((*FILES, *WORDS))}")
    if not run.is_dir():
        raise not_a_run(run)
    levels, keeps_sides = None, False
    if (run / "recipe.yaml").exists():  # a copy of a run needs none to predict
        check_recipe(run)
        recipe = load_run_recipe(run)
        levels, keeps_sides = levels_of(recipe), "flip" in dict(recipe.data.steps)
    config = read_config(run / "config.json")
    network = load_network(config, run / FILES[weights], model=model)
    task = config.task.to(_device(device))
    name = f"{config.network['name']} of {run}, {weights} weights"
    network = network.to(_device(device))
    return Predictor(
        network,
        config.preprocessing,
        config.info,
        task,
        max_pixels=max_pixels,
        name=name,
        levels=levels,
        keeps_sides=keeps_sides,
    )


def load_published(
    name: str,
    weights: str,
    *,
    classes: tuple[str, ...] | None = None,
    device: Device = "auto",
    max_pixels: int = MOST_PIXELS,
) -> Predictor:
    """The predictor of a network as it was published; images as in its test, masks at the size of the image.

    Args:
        name: the network.
        weights: one of `pretrained.WORDS`.
        classes: other names for its classes, in their order; None takes the published ones.
        device: as in `load`.
        max_pixels: as in `load`.

    Raises:
        RecipeError: no such weights are published for the network, or nobody names its classes.
        EnvironmentFault: as in `load`.
    """
    source = origin(name, weights)
    if not source.classes:
        raise RecipeError(f"weights {weights!r} of {name} have no names of classes, so there is no answer: train first")
    has_background = source.classes[0] == _BACKGROUND  # numbered from 0 then, as COCO numbers it
    ids = tuple(range(len(source.classes))) if has_background else ()
    info = DataInfo(
        classes=classes or source.classes,
        class_ids=ids,
        palette=source.palette,
        keypoints=source.keypoints,
        flip_pairs=flip_pairs(source.keypoints),
        limbs=limbs_named(source.keypoints, COCO_LIMBS),
    )
    preprocessing = Preprocessing(
        **_sides(source, is_detector=weights == "coco"),
        crop=source.crop,
        order=source.order,
        value_range=source.value_range,
        mean=source.mean,
        std=source.std,
    )
    task = tasks.build(
        tasks.published_task(weights, models.row_of(name).gives), info, options={}, preprocessing=preprocessing
    )
    with torch.random.fork_rng(devices=[]):
        model = models.build(name, weights=weights)
    task = task.to(_device(device))
    model = model.to(_device(device))
    return Predictor(model, preprocessing, info, task, max_pixels=max_pixels, name=f"{name}, weights {weights}")


def _sides(source: Origin, *, is_detector: bool) -> dict[str, Any]:
    """How images get their size, as keywords of Preprocessing; detectors see all of an image."""
    if is_detector and source.size_hw is None:
        return {"shorter": 800, "longest": 1333, "multiple": 32}
    return {"size_hw": source.size_hw, "rule": "stretch" if is_detector or source.size_hw is None else "cover"}


def _device(chosen: Device) -> torch.device:
    if chosen == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("device cuda was asked for and none is there; use cpu or auto")
    return torch.device("cuda" if chosen != "cpu" and torch.cuda.is_available() else "cpu")
