"""Whether the network can learn at all: a few samples by heart, from batches in an order that is mixed."""

import math
from collections.abc import Iterator
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from unpool.checks.answers import ask
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.checks.source import count, picked, split
from unpool.tracing.foreign import foreign_code

SAMPLES, STEPS, LEAST = 8, 80, 40  # that are learned by heart, in so many steps
RATES = (1e-3, 1e-2, 1e-4)  # of Adam, of which one must do
SHARE = 0.15  # of the time that is left, for each of the rates
TRIED = 3  # steps, after which it is known whether there is time for the least number
GOOD_START = 0.35  # of the loss of the mean answer: a network that begins as an enlargement, or with its input
GAIN = 0.3  # of the first loss, that has to go
BATCHES, SAMPLED = 60, 64  # that are read in their order; samples drawn to know the frequency of classes
ORDERED = 5.0  # standard deviations beyond which the order is not by chance


def look_overfit(setup: Setup) -> Finding:
    """Learns a few samples by heart, with an optimiser of its own."""
    if setup.loss is None:
        return not_applicable("no loss is known: pass loss=")
    if setup.target_form == "vector":
        return not_applicable("what a loss of vectors can reach depends on who is in the batch")
    batch = setup.batches(1)[0]
    batch = picked(batch, slice(0, min(SAMPLES, count(batch))))
    best, first = math.inf, math.nan
    for rate in RATES:
        losses = _by_heart(setup, batch, rate)
        if len(losses) < LEAST or not math.isfinite(losses[0]):
            return not_applicable(f"there is no time for {LEAST} steps with a few samples: give more minutes")
        first, best = losses[0], min(best, fmean(losses[-5:]))
        if first - best > GAIN * abs(first):
            break
    else:
        if first < GOOD_START * _of_the_mean(setup, batch):
            return passed(
                f"the first loss of {first:.3g} is far below that of the mean answer: little is left to learn"
            )
    gain = (first - best) / max(abs(first), 1e-12)
    about = f"{min(SAMPLES, count(batch))} samples, seen {STEPS} times: the loss goes from {first:.3g} to {best:.3g}"
    if gain > GAIN or abs(first) < 1e-6:
        return passed(about, gain)
    return Finding(
        "fail",
        f"a few samples cannot be learned by heart: {about}, at the best of Adam's rates {', '.join(map(str, RATES))}",
        gain,
        "optim.cannot_overfit",
        "take away what disturbs learning, one by one, until it works: dropout, augmentation, decay; then look whether "
        "the output depends on the input and the loss on the output",
        _disturbing(setup),
    )


def _of_the_mean(setup: Setup, batch: Any) -> float:
    """The loss where every number of the answer is the mean of the targets; 0 where they have no such mean."""
    with setup.trying(training=False), torch.no_grad():
        asked = ask(setup, batch, setup.outputs(batch))
    if asked is None or asked.kind != "same shape":
        return 0.0
    return asked.loss(torch.full_like(asked.scores, float(asked.targets.float().mean())))


def _by_heart(setup: Setup, batch: Any, rate: float) -> list[float]:
    """The loss in each step on the same batch; fewer steps where the time is up."""
    weights = [weight for weight in setup.model.parameters() if weight.requires_grad]
    start, allowed = setup.budget.used_s(), setup.budget.share_s(SHARE)
    losses: list[float] = []
    with setup.trying(training=True):
        optimizer = torch.optim.Adam(weights, lr=rate)
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            loss = setup.loss_of(setup.outputs(batch), batch)
            losses.append(float(loss.detach()))
            used = setup.budget.used_s() - start
            if used > allowed or (len(losses) > TRIED and used / len(losses) * LEAST > allowed):
                break
            with foreign_code():  # a loss without gradient cannot be learned, and is looked at elsewhere
                loss.backward()
                optimizer.step()
    return losses


def _disturbing(setup: Setup) -> tuple[str, ...]:
    """Layers of dropout that take much, for evidence."""
    parts = {
        name: float(part.p)
        for name, part in setup.model.named_modules()
        if isinstance(part, torch.nn.modules.dropout._DropoutNd)
    }
    return tuple(f"{name} drops {100 * share:.0f} % of its values" for name, share in parts.items() if share > 0.5)


def look_order(setup: Setup) -> Finding:
    """Counts how often neighbours in training order have one class."""
    if setup.target_form not in ("class", "vector"):
        return not_applicable("the order is judged by classes, one an image")
    if not setup.train.is_loader:
        return not_applicable("a data set has no order yet: pass the DataLoader that training uses")
    batches = [classes for batch in setup.train.batches(BATCHES) if (classes := _classes(batch))]
    labels = [label for batch in batches for label in batch]
    pairs = list(pairwise(labels))
    if len(batches) < 4 or len(pairs) < 20:
        return not_applicable(f"{len(batches)} batches are too few to see an order")
    expected = _chance(list(_drawn(setup)) or labels)
    equal = fmean(a == b for a, b in pairs)
    across = fmean(a[-1] == b[0] for a, b in pairwise(batches))
    sure = (equal - expected) / max(1e-6, (expected * (1 - expected) / len(pairs)) ** 0.5)
    about = f"{100 * equal:.0f} % of neighbours in training order have one class, {100 * expected:.0f} % by chance"
    is_sorted = labels in (sorted(labels), sorted(labels, reverse=True)) and len(set(labels)) > 2
    if sure < ORDERED or (across < (1 + expected) / 2 and not is_sorted) or expected > 0.9:
        return passed(about, equal)
    return Finding(
        "fail",
        f"training data are in the order of their classes: {about}",
        equal,
        "optim.not_shuffled",
        "make the loader with shuffle=True, or shuffle the list of samples before each epoch",
        (
            f"classes of the first batches: {', '.join(str(sorted(set(batch))) for batch in batches[:6])}",
            f"the last sample of a batch and the first of the next have one class in {100 * across:.0f} % of cases",
        ),
    )


def _classes(batch: Any) -> list[int]:
    targets = split(batch)[1]
    if not isinstance(targets, Tensor):
        targets = next((value for key, value in targets.items() if _is_class(key, value)), None)
    return targets.reshape(-1).tolist() if isinstance(targets, Tensor) else []


def _is_class(key: Any, value: Any) -> bool:
    return key in ("label", "labels", "target", "targets", "y") and isinstance(value, Tensor) and value.dim() <= 1


def _drawn(setup: Setup) -> Iterator[int]:
    """Classes of samples that are drawn from the whole set."""
    if setup.train.dataset is None:
        return
    for _, target in setup.train.samples(SAMPLED):
        if isinstance(target, int):
            yield target
        elif isinstance(target, Tensor) and target.numel() == 1:
            yield int(target)


def _chance(labels: list[int]) -> float:
    """The share of pairs of one class, were the order by chance."""
    counts = torch.bincount(torch.tensor(labels) - min(labels)).double()
    return float((counts / counts.sum()).square().sum())


CHECKS = (
    Check(
        "a few samples can be learned by heart",
        "optim",
        {"optim.cannot_overfit": "take away what disturbs learning, one by one, until it works"},
        "The training loss stays near its start, whatever the rate.",
        f"{SAMPLES} samples, {STEPS} steps of Adam with the run's network and loss in training mode, at up to "
        "three rates.",
        f"A failure where less than {100 * GAIN:.0f} % of the first loss goes at the best of the rates.",
        "Karpathy 2019, A Recipe for Training Neural Networks (overfit one batch). Measured on healthy runs: 60 "
        "to 100 % "
        "goes.",
        look_overfit,
    ),
    Check(
        "training data are shuffled",
        "optim",
        {"optim.not_shuffled": "make the loader with shuffle=True"},
        "The loss falls within each class and jumps at the next; the score is that of the last class seen.",
        "The share of neighbours in training order that have one class, within and across batches, against the share "
        "that the frequency of the classes gives by chance.",
        f"A failure where it is more than {ORDERED:.0f} standard deviations above chance, and batches begin "
        "with the class "
        "that the one before ended with, or labels only rise, or only fall.",
        "Binomial distribution; five deviations are one false alarm in three million.",
        look_order,
        is_quick=True,
    ),
)
