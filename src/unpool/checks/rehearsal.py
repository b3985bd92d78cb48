"""The first steps of a run, taken once as its author takes them, with everything recorded that checks look at."""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from unpool.checks.gradient_watch import Applied, Watch, watching
from unpool.checks.source import Batch
from unpool.errors import RecipeError
from unpool.tracing.foreign import foreign_code

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

STEPS, SHARE = 60, 0.25  # at most, and of the time that is left
SETTLING = 30  # batches after which a momentum of 0.1 has forgotten all but 4 % of older statistics
COMPARED = 4  # batches of which the losses in both modes are compared


class Record(NamedTuple):
    """One step.

    Attributes:
        loss: before the step.
        rates: learning rate of each group of the optimiser, before the step.
        grad_norm: of all gradients that the optimiser saw, as they lie there after the step.
        weight_norm: of all weights after the step.
        update_norm: of what the step changed.
        seconds: it took.
        moves: by name of a parameter, norm of what the step changed of it, and its norm before.
        applied: steps of optimisers in it, with the gradients that they read.
        schedule_count: how often the schedule was stepped until after it; None where there is no schedule.
    """

    loss: float
    rates: tuple[float, ...]
    grad_norm: float
    weight_norm: float
    update_norm: float
    seconds: float
    moves: Mapping[str, tuple[float, float]]
    applied: tuple[Applied, ...]
    schedule_count: int | None


class Rehearsal(NamedTuple):
    """The first steps of a run.

    Attributes:
        records: one a step; fewer than asked for where the run failed or time ran out.
        changed: names of the parameters that a step changed.
        unchanged: names of those that none did.
        without_gradient: names of those that had none in any step.
        moved_buffers: names of the buffers, such as running statistics, that a step changed.
        is_theirs: the steps are the caller's own; else backward, optimiser and schedule as the plainest loop has them.
        failure: what a step raised, as text; empty where none did.
        by_mode: mean loss of the first batches with the weights after these steps, in training mode without dropout and
            in evaluation mode, after running statistics have settled; None where there is no loss, or no time.
    """

    records: tuple[Record, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    without_gradient: tuple[str, ...]
    moved_buffers: tuple[str, ...]
    is_theirs: bool
    failure: str = ""
    by_mode: tuple[float, float] | None = None

    @property
    def losses(self) -> list[float]:
        return [record.loss for record in self.records]


def rehearse(setup: "Setup", steps: int = STEPS) -> Rehearsal:
    """Takes the first steps of a run; everything is put back afterwards."""
    deadline = time.monotonic() + setup.budget.share_s(SHARE)
    records: list[Record] = []
    first = {name: weight.detach().clone() for name, weight in setup.model.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in setup.model.named_buffers()}
    had_gradient: set[str] = set()
    failure = ""
    with setup.trying(training=True), watching(weights_of(setup)) as watch:
        for watch.call, batch in enumerate(islice(cycled(setup, steps), steps)):
            with foreign_code() as caught:
                records.append(_record(setup, batch, watch))
            if caught.error is not None:
                failure = f"{type(caught.error).__name__}: {caught.error}"
                break
            had_gradient |= {
                n for n, w in setup.model.named_parameters() if w.grad is not None and w.grad.abs().sum() > 0
            }
            if time.monotonic() > deadline:
                break
        by_mode = None if failure else _losses_by_mode(setup, records)
        now = dict(setup.model.named_parameters())
        changed = tuple(name for name, value in first.items() if not torch.equal(value, now[name].detach()))
        counted = dict(setup.model.named_buffers())
        moved = tuple(name for name, value in buffers.items() if not torch.equal(value, counted[name]))
    return Rehearsal(
        tuple(records),
        changed,
        tuple(name for name in first if name not in changed),
        tuple(name for name in first if name not in had_gradient),
        moved,
        setup.step is not None,
        failure,
        by_mode,
    )


def _mean_loss(setup: "Setup", batches: Sequence[Batch]) -> float:
    return fmean(float(setup.loss_of(setup.outputs(batch), batch)) for batch in batches)


def _losses_by_mode(setup: "Setup", records: Sequence[Record]) -> tuple[float, float] | None:
    """Losses in both modes; running statistics settle on weights that no longer change."""
    if setup.loss is None or not any(isinstance(module, _BatchNorm) for module in setup.model.modules()):
        return None
    forward_s = median(record.seconds for record in records) / 3  # backward takes twice as long
    if (SETTLING + 2 * COMPARED) * forward_s > setup.budget.share_s(SHARE):
        return None
    losses: list[float] = []
    batches = setup.batches(SETTLING)
    with foreign_code(), torch.no_grad():
        setup.model.train()
        for module in setup.model.modules():
            if isinstance(module, _DropoutNd):
                module.eval()
        for batch in islice(cycle(batches), SETTLING):
            setup.outputs(batch)
        losses = [_mean_loss(setup, batches[:COMPARED])]
        setup.model.eval()
        losses.append(_mean_loss(setup, batches[:COMPARED]))
    return (losses[0], losses[1]) if len(losses) == 2 else None


def cycled(setup: "Setup", most: int) -> Iterator[Batch]:
    """The training batches in their order, again from the first one after the last."""
    return cycle(setup.batches(most))


def take_step(setup: "Setup", batch: Batch) -> Tensor:
    """One step as the author takes it, else as the plainest loop does; returns the loss before it."""
    if setup.step is not None:
        return as_scalar(setup.step(setup.moved(batch))).detach()
    optimizer = setup.optimizer
    if optimizer is not None:
        optimizer.zero_grad(set_to_none=True)
    else:
        setup.model.zero_grad(set_to_none=True)
    loss = setup.loss_of(setup.outputs(batch), batch)
    loss.backward()
    if (longest := setup.facts.get("clip_norm")) is not None:
        nn.utils.clip_grad_norm_(setup.model.parameters(), longest)
    if optimizer is not None:
        optimizer.step()
    if setup.schedule is not None and setup.facts.get("steps_schedule"):
        setup.schedule.step()
    return loss.detach()


def as_scalar(value: Any) -> Tensor:
    """A loss, or a dict of terms to add, as one scalar.

    Raises:
        RecipeError: it is no number.
    """
    if isinstance(value, Mapping):
        return torch.stack([as_scalar(one) for one in value.values()]).sum()
    if isinstance(value, int | float):
        return torch.tensor(float(value))
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
        raise RecipeError(f"a loss must be one number; this one is a {type(value).__name__}{shape}: take its mean")
    return value.reshape(())


def weights_of(setup: "Setup") -> list[Tensor]:
    """All parameters of the model, and those that only its optimiser holds."""
    held = [] if setup.optimizer is None else [w for group in setup.optimizer.param_groups for w in group["params"]]
    return list(dict.fromkeys([*setup.model.parameters(), *held]))


def _record(setup: "Setup", batch: Batch, watch: Watch) -> Record:
    before = _flat(setup.model)
    rates = tuple(float(group["lr"]) for group in setup.optimizer.param_groups) if setup.optimizer is not None else ()
    start = time.perf_counter()
    loss = take_step(setup, batch)
    seconds = time.perf_counter() - start
    grads = [weight.grad.detach() for weight in setup.model.parameters() if weight.grad is not None]
    after = _flat(setup.model)
    moves = {name: (_norm([after[name] - value]), _norm([value])) for name, value in before.items()}
    return Record(
        float(loss),
        rates,
        _norm(grads),
        _norm(after.values()),
        sum(move**2 for move, _ in moves.values()) ** 0.5,
        seconds,
        moves,
        watch.taken(watch.call),
        None if setup.schedule is None else int(setup.schedule.last_epoch),
    )


def has_gradient(weight: Tensor) -> bool:
    """Whether a weight has a gradient that is not 0 throughout."""
    return weight.grad is not None and bool((weight.grad != 0).any())


def _flat(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def _norm(values: Any) -> float:
    squares = [value.float().square().sum() for value in values]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
