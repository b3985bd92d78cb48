"""From a run directory to a Predictor: config.json says what to build, a safetensors file holds the weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from unpool import models, tasks
from unpool.errors import EnvironmentFault, ModelFileError, RecipeError
from unpool.models.pretrained import PUBLISHED, origin
from unpool.models.weights import load_weights
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.predictor import Predictor
from unpool.tasks import TASKS
from unpool.types import DataInfo, Task

FORMAT = 1
FILES = {"last": "model.safetensors", "best": "best.safetensors"}
LARGEST_CONFIG_BYTES = 16 << 20
LARGEST_OPTION = 16_384  # no width, depth or count of a network is larger; a damaged file could ask for anything

# what constructors raise on options that make no network; RecipeError is a ValueError
_WRONG_OPTION = (TypeError, ValueError, RuntimeError, IndexError, ArithmeticError, AttributeError)

Weights = Literal["last", "best", "imagenet", "voc"]
Device = Literal["auto", "cpu", "cuda"]


class Config(NamedTuple):
    """What config.json holds."""

    network: dict[str, Any]
    task: Task
    preprocessing: Preprocessing
    info: DataInfo
    own: tuple[str, ...]


def load(
    run: str | Path, weights: Weights = "last", *, device: Device = "auto", model: nn.Module | None = None
) -> Predictor:
    """The predictor of a finished or stopped run, or of a published network.

    Args:
        run: a run directory, with config.json and the weights; or a network's name, for published weights.
        weights: of a run "last", or "best" on the validation set; of a network "imagenet" or "voc", downloaded once.
        device: "auto" takes the accelerator where there is one.
        model: the network of your own that the run trained; takes the weights.

    Raises:
        RecipeError: the run trained a network of your own and none is given, or the reverse.
        ModelFileError: a file is missing, damaged, from a newer version, or does not fit the others.
        EnvironmentFault: the device is not there, or published weights cannot be downloaded.
    """
    if weights in PUBLISHED:
        if model is not None:
            raise RecipeError(f"weights {weights!r} are of the network {str(run)!r}: leave model=... out")
        return _published(str(run), weights, device=device)
    run = Path(run)
    if weights not in FILES:
        raise ValueError(f"weights is {weights!r}; it must be one of {', '.join((*FILES, *PUBLISHED))}")
    if not run.is_dir():
        raise ModelFileError(f"no run directory {run}; `unpool train` prints the place of each run at its end")
    config = read_config(run / "config.json")
    path = run / FILES[weights]
    if not path.is_file():
        raise ModelFileError(f"{run} holds no {path.name}: the run did not get that far, or kept no {weights} weights")
    if ("model" in config.own) != (model is not None):
        told = "trained a network of your own: give it as load(run, model=...)" if model is None else "built its own"
        raise RecipeError(f"{run} {told}")
    model = _network(config, path) if model is None else model
    load_weights(path, model)
    model.to(_device(device))
    return Predictor(model, config.preprocessing, config.info, config.task)


def _published(name: str, weights: str, *, device: Device) -> Predictor:
    """A network as it was published, with its classes; images as in its test, masks at the size of the image."""
    come = origin(name, weights)
    info = DataInfo(classes=come.classes, palette=come.palette)
    rule = "stretch" if come.size_hw is None else "cover"
    preprocessing = Preprocessing(size_hw=come.size_hw, rule=rule, crop=come.crop, mean=come.mean, std=come.std)
    task = TASKS["segmentation" if weights == "voc" else "classification"](info)
    with torch.random.fork_rng(devices=[]):
        model = models.build(name, weights=weights)
    return Predictor(model.to(_device(device)), preprocessing, info, task)


def read_own(run: Path) -> list[str]:
    """The parts, among model, train and val, that the caller of `train` brought instead of the recipe's."""
    return list(read_config(run / "config.json").own)


def read_config(path: Path) -> Config:
    """The checked content of a config.json.

    Raises:
        ModelFileError: it is missing, damaged, from a newer version, or lacks something.
    """
    values = _read(path)
    if values.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} has format {values.get('format')!r}; this version of Unpool reads {FORMAT}: update"
        )
    try:
        preprocessing, info = Preprocessing.from_json(values["preprocessing"]), DataInfo.from_json(values["info"])
        config = Config(
            network=_network_section(values["network"]),
            task=_task(path, values["task"], info, preprocessing=preprocessing),
            preprocessing=preprocessing,
            info=info,
            own=tuple(values["own"]),
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
    given = config.preprocessing.channels + config.task.added_channels
    if inputs != given:
        raise ModelFileError(f"{path}: the network takes {inputs} channels and the preprocessing gives {given}")
    return config


def _task(path: Path, values: Mapping[str, Any], info: DataInfo, *, preprocessing: Preprocessing) -> Task:
    if values["name"] not in TASKS:
        raise ModelFileError(f"{path} names task {values['name']!r}; there are: {', '.join(TASKS)}")
    return tasks.build(values["name"], info, options=values["options"], preprocessing=preprocessing)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise ModelFileError(f"no file {path}; a run directory holds config.json beside its weights")
    if path.stat().st_size > LARGEST_CONFIG_BYTES:
        raise ModelFileError(
            f"{path} has {path.stat().st_size} bytes; a config.json has at most {LARGEST_CONFIG_BYTES}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
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


def _network(config: Config, weights: Path) -> nn.Module:
    """The network with weights of any value; refused before its memory is taken where the file cannot fill it."""
    with torch.device("meta"):
        params = sum(param.numel() for param in _build(config).parameters())
    if params > weights.stat().st_size:
        raise ModelFileError(
            f"{weights} has {weights.stat().st_size} bytes and {config.network['name']} {params} parameters; "
            "config and weights are of different networks"
        )
    with torch.random.fork_rng(devices=[]):
        return _build(config)


def _build(config: Config) -> nn.Module:
    network = config.network
    try:
        return models.build(
            network["name"],
            backbone=network["backbone"],
            num_classes=network["num_classes"],
            in_channels=network["in_channels"],
            **network["options"],
        )
    except _WRONG_OPTION as error:
        raise ModelFileError(f"config.json describes a network that cannot be built: {error}") from error


def _device(chosen: Device) -> torch.device:
    if chosen == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault("device cuda was asked for and none is there; use cpu or auto")
    return torch.device("cuda" if chosen != "cpu" and torch.cuda.is_available() else "cpu")
