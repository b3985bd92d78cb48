"""Asks the author's predict about pictures of validation, with the network watched or replaced meanwhile."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from unpool.checks.setup import Setup
from unpool.checks.source import split
from unpool.data.seeding import seed_generators
from unpool.errors import RecipeError

UNLIKE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)  # answer otherwise in training mode


@runtime_checkable
class _Raw(Protocol):
    """A data set that gives its pictures as they were taken."""

    def raw(self, index: int) -> Any: ...

    def __getitem__(self, index: int) -> Any: ...


class Picture(NamedTuple):
    """A picture of validation.

    Attributes:
        asked: what predict gets: a path, what the data set's `raw` gives, or the image as validation yields it.
        image: as validation yields it.
        target: of it.
        is_raw: predict prepares the picture itself.
    """

    asked: Any
    image: Tensor
    target: Any
    is_raw: bool


class Asked(NamedTuple):
    """What happened while predict was asked about one picture.

    Attributes:
        answer: of predict.
        inputs: first argument of each call of the network.
        training: names of layers that were in training mode and answer otherwise in it.
    """

    answer: Any
    inputs: tuple[Tensor, ...]
    training: tuple[str, ...]


def pictures(setup: Setup, most: int) -> list[Picture]:
    """Draws pictures of validation."""
    val = setup.val
    if val is None:
        return []
    if val.dataset is None:
        return [Picture(image, image, target, is_raw=False) for image, target in val.samples(most)]
    files = val.files()
    drawn = []
    for i in val.drawn(most):
        image, target = split(val.dataset[i])
        if val.asked is not None:
            drawn.append(Picture(val.asked(i), image, target, is_raw=True))
        elif files is not None:
            drawn.append(Picture(files[i], image, target, is_raw=True))
        elif isinstance(val.dataset, _Raw):
            drawn.append(Picture(val.dataset.raw(i), image, target, is_raw=True))
        else:
            drawn.append(Picture(image, image, target, is_raw=False))
    return drawn


def ask(setup: Setup, picture: Any, *, standin: Callable[..., Any] | None = None, seed: int = 0) -> Asked:
    """Asks predict about one picture, from training mode, in which a network is when it was just made or trained.

    Args:
        setup: the run.
        picture: as predict takes it.
        standin: computes in the network's stead.
        seed: of what predict draws.

    Raises:
        RecipeError: there is no predict.
    """
    if setup.predict is None:
        raise RecipeError("no predict was given: pass predict=, a function of one picture")
    inputs: list[Tensor] = []
    training: dict[str, None] = {}
    parts = [(name, part) for name, part in setup.model.named_modules() if isinstance(part, UNLIKE)]

    def note(_part: nn.Module, arguments: Sequence[Any]) -> None:
        inputs.extend(one.detach().cpu().clone() for one in arguments[:1] if isinstance(one, Tensor))
        training.update({name: None for name, part in parts if part.training})

    handle = setup.model.register_forward_pre_hook(note)
    try:
        with setup.trying(training=True), _replaced(setup.model, standin):
            seed_generators(seed, 0, 0)
            answer = setup.predict(picture)
    finally:
        handle.remove()
    return Asked(answer, tuple(inputs), tuple(training))


@contextmanager
def _replaced(model: nn.Module, standin: Callable[..., Any] | None) -> Iterator[None]:
    """Another function in the place of the network's forward."""
    if standin is None:
        yield
        return
    before = vars(model).get("forward")
    model.forward = standin
    try:
        yield
    finally:
        del model.forward
        if before is not None:
            model.forward = before


def class_of(answer: Any, classes: Sequence[str]) -> int | str | None:
    """The class number that an answer names; the name itself where no class has it; None where it names none.

    Example:
        >>> class_of("dog", ["cat", "dog"]), class_of([0.1, 0.2, 0.7], []), class_of(("cow", 0.9), ["cat"])
        (1, 2, 'cow')
    """
    if isinstance(answer, str):
        return list(classes).index(answer) if answer in classes else answer
    if isinstance(answer, int | np.integer) and not isinstance(answer, bool):
        return int(answer)
    if isinstance(answer, Mapping) and answer and all(isinstance(value, float | int) for value in answer.values()):
        return class_of(max(answer, key=lambda key: answer[key]), classes)
    if isinstance(answer, tuple | list) and answer and isinstance(answer[0], str | int | tuple):
        return class_of(answer[0], classes)
    values = array_of(answer)
    if values is None or values.dim() > 2:
        return None
    if values.numel() == 1:
        return None if values.is_floating_point() else int(values)
    return int(values.flatten().argmax()) if values.dim() == 1 or len(values) == 1 else None


def array_of(answer: Any) -> Tensor | None:
    """An answer of numbers as a tensor; None where it is none."""
    if isinstance(answer, Tensor):
        return answer.detach().cpu()
    if isinstance(answer, np.ndarray | np.generic) and np.asarray(answer).dtype.kind in "biuf":
        return torch.from_numpy(np.array(answer))
    if isinstance(answer, list | tuple) and answer and all(isinstance(one, float | int) for one in answer):
        return torch.tensor(answer)
    return None


def names_of(setup: Setup) -> Sequence[str]:
    """Names of the classes, as the caller or the data set has them."""
    if setup.classes or setup.val is None or setup.val.dataset is None:
        return setup.classes
    names = vars(setup.val.dataset).get("classes")
    return names if isinstance(names, list | tuple) else ()
