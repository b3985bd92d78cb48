"""How a data set brings photographs to one size, as torchvision's transforms in it say."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from torch import nn

_VALUES = ("ToTensor", "PILToTensor", "ToImage", "ToPILImage", "ToPureTensor", "ToDtype", "ConvertImageDtype")
_KEEPING = frozenset((*_VALUES, "Normalize", "Grayscale", "RGB", "Identity"))  # transforms that leave the size as it is
_DEEPEST = 8


class Sizing(NamedTuple):
    """What transforms do to the size of a photograph.

    Attributes:
        steps: names of those that may change it, with their sizes; empty where there are none.
        rule: the preprocessing rule that does the same; None where none does.
        crop: share that the rule "cover" keeps.
    """

    steps: str = ""
    rule: Literal["stretch", "cover"] | None = None
    crop: float = 1.0


def find_sizing(dataset: Any) -> Sizing:
    """What the transforms of a data set do to the size; of several that differ, no rule.

    `Resize((h, w))` is "stretch"; `Resize(side)` and a square `CenterCrop`, also as those of published weights, are
    "cover". Anything else is no rule of ours.

    >>> from torchvision import transforms
    >>> class Set:
    ...     transform = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(192), transforms.ToTensor()])
    >>> find_sizing(Set())
    Sizing(steps='Resize(256), CenterCrop(192x192)', rule='cover', crop=0.75)
    """
    every = set(map(_sizing, _chains(dataset, _DEEPEST)))
    if len(every) > 1:
        return Sizing(" or ".join(sorted(one.steps or "nothing" for one in every)))
    return every.pop() if every else Sizing()


def _chains(value: Any, depth: int) -> Iterator[list[Any]]:
    """The transforms of each data set that others wrap; one that has none counts where it wraps no other."""
    inner = [getattr(value, "dataset", None), *(getattr(value, "datasets", None) or ())]
    steps = _flat(getattr(value, "transform", None)) or _flat(getattr(value, "transforms", None))
    if steps:
        yield steps
    for one in inner if depth else ():
        if one is not None:
            yield from _chains(one, depth - 1)


def _flat(step: Any) -> list[Any]:
    if step is None:
        return []
    if isinstance(step, nn.Sequential):
        return [one for each in step for one in _flat(each)]
    if isinstance(several := getattr(step, "transforms", None), list | tuple | nn.ModuleList):
        return [one for each in several for one in _flat(each)]
    if type(step).__name__ == "StandardTransform":  # of torchvision's data sets, around those of image and target
        return _flat(step.transform)
    return [step]


def _sizing(steps: list[Any]) -> Sizing:
    sizes = [size for step in steps for size in _sizes(step)]
    names = ", ".join(f"{name}({'x'.join(map(str, size))})" if size else name for name, size in sizes)
    match sizes:
        case [("Resize", (_, _))]:
            return Sizing(names, "stretch")
        case [("Resize", (side,)), ("CenterCrop", (height, width))] if height == width <= side:
            return Sizing(names, "cover", height / side)
    return Sizing(names)


def _sizes(step: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Name and size of each change of the size; an empty size where it is not one that can be named."""
    name = str(getattr(step, "__name__", type(step).__name__))
    is_known = type(step).__module__.startswith("torchvision.transforms")
    if is_known and name in _KEEPING:
        return []
    is_smooth = is_known and _is_smooth(step)
    if is_smooth and name == "Resize" and step.max_size is None and step.size is not None:
        return [(name, _numbers(step.size))]
    if is_known and name == "CenterCrop":
        return [(name, 2 * _numbers(step.size) if len(_numbers(step.size)) == 1 else _numbers(step.size))]
    if is_smooth and name == "ImageClassification":  # the transforms of published weights
        return [("Resize", _numbers(step.resize_size)), ("CenterCrop", 2 * _numbers(step.crop_size))]
    return [(name, ())]


def _is_smooth(step: Any) -> bool:
    """Whether it interpolates as we do: linearly, and averaging where it shrinks."""
    mode = getattr(step, "interpolation", "bilinear")
    return getattr(mode, "value", mode) == "bilinear" and getattr(step, "antialias", True) is not False


def _numbers(size: Any) -> tuple[int, ...]:
    return tuple(map(int, size)) if isinstance(size, list | tuple) else (int(size),)
