"""Matches the names in a file of weights with those of a network, by name and shape and never by position.

Tools put words before the names that a network gives (`module.`, `_orig_mod.`, `model.`), keep several sets of weights
in one file, and packages call the same layers differently. Each table of a file is compared with the network below
each prefix and in each package's names; what fits as a whole is used. Two that fit are refused, unless one is the
average of the other.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from unpool.errors import ModelFileError
from unpool.models.adapting import adapted

Tensors = Mapping[str, Tensor]
COUNT = "num_batches_tracked"  # of a norm; files from before torch 0.4.1, and of some tools, lack it
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")  # that torch puts into names
_AVERAGE = re.compile(r"(?<![^/._-])(ema|averaged?|averages|averaging|shadow)(?![^/._-])", re.IGNORECASE)
_OPTIMIZER = re.compile(  # what an optimizer keeps for each weight; MoCo's `momentum_encoder` is a network
    r"(?<![^/._-])(optimi[sz]ers?|optim|exp_avg(_sq)?)(?![^/._-])|(?<![^/.])momentum(_buffers?)?(?![^/.])",
    re.IGNORECASE,
)
_DEEPEST = 4  # parts of a prefix


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The network that gets weights.

    Attributes:
        network: built, with its initial weights.
        name: of its row.
        backbone_name: of the row of `network.backbone`, of a composed network; None for other networks.
        classifier: of the row whose classifier a localizer adds its layers of boxes to; None for other networks.
        new: names that keep their initial weights, of a new head; empty unless the user asks for one.
        by_class: returns the names of the tensors whose shapes depend on the number of classes.
        in_channels: that the user asked for; None where the first layer may not be derived.
        settings: backbone and options that the network was built with, by name; defaults included.
        defaults: what each of them is where it is left out.
    """

    network: nn.Module
    name: str
    backbone_name: str | None = None
    classifier: str | None = None
    new: frozenset[str] = frozenset()
    by_class: Callable[[], frozenset[str]] = frozenset
    in_channels: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A network, or the backbone in one, that a table of tensors may fit.

    Attributes:
        state: tensors of the network by name.
        part: "" for the whole network; else the path of the module, "backbone".
        may_stay: whether a name of the file that the goal lacks may stay unused, such as one of a classifier's head.
        new: names that are not taken from the file, such as those of a new head.
        in_channels: that the network was built with; None where the first layer may not be derived from the file's.
        decisive: names of which a file has most only if it is meant for this goal, so that no later one may be chosen.
        of: the rows that the file may be of, where that is not the network's alone.
    """

    state: Tensors
    part: str = ""
    may_stay: Callable[[str], bool] = lambda _: False
    new: frozenset[str] = frozenset()
    in_channels: int | None = None
    decisive: frozenset[str] = frozenset()
    of: tuple[str, ...] = ()


class Style(NamedTuple):
    """How a package names the layers of our networks.

    Attributes:
        about: whose names, for the report; "" for ours.
        rename: from the package's tensors to ours; raises ModelFileError where a name is none of the package's.
    """

    about: str
    rename: Callable[[Tensors], dict[str, Tensor]]


OURS = Style("", dict)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How far a part of a file fits a goal.

    Attributes:
        goal, style: that were compared.
        table: position of the table in the file, "" for a file that is one.
        prefix: before the names; "" for none.
        tensors: by the names of the goal, as the file has them.
        unused: names in the table, as the file has them, that are not used.
        problems: lists of names by what is wrong with them; empty where the part fits.
    """

    goal: Goal
    style: Style
    table: str
    prefix: str
    tensors: dict[str, Tensor]
    unused: list[str]
    problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_average(self) -> bool:
        return bool(_AVERAGE.search(self.position))

    @property
    def is_of_optimizer(self) -> bool:
        return bool(_OPTIMIZER.search(self.position))

    @property
    def position(self) -> str:
        """Where in the file the part lies; empty for the whole of it."""
        return "/".join(filter(None, (self.table, self.prefix)))

    @property
    def matching(self) -> int:
        return len(self.tensors) - len(self.problems.get("of another shape", []))


def fits_of(tables: Mapping[str, Tensors], goals: Sequence[Goal], styles: Sequence[Style]) -> list[Fit]:
    """Returns every part of a file, but an optimizer's, compared with every goal in every style.

    Args:
        tables: of the file, by their position.
        goals: in the order in which they are preferred.
        styles: in which the names may be.
    """
    fits = [fit for table, tensors in tables.items() for fit in _fits(table, tensors, goals, styles)]
    return [fit for fit in fits if not fit.is_of_optimizer]


def best_fit(fits: Sequence[Fit], goals: Sequence[Goal], *, source: str) -> Fit:
    """Returns the part of a file that fits a goal; where none does, the one that is nearest, with its problems.

    Args:
        fits: as `fits_of` returns them.
        goals: as they were given to it.
        source: the file, for the message.

    Raises:
        ModelFileError: several parts fit and none is the average of another, or all are an optimizer's.
    """
    if not fits:
        raise ModelFileError(f"{source} holds what an optimizer keeps and no network: save the weights of the network")
    nearest = max(fits, key=lambda fit: (fit.matching, -sum(map(len, fit.problems.values()))))
    for goal in goals:
        of_goal = [fit for fit in fits if fit.goal is goal]
        whole = {
            tuple(tensor.data_ptr() for tensor in fit.tensors.values()): fit
            for fit in reversed(of_goal)
            if not fit.problems
        }
        averages = [fit for fit in whole.values() if fit.is_average]
        if len(whole) > 1 and len(averages) != 1:
            names = " and ".join(f"'{fit.position}'" for fit in reversed(whole.values()))
            raise ModelFileError(
                f"{source} holds more than one set of weights that fits: {names}; save one of them alone"
            )
        if whole:
            return averages[0] if averages else next(iter(whole.values()))
        meant = [fit for fit in of_goal if 2 * len(goal.decisive & set(fit.tensors)) > len(goal.decisive)]
        if meant:
            return max(meant, key=lambda fit: fit.matching)
    return nearest


def _fits(table: str, tensors: Tensors, goals: Sequence[Goal], styles: Sequence[Style]) -> Iterator[Fit]:
    plain = without_wrappers(tensors, {part for goal in goals for name in goal.state for part in name.split(".")})
    fewest = min(len(goal.state) for goal in goals) / 2
    in_file = dict(zip(plain, tensors, strict=True))
    for prefix in _prefixes(plain, fewest):
        group = {name.removeprefix(prefix): t for name, t in plain.items() if name.startswith(prefix)}
        outside = [in_file[name] for name in plain if not name.startswith(prefix)]
        for style in styles:
            try:
                renamed = style.rename(group)
            except ModelFileError:
                continue
            if len(renamed) < len(group):  # two names became one: they are not this package's
                continue
            theirs = {ours: in_file[prefix + name] for ours, name in zip(renamed, group, strict=True)}
            for goal in goals:
                fit = _compare(goal, renamed, style, table=table, prefix=prefix, theirs=theirs)
                yield replace(fit, unused=[*outside, *fit.unused])


def without_wrappers(tensors: Tensors, known: set[str]) -> dict[str, Tensor]:
    """Returns the tensors with the words of DataParallel, `torch.compile` and FSDP taken out of their names.

    Args:
        tensors: by name.
        known: parts of names that the network has itself: they stay.
    """
    words = [word for word in WRAPPERS if word not in known]
    plain = {".".join(p for p in name.split(".") if p not in words): t for name, t in tensors.items()}
    return plain if len(plain) == len(tensors) else dict(tensors)


def _prefixes(names: Mapping[str, object], fewest: float) -> list[str]:
    counts: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        for depth in range(min(len(parts), _DEEPEST)):
            prefix = "".join(f"{part}." for part in parts[:depth])
            counts[prefix] = counts.get(prefix, 0) + 1
    return [prefix for prefix, count in counts.items() if count >= fewest or not prefix]


def _compare(goal: Goal, renamed: Tensors, style: Style, *, table: str, prefix: str, theirs: dict[str, str]) -> Fit:
    if goal.part:
        renamed = {name.removeprefix("backbone."): tensor for name, tensor in renamed.items()}
        theirs = {name.removeprefix("backbone."): in_file for name, in_file in theirs.items()}
    used = {name: renamed[name] for name in goal.state if name in renamed and name not in goal.new}
    extra = [name for name in renamed if name not in goal.state]
    return Fit(
        goal=goal,
        style=style,
        table=table,
        prefix=prefix,
        tensors=used,
        unused=[theirs[name] for name in renamed if name not in used],
        problems={what: names for what, names in _problems(goal, used, extra).items() if names},
    )


def _problems(goal: Goal, used: Tensors, extra: list[str]) -> dict[str, list[str]]:
    state = goal.state
    shapes = adapted(used, state, num_classes=None, in_channels=goal.in_channels)
    return {
        "missing": [n for n in state if n not in used and n not in goal.new and not n.endswith(COUNT)],
        "not in this network": [n for n in extra if not goal.may_stay(n)],
        "of another shape": [
            f"{name} {tuple(tensor.shape)} for {tuple(state[name].shape)}"
            for name, tensor in used.items()
            if shapes[name].shape != state[name].shape
        ],
        "of another kind": [
            f"{name} {tensor.dtype} for {state[name].dtype}"
            for name, tensor in used.items()
            if tensor.is_floating_point() != state[name].is_floating_point()
        ],
    }
