"""A folded network beside the one before: norm by norm in float64, and the answer in the precision of its own."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.convert.folding.flow import tensors_by_name
from unpool.convert.folding.weights import Site, Weights, absorb
from unpool.errors import NotConvertible
from unpool.tracing.graph import FAULTS
from unpool.tracing.outputs import answer_of, apart
from unpool.tracing.probes import copied

# relative to the largest value; float32 on a GPU may be TF32, which is counted as float16
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
ROUNDINGS = 4  # times what one rounding of every weight does
SHARE = " of its largest value"
ADVICE = (
    "code that was compiled, that keeps values between calls, or that changes or reads its weights, may see that the "
    "norms are gone: fold its parts"
)


class Before(NamedTuple):
    """What a network gave for an image before anything was folded: at each call of a norm, and in the end."""

    image: Tensor
    norms: list[tuple[str, Tensor]]
    answer: list[Any]


def inexact(
    before: nn.Module,
    make: Callable[[], nn.Module],
    sites: Mapping[str, Site],
    weights: Mapping[str, Weights],
    images: list[Tensor],
) -> dict[str, str]:
    """The norms that cannot go since something else is given without them, each with the reason.

    Args:
        before: the network, which may have run, first on the first image.
        make: gives a copy of it that has not run.
        sites: the norms by name.
        weights: of the layers that take them over.
        images: what both are run on.

    Raises:
        NotConvertible: the answer differs, but behind no norm.
    """
    wanted = [_before(before, list(sites), image) for image in images]
    left: dict[str, str] = {}
    while True:
        kept = {name: site for name, site in sites.items() if name not in left}
        try:
            told = _differing(absorb(make(), kept.values(), weights), list(kept), wanted)
        except FAULTS as error:
            told = _not_running(make, kept.values(), weights, images[0])
            if not told:
                raise NotConvertible(f"{_name(before)} cannot be folded: {error}; {ADVICE}") from error
        if not told:
            return left
        left |= told


def _before(network: nn.Module, names: list[str], image: Tensor) -> Before:
    norms: list[tuple[str, Tensor]] = []
    return Before(image, norms, answer_of(network, image, names, lambda name, x: norms.append((name, x.clone()))))


def _differing(after: nn.Module, names: list[str], wanted: list[Before]) -> dict[str, str]:
    """Each norm that is told passes on what it gave before, so that those behind it are judged by themselves."""
    told: dict[str, str] = {}
    for before in wanted:
        calls = [call for call in before.norms if call[0] in names]
        ran: list[str] = []

        def watch(name: str, x: Tensor, calls: list[tuple[str, Tensor]] = calls, ran: list[str] = ran) -> Tensor | None:
            ran.append(name)
            expected, y = calls[len(ran) - 1] if len(ran) <= len(calls) else ("", x)
            off = apart(y, x) if name == expected else 0.0
            if off <= TOLERANCE.get(y.dtype, 1e-4):
                return None
            told.setdefault(name, f"folded it differs by {off:.1e}{SHARE}")
            return y.clone()

        answer = answer_of(after, before.image, names, watch)
        if ran != [name for name, _ in calls]:
            raise NotConvertible("other layers run")
        limits = [TOLERANCE.get(getattr(part, "dtype", _dtype(before)), 1e-4) for part in before.answer]
        if not told and (different := _difference(before.answer, answer, limits)):
            raise NotConvertible(different)
    return told


def _not_running(
    make: Callable[[], nn.Module], sites: Iterable[Site], weights: Mapping[str, Weights], image: Tensor
) -> dict[str, str]:
    """The norms without each of which the network does not run."""
    told = {}
    for site in sites:
        after = absorb(make(), [site], weights)
        try:
            after(image.clone())
        except FAULTS as error:
            told[site.norm] = f"without it the network does not run ({error})"
    return told


def vouch_for(network: nn.Module, folded: nn.Module, names: list[str], image: Tensor) -> None:
    """Compares the answers of fresh copies as they would be used.

    Args:
        network: the one that was given.
        folded: the one that is to be returned.
        names: the norms that are gone.
        image: in any precision.

    Raises:
        NotConvertible: they differ by more than a rounding of the weights does.
    """
    before = _taken(network, names, image)
    dtype = _dtype(before)
    try:
        answer = answer_of(copied(folded), before.image, (), lambda name, x: None)
    except FAULTS as error:
        raise NotConvertible(f"{_name(network)} cannot be folded: then it does not run ({error}); {ADVICE}") from error
    limits = [TOLERANCE[dtype]] * len(before.answer)
    if not _difference(before.answer, answer, limits):
        return
    rounded = answer_of(_rounded(network, torch.finfo(dtype).eps), before.image, (), lambda name, x: None)
    if len(rounded) == len(limits):
        limits = [max(limits[0], ROUNDINGS * apart(*pair)) for pair in zip(before.answer, rounded, strict=True)]
    if different := _difference(before.answer, answer, limits):
        raise NotConvertible(f"{_name(network)} cannot be folded: {different} in its own precision; {ADVICE}")


def _taken(network: nn.Module, names: list[str], image: Tensor) -> Before:
    """What the network gives for the image, as it is or in the precision of the weights."""
    own = next((x for x in network.parameters() if x.is_floating_point()), image)
    fault: Exception | None = None
    for x in (image.to(own.device), image.to(own)):
        try:
            return _before(copied(network), names, x)
        except NotConvertible:
            raise
        except FAULTS as error:
            fault = error
    raise NotConvertible(
        f"{_name(network)} takes an image of {'x'.join(map(str, image.shape[-2:]))} in float64 alone, not in its own "
        f"precision ({fault}): give one that it takes as image="
    ) from fault


def _dtype(before: Before) -> torch.dtype:
    """The coarsest precision that shows."""
    seen = [x for x in (*before.answer, *(x for _, x in before.norms)) if isinstance(x, Tensor)]
    if before.image.is_cuda:
        seen.append(torch.empty(0, dtype=torch.float16))
    return max((x.dtype for x in seen if x.dtype in TOLERANCE), key=TOLERANCE.__getitem__, default=torch.float32)


@torch.no_grad()
def _rounded(network: nn.Module, eps: float) -> nn.Module:
    """A copy of which every weight is rounded up or down."""
    network, generator = copied(network), torch.Generator().manual_seed(0)
    for x in {id(x): x for x in tensors_by_name(network).values() if x.is_floating_point()}.values():
        sign = torch.randint(2, x.shape, generator=generator) * 2 - 1
        x.mul_((1 + eps * sign).to(x))
    return network


def _difference(wanted: list[Any], given: list[Any], limits: list[float]) -> str:
    """In words; empty where the answers agree, each part within its limit."""
    if len(wanted) != len(given):
        return f"its answer has {len(given)} parts instead of {len(wanted)}"
    for a, b, limit in zip(wanted, given, limits, strict=True):
        off, old, new = apart(a, b), _told(a), _told(b)
        if off > limit:
            return f"its answer has {new} instead of {old}" if old != new else f"its answer differs by {off:.1e}{SHARE}"
    return ""


def _told(part: Any) -> str:
    if isinstance(part, Tensor):
        return f"{str(part.dtype).removeprefix('torch.')} of {'x'.join(map(str, part.shape))}"
    return repr(part)[:40]


def _name(network: nn.Module) -> str:
    return type(network).__name__
