"""Loads a file of weights that any tool wrote into one of our networks, whole, or not at all.

The log says what the names were and what was not used; a network of Unpool's names, all used, is one short line.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from unpool.errors import ModelFileError
from unpool.models.adapting import adapted
from unpool.models.backbones import BACKBONES
from unpool.models.checkpoint_file import read_state_dicts
from unpool.models.classification import Classifier
from unpool.models.fitting import COUNT, OURS, Destination, Fit, Goal, Style, Tensors, best_fit, fits_of
from unpool.models.of_run import refuse_changed, refuse_other_run, run_config
from unpool.models.pretrained import PUBLISHED
from unpool.models.timm_backbone import PREFIX, classifier_row
from unpool.models.torchvision_names import from_timms_vgg
from unpool.models.weights import assign_weights, describe_problems, from_torchvision, not_finite, some
from unpool.task import split_state
from unpool.types import Backbone

_log = logging.getLogger(__name__)
TORCHVISION = Style("torchvision's names", partial(from_torchvision, strict=False))
_SIZES = 'model.align=sizes (Python: align="sizes")'
TIMMS_VGG = Style("timm's names", partial(from_timms_vgg, strict=False))


def load_file(path: str | Path, destination: Destination) -> None:
    """Copies the weights of a file into a network, and logs what went where; nothing is copied unless all fits.

    Args:
        path: of a safetensors file, or one of torch.save.
        destination: what gets them.

    Raises:
        ModelFileError: the file cannot be read, holds values that are not finite, fits in two ways, or does not fit;
            the message lists the tensors and says whose names they look like.
    """
    source = str(path)
    refuse_changed(Path(path))
    tables = {table: split_state(tensors)[0] for table, tensors in read_state_dicts(path).items()}
    goals, styles = _goals(destination), _styles(destination)
    fits = fits_of(tables, goals, styles)
    fit = best_fit(fits, goals, source=source)
    if fit.problems:
        raise ModelFileError(
            f"{source} does not fit {_what(destination, fit)}. {_reason(Path(path), fit, destination, tables)}"
        )
    refuse_other_run(Path(path), destination, fit)
    _check_finite(fit, source=source)
    module = destination.network.get_submodule(fit.goal.part)
    initial = module.state_dict()
    tensors = adapted(fit.tensors, initial, num_classes=None, in_channels=destination.in_channels)
    counts = {name: torch.zeros_like(t) for name, t in initial.items() if name.endswith(COUNT)}
    kept = {name: initial[name] for name in fit.goal.new}
    assign_weights(module, {**counts, **tensors, **kept}, source=source)
    others = [f for f in fits if f.goal is fit.goal and not f.problems]
    _report(source, fit, initial, tensors, others=others, align=destination.settings.get("align"))


def _goals(destination: Destination) -> list[Goal]:
    """The whole network, with a new last layer or a new head where the user asks for it; then the backbone alone.

    Between them, the classifier in a localizer or R-CNN, to which layers of boxes, or what is fitted, are attached.
    """
    state = destination.network.state_dict()
    goal = partial(Goal, state=state, in_channels=destination.in_channels, may_stay=_is_auxiliary)
    classifier = (destination.classifier,) if destination.classifier else ()
    boxes = frozenset(name for name in state if classifier and name.startswith(("locate.", "fitted.")))
    may_stay = _is_last if any(name.startswith("fitted.") for name in boxes) else _is_auxiliary
    attached = [goal(new=destination.new | boxes, of=classifier, may_stay=may_stay)] if boxes else []
    if destination.backbone_name is None:
        head = frozenset(name for name in state if name.startswith("head.")) if destination.new else frozenset()
        news = dict.fromkeys([destination.new, destination.new | head])
        of = (destination.name, *classifier) if destination.new and not boxes else ()
        return [*(goal(new=new, of=of) for new in news), *attached]
    rest = frozenset(name for name in state if not name.startswith("backbone."))
    heads = _heads_of_timm(destination.backbone_name)

    def is_head(name: str) -> bool:
        return name in heads or name.startswith(("head.", "auxiliary."))

    body = destination.network.get_submodule("backbone").state_dict()
    return [
        goal(new=destination.new, decisive=boxes or rest),
        *(replace(one, decisive=rest - boxes) for one in attached),
        goal(state=body, part="backbone", may_stay=is_head),
    ]


def _is_auxiliary(name: str) -> bool:
    """Whether the tensor is one of an auxiliary head, which a row without such heads ignores."""
    return name.startswith("auxiliary.")


def _is_last(name: str) -> bool:
    """Whether the tensor is of AlexNet's last layer, which what is fitted stands for."""
    return name.startswith("head.fc8.")


def _styles(destination: Destination) -> list[Style]:
    """Ours, and those of packages that have the very same network: others have its names and compute otherwise."""
    names = {destination.name, destination.backbone_name}
    return [OURS, TORCHVISION, TIMMS_VGG] if any(names & set(table) for table in PUBLISHED.values()) else [OURS]


def _heads_of_timm(name: str | None) -> frozenset[str]:
    """Every name in timm's classifier; empty for backbones of ours."""
    if name is None or not name.startswith(PREFIX):
        return frozenset()
    with torch.device("meta"):
        return frozenset(classifier_row(name).build(in_channels=3, num_classes=2).state_dict())


def _report(
    source: str,
    fit: Fit,
    initial: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    *,
    others: list[Fit],
    align: object,
) -> None:
    """One log line; a warning where a tensor of the file or of the network was left out."""
    loaded = f"{len(fit.tensors)} tensors" + (f" into the {fit.goal.part}" if fit.goal.part else "")
    names = [fit.style.about, f"those below '{fit.position}'" if fit.position else ""]
    named = f" ({', '.join(filter(None, names))})" if any(names) else ""
    averages = [f"'{other.position}'" for other in others if other.position != fit.position and fit.is_average]
    derived = [n for n, t in fit.tensors.items() if t.shape != tensors[n].shape]
    halves = sorted(
        {str(t.dtype).removeprefix("torch.") for n, t in fit.tensors.items() if t.dtype != initial[n].dtype}
    )
    counts = [n for n in initial if n.endswith(COUNT) and n not in fit.tensors]
    quiet = {
        "became float32": halves,
        "counts of batches begin at 0": [str(len(counts))] if counts else [],
    }
    loud = {
        "the averaged weights, not those below": averages,
        "derived from another number of channels": derived,
        "new, with initial weights": sorted(fit.goal.new),
        "not used": sorted(fit.unused),
    }
    if fit.goal.part:
        loud["new, with initial weights"] = ["all but the backbone"]
    elif fit.style is TORCHVISION and align == "stride":
        loud["answers are torchvision's only at sizes that 8 divides; for its answers at all sizes, set"] = [_SIZES]
    notes = [f"{what}: {some(names)}" for what, names in {**quiet, **loud}.items() if names]
    level = logging.WARNING if any(loud.values()) else logging.INFO
    _log.log(level, "%s", "; ".join([f"{source}: loaded {loaded}{named}", *notes]))


def _check_finite(fit: Fit, *, source: str) -> None:
    tensors = {name: tensor.to(fit.goal.state[name].dtype) for name, tensor in fit.tensors.items()}
    if broken := not_finite(tensors, fit.goal.state):
        raise ModelFileError(f"{source} holds values that are not finite in {some(broken)}: take earlier weights")


def _what(destination: Destination, fit: Fit) -> str:
    return f"the backbone {destination.backbone_name}" if fit.goal.part else f"this network ({destination.name})"


def _reason(path: Path, fit: Fit, destination: Destination, tables: Mapping[str, Tensors]) -> str:
    """What is wrong with the nearest part of the file, whose names those are, and what to do."""
    problems = describe_problems(fit.problems)
    shapes = [line.split()[0] for line in fit.problems.get("of another shape", [])]
    only_shapes = set(fit.problems) == {"of another shape"}
    if only_shapes and set(shapes) == destination.by_class() & set(fit.tensors):
        return (
            f"{problems}. It was trained on another number of classes: leave the last layer new with "
            "model.new_head=true (Python: new_head=True), or build the network with the classes of the file"
        )
    hints = []
    if only_shapes and all(_is_permuted(fit.tensors[name], fit.goal.state[name]) for name in shapes):
        hints.append("The axes are in another order, as TensorFlow and Keras keep them: permute them first")
    return ". ".join([problems, *hints, _look(path, tables)])


def _is_permuted(tensor: Tensor, wanted: Tensor) -> bool:
    return tensor.shape != wanted.shape and sorted(tensor.shape) == sorted(wanted.shape)


def _look(path: Path, tables: Mapping[str, Tensors]) -> str:
    """Which network the file seems to be of, or how its names begin."""
    if re.search(r"-\d{5}-of-\d{5}", path.name):
        return "Its name says that it is one of several files: join their tensors in one"
    network = run_config(path).get("network", {})
    if theirs := network.get("name"):
        body = f" with the backbone {network['backbone']}" if network.get("backbone") else ""
        return f"config.json beside it says that it was saved from {theirs}{body}: build that network"
    for name, goal in _known_goals():
        for fit in fits_of(tables, [goal], [OURS, TORCHVISION, TIMMS_VGG]):
            if not fit.problems:
                names = f", in {fit.style.about}" if fit.style.about else ""
                below = f", below '{fit.position}'" if fit.position else ""
                return f"The tensors are those of {name}{names}{below}: build that network"
    names = list(max(tables.values(), key=len))
    first = names[0].split(".")[0]
    if len(names) > 1 and all(name.startswith(f"{first}.") for name in names):
        return f"All of its names begin with '{first}.', such as {some(names[:2])}"
    return f"Its names are such as {some(names[:3])}: build the network it was saved from"


@cache
def _known_goals() -> list[tuple[str, Goal]]:
    """Classifiers that others publish, without their last layers."""
    goals = []
    for name, row in BACKBONES.items():
        if name not in PUBLISHED["imagenet"]:
            continue
        with torch.device("meta"):
            body = cast(Backbone, row.build(in_channels=3))
            state = Classifier(body, cast(Callable, row.head)(body.channels[-1], row.classes)).state_dict()
        goals.append((name, Goal(state=state, new=frozenset(n for n in state if n.startswith("head.")))))
    return goals
