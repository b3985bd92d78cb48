"""Optimisers by name, with weight decay kept off biases and normalisation.

Sources: nesterov, Sutskever et al. 2013, as torch writes it; rmsprop, Tieleman and Hinton 2012, lecture 6e of "Neural
networks for machine learning", whose 0.9 is torch's 0.99 here; adam, Kingma and Ba 2015 (arXiv:1412.6980); adamw,
Loshchilov and Hutter 2019 (arXiv:1711.05101). Momentum of sgd has no factor 1 - m.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from unpool.errors import RecipeError, quoted

FUSED_ON = ("cpu", "cuda")


def _without_compiler(kind: type[torch.optim.Optimizer]) -> Any:
    """The optimiser with its methods as they are written, no gradient in its step.

    torch wraps them to keep its compiler out, and the wrappers import the compiler for that: two seconds of each start.
    """
    names = ("step", "zero_grad", "add_param_group", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), methods | {"step": torch.no_grad()(methods["step"])})


class _CaffeSGD(torch.optim.Optimizer):
    """v = m v + lr (g + wd w); w -= v: the rate is part of the velocity, as in Caffe's solver.

    At a constant rate it takes the steps of "sgd", whose rate multiplies the whole velocity. Where the rate falls, the
    steps taken before go on at the higher rate here and at the lower one there.
    """

    def __init__(self, params: Any, lr: float = 0.01, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
            velocities = [self.state[weight]["momentum_buffer"] for weight in weights]
            rate, gradients = group["lr"], [weight.grad for weight in weights]
            multiply, add, subtract = torch._foreach_mul_, torch._foreach_add_, torch._foreach_sub_  # pyright: ignore[reportPrivateImportUsage]
            multiply(velocities, group["momentum"])
            add(velocities, gradients, alpha=rate)
            add(velocities, weights, alpha=rate * group["weight_decay"])
            subtract(weights, velocities)


SGD, AdamW, Adam = map(_without_compiler, (torch.optim.SGD, torch.optim.AdamW, torch.optim.Adam))
RMSprop, CaffeSGD = map(_without_compiler, (torch.optim.RMSprop, _CaffeSGD))
Build = Callable[..., torch.optim.Optimizer]
# by name: how it is made of groups and lr, and which of the further options it takes; RMSprop and ours are not fused
OPTIMIZERS: dict[str, tuple[Build, tuple[str, ...]]] = {
    "sgd": (SGD, ("momentum", "fused")),
    "nesterov": (partial(SGD, nesterov=True), ("momentum", "fused")),
    "caffe_sgd": (CaffeSGD, ("momentum",)),
    "rmsprop": (RMSprop, ("alpha",)),
    "adam": (Adam, ("fused",)),
    "adamw": (AdamW, ("fused",)),
}


def build_optimizer(  # noqa: PLR0913, keys of a recipe
    model: nn.Module,
    *,
    name: str,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    factors: Mapping[nn.Parameter, float] = MappingProxyType({}),
    rms_decay: float = 0.99,
    decay_norms: bool = False,
) -> torch.optim.Optimizer:
    """An optimiser over the weights that ask for a gradient, in two groups: decayed and not; fused where torch can.

    Biases, scales and shifts of normalisation are not decayed, nor is any other weight of one dimension: a decay there
    only changes the scale that the next layer sees. `decay_norms` decays them all the same.

    Args:
        model: moved to its device before.
        name: one of OPTIMIZERS; "adamw" takes the decay off the weights, all others add it to the gradient.
        lr: until a schedule says otherwise.
        momentum: for "sgd", "nesterov" and "caffe_sgd".
        weight_decay: of weights of two and more dimensions that are no bias and of no normalisation.
        factors: of the learning rate by weight, 1 where none; groups are divided by them.
        rms_decay: for "rmsprop", the share of the mean square gradient that a step keeps.
        decay_norms: whether the others are decayed too.

    Raises:
        RecipeError: nothing to train.
        ValueError: unknown name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer {quoted(name)} is unknown; choose one of {', '.join(OPTIMIZERS)}")
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if not trained:
        raise RecipeError("the network has no weight that requires a gradient: unfreeze a layer")
    spared = _spared(model)
    groups = [
        {"params": [weight for weight in trained if weight not in spared], "weight_decay": weight_decay},
        {"params": [weight for weight in trained if weight in spared], "weight_decay": weight_decay * decay_norms},
    ]
    groups = [part for group in groups if group["params"] for part in _by_factor(group, factors)]
    fused = all(weight.device.type in FUSED_ON and _is_dense(weight) for weight in trained)
    options = {"momentum": momentum, "alpha": rms_decay, "fused": fused}
    build, taken = OPTIMIZERS[name]
    return build(groups, lr=lr, **{option: options[option] for option in taken})


def _is_dense(weight: nn.Parameter) -> bool:
    """Whether the values lie side by side in memory, in any order, as fused steps take for granted: not every row."""
    return torch.empty_like(weight, device="meta").stride() == weight.stride()


def _spared(model: nn.Module) -> set[nn.Parameter]:
    """The weights that are not decayed; layer norms over several axes and biases of maps have several dimensions."""
    return {
        weight
        for layer in model.modules()
        for name, weight in layer.named_parameters(recurse=False)
        if weight.dim() <= 1 or name.endswith("bias") or isinstance(layer, nn.LayerNorm | nn.RMSNorm)
    }


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
