"""config.json and the weights beside it, both ends: what a run writes, and what predict and evaluate read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from unpool import models, tasks
from unpool.errors import ModelFileError, RecipeError
from unpool.manifest import check_format, read_bound
from unpool.models.weights import assign_weights, parse_weights
from unpool.ops.preprocessing import Preprocessing
from unpool.task import Task, split_state
from unpool.tasks import TASKS
from unpool.tracing.foreign import foreign_code
from unpool.types import DataInfo

FORMAT = 1
FILES = {"last": "model.safetensors", "best": "best.safetensors"}
LARGEST_OPTION = 16_384  # no width, depth or count of a network is larger; a damaged file could ask for anything


class Config(NamedTuple):
    """What config.json holds.

    Attributes:
        network: arguments of `models.build`.
        task: built; it has the weights of a file once `load_network` has been called.
        preprocessing: from a decoded image to what the network sees.
        info: names in the data.
        custom: names of the parts, among model, train and val, that the caller of `train` replaced.
    """

    network: dict[str, Any]
    task: Task
    preprocessing: Preprocessing
    info: DataInfo
    custom: tuple[str, ...]


def describe(
    network: Mapping[str, Any],
    task: tuple[str, Task],
    *,
    options: Mapping[str, Any],
    preprocessing: Preprocessing,
    info: DataInfo,
    custom: Sequence[str],
) -> dict[str, Any]:
    """What config.json holds: all that `predict` and `evaluate` need beside the weights; see `Config`.

    Args:
        network: its name, backbone and options.
        task: its name in `TASKS`, and the task itself.
        options: of the task, as the recipe has them.
        preprocessing: from a decoded image to what the network sees.
        info: names in the data.
        custom: names of the parts with which the caller replaced the recipe's.
    """
    name, built = task
    channels = preprocessing.channels + built.added_channels
    return {
        "format": FORMAT,
        "network": {**network, "num_classes": built.outputs, "in_channels": channels},
        "task": {"name": name, "options": {**options, **built.saved()}},
        "preprocessing": preprocessing.to_json(),
        "info": info.to_json(),
        "custom": list(custom),
    }


def load_network(config: Config, path: Path, *, model: nn.Module | None) -> nn.Module:
    """The network with the weights of a file; the task of `config` gets those that are the task's.

    Args:
        config: what `path` belongs to.
        path: model.safetensors or best.safetensors.
        model: the custom network of a run that trained one.

    Raises:
        RecipeError: the run trained a custom network and `model` is None, or the reverse.
        ModelFileError: the weights are missing, were changed or damaged, or are of another network or task.
    """
    if not path.is_file():
        raise ModelFileError(_no_weights(path))
    if ("model" in config.custom) != (model is not None):
        need = "trained a network of your own: give it as load(run, model=...)" if model is None else "built its own"
        raise RecipeError(f"{path.parent} {need}")
    data = read_bound(path)
    network = _network(config, path, num_bytes=len(data)) if model is None else model
    of_network, of_task = split_state(parse_weights(data, source=path, known=network.state_dict()))
    assign_weights(network, of_network, source=str(path))
    assign_weights(config.task, of_task, source=f"{path}, the task's part of it,")
    return network


def _no_weights(path: Path) -> str:
    text = f"{path.parent} holds no {path.name}: the run has no such weights yet; go on with unpool train --resume"
    best = path.with_name(FILES["best"])
    return f"{text}, or take the best so far: --weights best" if best != path and best.is_file() else text


def read_config(path: Path) -> Config:
    """The checked content of a config.json.

    Raises:
        ModelFileError: it is missing, was changed or damaged, is from a newer version, or lacks something.
    """
    values = _read(path)
    check_format(values.get("format"), FORMAT, source=path)
    try:
        preprocessing, info = Preprocessing.from_json(values["preprocessing"]), DataInfo.from_json(values["info"])
        config = Config(
            network=_network_section(values["network"]),
            task=_task(path, values["task"], info, preprocessing=preprocessing),
            preprocessing=preprocessing,
            info=info,
            custom=tuple(values["custom"]),
        )
    except KeyError as error:
        raise ModelFileError(
            f"{path} lacks {error.args[0]!r}; nothing is guessed: copy the file of the run anew"
        ) from None
    except ModelFileError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
    outputs, inputs = config.network["num_classes"], config.network["in_channels"]
    if outputs != config.task.outputs:
        raise ModelFileError(f"{path}: the network has {outputs} outputs and its task {config.task.outputs}")
    channels = config.preprocessing.channels + config.task.added_channels
    if inputs != channels:
        raise ModelFileError(f"{path}: the network takes {inputs} channels and the preprocessing gives {channels}")
    return config


def _task(path: Path, values: Mapping[str, Any], info: DataInfo, *, preprocessing: Preprocessing) -> Task:
    if values["name"] not in TASKS:
        raise ModelFileError(f"{path} names task {values['name']!r}; there are: {', '.join(TASKS)}")
    return tasks.build(values["name"], info, options=values["options"], preprocessing=preprocessing)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ModelFileError(f"no file {path}; a run directory holds config.json beside its weights")
    data = read_bound(path)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise ModelFileError(f"{path} holds a {type(values).__name__}; expected an object")
    return values


def _network_section(values: Mapping[str, Any]) -> dict[str, Any]:
    section = {key: values[key] for key in ("name", "backbone", "num_classes", "in_channels", "options")}
    if not isinstance(section["name"], str) or not isinstance(section["options"], dict):
        raise TypeError("network.name must be a text and network.options an object")
    numbers = [section["in_channels"], *_numbers(section["options"])]
    large = [number for number in numbers if not abs(number) <= LARGEST_OPTION]
    if large:
        raise ValueError(f"network has the number {large[0]}; none is above {LARGEST_OPTION}")
    return section


def _numbers(values: Any) -> list[float]:
    if isinstance(values, dict):
        return _numbers(list(values.values()))
    if isinstance(values, list):
        return [number for value in values for number in _numbers(value)]
    return [values] if isinstance(values, int | float) else []


def _network(config: Config, weights: Path, *, num_bytes: int) -> nn.Module:
    """The network with weights of any value; refused before its memory is taken where the file cannot fill it."""
    with torch.device("meta"):
        params = sum(param.numel() for param in _build(config).parameters())
    if params > num_bytes:
        raise ModelFileError(
            f"{weights} has {num_bytes} bytes and {config.network['name']} {params} parameters; "
            "config and weights are of different networks"
        )
    with torch.random.fork_rng(devices=[]):
        return _build(config)


def _build(config: Config) -> nn.Module:
    network = config.network
    with foreign_code() as failure:  # a damaged file may hold any option
        return models.build(
            network["name"],
            backbone=network["backbone"],
            num_classes=network["num_classes"],
            in_channels=network["in_channels"],
            **network["options"],
        )
    raise ModelFileError(f"config.json describes a network that cannot be built: {failure}") from failure.error
