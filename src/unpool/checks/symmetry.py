"""Units of a layer that start equal and stay equal are one unit."""

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.checks.source import picked
from unpool.tracing.foreign import foreign_code

STEPS, RATE = 3, 0.05  # of steepest descent, each changing the weights by so much of their size
SAMPLES = 16


def look_symmetric(setup: Setup) -> Finding:
    """Finds layers whose units are equal, and takes steps to see whether they stay so."""
    units = {name: weight for name, layer in setup.model.named_modules() if (weight := _by_unit(layer)) is not None}
    if not units:
        return not_applicable("no layer has several trained units")
    equal = [name for name, weight in units.items() if _are_equal(weight)]
    if not equal:
        return passed(f"In each of {len(units)} layers the units start from different weights.", 0.0)
    stay = _after_steps(setup, equal)
    about = f"In {len(equal)} of {len(units)} layers all units start from the same weights ({', '.join(equal[:3])})"
    if stay is None:
        return not_applicable(f"{about}; give loss= to tell whether they stay equal")
    if not stay:
        is_zero = all(bool((units[name] == 0).all()) for name in equal)
        if is_zero:
            return passed(f"{about}, all 0, and they differ after {STEPS} steps.", 0.0)
        return Finding(
            "warn", f"{about}; they differ after {STEPS} steps, but start as one unit.", len(equal) / len(units),
            "network.symmetric", "Start weights from random numbers, as nn.init.kaiming_normal_ "
            "does.", tuple(equal[:12]),
        )  # fmt: skip
    return Finding(
        "fail", f"{about}, and in {len(stay)} of them they are still equal after {STEPS} steps: each of these layers "
        "is one "
        "unit, however many it has.", len(stay) / len(units), "network.symmetric",
        "Start weights from random numbers, as nn.init.kaiming_normal_ does, never from one "
        "constant.", tuple(stay[:12]),
    )  # fmt: skip


def _by_unit(layer: nn.Module) -> Tensor | None:
    """(units, inputs): the trained weights of a layer with several units that read the same inputs."""
    if not isinstance(layer, nn.Linear | _ConvNd) or not isinstance(layer.weight, Tensor):
        return None
    weight = layer.weight.detach()
    if isinstance(layer, _ConvNd) and layer.groups > 1:
        return None
    if isinstance(layer, _ConvTransposeNd):
        weight = weight.transpose(0, 1)
    return weight.flatten(1) if layer.weight.requires_grad and weight.shape[0] > 1 else None


def _are_equal(weight: Tensor) -> bool:
    return bool(((weight - weight[:1]).abs() <= 1e-6 * weight.abs().max()).all())


def _after_steps(setup: Setup, names: list[str]) -> list[str] | None:
    """Those layers whose units are still equal after steps without dropout; None where there is no gradient."""
    if setup.loss is None:
        return None
    batch = picked(setup.train.batches(1)[0], slice(0, SAMPLES))
    weights = [weight for weight in setup.model.parameters() if weight.requires_grad]
    with setup.trying(training=True), foreign_code() as failure:
        for module in setup.model.modules():
            if isinstance(module, _DropoutNd):
                module.eval()
        for _ in range(STEPS):
            loss = setup.loss_of(setup.outputs(batch), batch)
            _descend(weights, torch.autograd.grad(loss, weights, allow_unused=True))
        layers = dict(setup.model.named_modules())
        return [name for name in names if (weight := _by_unit(layers[name])) is not None and _are_equal(weight)]
    return None if failure else []


def _descend(weights: list[nn.Parameter], gradients: tuple[Tensor | None, ...]) -> None:
    pairs = [(w, g) for w, g in zip(weights, gradients, strict=True) if g is not None]
    size = torch.stack([w.detach().square().sum() for w, _ in pairs]).sum().sqrt().clamp_min(1e-3)
    slope = torch.stack([g.square().sum() for _, g in pairs]).sum().sqrt().clamp_min(1e-20)
    with torch.no_grad():
        for weight, gradient in pairs:
            weight -= RATE * size / slope * gradient


CHECKS = (
    Check(
        name="units start different",
        subject="network",
        causes={"network.symmetric": "Start weights from random numbers."},
        symptom="A wide network learns no more than one with a single unit in each layer.",
        measure=f"Layers whose units have equal weights, at the start and after {STEPS} steps of steepest descent.",
        threshold="Units that stay equal fail; units that start equal, not 0, and come apart warn.",
        origin="Exact: equal units with equal gradients stay equal. A last layer of zeros comes apart at the first "
        "step.",
        look=look_symmetric,
        is_quick=True,
    ),
)
