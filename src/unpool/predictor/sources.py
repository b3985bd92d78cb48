"""What a look at a network is made on: any module, a network's name, a run or a predictor; and its image."""

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unpool import models
from unpool.errors import RecipeError, quoted
from unpool.model_file import FILES
from unpool.models.pretrained import WORDS, origin
from unpool.network_names import not_a_run
from unpool.ops.cutting import resize_to
from unpool.ops.drawing import drawable
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.images import ImageLike, read_image
from unpool.predictor.loading import load, load_published
from unpool.predictor.predictor import Predictor
from unpool.types import Batch

Pair = tuple[int, int]
Lookable = nn.Module | Predictor | str | Path
_GUESS = "images are normalised by ImageNet's mean and deviation"
LONGEST = 1024  # pixels of the longer side to which a larger image is made smaller


class Source(NamedTuple):
    """A network that is looked at.

    Attributes:
        network: any module of one image.
        preprocessing: from a decoded image to what it takes.
        name: for titles.
        predictor: where its answers are known, else None.
        notes: sentences on what was assumed, such as random weights.
        assumed: a sentence on how decoded images are normalised, where that is a guess.
    """

    network: nn.Module
    preprocessing: Preprocessing
    name: str
    predictor: Predictor | None = None
    notes: tuple[str, ...] = ()
    assumed: str = ""


class Seen(NamedTuple):
    """An image as the network sees it.

    Attributes:
        picture: (3, H, W) uint8, before it is normalised.
        inputs: a batch of it.
        notes: such as that it was made smaller.
    """

    picture: Tensor
    inputs: Batch
    notes: tuple[str, ...] = ()


def open_source(
    source: Lookable,
    *,
    weights: str | Path | None = None,
    preprocessing: Preprocessing | None = None,
    size_hw: Pair | None = None,
) -> Source:
    """Returns the network to look at, with what its images go through.

    Args:
        source: a module, a predictor, a run directory, or the name of a network.
        weights: of a run "last" (also None) or "best"; of a network "imagenet" and the like, a file, or None for
            random ones.
        preprocessing: of a module's images; None takes `Preprocessing()`, ImageNet's mean and deviation.
        size_hw: to which images are brought; None keeps what the source has.

    Raises:
        RecipeError: there is no such network, or weights are of a run or of a network and the source is none.
        ModelFileError, EnvironmentFault: as `unpool.load`.
    """
    opened = _opened(source, weights, preprocessing)
    if size_hw is None:
        return opened
    sized = replace(opened.preprocessing, size_hw=size_hw, shorter=None, longest=None)
    predictor = copy(opened.predictor)
    if predictor is not None:
        predictor.preprocessing = sized
    return opened._replace(preprocessing=sized, predictor=predictor)


def _opened(source: Lookable, weights: str | Path | None, preprocessing: Preprocessing | None) -> Source:
    if isinstance(source, Predictor):
        return Source(source.model, source.preprocessing, source.name or type(source.model).__name__, source)
    if isinstance(source, nn.Module):
        assumed = "" if preprocessing else f"{_GUESS}: pass preprocessing= for another rule"
        return Source(source, preprocessing or Preprocessing(), type(source).__name__, assumed=assumed)
    if Path(source).is_dir():
        if weights is not None and weights not in FILES:
            raise RecipeError(f"weights of a run are {' or '.join(FILES)}, not {quoted(str(weights))}")
        predictor = load(source, "best" if weights == "best" else "last")
        return Source(predictor.model, predictor.preprocessing, str(source), predictor)
    if weights in FILES:
        raise not_a_run(Path(source))
    return _network(str(source), weights)


def _network(name: str, weights: str | Path | None) -> Source:
    row = models.row_of(name)
    if weights in WORDS and origin(name, str(weights)).classes:
        predictor = load_published(name, str(weights))
        return Source(predictor.model, predictor.preprocessing, f"{name}, weights {weights}", predictor)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.build(name, weights=weights, new_head=weights in WORDS)
    channels, *sides = row.input
    seen = Preprocessing(size_hw=(sides[0], sides[1]), rule="cover")
    if channels != 3:
        seen = replace(seen, channels=channels, mean=channels * (0.5,), std=channels * (0.5,))
    if weights is None:
        return Source(network, seen, name, notes=("the weights are random: what is shown means nothing",))
    if weights in WORDS:
        theirs = origin(name, str(weights))
        order, value_range = theirs.order, theirs.value_range
        seen = replace(seen, order=order, value_range=value_range, mean=theirs.mean, std=theirs.std)
        note = f"weights {weights} have no classes: the last layers are random"
        return Source(network, seen, f"{name}, weights {weights}", notes=(note,))
    return Source(network, seen, f"{name}, weights {Path(weights).name}", assumed=f"{_GUESS}: a file names none")


def see(source: Source, image: ImageLike) -> Seen:
    """Returns an image as the network takes it.

    Args:
        source: the network.
        image: as `Predictor` takes it; or a tensor of floats (C, H, W) or (1, C, H, W), which is passed on as it is.

    Raises:
        DataError, TypeError, ValueError: as `unpool.predictor.images.read_image`.
    """
    if isinstance(image, Tensor) and image.is_floating_point():
        return _as_it_is(image)
    decoded = read_image(image, source.preprocessing.decoding)
    photo, notes = _within(decoded, keeps_size=source.preprocessing.keeps_size)
    picture = source.preprocessing.resize(photo)
    assumed = (source.assumed,) if source.assumed else ()
    return Seen(
        drawable(picture).expand(3, -1, -1),
        _inputs(source, photo, (decoded.shape[-2], decoded.shape[-1])),
        (*assumed, *notes),
    )


def _inputs(source: Source, photo: Tensor, size_hw: Pair) -> Batch:
    """Returns a batch of one image (C, H, W) uint8, for answers on the same at `size_hw`."""
    if source.predictor is not None:
        return source.predictor.inputs(photo, size_hw)
    layout = source.preprocessing.layout((photo.shape[-2], photo.shape[-1]))
    device = next((weight.device for weight in source.network.parameters()), torch.device("cpu"))
    image = source.preprocessing.normalize(source.preprocessing.resize(photo.to(device))[None])
    return {"image": image, "valid_xyxy": layout.valid_xyxy, "size_hw": torch.tensor([size_hw])}


def _within(photo: Tensor, *, keeps_size: bool) -> tuple[Tensor, tuple[str, ...]]:
    height, width = photo.shape[-2:]
    scale = LONGEST / max(height, width)
    if not keeps_size or scale >= 1:
        return photo, ()
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    note = f"the image was made smaller, from {width}x{height} to {size[1]}x{size[0]}: set another size"
    return resize_to(photo, size), (note,)


def _as_it_is(image: Tensor) -> Seen:
    batch = image if image.dim() == 4 else image[None]
    if batch.dim() != 4 or len(batch) != 1:
        raise ValueError(f"tensor of shape {tuple(image.shape)}: expected one image, (C, H, W) or (1, C, H, W)")
    values = drawable(batch[0].detach().cpu()).expand(3, -1, -1)
    low, high = values.min(), values.max()
    picture = ((values - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)
    height, width = batch.shape[2:]
    valid = torch.tensor([[0.0, 0.0, width, height]])
    return Seen(picture, {"image": batch, "valid_xyxy": valid, "size_hw": torch.tensor([[height, width]])})
