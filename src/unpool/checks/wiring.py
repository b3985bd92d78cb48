"""Every parameter is registered, used and gets a gradient, and no shapes are broadcast by accident."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.overrides import TorchFunctionMode

from unpool.checks.activations import DEAD_FAIL
from unpool.checks.answers import ask, targets_of
from unpool.checks.backward import SAMPLES, Backward
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.checks.source import picked
from unpool.tracing.foreign import foreign_code

DRAWN = 100  # labels: the share of runs of evenly drawn ones that leave out four fifths of the classes is 1e-70
UNEVEN_WARN = 1.1  # weight that falls on the most and on the least favoured output pixels; a divisible kernel has 1


def look_gradients(setup: Setup) -> list[Finding]:
    """Tells which trained parameters have no gradient, and why."""
    back = setup.backward
    trained = {name for name, weight in setup.model.named_parameters() if weight.requires_grad}
    if not trained:
        return [_nothing_trained()]
    if back.failure:
        return [_not_back(setup, back.failure)]
    results = [_unregistered(back)] if back.unregistered else []
    ran = setup.first_pass.modules | _ran_in_evaluation(setup)
    apart = trained - back.in_graph
    unused = sorted(name for name in apart if name.rpartition(".")[0] not in ran)
    cut = sorted(apart - set(unused))
    if unused:
        results.append(_unused(setup, unused))
    zero = (_never(setup, back) & back.in_graph) - _read_by_norms(setup)
    zero -= {name for name in zero if _is_balanced(name, trained - zero)}
    none = sorted(set(cut) | (set() if _is_dead(setup) else zero))
    if none:
        results.append(_no_gradient(none, trained, cut=set(cut)))
    return results or [passed(f"All {len(trained)} trained parameters have a gradient.", 0.0)]


def _is_balanced(name: str, learning: set[str]) -> bool:
    """Whether it is a bias whose weight learns: its gradients add up to 0, as before a softmax over one score."""
    layer, _, kind = name.rpartition(".")
    return kind == "bias" and f"{layer}.weight" in learning


def _never(setup: Setup, back: Backward) -> set[str]:
    """Trained parameters whose gradient is 0 in every step, or that the author's step leaves without one."""
    rehearsal = setup.rehearsal
    if not rehearsal.records:
        return set(back.zero)
    trained = {name for name, weight in setup.model.named_parameters() if weight.requires_grad}
    without = set(rehearsal.without_gradient) & set(rehearsal.unchanged) & trained
    return without if len(without) < len(trained) else set(back.zero) & without


def _is_dead(setup: Setup) -> bool:
    """Whether a whole layer never fires, or starts at 0: that is the reason for gradients of 0, and has its check."""
    return any(units.dead >= DEAD_FAIL for units in setup.first_pass.units) or any(
        weight.ndim > 1 and not bool((weight != 0).any()) for weight in setup.model.parameters()
    )


def _nothing_trained() -> Finding:
    return Finding(
        "fail", "No parameter of the network is trained: requires_grad is False for all.", 0.0, "norm.frozen",
        "Set requires_grad to True for at least the last layers.",
    )  # fmt: skip


def _not_back(setup: Setup, failure: str) -> Finding:
    if "does not require grad" not in failure:
        return not_applicable(f"the loss has no gradient: {failure}")
    return Finding(
        "fail", "The loss has no gradient to any parameter: it was computed from numbers that were cut off.", 0.0,
        "network.no_gradient", "Look in forward and in the loss for detach, .data, .item, numpy, torch.no_grad, "
        "argmax, "
        "round and a comparison, and use their soft forms.",
    )  # fmt: skip


def _unregistered(back: Backward) -> Finding:
    shapes = ", ".join(str(shape) for shape in back.unregistered[:4])
    return Finding(
        "fail", f"{len(back.unregistered)} parameters are used and not registered: neither the optimiser nor a saved "
        "file has "
        "them.", float(len(back.unregistered)), "network.unused_layer", "Hold layers in nn.ModuleList or "
        "nn.ModuleDict, not in "
        "a list or a dict, and weights in nn.Parameter or nn.ParameterList.", (f"shapes {shapes}",),
    )  # fmt: skip


def _ran_in_evaluation(setup: Setup) -> set[str]:
    """Names of the modules that run in evaluation mode, which may differ."""
    ran: set[str] = set()
    handles = [m.register_forward_hook(lambda *_, name=name: ran.add(name)) for name, m in setup.model.named_modules()]
    try:
        with foreign_code(), setup.trying(training=False), torch.no_grad():
            setup.outputs(picked(setup.train.batches(1)[0], slice(0, SAMPLES)))
    finally:
        for handle in handles:
            handle.remove()
    return ran


def _unused(setup: Setup, unused: list[str]) -> Finding:
    """Of a backbone the last layer may be left over; else a layer that is not used was forgotten in forward."""
    layers = sorted({name.rpartition(".")[0] for name in unused})
    is_rest = all("." in layer and _is_last_linear(setup.model, layer) for layer in layers)
    numbers = sum(weight.numel() for name, weight in setup.model.named_parameters() if name in unused)
    return Finding(
        "warn" if is_rest else "fail", f"{len(layers)} layers with {numbers:,} parameters are registered and never "
        "used: "
        f"{', '.join(layers[:4])}.", float(len(layers)), "network.unused_layer",
        "Remove the last layer of the backbone, or leave it if it does no harm." if is_rest else
        "Call these layers in forward, or remove them.", tuple(layers[:12]),
    )  # fmt: skip


def _is_last_linear(model: nn.Module, layer: str) -> bool:
    """Whether a layer is the last one of the module that holds it, and linear, as a backbone's classifier is."""
    parent = model.get_submodule(layer.rpartition(".")[0])
    weighted = [child for child in parent.children() if next(child.parameters(), None) is not None]
    return isinstance(model.get_submodule(layer), nn.Linear) and weighted[-1] is model.get_submodule(layer)


def _read_by_norms(setup: Setup) -> set[str]:
    """Biases that a norm subtracts: their gradient is 0 but for rounding."""
    return {f"{ran.name}.bias" for ran in setup.first_pass.layers if ran.next_norm}


def _no_gradient(names: list[str], trained: set[str], *, cut: set[str]) -> Finding:
    shown = ", ".join(names[:4])
    why = "their layers run and the loss is cut off from them" if cut else "it is 0 in every step"
    return Finding(
        "fail", f"{len(names)} of {len(trained)} trained parameters have no gradient ({shown}): {why}.",
        len(names) / len(trained), "network.no_gradient", "Look between these layers and the loss for detach, .data, "
            "numpy, "
        "torch.no_grad, argmax, round and a comparison, and for a factor of 0; exclude parameters that are not to "
        "learn "
        "by requires_grad_(False).", tuple(names[:12]),
    )  # fmt: skip


class _Broadcasts(TorchFunctionMode):
    """Notes results that are larger than each of two tensors: (B,) against (B, 1)."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        two = [one for one in args[:2] if isinstance(one, Tensor)]
        if len(two) == 2 and self._is_outer(two[0], two[1]):
            self.seen.append(f"{tuple(two[0].shape)} with {tuple(two[1].shape)}")
        return output

    def _is_outer(self, one: Tensor, other: Tensor) -> bool:
        """Whether the batch of one tensor meets another axis of the other, so that each sample meets all."""
        if one.ndim == 0 or other.ndim == 0 or one.shape == other.shape:
            return False
        shorter, longer = sorted((one, other), key=lambda value: value.ndim)
        if shorter.ndim == longer.ndim or self.samples not in shorter.shape[:1]:
            return False
        padded = (*(1,) * (longer.ndim - shorter.ndim), *shorter.shape)
        if not all(a == b or 1 in (a, b) for a, b in zip(padded, longer.shape, strict=True)):
            return False
        axis = longer.ndim - shorter.ndim  # where the shorter one's batch ends up
        return longer.shape[0] == self.samples and longer.shape[axis] in (1, self.samples)


def look_broadcast(setup: Setup) -> Finding:
    """Watches the loss for operations that broadcast the batch against another axis."""
    asked = ask(setup)
    if asked is None:
        return not_applicable("give loss= and outputs and targets that are tensors")
    samples = len(asked.targets) if asked.targets.ndim else 1
    if samples < 2 or setup.target_form == "vector":
        return not_applicable("a loss of pairs compares every sample with every other")
    samples = _unlike_other_axes(samples, asked.scores, asked.targets)
    with _Broadcasts(samples) as seen:
        asked.loss(asked.scores[:samples], asked.targets[:samples])
    shapes = f"outputs {tuple(asked.scores.shape)}, targets {tuple(asked.targets.shape)}"
    if not seen.seen:
        return passed(f"No operation of the loss broadcasts the batch: {shapes}.", 0.0)
    return Finding(
        "fail", f"The loss compares each sample with all of the batch: {shapes} are broadcast.", float(len(seen.seen)),
        "network.broadcast", "Give both the same shape: output.squeeze(1), or target.unsqueeze(1).",
        tuple(seen.seen[:4]),
    )  # fmt: skip


def _unlike_other_axes(samples: int, *values: Tensor) -> int:
    """So many samples, or a few less, that no other axis is as long by chance, as that of 16 words would be."""
    others = {length for value in values for length in value.shape[1:]}
    return next((n for n in range(samples, max(1, samples - 5), -1) if n not in others), samples)


def look_checkerboard(setup: Setup) -> Finding:
    """Measures how unevenly a transposed convolution covers its output."""
    layers = {name: m for name, m in setup.model.named_modules() if isinstance(m, _ConvTransposeNd)}
    if not layers:
        return passed("There is no transposed convolution.", 1.0)
    uneven = {name: _unevenness(layer) for name, layer in layers.items()}
    name, worst = max(uneven.items(), key=lambda item: item[1])
    about = f"The most favoured output pixels of {name} get {worst:.2f} times the weights of the least favoured"
    if worst < UNEVEN_WARN:
        return passed(f"{about}.", worst)
    layer = layers[name]
    return Finding(
        "warn", f"{about}: kernel {layer.kernel_size} is no multiple of stride {layer.stride}, which shows as a "
        "checkerboard.",
        worst, "network.checkerboard", "Use a kernel that the stride divides (4 for stride 2), or resize and convolve.",
        tuple(f"{one}: {value:.2f}" for one, value in uneven.items() if value >= UNEVEN_WARN),
    )  # fmt: skip


def _unevenness(layer: _ConvTransposeNd) -> float:
    """Of the taps that fall on each output pixel, the most over the least; by their weights where these interpolate."""
    worst = 1.0
    for axis, (kernel, stride) in enumerate(zip(layer.kernel_size, layer.stride, strict=True)):
        if stride == 1 or kernel % stride == 0:
            continue
        others = [one for one in range(layer.weight.ndim) if one != axis + 2]
        weights = layer.weight.detach().float().clamp_min(0).sum(others)
        is_smooth = bool((layer.weight.detach() >= 0).all())  # as of bilinear filters
        taps = weights if is_smooth else torch.ones(kernel)
        sums = torch.stack([taps[phase::stride].sum() for phase in range(stride)])
        worst *= float(sums.max() / sums.min().clamp_min(1e-6)) if kernel >= stride else float("inf")
    return worst


def look_output_size(setup: Setup) -> Finding:
    """Compares the number of outputs with the number of classes."""
    asked = ask(setup)
    if asked is None or asked.kind != "one of":
        return not_applicable("there are no scores of classes")
    outputs, names = asked.num_classes, len(setup.classes)
    labels = torch.cat([_labels(batch, outputs) for batch in setup.train.batches(8)])
    most, seen = int(labels.max()) + 1 if len(labels) else 0, len(labels)
    about = f"The network has {outputs} outputs; {seen:,} labels go up to {most - 1}" + (
        f", {names} names" if names else ""
    )
    is_more = names and outputs > names + 1
    is_surplus = not names and outputs >= 5 * most and _drawn_labels(setup) < outputs / 5
    is_fewer = names and outputs < names and not (names == outputs + 1 and most <= outputs)  # a name for void
    if is_fewer or is_more or is_surplus:
        return Finding(
            "fail", f"{about}: " + ("classes without an output." if outputs < names else "outputs that stand for no "
            "class."),
            outputs / max(1, names or most), "network.output_size", f"Give the last layer {names or most} outputs.",
            (f"{outputs} outputs", f"{names or most} classes"),
        )  # fmt: skip
    return passed(f"{about}.", outputs / max(1, names or most))


def _drawn_labels(setup: Setup) -> float:
    """How many classes samples drawn from the whole set go up to; infinity where there are too few to tell."""
    labels = [target for _, target in setup.train.samples(DRAWN)] if setup.train.dataset is not None else []
    whole = [torch.as_tensor(one).flatten() for one in labels if isinstance(one, Tensor | int)]
    if len(whole) < DRAWN / 2:
        return float("inf")
    values = torch.cat(whole)
    return float(values[values < 255].max()) + 1 if bool((values < 255).any()) else float("inf")


def _labels(batch: Any, outputs: int) -> Tensor:
    targets = targets_of(batch)
    if targets is None or isinstance(targets, Mapping):
        return torch.zeros(0, dtype=torch.long)
    flat = targets.flatten().long()
    return flat[(flat >= 0) & (flat < outputs) & (flat != 255)]


CHECKS = (
    Check(
        name="every parameter gets a gradient",
        subject="network",
        causes={
            "network.no_gradient": "Remove what cuts the gradient off: detach, .data, no_grad, argmax, round.",
            "network.unused_layer": "Call registered layers in forward; hold layers in nn.ModuleList.",
            "norm.frozen": "Train at least the last layers.",
        },
        symptom="Parts of the network stay as they began, and the result is that of a smaller network.",
        measure="One forward and backward pass: which parameters the loss was computed with, which have a gradient "
        "in the "
        "first steps, and which weights were used without being registered.",
        threshold="A trained parameter without a gradient fails; an unused last linear layer of a backbone warns.",
        origin="Exact, from the graph of the loss.",
        look=look_gradients,
    ),
    Check(
        name="no shapes are broadcast",
        subject="network",
        causes={"network.broadcast": "Give outputs and targets the same shape."},
        symptom="The loss falls to the variance of the targets and no further: the network predicts their mean.",
        measure="The operations of the loss whose two tensors have the batch on different axes, such as (B,) and (B, "
        "1).",
        threshold="Any fails.",
        origin="Exact; PyTorch's own warning covers mse_loss and l1_loss only.",
        look=look_broadcast,
        is_quick=True,
    ),
    Check(
        name="transposed convolutions cover evenly",
        subject="network",
        causes={"network.checkerboard": "Use a kernel that the stride divides, or resize and convolve."},
        symptom="A fine checkerboard in the output map.",
        measure="The taps that fall on each output pixel, the most over the least; of positive filters their weights.",
        threshold=f"From {UNEVEN_WARN} it warns.",
        origin="Odena et al. 2016, distill.pub/2016/deconv-checkerboard.",
        look=look_checkerboard,
        is_quick=True,
    ),
    Check(
        name="as many outputs as classes",
        subject="network",
        causes={"network.output_size": "Give the last layer one output for each class."},
        symptom="Some classes are never predicted, or the first epochs are spent on outputs that stand for nothing.",
        measure="The number of outputs against the names of the classes, or the largest label.",
        threshold="Fewer outputs than names fail, and more than one more (a background); without names five times "
        "the labels that are drawn.",
        origin="Exact with names; without, labels drawn evenly would reach a fifth of the outputs in every batch.",
        look=look_output_size,
        is_quick=True,
    ),
)
