"""What a look at a network is made on: any module, a network's name, a run or a predictor; and its image."""

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unpool import models
from unpool.errors import RecipeError, quoted, shortened
from unpool.model_file import FILES
from unpool.models.pretrained import WORDS, origin
from unpool.ops.cutting import resize_to
from unpool.ops.drawing import drawable
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.images import ImageLike, read_image
from unpool.predictor.loading import Device, load, load_published
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
        size_hw: of the images that it was made for; None where nobody says it.
        notes: sentences on what was assumed, such as random weights.
        assumed: a sentence on how decoded images are normalised, where that is a guess.
        is_random: whether all weights are drawn.
        has_classes: False where published weights lack the last layers, which are random then.
    """

    network: nn.Module
    preprocessing: Preprocessing
    name: str
    predictor: Predictor | None = None
    size_hw: Pair | None = None
    notes: tuple[str, ...] = ()
    assumed: str = ""
    is_random: bool = False
    has_classes: bool = True

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by index; empty where nobody names them."""
        return () if self.predictor is None else self.predictor.info.classes

    @property
    def in_channels(self) -> int:
        """Channels of the network's input, with those that a task adds to an image."""
        return self.preprocessing.channels + (0 if self.predictor is None else self.predictor.task.added_channels)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    @property
    def title(self) -> str:
        """Its name, with a word on random weights."""
        return f"{self.name}, random weights" if self.is_random else self.name


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
    if_random: str = "what is shown means nothing",
    seed: int = 0,
    device: Device = "auto",
) -> Source:
    """Returns the network to look at, with what its images go through.

    Args:
        source: a module, a predictor, a run directory, or the name of a network.
        weights: of a run "last" (also None) or "best"; of a network "imagenet" and the like, a file, or None for
            random ones.
        preprocessing: of a module's images; None takes `Preprocessing()`, ImageNet's mean and deviation.
        size_hw: to which images are brought; None keeps what the source has.
        if_random: what random weights mean for the view, the end of a note.
        seed: of random weights.
        device: of a run and of published weights, as in `unpool.load`; other networks are made on the CPU.

    Raises:
        RecipeError: there is no such run or network, the weights are not of its kind, or weights or preprocessing are
            given to a source that has them.
        ModelFileError, EnvironmentFault: as `unpool.load`.

    Example:
        >>> opened = open_source("lenet5", if_random="the scores mean nothing")
        >>> opened.in_channels, opened.size_hw, opened.notes
        (1, (32, 32), ('the weights are random: the scores mean nothing',))
    """
    if isinstance(source, nn.Module):
        opened = _of_module(source, weights, preprocessing)
    elif preprocessing is not None:
        raise RecipeError("preprocessing= is for a network that is passed; a run and published weights have theirs")
    elif isinstance(source, Predictor):
        opened = _of_predictor(source, weights)
    elif Path(source).is_dir():
        opened = _of_run(Path(source), weights, device)
    else:
        opened = _of_name(str(source), weights, if_random=if_random, seed=seed, device=device)
    if size_hw is None:
        return opened
    sized = replace(opened.preprocessing, size_hw=size_hw, shorter=None, longest=None)
    predictor = copy(opened.predictor)
    if predictor is not None:
        predictor.preprocessing = sized
    return opened._replace(preprocessing=sized, predictor=predictor, size_hw=size_hw)


def _of_module(network: nn.Module, weights: str | Path | None, preprocessing: Preprocessing | None) -> Source:
    _refuse_weights(weights)
    assumed = "" if preprocessing else f"{_GUESS}: pass preprocessing= for another rule"
    return Source(network, preprocessing or Preprocessing(), type(network).__name__, assumed=assumed)


def _of_predictor(predictor: Predictor, weights: str | Path | None, name: str = "") -> Source:
    _refuse_weights(weights)
    name = name or predictor.name or type(predictor.model).__name__
    return Source(predictor.model, predictor.preprocessing, name, predictor, predictor.preprocessing.size_hw)


def _refuse_weights(weights: str | Path | None) -> None:
    if weights is not None:
        raise RecipeError("weights= are for a run or a network's name; a network that is passed has its weights")


def _of_run(run: Path, weights: str | Path | None, device: Device) -> Source:
    if weights is not None and weights not in FILES:
        raise RecipeError(f"weights of a run are {' or '.join(FILES)}, not {quoted(str(weights))}")
    predictor = load(run, "best" if weights == "best" else "last", device=device)
    return _of_predictor(predictor, None, f"{run}, best weights" if weights == "best" else str(run))


def _of_name(name: str, weights: str | Path | None, *, if_random: str, seed: int, device: Device) -> Source:
    if weights in FILES:
        raise RecipeError(
            f"weights {quoted(str(weights))} belong to a run, and there is no run directory {shortened(name)}"
        )
    row = models.row_of(name)
    channels, height, width = row.input
    if weights in WORDS and origin(name, str(weights)).classes:
        opened = _of_predictor(load_published(name, str(weights), device=device), None)
        return opened._replace(size_hw=opened.size_hw or (height, width))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = models.build(name, weights=weights, new_head=weights in WORDS).eval()
    seen = Preprocessing(size_hw=(height, width), rule="cover")
    if channels != 3:
        seen = replace(seen, channels=channels, mean=channels * (0.5,), std=channels * (0.5,))
    opened = Source(network, seen, name, size_hw=(height, width))
    if weights is None:
        return opened._replace(notes=(f"the weights are random: {if_random}",), is_random=True)
    if weights not in WORDS:
        assumed = f"{_GUESS}: a file names none"
        return opened._replace(name=f"{name}, weights {Path(weights).name}", assumed=assumed)
    theirs = origin(name, str(weights))
    seen = replace(seen, order=theirs.order, value_range=theirs.value_range, mean=theirs.mean, std=theirs.std)
    note = f"weights {weights} have no classes: the last layers are random"
    return opened._replace(preprocessing=seen, name=f"{name}, weights {weights}", notes=(note,), has_classes=False)


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
    image = source.preprocessing.normalize(source.preprocessing.resize(photo.to(source.device))[None])
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
