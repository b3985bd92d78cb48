"""The answers that the loss likes best: are they determined by the targets, and does the metric like them too?"""

from collections.abc import Mapping

import torch
from torch import Tensor

from unpool.checks.answers import scores_of, with_scores
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.checks.source import Batch, picked, split
from unpool.tracing.foreign import foreign_code

SAMPLES, STEPS, RATE = 16, 300, 0.05
LARGEST = 64  # numbers of an answer: those of a box, or of a few
APART = 0.7  # distance of the answers from two starts, over that of the starts: nothing draws them together
BETTER = 0.05  # of what the metric gained on the way, that a scaled answer may add


def look_answers(setup: Setup) -> Finding:
    """Changes the answers of the first batch themselves, along the gradient of the loss."""
    batch = setup.moved(picked(setup.train.batches(1)[0], slice(0, SAMPLES)))
    if setup.loss is None or not _has_boxes(setup, batch):
        return not_applicable("the targets are no boxes of one tensor")
    with setup.trying(training=False), torch.no_grad():
        outputs = setup.outputs(batch)
    scores = scores_of(outputs)
    if scores is None or scores.ndim != 2 or scores.shape[1] > LARGEST:
        return not_applicable("the answer to a picture is not a few numbers")
    generator = torch.Generator().manual_seed(setup.seed)
    starts = [scores.detach() + 0.5 * torch.randn(scores.shape, generator=generator).to(scores) for _ in range(2)]
    ends = [_settled(setup, batch, outputs, start) for start in starts]
    apart = float((ends[0] - ends[1]).norm() / (starts[0] - starts[1]).norm())
    costs = [_cost(setup, batch, outputs, one) for one in (starts[0], ends[0])]
    about = (
        f"Answers that follow the gradient of the loss from two starts end {apart:.2f} times as far apart "
        f"({costs[0]:.3g} to {costs[1]:.3g})"
    )
    if apart > APART:
        return Finding(
            "fail", f"{about}: the targets do not determine the answer that the loss likes best.", apart,
            "loss.wrong_way",
            "Check the sign of the loss: 1 - overlap is a loss, the overlap is none.", ("outputs "
            f"{tuple(scores.shape)}",),
        )  # fmt: skip
    return _by_metric(setup, batch, outputs, starts[0], ends[0]) or passed(f"{about}.", apart)


def _has_boxes(setup: Setup, batch: Batch) -> bool:
    targets = split(batch)[1]
    if isinstance(targets, Mapping):
        targets = targets.get("boxes")
    return isinstance(targets, Tensor) and targets.shape[1:] == (4,) and targets.is_floating_point()


def _settled(setup: Setup, batch: Batch, outputs: object, start: Tensor) -> Tensor:
    """The answers after steps of Adam on the loss."""
    answer = start.clone().requires_grad_()
    adam = torch.optim.Adam([answer], lr=RATE)
    for _ in range(STEPS):
        adam.zero_grad()
        setup.loss_of(with_scores(outputs, answer), batch).backward()
        adam.step()
    return answer.detach()


def _cost(setup: Setup, batch: Batch, outputs: object, answer: Tensor) -> float:
    with torch.no_grad():
        return float(setup.loss_of(with_scores(outputs, answer), batch))


def _by_metric(setup: Setup, batch: Batch, outputs: object, start: Tensor, end: Tensor) -> Finding | None:
    """Whether the metric likes other answers better than those that the loss likes best: answers are read otherwise."""
    scores: dict[str, float] = {}
    near = {
        f"{name} {factor:g} times": _scaled(end, columns, factor)
        for name, columns in (("shift", slice(0, 2)), ("size", slice(2, 4)))
        for factor in (0.5, 0.8, 1.25, 2.0)
    }
    with foreign_code() as failure:
        for name, answer in {"start": start, "end": end, **near}.items():
            scores[name] = _metric(setup, batch, with_scores(outputs, answer))
    if failure or len(scores) < 3:
        return None
    gain = scores["end"] - scores["start"]
    best = max((name for name in near), key=lambda name: (scores[name] - scores["end"]) * (1 if gain >= 0 else -1))
    more = (scores[best] - scores["end"]) * (1 if gain >= 0 else -1)
    if more <= BETTER * max(abs(gain), 1e-6) or more < 0.01:
        return None
    return Finding(
        "fail", f"The answers that the loss likes best have a score of {scores['end']:.3f}; with their {best} it is "
        f"{scores[best]:.3f}: what the loss encodes is decoded otherwise.", more, "loss.box_encoding",
        "Encode the reference boxes and decode them again: the result must be the boxes. Check the logarithm of "
        "sizes, middles "
        "against corners, and the order of columns.", (f"score {scores['start']:.3f} at the start",),
    )  # fmt: skip


def _scaled(answer: Tensor, columns: slice, factor: float) -> Tensor:
    changed = answer.clone()
    changed[:, columns] *= factor
    return changed


def _metric(setup: Setup, batch: Batch, outputs: object) -> float:
    metric = setup.metric
    targets = split(batch)[1]
    with torch.no_grad():
        if "update" not in dir(type(metric)):
            return float(metric(outputs, targets))
        metric.reset()
        metric.update(outputs, targets)
        value = float(metric.compute())
        metric.reset()
        return value


CHECKS = (
    Check(
        name="the loss and the decoder agree on boxes",
        subject="loss",
        causes={
            "loss.box_encoding": "Encode reference boxes and decode them again: the result must be the boxes.",
            "loss.wrong_way": "Check the sign of the loss.",
        },
        symptom="The loss falls to almost 0 and the boxes are beside the things, or of another size.",
        measure=f"The answers of a batch follow the gradient of the loss for {STEPS} steps from two starts; then the "
        "metric "
        "scores them, and the same with other shifts and sizes.",
        threshold=f"It fails where the two end more than {APART:g} times as far apart as they began, or where "
        "another shift or size "
        f"scores better by {BETTER:.0%} of the gain.",
        origin="Exact but for the search; healthy losses of boxes drew answers together to less than a tenth.",
        look=look_answers,
        is_quick=True,
    ),
)
