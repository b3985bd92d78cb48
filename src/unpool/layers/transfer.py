"""The parts of a network that transfer: its backbone, the stages of that, and how they are frozen."""

from collections.abc import Sequence
from types import MethodType

from torch import nn

from unpool.errors import RecipeError, quoted

BACKBONE = "backbone"
_LISTED = 12


def backbone_parts(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts of a network that do not depend on what it answers: its module `backbone`, or all before the last.

    Raises:
        RecipeError: all weights are in one part.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        >>> [name for name, _ in backbone_parts(network)]
        ['0']
    """
    children = [(name, part) for name, part in network.named_children() if any(True for _ in part.parameters())]
    named = [(name, part) for name, part in children if name == BACKBONE]
    if not named and len(children) < 2:
        raise RecipeError(
            f"{type(network).__name__} has no module {BACKBONE} and no layers before its last one, so that nothing of "
            "it can be frozen or trained at another rate by that name"
        )
    return named or children[:-1]


def stages_of(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The stages of a network's backbone by name, the one that sees the image first.

    Numbered parts, such as `backbone.stages.0`, are stages; other parts are one each, such as `backbone.stem` or, of
    networks that number by names, `layer1`.

    Raises:
        RecipeError: as `backbone_parts`.

    Example:
        >>> body = nn.ModuleDict({"stem": nn.Conv2d(3, 8, 3), "stages": nn.ModuleList([nn.Conv2d(8, 8, 3)])})
        >>> network = nn.ModuleDict({"backbone": body, "head": nn.Linear(8, 2)})
        >>> [name for name, _ in stages_of(network)]
        ['backbone.stem', 'backbone.stages.0']
    """
    stages: list[tuple[str, nn.Module]] = []
    parts = backbone_parts(network)
    if [name for name, _ in parts] == [BACKBONE]:
        parts = [(f"{BACKBONE}.{name}", part) for name, part in parts[0][1].named_children()] or parts
    for name, part in parts:
        inner = list(part.named_children())
        is_numbered = bool(inner) and all(key.isdigit() for key, _ in inner) and not name[-1].isdigit()
        stages += [(f"{name}.{key}", one) for key, one in inner] if is_numbered else [(name, part)]
    return [(name, part) for name, part in stages if any(True for _ in part.parameters())]


def freeze(network: nn.Module, names: Sequence[str]) -> None:
    """Freezes parts of a network in place: their weights get no gradient, and they stay in evaluation mode.

    So the running statistics of batch norm are kept too, and dropout rests (Yosinski et al. 2014, arXiv:1411.1792,
    freeze copied layers so). `network.train()` leaves them as they are, also in copies of the network.

    Args:
        network: its parts are changed.
        names: "backbone" for all but the head, or dotted names of modules, such as "backbone.stages.0".

    Raises:
        RecipeError: no part is called so.

    Example:
        >>> network = nn.ModuleDict({"backbone": nn.BatchNorm2d(3), "head": nn.Linear(3, 2)})
        >>> freeze(network, ["backbone"])
        >>> network.train()["backbone"].training, [name for name, w in network.named_parameters() if w.requires_grad]
        (False, ['head.weight', 'head.bias'])
    """
    modules = dict(network.named_modules())
    for name in names:
        if name == BACKBONE:
            parts = [part for _, part in backbone_parts(network)]
        elif name in modules and name:
            parts = [modules[name]]
        else:
            known = [BACKBONE, *(stage for stage, _ in stages_of(network))]
            more = ", ..." if len(known) > _LISTED else ""
            raise RecipeError(
                f"model.frozen names {quoted(name)}, which is no part of the network; its stages are "
                f"{', '.join(known[:_LISTED])}{more}, and any module's dotted name will do"
            )
        for part in parts:
            part.requires_grad_(requires_grad=False)
            for module in part.modules():
                module.training = False
            vars(part)["train"] = MethodType(_stay, part)


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:  # noqa: FBT001, FBT002 - torch's own signature
    """What `train` is of a frozen part."""
    return module


def rate_factors(network: nn.Module, *, backbone: float, decay: float) -> dict[nn.Parameter, float]:
    """Factors of the learning rate for weights of the backbone; others have 1.

    Args:
        network: of a backbone and more.
        backbone: factor for all of the backbone.
        decay: further factor for each stage that lies between a stage and the end of the backbone, so that layers that
            see the image first, which transfer best, change least.

    Raises:
        RecipeError: the network has no backbone, or `decay` is set and it has no stages.

    Example:
        >>> body = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> network = nn.ModuleDict({"backbone": body, "head": nn.Linear(2, 2)})
        >>> list(rate_factors(network, backbone=0.1, decay=0.5).values())
        [0.05, 0.05, 0.1, 0.1]
    """
    if backbone == decay == 1:
        return {}
    stages = stages_of(network)
    if decay != 1 and len(stages) < 2:
        raise RecipeError(
            f"train.layer_decay is {decay} and the backbone of {type(network).__name__} has one stage only"
        )
    factors = {weight: backbone for _, part in backbone_parts(network) for weight in part.parameters()}
    for behind, (_, part) in enumerate(reversed(stages)):
        factors |= dict.fromkeys(part.parameters(), backbone * decay**behind)
    return factors
