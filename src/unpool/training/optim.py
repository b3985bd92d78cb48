"""Optimisers by name, with weight decay kept off biases and normalisation."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from unpool.errors import RecipeError, quoted

OPTIMIZERS = ("sgd", "adamw", "adam")
FUSED_ON = ("cpu", "cuda")


def _without_compiler(kind: type[torch.optim.Optimizer]) -> Any:
    """The optimiser with its methods as they are written, no gradient in its step.

    torch wraps them to keep its compiler out, and the wrappers import the compiler for that: two seconds of each start.
    """
    names = ("step", "zero_grad", "add_param_group", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), methods | {"step": torch.no_grad()(methods["step"])})


SGD, AdamW, Adam = map(_without_compiler, (torch.optim.SGD, torch.optim.AdamW, torch.optim.Adam))


def build_optimizer(
    model: nn.Module,
    *,
    name: str,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    factors: Mapping[nn.Parameter, float] = MappingProxyType({}),
) -> torch.optim.Optimizer:
    """A fused optimiser over the weights that ask for a gradient, in two groups: decayed and not.

    Weights of one dimension (biases, scales and shifts of normalisation) are not decayed: a decay there only
    changes the scale that the next layer sees.

    Args:
        model: moved to its device before.
        name: one of OPTIMIZERS; "adam" adds the decay to the gradient, "adamw" takes it off the weights.
        lr: until a schedule says otherwise.
        momentum: for "sgd".
        weight_decay: of weights of two and more dimensions.
        factors: of the learning rate by weight, 1 where none; groups are divided by them.

    Raises:
        RecipeError: nothing to train.
        ValueError: unknown name.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if not trained:
        raise RecipeError("the network has no weight that requires a gradient: unfreeze a layer")
    groups = [
        {"params": [weight for weight in trained if weight.dim() > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in trained if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [part for group in groups if group["params"] for part in _by_factor(group, factors)]
    fused = all(weight.device.type in FUSED_ON for weight in trained)
    if name == "sgd":
        return SGD(groups, lr=lr, momentum=momentum, fused=fused)
    if name == "adamw":
        return AdamW(groups, lr=lr, fused=fused)
    if name == "adam":
        return Adam(groups, lr=lr, fused=fused)
    raise ValueError(f"optimizer {quoted(name)} is unknown; choose one of {', '.join(OPTIMIZERS)}")


def _by_factor(group: dict[str, Any], factors: Mapping[nn.Parameter, float]) -> list[dict[str, Any]]:
    """A group as one group for each factor of the learning rate."""
    of_weights = [factors.get(weight, 1.0) for weight in group["params"]]
    return [
        {**group, "factor": one, "params": [w for w, f in zip(group["params"], of_weights, strict=True) if f == one]}
        for one in dict.fromkeys(of_weights)
    ]


def check_weights(model: nn.Module) -> None:
    """Raises RecipeError where weights of a network are not numbers in float32, from which training starts."""
    for name, weight in model.named_parameters():
        if isinstance(weight, UninitializedParameter):
            raise RecipeError(
                f"weight {name} of the network has no shape yet: run the network once on a batch of images"
            )
        if weight.is_meta:
            raise RecipeError(f"weight {name} of the network is on device meta, without values: build it on the cpu")
        if weight.dtype != torch.float32:
            kind = str(weight.dtype).removeprefix("torch.")
            raise RecipeError(
                f"weight {name} of the network is {kind}; expected float32: call its float(), and train.precision "
                "chooses what it computes in"
            )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Gives every group this learning rate, times the group's factor where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("factor", 1.0)
