"""Compares a folded network with the one before: each norm in float64, the whole in its own precision."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.convert.folding.flow import tensors_by_name
from unpool.convert.folding.weights import Site, Weights, fold_sites
from unpool.errors import NotConvertible
from unpool.tracing.foreign import foreign_code
from unpool.tracing.outputs import difference, outputs_of
from unpool.tracing.probes import copy_network

# relative to the largest value; float32 on a GPU may be TF32, which is counted as float16
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
ROUNDINGS = 4  # times what one rounding of every weight does
OF_LARGEST = " of its largest value"
ADVICE = (
    "code that was compiled, that keeps values between calls, or that changes or reads its weights, may see that the "
    "norms are gone: fold its parts"
)


class Reference(NamedTuple):
    """Outputs of a network for an image before anything was folded: of each call of a norm, and of the network."""

    image: Tensor
    norms: list[tuple[str, Tensor]]
    outputs: list[Any]


def find_inexact(
    before: nn.Module,
    make: Callable[[], nn.Module],
    sites: Mapping[str, Site],
    weights: Mapping[str, Weights],
    images: list[Tensor],
) -> dict[str, str]:
    """Returns the norms without which the network computes something else, each with the reason.

    Args:
        before: the network, which may have run, first on the first image.
        make: returns a copy of it that has not run.
        sites: the norms by name.
        weights: folded weights of the layers before the norms.
        images: what both networks run on.

    Raises:
        NotConvertible: the outputs differ, but those of no norm.
    """
    references = [_reference(before, list(sites), image) for image in images]
    inexact: dict[str, str] = {}
    while True:
        rest = {name: site for name, site in sites.items() if name not in inexact}
        more: dict[str, str] = {}
        with foreign_code() as failure:
            more = _find_differing(fold_sites(make(), rest.values(), weights), list(rest), references)
        if failure:
            more = _find_needed(make, rest.values(), weights, images[0])
            if not more:
                raise NotConvertible(f"{_name(before)} cannot be folded: {failure}; {ADVICE}") from failure.error
        if not more:
            return inexact
        inexact |= more


def _reference(network: nn.Module, names: list[str], image: Tensor) -> Reference:
    norms: list[tuple[str, Tensor]] = []
    outputs = outputs_of(network, image, names, lambda name, x: norms.append((name, x.clone())))
    return Reference(image, norms, outputs)


def _find_differing(folded: nn.Module, names: list[str], references: list[Reference]) -> dict[str, str]:
    """Norms whose output differs; each emits its reference output, so that later norms are tested independently."""
    differing: dict[str, str] = {}
    for reference in references:
        calls = [call for call in reference.norms if call[0] in names]
        ran: list[str] = []

        def watch(name: str, x: Tensor, calls: list[tuple[str, Tensor]] = calls, ran: list[str] = ran) -> Tensor | None:
            ran.append(name)
            expected, y = calls[len(ran) - 1] if len(ran) <= len(calls) else ("", x)
            off = difference(y, x) if name == expected else 0.0
            if off <= TOLERANCE.get(y.dtype, 1e-4):
                return None
            differing.setdefault(name, f"folded it differs by {off:.1e}{OF_LARGEST}")
            return y.clone()

        outputs = outputs_of(folded, reference.image, names, watch)
        if ran != [name for name, _ in calls]:
            raise NotConvertible("other layers run")
        limits = [TOLERANCE.get(getattr(part, "dtype", _dtype(reference)), 1e-4) for part in reference.outputs]
        if not differing and (text := _describe_difference(reference.outputs, outputs, limits)):
            raise NotConvertible(text)
    return differing


def _find_needed(
    make: Callable[[], nn.Module], sites: Iterable[Site], weights: Mapping[str, Weights], image: Tensor
) -> dict[str, str]:
    """Norms without which, one at a time, the network does not run."""
    needed = {}
    for site in sites:
        folded = fold_sites(make(), [site], weights)
        with foreign_code() as failure:
            folded(image.clone())
        if failure:
            needed[site.norm] = f"without it the network does not run ({failure})"
    return needed


def require_same_outputs(network: nn.Module, folded: nn.Module, names: list[str], image: Tensor) -> None:
    """Compares fresh copies of two networks in the precision in which they are used.

    Args:
        network: before folding.
        folded: after it.
        names: the norms that are gone.
        image: in any precision.

    Raises:
        NotConvertible: their outputs differ by more than a rounding of the weights changes them.
    """
    reference = _reference_in_used_precision(network, names, image)
    dtype = _dtype(reference)
    outputs: list[Any] = []
    with foreign_code() as failure:
        outputs = outputs_of(copy_network(folded), reference.image)
    if failure:
        raise NotConvertible(
            f"{_name(network)} cannot be folded: then it does not run ({failure}); {ADVICE}"
        ) from failure.error
    limits = [TOLERANCE[dtype]] * len(reference.outputs)
    if not _describe_difference(reference.outputs, outputs, limits):
        return
    rounded = outputs_of(_rounded(network, torch.finfo(dtype).eps), reference.image)
    if len(rounded) == len(limits):
        pairs = zip(reference.outputs, rounded, strict=True)
        limits = [max(limits[0], ROUNDINGS * difference(*pair)) for pair in pairs]
    if text := _describe_difference(reference.outputs, outputs, limits):
        raise NotConvertible(f"{_name(network)} cannot be folded: {text} in its own precision; {ADVICE}")


def _reference_in_used_precision(network: nn.Module, names: list[str], image: Tensor) -> Reference:
    """Runs the network on the image as it is, else on the image in the dtype of the weights."""
    weight = next((x for x in network.parameters() if x.is_floating_point()), image)
    fault = None
    for x in (image.to(weight.device), image.to(weight)):
        with foreign_code(passing=NotConvertible) as failure:
            return _reference(copy_network(network), names, x)
        fault = failure
    raise NotConvertible(
        f"{_name(network)} takes an image of {'x'.join(map(str, image.shape[-2:]))} in float64 alone, not in its own "
        f"precision ({fault}): give one that it takes as image="
    ) from (fault.error if fault else None)


def _dtype(reference: Reference) -> torch.dtype:
    """The coarsest precision among the outputs."""
    seen = [x for x in (*reference.outputs, *(x for _, x in reference.norms)) if isinstance(x, Tensor)]
    if reference.image.is_cuda:
        seen.append(torch.empty(0, dtype=torch.float16))
    return max((x.dtype for x in seen if x.dtype in TOLERANCE), key=TOLERANCE.__getitem__, default=torch.float32)


@torch.no_grad()
def _rounded(network: nn.Module, eps: float) -> nn.Module:
    """A copy whose weights are rounded up or down at random."""
    network, generator = copy_network(network), torch.Generator().manual_seed(0)
    for x in {id(x): x for x in tensors_by_name(network).values() if x.is_floating_point()}.values():
        sign = torch.randint(2, x.shape, generator=generator) * 2 - 1
        x.mul_((1 + eps * sign).to(x))
    return network


def _describe_difference(expected: list[Any], outputs: list[Any], limits: list[float]) -> str:
    """Says how outputs differ from the expected ones; empty where each part is within its limit."""
    if len(expected) != len(outputs):
        return f"its output has {len(outputs)} parts instead of {len(expected)}"
    for a, b, limit in zip(expected, outputs, limits, strict=True):
        off, old, new = difference(a, b), _describe(a), _describe(b)
        if off > limit:
            different = f"its output differs by {off:.1e}{OF_LARGEST}"
            return f"its output has {new} instead of {old}" if old != new else different
    return ""


def _describe(part: Any) -> str:
    if isinstance(part, Tensor):
        return f"{str(part.dtype).removeprefix('torch.')} of {'x'.join(map(str, part.shape))}"
    return repr(part)[:40]


def _name(network: nn.Module) -> str:
    return type(network).__name__
