"""A network to look at, by the directory of a run or by its name."""

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError, quoted, shortened
from unpool.model_file import FILES
from unpool.models.pretrained import WORDS, origin
from unpool.predictor.loading import load


class TrainedNetwork(NamedTuple):
    """A network and what its input is.

    Attributes:
        model: in evaluation mode.
        name: with its weights.
        input_shape: (C, H, W) that it was trained on or published for; of a run whose images differ in size, 256 x 256.
        order: of the colours of its input.
        is_random: its weights are drawn, from seed 0.
    """

    model: nn.Module
    name: str
    input_shape: tuple[int, int, int]
    order: Literal["rgb", "bgr"] = "rgb"
    is_random: bool = False


def open_network(source: str | Path, weights: str | None = None) -> TrainedNetwork:
    """Loads the network of a run, or builds one by its name.

    Args:
        source: a run directory, or a name that `unpool models` lists.
        weights: of a run "last" (also None) or "best"; of a network published ones or a file, None for random ones.

    Raises:
        RecipeError: there is no such run or network, or weights belong to the other.
        ModelFileError: a file is missing or damaged.

    Example:
        >>> made = open_network("lenet5")
        >>> made.input_shape, made.is_random
        ((1, 32, 32), True)
    """
    if Path(source).is_dir():
        return _of_run(Path(source), weights)
    name = str(source)
    row = models.row_of(name)
    if weights in FILES:
        raise RecipeError(
            f"weights {quoted(str(weights))} belong to a run, and there is no run directory {shortened(name)}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.build(name, weights=weights).eval()
    order = origin(name, str(weights)).order if weights in WORDS else "rgb"
    words = f"{name}, weights {weights}" if weights else f"{name}, random weights"
    return TrainedNetwork(network, words, (row.input[0], row.input[1], row.input[2]), order, weights is None)


def _of_run(run: Path, weights: str | None) -> TrainedNetwork:
    if weights is not None and weights not in FILES:
        raise RecipeError(f"weights of a run are {' or '.join(FILES)}, not {quoted(weights)}")
    predictor = load(run, "best" if weights == "best" else "last", device="cpu")
    seen = predictor.preprocessing
    height, width = seen.size_hw or (256, 256)
    channels = seen.channels + predictor.task.added_channels
    return TrainedNetwork(predictor.model.eval(), predictor.name, (channels, height, width), seen.order)
