"""The loss is asked about answers that it must like and answers that it must not."""

import math

import torch
from torch import Tensor

from unpool.checks.answers import (
    Asked,
    are_log_probabilities,
    are_probabilities,
    ask,
    drawn_scores,
    one_hot,
    other_classes,
)
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup

SURE = 10.0  # a logit that stands for certainty: a probability of 0.99995
_NO_TENSORS = "give loss= and outputs and targets that are tensors"


def look_softmax(setup: Setup) -> Finding:
    """Tells which form of scores the network returns and which one the loss takes."""
    asked = ask(setup)
    if asked is None or asked.kind not in ("one of", "words", "yes or no"):
        return not_applicable(_NO_TENSORS if asked is None else "the targets are no classes")
    return _of_sigmoid(asked) if asked.kind == "yes or no" and not _has_softmax(asked) else _of_softmax(asked)


def _of_softmax(asked: Asked) -> Finding:
    has_softmax = _has_softmax(asked)
    if are_probabilities(asked):
        if not has_softmax:
            return passed("The network returns probabilities, and the loss applies no softmax to them.")
        perfect = asked.targets.to(asked.scores) if asked.kind == "yes or no" else one_hot(asked)
        return Finding(
            "fail", "The network returns probabilities (each sample adds up to 1) and the loss applies a second "
            f"softmax: perfect answers still cost {asked.loss(perfect):.3g}, and gradients are small.", None,
            "network.double_softmax", "Remove the softmax from the network; apply it to predictions only.",
            ("loss: adding 1 to all scores of a sample changes nothing", _range_of(asked)),
        )  # fmt: skip
    if has_softmax:
        return passed("The network returns scores and the loss applies the softmax.")
    if not are_log_probabilities(asked) and _is_linear(asked):
        return Finding(
            "fail", "The network returns raw scores and the loss takes logarithms of probabilities: it falls without "
            "end as the "
            "scores grow, whatever is predicted.", None, "network.double_softmax",
            "Use cross_entropy, or log_softmax before nll_loss.", ("loss: adding 1 to all scores lowers it by 1",),
        )  # fmt: skip
    return passed("The loss takes the form of scores that the network returns.")


def _range_of(asked: Asked) -> str:
    scores = asked.scores.float()
    return f"outputs from {float(scores.min()):.3g} to {float(scores.max()):.3g}"


def _has_softmax(asked: Asked) -> bool:
    """Whether adding a number to all scores of a sample leaves the loss, which changes with single scores."""
    if asked.scores.ndim < 2:
        return False
    scores = drawn_scores(asked)
    base, moved, other = asked.loss(scores), asked.loss(scores + 3), asked.loss(drawn_scores(asked, 1))
    return abs(moved - base) <= 1e-4 * abs(base) and abs(other - base) > 1e-3 * abs(base)


def _is_linear(asked: Asked) -> bool:
    """Whether adding to all scores lowers the loss in proportion, without end."""
    scores = drawn_scores(asked)
    values = [asked.loss(scores + step) for step in (0.0, 10.0, 20.0)]
    first, second = values[0] - values[1], values[1] - values[2]
    return first > 0 and abs(first - second) <= 1e-3 * first


def _of_sigmoid(asked: Asked) -> Finding:
    targets = asked.targets.reshape(asked.scores.shape).to(asked.scores.dtype)
    is_squashed = any(one.is_output and one.function == "sigmoid" for one in asked.setup.first_pass.units)
    sure, as_probability, guess = (
        asked.loss(one) for one in (SURE * (2 * targets - 1), targets, torch.zeros_like(targets))
    )
    has_sigmoid = sure < 0.05 * guess and as_probability > 0.2 * guess
    if is_squashed and has_sigmoid:
        return Finding(
            "fail", "The network ends with a sigmoid and the loss applies a second one: perfect probabilities still "
            "cost "
            f"{as_probability:.3g}, perfect scores {sure:.3g}.", as_probability, "network.double_softmax",
            "Remove the sigmoid from the network, or use the loss for probabilities (BCELoss).",
            (_range_of(asked),),
        )  # fmt: skip
    takes_probability = as_probability < 0.05 * asked.loss(torch.full_like(targets, 0.5))
    if (
        not is_squashed
        and not has_sigmoid
        and takes_probability
        and bool((asked.scores < 0).any())
        and _is_log(asked, targets)
    ):
        return Finding(
            "fail", "The loss takes probabilities and the network returns scores, some below 0.", as_probability,
            "network.double_softmax", "Use the loss that takes logits (BCEWithLogitsLoss), or end with a sigmoid.",
            (_range_of(asked),),
        )  # fmt: skip
    return passed("The loss takes the form of scores that the network returns.", as_probability)


def _is_log(asked: Asked, targets: Tensor) -> bool:
    """Whether scores outside of 0 to 1 make no sense to the loss: a squared error takes them, a logarithm does not."""
    values = asked.loss(targets + 0.5 * (2 * targets - 1))
    return values == float("inf") or values < asked.loss(targets) - 1e-6


def look_direction(setup: Setup) -> Finding:
    """Compares the loss of perfect answers with that of worse ones, and of other targets."""
    asked = ask(setup)
    if asked is None:
        return not_applicable(_NO_TENSORS)
    if setup.target_form == "vector":
        return not_applicable("the targets say which samples belong together")
    if asked.kind == "other":
        return not_applicable("the targets have another form than the outputs")
    perfect, worse, other = _answers(asked)
    good, bad = asked.loss(perfect), asked.loss(worse)
    about = f"Perfect answers have loss {good:.3g}, wrong ones {bad:.3g}"
    drawn = _in_form(asked, drawn_scores(asked))
    cost = asked.loss(drawn)
    if not math.isfinite(cost) or not math.isfinite(bad):
        return not_applicable(
            f"the loss takes no answers but its own: drawn ones cost {cost:.3g}, wrong ones {bad:.3g}"
        )
    if good == bad == cost or (cost == asked.loss(drawn, other) and not torch.equal(other, asked.targets)):
        of = "other targets" if not good == bad == cost else "all answers"
        return Finding(
            "fail", f"The loss is the same for {of}: {cost:.4g}.", 0.0, "loss.not_of_targets",
            "Look in the loss for a name that is used twice, for a detached or overwritten variable.", (about,),
        )  # fmt: skip
    if good > bad:
        return Finding(
            "fail", f"{about}: it falls as answers get worse.", good - bad, "loss.wrong_way", "Check its sign (1 - "
            "similarity, "
            "minus the log-likelihood) and the order of its arguments: loss(outputs, targets).", (about,),
        )  # fmt: skip
    if asked.kind in ("one of", "words") and are_probabilities(asked) and _is_linear_in_probability(asked):
        return Finding(
            "fail", f"{about}: the loss is minus the probability itself, without its logarithm.", good,
            "loss.wrong_way",
            "Return log_softmax for nll_loss, or scores for cross_entropy.", (about,),
        )  # fmt: skip
    return passed(f"{about}.", good)


def _answers(asked: Asked) -> tuple[Tensor, Tensor, Tensor]:
    """Perfect scores, wrong scores, and targets that differ."""
    if asked.kind in ("one of", "words"):
        other = other_classes(asked)
        return _in_form(asked, SURE * one_hot(asked)), _in_form(asked, SURE * one_hot(asked, other)), other
    targets = asked.targets.reshape(asked.scores.shape).to(asked.scores.dtype)
    if asked.kind == "yes or no":
        is_squashed = bool(((asked.scores >= 0) & (asked.scores <= 1)).all())
        shown = targets * 0.98 + 0.01 if is_squashed else SURE * (2 * targets - 1)
        return shown, (1 - shown if is_squashed else -shown), 1 - asked.targets
    if _are_shares(asked):
        drawn = _in_form(asked, drawn_scores(asked))
        return targets, (targets + drawn.round()) / 2, 1 - asked.targets
    spread = targets.float().std().clamp_min(1e-6).to(targets.dtype)
    return (
        targets,
        targets + spread * drawn_scores(asked),
        asked.targets.flip(0).roll(1, -1) + spread.to(asked.targets.dtype) / 3,
    )


def _are_shares(asked: Asked) -> bool:
    """Whether answers and targets are numbers from 0 to 1, and the loss may take no others."""
    return all(bool(((one >= 0) & (one <= 1)).all()) for one in (asked.scores, asked.targets))


def _in_form(asked: Asked, logits: Tensor) -> Tensor:
    """Logits in the form of the network's scores."""
    if asked.kind == "yes or no":
        return logits.sigmoid() if bool(((asked.scores >= 0) & (asked.scores <= 1)).all()) else logits
    if asked.kind == "same shape":
        return logits.sigmoid() if _are_shares(asked) else logits
    if are_probabilities(asked):
        return logits.softmax(asked.class_axis)
    return logits.log_softmax(asked.class_axis) if are_log_probabilities(asked) else logits


def _is_linear_in_probability(asked: Asked) -> bool:
    right = one_hot(asked)
    even = torch.full_like(right, 1 / asked.num_classes)
    values = [asked.loss(even + share * (right - even)) for share in (0.0, 0.5, 1.0)]
    first, second = values[0] - values[1], values[1] - values[2]
    return values[2] < 0 and abs(first - second) <= 1e-3 * abs(first)


def look_kind(setup: Setup) -> Finding:
    """Tells a loss for numbers from one for classes, and one class of several from several labels."""
    asked = ask(setup)
    if asked is None:
        return not_applicable(_NO_TENSORS)
    if asked.kind == "yes or no" and asked.targets.ndim == 2 and asked.targets.shape[1] > 1:
        several = float((asked.targets.sum(1) > 1).float().mean())
        if several > 0 and _has_softmax(asked):
            return Finding(
                "fail", f"{several:.0%} of the samples have several labels and the loss takes one class of all (its "
                "softmax "
                "makes labels compete).", several, "loss.wrong_kind", "Use binary cross-entropy for each label "
                "(BCEWithLogitsLoss).", (f"targets {tuple(asked.targets.shape)}",),
            )  # fmt: skip
    if asked.kind == "one of" and not are_probabilities(asked):
        sizes = [asked.loss(size * one_hot(asked)) for size in (1.0, 3.0, 9.0)]
        if sizes[0] < sizes[1] < sizes[2] < float("inf") and not _has_softmax(asked):
            return _numbers_for_classes(
                asked, f"perfect scores of 1, 3 and 9 cost {sizes[0]:.3g}, {sizes[1]:.3g}, {sizes[2]:.3g}"
            )
    return _of_numbers(setup, asked)


def _of_numbers(setup: Setup, asked: Asked) -> Finding:
    """One output that is taught the number of the class."""
    targets = asked.targets
    is_class = not targets.is_floating_point() and targets.ndim == 1 and setup.target_form == "class"
    if not is_class or asked.scores.numel() != targets.numel() or asked.kind == "yes or no":
        return passed("The loss is of the kind of its targets.")
    classes = len(targets.unique())
    if len(setup.classes) < 3 and classes > 20:
        return passed("The targets are whole numbers of many values, such as counts.")
    numbers = targets.to(asked.scores.dtype).reshape(asked.scores.shape)
    near, far, right = asked.loss(numbers + 1), asked.loss(numbers + 2), asked.loss(numbers)
    if right < near < far:
        return _numbers_for_classes(asked, f"an answer 1 off costs {near:.3g}, 2 off {far:.3g}")
    return passed("The loss is of the kind of its targets.")


def _numbers_for_classes(asked: Asked, why: str) -> Finding:
    return Finding(
        "fail", f"The targets are classes and the loss measures a distance of numbers: {why}.", None, "loss.wrong_kind",
        "Give the network one output for each class and use cross_entropy.",
        (f"outputs {tuple(asked.scores.shape)}, targets {tuple(asked.targets.shape)}",),
    )  # fmt: skip


CHECKS = (
    Check(
        name="one softmax",
        subject="loss",
        causes={"network.double_softmax": "The network returns scores, and the loss applies the softmax or sigmoid."},
        symptom="The loss falls slowly and stays far from 0, or falls without end.",
        measure="Whether outputs are probabilities; whether the loss changes where 3 is added to all scores of a "
        "sample.",
        threshold="Exact: probabilities for a loss with a softmax, or raw scores for one without, fail.",
        origin="Softmax does not change where a constant is added to all scores.",
        look=look_softmax,
        is_quick=True,
    ),
    Check(
        name="the loss prefers right answers",
        subject="loss",
        causes={
            "loss.wrong_way": "Check the sign and the order of the arguments.",
            "loss.not_of_targets": "Look for a variable that is overwritten or detached.",
        },
        symptom="The loss falls and the score falls with it, or the score never moves.",
        measure="The loss of perfect and of wrong answers, and of the same answers for other targets.",
        threshold="It fails where wrong answers cost less, or other targets cost the same.",
        origin="Exact.",
        look=look_direction,
        is_quick=True,
    ),
    Check(
        name="the loss is of the targets' kind",
        subject="loss",
        causes={"loss.wrong_kind": "Cross-entropy for one class of several, binary cross-entropy for several labels."},
        symptom="The network learns slowly, or mixes classes whose numbers are neighbours.",
        measure="The loss of perfect scores that grow; the samples with several labels under a softmax; the cost of "
        "a class "
        "number that is off by 1 and by 2.",
        threshold="A cost that grows with the right score, or with the distance between class numbers, fails.",
        origin="Exact: numbers of classes have no distance.",
        look=look_kind,
        is_quick=True,
    ),
)
