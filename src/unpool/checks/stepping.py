"""Whether each step uses the gradients of its batch: zeroed before, applied once, added up rightly, rarely clipped."""

import math
from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.gradient_watch import Applied, watching
from unpool.checks.rehearsal import Record, cycled, take_step, weights_of
from unpool.checks.setup import Setup
from unpool.checks.source import Batch

NEEDS_STEP = "the training step is not known: pass step=, a function that takes a batch and returns the loss"
LEAST_STEPS = 8  # of an optimiser, to speak of all steps
STALE = 0.5  # zeroed gradients leave 0, others 1
SHORTENED = 30.0  # times; at the start gradients are longest
LEAST_SCALE = 2.0**7  # of a gradient scaler, which starts at 2^16


def look_zeroed(setup: Setup) -> Finding:
    """Compares what lies in the gradients with what backward added since the last step."""
    if setup.step is None:
        return not_applicable(NEEDS_STEP)
    steps = _with_gradient(setup.rehearsal.records)
    if len(steps) < 2:
        return not_applicable(_too_few(setup, len(steps)))
    stale = [one for one in steps[1:] if one.stale > STALE]
    if not stale:
        return passed(f"gradients were 0 before each of {len(steps)} batches", 0.0)
    return Finding(
        "fail",
        f"in {len(stale)} of {len(steps) - 1} steps the gradients still held those of earlier steps",
        len(stale) / (len(steps) - 1),
        "optim.not_zeroed",
        "call optimizer.zero_grad() once for each optimizer.step(): before backward(), or after step()",
        (
            f"step {stale[0].call + 1}: backward added a gradient of norm {stale[0].raw_norm:.3g}, and the optimiser "
            f"read one of norm {stale[0].grad_norm:.3g}",
        ),
    )


def look_applied(setup: Setup) -> Finding:
    """Looks whether a gradient reaches the weights through the optimiser, and once."""
    rehearsal = setup.rehearsal
    if setup.optimizer is None and setup.step is None:
        return not_applicable("no optimiser is known: pass optimizer=, or step=")
    if not rehearsal.records:
        return not_applicable(f"no step could be taken: {rehearsal.failure}")
    steps = [one for record in rehearsal.records for one in record.applied]
    wrong = _zeroed_too_early(steps) or _one_batch_late(steps) or _applied_twice(rehearsal.records)
    if wrong is not None:
        return wrong
    if rehearsal.changed:
        return passed(f"{len(rehearsal.changed)} parameters change in {len(rehearsal.records)} steps")
    return _nothing_changes(setup, steps)


def _nothing_changes(setup: Setup, steps: Sequence[Applied]) -> Finding:
    records = setup.rehearsal.records
    if any(one.raw_norm > 0 for one in steps) and all(rate == 0 for record in records for rate in record.rates):
        return not_applicable(f"the learning rate is 0 in the first {len(records)} steps")
    if steps and not any(one.raw_norm > 0 for one in steps):
        return not_applicable("no parameter of the optimiser gets a gradient")
    if not steps and len(records) < LEAST_STEPS:
        return not_applicable(_too_few(setup, 0))
    why = "the optimiser stepped" if steps else "no optimiser that holds a parameter of the model stepped"
    return Finding(
        "fail",
        f"no weight changed in {len(records)} training steps: {why}",
        0.0,
        "optim.no_step",
        "call optimizer.step() after backward(), on an optimiser made of model.parameters() after the last "
        "layer of the "
        "model was set",
        (f"{len(steps)} steps of optimisers in {len(records)} calls of step",),
    )


def _zeroed_too_early(steps: Sequence[Applied]) -> Finding | None:
    lost = [one for one in steps if one.raw_norm > 0 and one.grad_norm == 0]
    if not lost or len(lost) < len(steps) / 2:
        return None
    return Finding(
        "fail",
        f"in {len(lost)} of {len(steps)} steps the gradients were zeroed after backward and before the "
        "optimiser read them",
        len(lost) / len(steps),
        "optim.no_step",
        "order the calls: zero_grad(), backward(), step()",
        (f"step {lost[0].call + 1}: backward gave a gradient of norm {lost[0].raw_norm:.3g}, the optimiser read 0",),
    )


def _one_batch_late(steps: Sequence[Applied]) -> Finding | None:
    late = [one for one in steps if one.backwards == 1 and one.calls == 2]
    if len(steps) < LEAST_STEPS or len(late) < len(steps) - 2:
        return None
    return Finding(
        "fail",
        f"in {len(late)} of {len(steps)} steps the optimiser stepped before backward, with the gradient of the "
        "batch before",
        len(late) / len(steps),
        "optim.no_step",
        "order the calls: zero_grad(), backward(), step()",
    )


def _applied_twice(records: Sequence[Record]) -> Finding | None:
    again = [record for record in records if _repeats(record)]
    if len(again) < max(1, len(records) / 2):
        return None
    kinds = [type(one.optimizer).__name__ for one in again[0].applied]
    are_two = len({id(one.optimizer) for one in again[0].applied}) > 1
    how = "two optimisers hold the same parameters" if are_two else "the optimiser steps twice"
    return Finding(
        "fail",
        f"each gradient is applied twice: {how}",
        len(again) / len(records),
        "optim.twice",
        "give each parameter to one optimiser, and call its step() once a batch (scaler.step(optimizer) is that call)",
        (f"steps in one call: {', '.join(kinds)}, the second one without a new backward",),
    )


def _repeats(record: Record) -> bool:
    """Whether an optimiser stepped again on parameters that got no gradient since another step, within one call."""
    return any(
        one.backwards == 0 and one.grad_norm > 0 and any(_share(one.optimizer, before.optimizer) for before in earlier)
        for number, one in enumerate(record.applied)
        if (earlier := record.applied[:number])
    )


def _share(one: torch.optim.Optimizer, other: torch.optim.Optimizer) -> bool:
    weights = {id(weight) for group in one.param_groups for weight in group["params"]}
    return any(id(weight) in weights for group in other.param_groups for weight in group["params"])


def look_clipped(setup: Setup) -> Finding:
    """Compares the gradients that the optimiser reads with those that backward gave."""
    if setup.step is None and setup.facts.get("clip_norm") is None:
        return not_applicable("nothing is clipped" if "clip_norm" in setup.facts else NEEDS_STEP)
    steps = [one for one in _with_gradient(setup.rehearsal.records) if one.grad_norm > 0]
    if len(steps) < LEAST_STEPS:
        return not_applicable(_too_few(setup, len(steps)))
    limit = _constant([one.grad_norm for one in steps])
    by_value = _constant([one.largest for one in steps]) if all(one.at_largest > 0.1 for one in steps) else None
    if limit is None and by_value is None:
        cut = sum(one.grad_norm < 0.99 * one.raw_norm and one.stale == 0 for one in steps)
        return passed(f"gradients are not always cut: {cut} of {len(steps)} were smaller than backward gave them")
    scale = _scale(setup, steps[0])
    factor = sorted(one.raw_norm / one.grad_norm / scale for one in steps)[len(steps) // 2]
    about = f"every one of {len(steps)} gradients was clipped, " + (
        f"to a norm of {limit:.3g}, in the median to 1/{factor:.3g} of its length"
        if limit is not None
        else f"{100 * min(one.at_largest for one in steps):.0f} % of its values or more to {by_value:.3g}"
    )
    if limit is not None and factor < SHORTENED:
        return passed(about, factor)
    return Finding(
        "fail" if factor >= SHORTENED else "warn",
        about,
        factor,
        "optim.always_clipped",
        "set the limit to about the largest norm of ordinary steps"
        + (f", here {max(one.raw_norm / scale for one in steps):.3g}" if limit is not None else "")
        + "; with a scaler call scaler.unscale_(optimizer) before clipping",
    )


def _constant(values: Sequence[float]) -> float | None:
    """The value that all of them have to 1 in 1000; else None."""
    return values[0] if max(values) - min(values) <= 1e-3 * max(values) else None


def _scale(setup: Setup, first: Applied) -> float:
    """Power of two by which a gradient scaler makes gradients larger; 1 where there is none."""
    weights = [weight for weight in setup.model.parameters() if weight.requires_grad]
    if setup.loss is None or first.raw_norm / first.grad_norm < LEAST_SCALE:
        return 1.0
    with setup.trying(training=True):
        alone = _gradient(setup, setup.batches(1)[0], weights)
    ratio = first.raw_norm / max(_dot(alone, alone) ** 0.5, 1e-30)
    return 2.0 ** round(math.log2(ratio)) if ratio >= LEAST_SCALE else 1.0


def look_accumulated(setup: Setup) -> Finding:
    """Compares a gradient that was added up over batches with the mean of the gradients of these batches."""
    if setup.step is None:
        return not_applicable(NEEDS_STEP)
    steps = _with_gradient(setup.rehearsal.records)
    if not steps:
        return not_applicable(_too_few(setup, 0))
    partial = [one for one in steps if one.is_last_only and one.calls > 1]
    if len(partial) > len(steps) / 2:
        return Finding(
            "fail",
            f"the optimiser steps every {partial[0].calls} batches, and reads the gradient of the last of them only",
            len(partial) / len(steps),
            "optim.accumulation",
            "call zero_grad() only after optimizer.step(), so that the batches between two steps add up",
        )
    number = max(one.backwards for one in steps[1:] or steps)
    if number < 2:
        return passed("each step uses one backward: nothing is accumulated", 1.0)
    return _weighed(setup, number)


def _weighed(setup: Setup, number: int) -> Finding:
    """Judges how much each of so many accumulated gradients counts."""
    if setup.loss is None:
        return not_applicable(f"{number} gradients are added up; pass loss= to have their weight checked")
    weight = _accumulated_weight(setup)
    if weight is None:
        return not_applicable(f"{number} gradients are added up, unlike the gradient of the loss for these batches")
    if not 0.7 * number < weight < 1.4 * number or weight < 1.4:
        return passed(f"{number} accumulated gradients add up to {weight:.2f} times their mean", weight)
    return Finding(
        "fail",
        f"{number} gradients are added up and not divided: the step is {weight:.1f} times that of one large batch",
        weight,
        "optim.accumulation",
        f"divide the loss before backward(): (loss / {number}).backward()",
        (f"gradient at the optimiser, in parts of the mean gradient of these batches: {weight:.2f}; expected 1",),
    )


def _accumulated_weight(setup: Setup) -> float | None:
    """Weight of the mean gradient of its batches in the gradient that an optimiser reads; None where they differ."""
    weights = [weight for weight in setup.model.parameters() if weight.requires_grad]
    with setup.trying(training=True), watching(weights_of(setup)) as watch:
        batches = cycled(setup, 32)
        for batch in islice(batches, 64):  # to the beginning of a round
            take_step(setup, batch)
            if watch.applied:
                break
        grads, expected, used = _Caught(weights), [torch.zeros_like(weight) for weight in weights], 0
        with grads:
            while not grads.values and used < 64:
                batch = next(batches)
                alone = _gradient(setup, batch, weights)
                take_step(setup, batch)
                expected, used = [a + b for a, b in zip(expected, alone, strict=True)], used + 1
        expected = [value / used for value in expected]
    along, square, other = _dot(grads.values, expected), _dot(expected, expected), _dot(grads.values, grads.values)
    if square == 0 or other == 0 or along / (square * other) ** 0.5 < 0.5:
        return None
    return along / square


class _Caught:
    """Keeps the gradients that the next step of an optimiser reads."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.weights = weights
        self.values: list[Tensor] = []

    def __enter__(self) -> None:
        self.handle = register_optimizer_step_pre_hook(self._keep)

    def __exit__(self, *_: object) -> None:
        self.handle.remove()

    def _keep(self, *_: object) -> None:
        if not self.values:
            self.values = [torch.zeros_like(w) if w.grad is None else w.grad.detach().clone() for w in self.weights]


def _gradient(setup: Setup, batch: Batch, weights: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of the loss for one batch, from weights and generators as they are, which stay so."""
    buffers = {buffer: buffer.clone() for buffer in setup.model.buffers()}
    with torch.random.fork_rng(devices=[]):
        loss = setup.loss_of(setup.outputs(batch), batch)
    grads = torch.autograd.grad(loss, list(weights), allow_unused=True)
    with torch.no_grad():
        for buffer, kept in buffers.items():
            buffer.copy_(kept)
    return [torch.zeros_like(w) if grad is None else grad for w, grad in zip(weights, grads, strict=True)]


def _dot(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    return sum(float((a.float() * b.float()).sum()) for a, b in zip(ones, others, strict=True)) if ones else 0.0


def _with_gradient(records: Sequence[Record]) -> list[Applied]:
    """Steps of optimisers that read a finite gradient of new batches."""
    steps = [one for record in records for one in record.applied]
    return [one for one in steps if one.backwards and math.isfinite(one.raw_norm) and math.isfinite(one.grad_norm)]


def _too_few(setup: Setup, number: int) -> str:
    failure = setup.rehearsal.failure
    return f"{number} steps of an optimiser were seen" + (f"; then: {failure}" if failure else ", too few to judge")


CHECKS = (
    Check(
        "gradients are zeroed",
        "optim",
        {"optim.not_zeroed": "call optimizer.zero_grad() once for each optimizer.step()"},
        "The loss falls for some steps, then swings and grows; momentum seems far too large.",
        "Hooks add up what backward gives each parameter since the last step, and compare it with what lies there.",
        "A failure where more than half of what the last step left is still there in any later step.",
        "Arithmetic: the difference is exactly 0 where gradients are zeroed, and all of it where they are not.",
        look_zeroed,
        is_quick=True,
    ),
    Check(
        "the optimiser steps",
        "optim",
        {
            "optim.no_step": "order the calls zero_grad(), backward(), step(), on the parameters of this model",
            "optim.twice": "give each parameter to one optimiser, and call its step() once a batch",
        },
        "The loss does not move, or moves as with twice the learning rate.",
        "Hooks on all optimisers record which gradient each step reads; weights are compared before and after.",
        "A failure where no weight changes, where gradients are zeroed before they are read in half of the "
        "steps, where "
        "they are those of the batch before, or where one gradient is applied twice.",
        "Arithmetic: each is a comparison of values that are equal or not.",
        look_applied,
        is_quick=True,
    ),
    Check(
        "clipping is rare",
        "optim",
        {"optim.always_clipped": "set the limit to about the largest norm of ordinary steps"},
        "Training is slow at any learning rate, and the loss falls by the same amount in each step.",
        "The norm of the gradients as backward gave them, against the norm that the optimiser reads.",
        f"A failure where every gradient has the same norm and the median one was cut to 1/{SHORTENED:.0f} or less; a "
        "warning where a tenth of all values stand at a limit by value.",
        "Pascanu et al. 2013, arXiv:1211.5063, section 3.2: the limit is for the rare explosion, about the "
        "average norm.",
        look_clipped,
        is_quick=True,
        is_watched=True,
    ),
    Check(
        "accumulated gradients are divided",
        "optim",
        {"optim.accumulation": "divide the loss by the number of batches that are added up"},
        "The same recipe diverges, or behaves as with a larger rate, when batches are accumulated.",
        "The gradient that the optimiser reads, projected on the mean gradient of the batches that it is made of.",
        "A failure where it is 0.7 to 1.4 times the number of batches, in place of 1; or where it holds the last only.",
        "Arithmetic: the mean of k batches has weight 1, their sum k; the margin is for dropout and batch norm.",
        look_accumulated,
        is_quick=True,
    ),
)
