"""Whether weight decay is on what it is meant for, and no stronger than the training."""

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup

FORGOTTEN = 100  # steps in which decay alone may take weights to 1/e, at least
STRONG = 0.05  # the smallest decay of AdamW's that published recipes keep away from norms and biases
NORMS = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._NormBase)


def look_decay(setup: Setup) -> Finding:
    """Computes how fast decay alone makes weights small, and what it acts on."""
    if setup.optimizer is None:
        return not_applicable("no optimiser is known: pass optimizer=")
    groups = [group for group in setup.optimizer.param_groups if group.get("weight_decay", 0.0)]
    if not groups:
        return passed("no weight decay", 0.0)
    strongest = max(groups, key=_shrinkage)
    about = f"weight decay {strongest['weight_decay']:.3g} at a rate of {_rate(strongest):.3g}"
    adaptive = _outweighed(setup, groups)
    if adaptive is not None:
        return adaptive
    steps = math.inf if _shrinkage(strongest) == 0 else 1 / _shrinkage(strongest)
    if steps < FORGOTTEN:
        return Finding(
            "fail",
            f"{about} alone takes weights to a third within {steps:.0f} steps",
            steps,
            "optim.decay_on_norms",
            "lower the decay: with SGD it is 1e-4 to 5e-4, with AdamW, which multiplies it by the rate, 0.01 to 0.1",
            (f"a step leaves {100 * (1 - 1 / steps):.1f} % of a weight, by rate, decay and momentum",),
        )
    return _on_norms(setup) or passed(f"{about} alone takes weights to a third in {steps:.0f} steps", steps)


def _rate(group: dict[str, Any]) -> float:
    """The rate of a group, or the one that a schedule started from where it is 0 now."""
    return float(group["lr"]) or float(group.get("initial_lr", 0.0))


def _shrinkage(group: dict[str, Any]) -> float:
    """Share of a weight that decay alone takes away a step; 0 where the optimiser divides it by the gradients' size."""
    if _is_divided(group):
        return 0.0
    momentum = float(group.get("momentum", 0.0)) if "betas" not in group else 0.0
    return _rate(group) * float(group["weight_decay"]) / max(1e-6, 1 - momentum)


def _is_divided(group: dict[str, Any]) -> bool:
    """Whether decay is added to the gradient and divided with it (Adam), not taken from the weights (AdamW)."""
    is_adaptive = "betas" in group or "alpha" in group or "rho" in group
    return is_adaptive and group.get("decoupled_weight_decay") is False


def _outweighed(setup: Setup, groups: list[dict[str, Any]]) -> Finding | None:
    """Decay that is added to gradients which are smaller than it: the optimiser then trains decay, not the loss."""
    divided = [group for group in groups if _is_divided(group)]
    first = next((one for record in setup.rehearsal.records for one in record.applied if one.grad_norm > 0), None)
    if not divided or first is None:
        return None
    size = sum((float(group["weight_decay"]) * _norm(group["params"])) ** 2 for group in divided) ** 0.5
    if size < first.grad_norm:
        return None
    return Finding(
        "fail",
        f"weight decay adds {size:.3g} to a gradient of {first.grad_norm:.3g}: the optimiser follows the decay",
        size / first.grad_norm,
        "optim.decay_on_norms",
        "use AdamW, which takes decay from the weights themselves, or lower it to 1e-4",
        (f"weight_decay={divided[0]['weight_decay']:.3g} of {type(setup.optimizer).__name__}",),
    )


def _norm(weights: list[Tensor]) -> float:
    return sum(float(weight.detach().float().square().sum()) for weight in weights) ** 0.5


def _on_norms(setup: Setup) -> Finding | None:
    """Strong decay, in the sense of AdamW, on scales of norms."""
    scales = dict(_scales(setup.model))
    known = {id(weight): name for name, weight in scales.items()}
    groups = [] if setup.optimizer is None else setup.optimizer.param_groups
    strong = {
        known[id(weight)]: float(group["weight_decay"])
        for group in groups
        if float(group.get("weight_decay", 0.0)) >= STRONG and not _is_divided(group)
        for weight in group["params"]
        if id(weight) in known
    }
    if not strong:
        return None
    decay = max(strong.values())
    return Finding(
        "warn",
        f"weight decay {decay:.3g} draws the scales of {len(strong)} norms to 0, where they multiply what passes",
        decay,
        "optim.decay_on_norms",
        "give the optimiser two groups: weights of convolutions and linear layers with decay; norms and biases with "
        "weight_decay=0",
        tuple(strong)[:8],
    )


def _scales(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, part in model.named_modules():
        if isinstance(part, NORMS) and isinstance(part.weight, Tensor):
            yield f"{name}.weight", part.weight


CHECKS = (
    Check(
        "weight decay is moderate, and on weights",
        "optim",
        {"optim.decay_on_norms": "lower the decay, and give norms and biases a group without it"},
        "The loss stops to fall at a high level in training and validation alike; weights become small.",
        "Rate times decay, over 1 minus momentum: what decay alone takes from a weight in a step. Of optimisers that "
        "divide decay with the gradient, its size against that of the gradient.",
        f"A failure where decay alone takes weights to 1/e within {FORGOTTEN} steps, or outweighs the gradient; "
        "a warning "
        f"where scales of norms have a decay of {STRONG} or more.",
        "Arithmetic of the update; Loshchilov and Hutter 2019, arXiv:1711.05101, on the two kinds of decay. Healthy "
        "recipes take 1,000 steps and more (SGD 0.1, 5e-4, momentum 0.9: 2,000). Recipes with AdamW at 0.05 "
        "leave norms "
        "out (Liu et al. 2022, arXiv:2201.03545, table 5).",
        look_decay,
        is_quick=True,
    ),
)
