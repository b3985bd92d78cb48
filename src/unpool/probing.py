"""Transfer with fixed features: a network's last layer fitted to what lies before it, and nothing else changed.

Donahue et al. 2014 (arXiv:1310.1531), Razavian et al. 2014 (arXiv:1403.6382). Features are those of images as
evaluation sees them: no augmentation takes part.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from unpool import models
from unpool.assemble.data import Data, read_data
from unpool.assemble.job import Prepare, make_device
from unpool.assemble.loaders import make_eval_loader
from unpool.assemble.model import make_model, make_task
from unpool.assemble.settling import settled
from unpool.conduct import write_description
from unpool.custom_parts import begin
from unpool.data.seeding import shared_restored
from unpool.data.store import ScanResult
from unpool.errors import RecipeError
from unpool.machine import cache_folder
from unpool.measuring import measured
from unpool.models.detection.rcnn import RCNNWithMachines
from unpool.models.weights import save_weights
from unpool.notebook import Metrics
from unpool.ops.linear_classifiers import METHODS, By, fit_linear
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Predictor
from unpool.recipe import Overrides, Recipe, load_recipe
from unpool.region_fitting import fit_to_set
from unpool.run_directory import LAST, METRICS, RunDirectory
from unpool.screen import audible
from unpool.task import Task, joined_state
from unpool.task_facts import with_facts
from unpool.tasks import TASKS
from unpool.training.job import streamed
from unpool.training.log import as_json
from unpool.types import DataInfo

_WHY_NO_RESUME = "its last layer was fitted to features, in no epochs that could go on"
_log = logging.getLogger(__name__)


class Features(NamedTuple):
    """What the last layer of a classifier reads of each image of a set.

    Attributes:
        values: (n, d) float32.
        labels: (n,) int64 classes.
        names: of the images.
        classes: names by number.
    """

    values: Tensor
    labels: Tensor
    names: tuple[str, ...]
    classes: tuple[str, ...]


class _Parts(NamedTuple):
    recipe: Recipe
    task: Task
    model: nn.Module
    last: nn.Linear
    preprocessing: Preprocessing
    info: DataInfo
    is_known: bool  # the recipe says what the network computes; of a caller's network its weights alone are seen


def probe(  # noqa: PLR0913, a public verb
    recipe: str | Path | Recipe | None = None,
    overrides: Overrides = (),
    *,
    by: By = "ridge",
    task: str | None = None,
    model: nn.Module | str | None = None,
    train: Any = None,
    val: Any = None,
    classes: Sequence[str] | DataInfo | None = None,
    run: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Fits a linear classifier on a network's fixed features, and leaves a run directory as `train` does.

    The linear layer is the network's last one: `predict` and `evaluate` read the run as any other. Features are kept
    in the user's cache, so that another method costs seconds. Those of an earlier stage:
    `model.name=stage_classifier`, with `model.backbone` the network that it is to be of, and `model.at_stride`.
    Of R-CNN's `rcnn_svm`, the support vector machines and the box regression are fitted to the features of regions
    (`region_fitting`), and nothing is kept.

    Args:
        recipe: of a classifier, such as folder_resnet18 with `model.weights=imagenet`; as `train` takes it. What it
            says of augmentation and training takes no part.
        overrides: as in `train`.
        by: "ridge" in closed form, "svm" or "sgd"; see `ops.linear_classifiers`. The penalty is chosen by
            cross-validation on the training split.
        task: as in `train`.
        model: as in `train`.
        train: as in `train`.
        val: as in `train`.
        classes: as in `train`.
        run: as in `train`.
        progress: as in `train`.

    Returns:
        What metrics.json holds: metrics on the validation split, and under `training` `by`, `features`, `images`,
        `penalty` and `cross_validation`, the accuracy by penalty; of R-CNN what
        `region_fitting.fit_to_set` returns.

    Raises:
        RecipeError: the task is no classification by one score a class, nor the network `rcnn_svm`; or the last layer
            is not linear.
        DataError, EnvironmentFault: see `unpool.errors`.

    Example:
        >>> import tempfile
        >>> shades = [(torch.randint(0, 99 + 99 * (i % 2), (3, 16, 16)).byte(), i % 2) for i in range(20)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     parts = {"task": "classification", "classes": ("dark", "bright"), "run": Path(folder, "run")}
        ...     metrics = probe(train=shades[:10], val=shades[10:], overrides={"model.width": 4}, **parts)
        >>> metrics["training"]["by"], metrics["training"]["images"]
        ('ridge', 10)
    """
    if by not in METHODS:
        raise RecipeError(f"by is {by!r}; it must be one of {', '.join(METHODS)}")
    parts = {"model": model, "train": train, "val": val, "classes": classes}
    with audible(progress) as tell, shared_restored():
        settings, custom, name = begin(recipe, overrides, task=task, parts=parts, callbacks=())
        if settings.data.proposals is None:
            _require_scores(settings)
        else:
            _require_machines(settings, custom.model, by)
        directory = RunDirectory.create(name, run)
        with directory.held(), directory.removed_if_unused():
            data = read_data(settings, train=custom.train, val=custom.val, progress=tell)
            settings = settled(settings, data, model=custom.model)
            made = make_task(settings, data)
            network = make_model(settings, made, data.info) if custom.model is None else custom.model
            network.to(make_device(settings)).eval()
            _log.info("network  %s", settings.model.described if custom.model is None else custom.network)
            if isinstance(network, RCNNWithMachines):
                facts = {"by": by, **fit_to_set(settings, network, data)}
            else:
                asked = _parts(settings, made, network, data, is_known=custom.model is None)
                facts = _fit(asked, _features(asked, data.train), by)
            counted = {"data.mean": list(data.preprocessing.mean), "data.std": list(data.preprocessing.std)}
            custom = replace(custom, why_no_resume=_WHY_NO_RESUME)
            write_description(directory, load_recipe(settings, counted), made, data=data, custom=custom)
            directory.write_tensors(LAST, joined_state(network.state_dict(), made.state_dict()))
            predictor = Predictor(network, data.preprocessing, data.info, made)
            metrics = measured(predictor, settings, data.val.samples)
            counts = {"train": len(data.train.samples), "val": len(data.val.samples)}
            result = as_json(with_facts(metrics, training=facts, data=counts))
            directory.write_json(METRICS, result)
    return Metrics(with_facts(result, run=str(directory.path)), made.described, made.best)


def features(
    recipe: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    split: str = "train",
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """What the last layer of a recipe's network reads of each image, from the user's cache where it is known.

    Args:
        recipe: as `probe` takes it.
        overrides: likewise.
        split: "train" or "val".
        progress: as in `train`.

    Raises:
        RecipeError: as `probe`, or there is no such split.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for part, name in [(part, name) for part in ("train", "val") for name in ("dark", "bright")]:
        ...         Path(folder, part, name).mkdir(parents=True)
        ...         Image.new("RGB", (32, 32), 255 if name == "bright" else 0).save(Path(folder, part, name, "a.png"))
        ...     small = {"data.root": folder, "data.size": [32, 32], "model.width": 4}
        ...     seen = features("folder_resnet18", small)
        >>> seen.values.shape, seen.labels.tolist()
        (torch.Size([2, 32]), [0, 1])
    """
    if split not in ("train", "val"):
        raise RecipeError(f"split is {split!r}; a recipe has train and val")
    with audible(progress) as tell, shared_restored():
        settings, _, _ = begin(
            recipe,
            overrides,
            task=None,
            parts=dict.fromkeys(("model", "train", "val", "classes")),
            callbacks=(),
        )
        _require_scores(settings)
        data = read_data(settings, progress=tell)
        settings = settled(settings, data)
        task = make_task(settings, data)
        network = make_model(settings, task, data.info).to(make_device(settings)).eval()
        asked = _parts(settings, task, network, data, is_known=True)
        return _features(asked, data.train if split == "train" else data.val)


def _require_machines(recipe: Recipe, network: nn.Module | None, by: By) -> None:
    """Raises RecipeError where a network of regions is not the one whose machines are fitted, or not by them."""
    row = models.row_of(recipe.model.name)
    is_row = isinstance(row.build, partial) and row.build.func is RCNNWithMachines
    if not (is_row if network is None else isinstance(network, RCNNWithMachines)):
        name = f"model {recipe.model.name}" if network is None else type(network).__name__
        raise RecipeError(
            f"{name} has nothing that is fitted: take rcnn_svm, whose model.weights are those of a trained rcnn"
        )
    if by != "svm":
        raise RecipeError(
            f"by is {by}; the classes of R-CNN are decided by support vector machines: give by svm (--by svm)"
        )


def _require_scores(recipe: Recipe) -> None:
    kind = TASKS[recipe.task.name]
    if not kind.slides or "label" not in kind.needs:
        raise RecipeError(
            f"task {recipe.task.name} has no one score a class for an image, to which a linear classifier could be "
            "fitted: take a recipe of task classification"
        )
    if recipe.data.noise is not None:
        raise RecipeError("data.noise makes features of noise: set data.noise=null")


def _parts(recipe: Recipe, task: Task, network: nn.Module, data: Data, *, is_known: bool) -> _Parts:
    loader = make_eval_loader(recipe, data.train.samples, data.preprocessing)
    prepare = Prepare(data.preprocessing, make_device(recipe))
    try:
        image = prepare(loader.batch_of([0], 0))["image"]
    finally:
        loader.close()
    return _Parts(recipe, task, network, _last_layer(network, task, image), data.preprocessing, data.info, is_known)


def _last_layer(network: nn.Module, task: Task, image: Tensor) -> nn.Linear:
    """The last layer of a classifier, whose output is the network's on an image (1, C, H, W).

    Raises:
        RecipeError: it is not linear, or not what the network gives.
    """
    gave: dict[nn.Module, Any] = {}
    plain = [part for part in network.modules() if type(part) is nn.Linear]  # others scale what they are given
    hooks = [part.register_forward_hook(lambda layer, _, output: gave.__setitem__(layer, output)) for part in plain]
    try:
        with torch.inference_mode():
            output = network(image)
            scores = getattr(output, "logits", output)  # of several heads the main one
    finally:
        for hook in hooks:
            hook.remove()
    last = next((layer for layer in plain if layer in gave and gave[layer] is scores), None)
    if last is None or last.out_features != task.outputs or last.bias is None:
        name = type(network).__name__
        raise RecipeError(
            f"{name} does not give what a linear layer with a bias and {task.outputs} outputs, one a class, makes, so "
            "that nothing can be fitted: choose a classifier that ends in one, such as resnet18"
        )
    return last


def _features(asked: _Parts, scanned: ScanResult) -> Features:
    samples = scanned.samples
    labels = torch.tensor([int(samples.targets(i)["label"]) for i in range(len(samples))])
    path = _cache_file(asked, scanned)
    values = None if path is None else _read(path, len(labels))
    if values is None:
        values = _computed(asked, scanned)
        if path is not None:
            save_weights(path, {"features": values})
            _log.info("features of %d images are kept in %s", len(labels), path)
    return Features(values, labels, tuple(samples.names), asked.info.classes)


def _read(path: Path, count: int) -> Tensor | None:
    """Kept features; None where there are none, or the file is damaged."""
    try:
        values = load_file(path)["features"]
    except (OSError, KeyError, safetensors.SafetensorError):
        return None
    return values if len(values) == count else None


def _cache_file(asked: _Parts, scanned: ScanResult) -> Path | None:
    """The file of features: by version, network, images, preprocessing and all weights but those of the last layer."""
    folder, contents = cache_folder("features"), scanned.identity()
    if folder is None or not asked.is_known or contents is None:
        return None
    ours = {id(value) for value in asked.last.state_dict(keep_vars=True).values()}
    sums = hashlib.sha256()
    for name, value in asked.model.state_dict(keep_vars=True).items():
        if id(value) not in ours:
            sums.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            sums.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.dim() else b"")
    options = {
        "unpool": version("unpool"),
        "network": asked.recipe.model.model_dump(mode="json"),
        "preprocessing": asked.preprocessing.to_json(),
    }
    sums.update(json.dumps([options, contents], sort_keys=True).encode())
    return folder / f"{sums.hexdigest()}.safetensors"


def _computed(asked: _Parts, scanned: ScanResult) -> Tensor:
    """(n, d) what the last layer reads, image after image."""
    device = make_device(asked.recipe)
    prepare, seen = Prepare(asked.preprocessing, device), []
    loader = make_eval_loader(asked.recipe, scanned.samples, asked.preprocessing)
    hook = asked.last.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].flatten(1).float().cpu()))
    try:
        with torch.inference_mode(), streamed(loader, 0, 0, epochs=1) as stream:
            for batch in stream:
                asked.model(prepare(batch)["image"])
    finally:
        hook.remove()
        loader.close()
    return torch.cat(seen)


def _fit(asked: _Parts, seen: Features, by: By) -> dict[str, Any]:
    """Gives the last layer its weights; returns the facts of the fit."""
    if asked.recipe.model.weights is None:
        _log.warning("model.weights is not set: features are those of a network as it is drawn, or as it was passed")
    _log.info("%d features of each of %d images, fitted by %s", seen.values.shape[1], len(seen.labels), by)
    how: dict[str, Any] = {"num_classes": asked.task.outputs, "activation": asked.task.activation or "softmax"}
    fit = fit_linear(seen.values, seen.labels, **how, by=by, seed=asked.recipe.train.seed)
    with torch.no_grad():
        asked.last.weight.copy_(fit.weight)
        asked.last.bias.copy_(fit.bias)
    if fit.accuracy:
        _log.info("penalty %g, %.4f right in cross-validation", fit.penalty, fit.accuracy[fit.penalty])
    else:
        _log.warning("a class has one training image only: penalty %g was not chosen, nor how sure to be", fit.penalty)
    return {
        "by": by,
        "features": seen.values.shape[1],
        "images": len(seen.labels),
        "penalty": fit.penalty,
        "cross_validation": {f"{penalty:g}": share for penalty, share in fit.accuracy.items()},
    }
