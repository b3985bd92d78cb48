"""Scores written a second time, by plain counting, to compare a run's metric with."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.checks.ideals import Ideal
from unpool.checks.setup import Form


class Second(NamedTuple):
    """A second implementation of a score.

    Attributes:
        name: in words.
        score: of outputs.
        wrong: what is wrong with this form of it; empty where nothing is.
        cure: what to do then.
    """

    name: str
    score: Callable[[Tensor], float]
    wrong: str = ""
    cure: str = ""


def seconds_of(form: Form, ideal: Ideal, target: Tensor) -> Iterator[Second]:
    """All scores that are known of a form of targets."""
    if form in ("class", "class map") and ideal.unsure is None and ideal.has_classes:
        yield from _of_classes(ideal.right.shape[1], target)
    elif ideal.unsure is not None:
        yield from _of_signs(ideal, target)
    elif not ideal.has_classes:
        yield from _of_values(target)


def _of_classes(number: int, target: Tensor) -> Iterator[Second]:
    seen = (target >= 0) & (target < number)

    def table(outputs: Tensor) -> Tensor:
        answer = outputs.argmax(1)
        return (
            torch.bincount(target[seen].long() * number + answer[seen], minlength=number**2)
            .view(number, number)
            .double()
        )

    def right(outputs: Tensor) -> float:
        return float(table(outputs).diag().sum() / table(outputs).sum())

    def recall(outputs: Tensor) -> float:
        counts = table(outputs)
        occurs = counts.sum(1) > 0
        return float((counts.diag()[occurs] / counts.sum(1)[occurs]).mean())

    def overlap(outputs: Tensor) -> float:
        counts = table(outputs)
        union = counts.sum(0) + counts.sum(1) - counts.diag()
        return float((counts.diag()[union > 0] / union[union > 0]).mean())

    def harmonic(outputs: Tensor) -> float:
        counts = table(outputs)
        both = counts.sum(0) + counts.sum(1)
        return float((2 * counts.diag()[both > 0] / both[both > 0]).mean())

    for scale, unit in ((1.0, ""), (100.0, " in percent")):
        yield from (
            Second(f"{name}{unit}", lambda outputs, score=score, scale=scale: scale * score(outputs))
            for name, score in (
                ("the share of right answers", right),
                ("the share of wrong answers", lambda outputs: 1 - right(outputs)),
                ("the mean over classes of the share of right answers", recall),
                ("the mean over classes of intersection over union", overlap),
                ("the mean over classes of the harmonic mean of both shares", harmonic),
            )
        )


def _of_signs(ideal: Ideal, target: Tensor) -> Iterator[Second]:
    middle = float((ideal.right.max() + ideal.right.min()) / 2)
    truth = ideal.right > middle

    def right(outputs: Tensor) -> float:
        return float(((outputs > middle) == truth).double().mean())

    def overlap(outputs: Tensor) -> float:
        answer = outputs > middle
        return float((answer & truth).sum() / (answer | truth).sum().clamp(min=1))

    def harmonic(outputs: Tensor) -> float:
        answer = outputs > middle
        return float(2 * (answer & truth).sum() / (answer.sum() + truth.sum()).clamp(min=1))

    yield Second("the share of right answers", right)
    yield Second("intersection over union of yes", overlap)
    yield Second("twice the intersection over the sum of both", harmonic)


def _of_values(target: Tensor) -> Iterator[Second]:
    peak = float(target.max())
    top = 1.0 if peak < 128 else 255.0
    yield from _of_errors(lambda outputs: (outputs - target).double().flatten(1), peak, "")
    cut = f", of answers that are cut to 0 to {top:.0f}"
    yield from _of_errors(lambda outputs: (outputs.clamp(0, top) - target).double().flatten(1), peak, cut)


def _of_errors(errors: Callable[[Tensor], Tensor], peak: float, cut: str) -> Iterator[Second]:
    yield Second(f"the mean squared error{cut}", lambda outputs: float(errors(outputs).square().mean()))
    yield Second(f"the mean absolute error{cut}", lambda outputs: float(errors(outputs).abs().mean()))
    yield Second(
        f"the root of the mean squared error{cut}", lambda outputs: float(errors(outputs).square().mean() ** 0.5)
    )
    for most, is_pooled in ((most, is_pooled) for is_pooled in (False, True) for most in (1.0, 2.0, 255.0)):
        ratio = _ratio(errors, most, is_pooled=is_pooled)
        mean = "ratio of the mean squared error over all samples" if is_pooled else "mean over samples of the ratio"
        name = f"the {mean}, in dB, of the peak {most:.0f} to the noise{cut}"
        is_wrong = peak < 128 if most == 255 else peak > 128
        shift = 20 * math.log10(most / (255.0 if peak > 128 else 1.0))
        yield Second(
            name,
            ratio,
            f"the references end at {peak:.3g}, so that it is {shift:.3g} dB off" if is_wrong else "",
            "give the metric the range of the references, or bring both to the range that it expects",
        )


def _ratio(errors: Callable[[Tensor], Tensor], most: float, *, is_pooled: bool) -> Callable[[Tensor], float]:
    """Mean over samples of the ratio in dB between the largest value and the error, or that of the mean error."""

    def ratio(outputs: Tensor) -> float:
        squares = errors(outputs).square().mean(1)
        return float((10 * torch.log10(most**2 / (squares.mean() if is_pooled else squares))).mean())

    return ratio
