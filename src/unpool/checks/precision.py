"""Whether numbers of 16 bits hold what the training puts into them, and whether the processor computes them."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from unpool.checks.findings import Check, Finding, passed
from unpool.checks.rehearsal import take_step
from unpool.checks.setup import Setup
from unpool.checks.source import Batch

HALF = (torch.float16, torch.bfloat16)
LOST = 0.5  # of the values with a gradient, that a step leaves as they are
UNDERFLOW = 0.05  # of the gradients that are 0 in 16 bits and not in 32
EMULATED = 2.0  # times the time of 32 bits
SIDE, REPEATS = 512, 5  # of the matrices that are timed


def look_precision(setup: Setup) -> Finding:
    """Looks which parts compute in 16 bits, and what is lost there."""
    weights = [name for name, one in setup.model.named_parameters() if one.dtype in HALF and one.requires_grad]
    if weights:
        return _lost_updates(setup, weights)
    if setup.step is None and setup.forward is None:
        return passed("all weights have 32 bits; pass step= to have its precision checked")
    kinds = _kinds(setup)
    if not kinds:
        return passed("nothing in a training step has 16 bits")
    overflow = _overflow(setup, kinds)
    if overflow is not None:
        return overflow
    if torch.float16 in kinds and setup.loss is not None:
        under = _underflow(setup)
        if under is not None:
            return under
    if torch.bfloat16 in kinds and setup.device.type == "cpu":
        return _emulated()
    return passed(f"{', '.join(sorted(kinds.values()))} compute in 16 bits, and nothing overflows")


def _lost_updates(setup: Setup, names: list[str]) -> Finding:
    """Weights in 16 bits: the share of them that a step cannot change."""
    weights = [setup.model.get_parameter(name) for name in names]
    shares = [0.0]
    with setup.trying(training=True):
        for batch in setup.batches(8):
            shares.append(_left(setup, batch, weights))
            if shares[-1] < 1:  # else the optimiser did not step in this batch
                break
    share = shares[-1]
    kind = str(weights[0].dtype).removeprefix("torch.")
    return Finding(
        "fail" if share > LOST else "warn",
        f"{len(names)} weights are kept in {kind}: a step leaves {100 * share:.0f} % of the values with a "
        "gradient as they "
        "are, because their updates are smaller than the last digit",
        share,
        "optim.precision",
        "keep the weights in float32 and compute in 16 bits: model.float(), and torch.autocast around the forward pass",
        tuple(f"{name}: {kind}" for name in names[:4]),
    )


def _left(setup: Setup, batch: Batch, weights: list[nn.Parameter]) -> float:
    """Share of the values with a gradient that one step leaves as they are."""
    before = [weight.detach().clone() for weight in weights]
    take_step(setup, batch)
    pairs = [(one, kept) for one, kept in zip(weights, before, strict=True) if one.grad is not None]
    total = sum(int((one.grad != 0).sum()) for one, _ in pairs if one.grad is not None)
    left = sum(int(((one.grad != 0) & (one == kept)).sum()) for one, kept in pairs if one.grad is not None)
    return left / max(1, total)


def _kinds(setup: Setup) -> dict[torch.dtype, str]:
    """Types of 16 bits that layers give in one training step, each with the first layer that does."""
    kinds: dict[torch.dtype, str] = {}

    def watched(name: str) -> Callable[..., None]:
        def keep(_part: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.dtype in HALF:
                kinds.setdefault(output.dtype, name)

        return keep

    leaves = [(name, part) for name, part in setup.model.named_modules() if not any(True for _ in part.children())]
    handles = [part.register_forward_hook(watched(name)) for name, part in leaves]
    try:
        with setup.trying(training=True):
            take_step(setup, setup.batches(1)[0])
    finally:
        for handle in handles:
            handle.remove()
    return kinds


def _overflow(setup: Setup, kinds: dict[torch.dtype, str]) -> Finding | None:
    """Losses that are no numbers in 16 bits, and are in 32."""
    losses = setup.rehearsal.losses
    bad = [number for number, loss in enumerate(losses) if not math.isfinite(loss)]
    if not bad or setup.loss is None:
        return None
    batches = setup.batches(len(losses))
    with setup.trying(training=True), torch.no_grad():
        batch = batches[bad[0] % len(batches)]
        exact = float(setup.loss_of(setup.outputs(batch), batch))
    if bad[0] > 0 or not math.isfinite(exact):
        return None
    return Finding(
        "fail",
        f"the loss of batch {bad[0] + 1} is {losses[bad[0]]} in 16 bits, and {exact:.4g} in 32: values overflow",
        losses[bad[0]],
        "optim.precision",
        "compute the loss, and sums over many values, in float32: outputs.float(); float16 ends at 65,504, bfloat16 at "
        "3e38",
        tuple(f"{name} gives {str(kind).removeprefix('torch.')}" for kind, name in kinds.items()),
    )


def _underflow(setup: Setup) -> Finding | None:
    """Gradients that are 0 in the author's step and are not in 32 bits."""
    weights = [weight for weight in setup.model.parameters() if weight.requires_grad]
    batch = setup.batches(1)[0]
    seen: dict[Tensor, Tensor] = {}
    handles = [one.register_hook(lambda grad, one=one: seen.update({one: grad.detach().clone()})) for one in weights]
    try:
        with setup.trying(training=True):
            take_step(setup, batch)
    finally:
        for handle in handles:
            handle.remove()
    with setup.trying(training=True):
        exact = torch.autograd.grad(setup.loss_of(setup.outputs(batch), batch), weights, allow_unused=True)
    pairs = [(seen[one], grad) for one, grad in zip(weights, exact, strict=True) if grad is not None and one in seen]
    alive = sum(int((grad != 0).sum()) for _, grad in pairs)
    gone = sum(int(((grad != 0) & (half == 0)).sum()) for half, grad in pairs)
    if gone <= UNDERFLOW * max(1, alive):
        return None
    return Finding(
        "fail",
        f"{100 * gone / alive:.0f} % of the gradients are 0 in float16 and are not in float32: they are too "
        "small for it",
        gone / alive,
        "optim.precision",
        "scale the loss: torch.amp.GradScaler, or use bfloat16, which has the range of float32",
    )


def _emulated() -> Finding:
    """Times a product of matrices in both types."""
    with torch.random.fork_rng(devices=[]):
        matrix = torch.rand(SIDE, SIDE)
    exact, half = _seconds(matrix), _seconds(matrix.bfloat16())
    times = half / exact
    about = f"this processor takes {times:.2g} times as long for a product of matrices in bfloat16 as in float32"
    if times < EMULATED:
        return passed(about, times)
    cure = "train in float32 here: the processor only emulates bfloat16 (it has no avx512_bf16 or amx_bf16)"
    return Finding("warn", about, times, "optim.precision", cure)


def _seconds(matrix: Tensor) -> float:
    """Of the fastest of several products."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        times.append(time.perf_counter() - start)
    return min(times)


CHECKS = (
    Check(
        "16 bits are enough",
        "optim",
        {"optim.precision": "keep weights and losses in float32, scale the loss of float16"},
        "The loss becomes nan or inf, or stays where it is although gradients are not 0; or a step takes longer "
        "than before.",
        "Types that layers give in a training step; the share of 16-bit weights that a step leaves as they are; "
        "the loss "
        "and the gradients that are 0, against 32 bits; the time of a product of matrices in bfloat16.",
        f"A failure where a step leaves {100 * LOST:.0f} % of the values as they are, the loss is no number, or "
        f"{100 * UNDERFLOW:.0f} % of the gradients are lost; a warning for other 16-bit weights, and where "
        "bfloat16 takes "
        f"{EMULATED:.0f} times as long.",
        "Micikevicius et al. 2018, arXiv:1710.03740, sections 3.1 and 3.2: weights are kept in 32 bits because updates "
        "below 2^-11 of a weight are lost; 5 % of gradients were lost in their figure 2b.",
        look_precision,
    ),
)
