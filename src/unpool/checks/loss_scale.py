"""The size of the loss, of its terms and of the numbers that are to be learned."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unpool.checks.activations import guessed_scores
from unpool.checks.answers import Asked, ask, drawn_scores, scores_of, targets_of
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.checks.source import split
from unpool.tracing.foreign import foreign_code
from unpool.tracing.recorder import tensors_of

TIMES_FAIL, TIMES_WARN = 50.0, 10.0  # a guess's loss over log C
SUM_OF_FEW = 2.0  # log C, below which a sum was divided by the usual number of samples
TERM_FAIL, TERM_WARN = 100.0, 30.0  # gradient of a term over that of all others
LARGE_FAIL, LARGE_WARN, SMALL = 10.0, 4.0, 0.01  # root mean square of a target; of order 1 where it is normalised


def look_scale(setup: Setup) -> list[Finding]:
    """Compares the loss of a batch with that of the batch twice, and of a guess with log C."""
    asked = ask(setup)
    if asked is None:
        return [not_applicable("give loss= and outputs and targets that are tensors")]
    results = [_of_terms(setup)] if _terms(setup) is not None else []
    results += _of_constant(asked)
    if setup.target_form != "vector":
        results.append(_of_batch(asked))
    return results or [not_applicable("a loss of pairs has no size for one sample")]


def _of_constant(asked: Asked) -> list[Finding]:
    """Whether one number for everything costs less than the targets themselves."""
    if asked.kind != "same shape":
        return []
    targets = asked.targets.reshape(asked.scores.shape).to(asked.scores.dtype)
    perfect, constant = asked.loss(targets), asked.loss(torch.full_like(targets, float(targets.mean())))
    about = f"The targets themselves as answers have loss {perfect:.3g}, their mean everywhere {constant:.3g}"
    if perfect <= constant or asked.loss(targets + drawn_scores(asked)) < perfect:
        return []  # the second: a loss of the wrong sign, which has its check
    return [Finding(
        "fail", f"{about}: a term that does not depend on the targets dwarfs the one that does.", perfect - constant,
        "loss.scale",
        "Give that term a smaller weight, until perfect answers cost less than constant ones; check that it is a "
        "mean, as the "
        "error is.", (about,),
    )]  # fmt: skip


def _of_batch(asked: Asked) -> Finding:
    batch = _twice(asked.batch)
    once = asked.loss(asked.scores)
    outputs = torch.cat([asked.scores, asked.scores])
    twice = Asked(asked.setup, batch, asked.outputs, outputs, asked.targets, asked.kind).loss(outputs)
    if once == 0 or math.inf in (once, twice):
        return not_applicable(f"the loss of the first batch is {once:.3g}")
    ratio, times = twice / once, _times_a_guess(asked)
    samples = len(asked.scores)
    about = f"The same batch twice has {ratio:.2f} times the loss"
    about += "" if times is None else f"; the loss of a guess is {times:.3g} times log C"
    if ratio < 0.6:
        return Finding(
            "fail", f"{about}: the mean is divided by the number of samples once more.", ratio, "loss.scale",
            "Divide by the number of samples once: reduction='mean' does it.", (f"batch of {samples}",),
        )  # fmt: skip
    large = times is not None and times > TIMES_FAIL
    if ratio > 1.7 and times is not None and times < SUM_OF_FEW:
        return Finding(
            "warn", f"{about}: it is a sum that is divided by a fixed number, so that a smaller last batch counts "
            "less.", ratio,
            "loss.scale", "Divide by the number of samples of each batch (reduction='mean').",
        )  # fmt: skip
    if ratio > 1.7 or large:
        what = "it grows with the number of samples" if ratio > 1.7 else "it is a sum, or has a large factor"
        return Finding(
            "fail", f"{about}: {what}, and so do gradients, for a learning rate that is meant for a "
            "mean.", ratio, "loss.scale",
            "Take the mean over samples and positions (reduction='mean').", (f"loss {once:.4g} for {samples} samples",),
        )  # fmt: skip
    if times is not None and times > TIMES_WARN:
        return Finding("warn", f"{about}: a factor of {times:.0f} stands before it.", times, "loss.scale",
                       "Leave the factor out, or check that the learning rate is meant for it.")  # fmt: skip
    return passed(f"{about}.", ratio)


def _times_a_guess(asked: Asked) -> float | None:
    if asked.kind not in ("one of", "words", "yes or no"):
        return None
    guess = asked.loss(guessed_scores(asked))
    classes = 2 if asked.kind == "yes or no" else asked.num_classes
    return guess / math.log(classes) if classes > 1 and 0 < guess < math.inf else None


def _twice(value: Any) -> Any:
    """A batch with each sample twice."""
    if isinstance(value, Tensor):
        return torch.cat([value, value]) if value.ndim else value
    if isinstance(value, Mapping):
        return {key: _twice(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_twice(one) for one in value)
    return [*value, *value] if isinstance(value, list) else value


def _terms(setup: Setup) -> Mapping[str, Any] | None:
    """The loss's terms, where it returns several."""
    terms: Any = None
    if setup.loss is not None:
        batch = setup.first_pass.batch
        with foreign_code(), torch.no_grad():
            terms = setup.loss(setup.first_pass.outputs, split(setup.moved(batch))[1])
    return terms if isinstance(terms, Mapping) and len(terms) > 1 else None


def _of_terms(setup: Setup) -> Finding:
    """Compares the gradients of the terms with respect to the outputs."""
    scores = scores_of(setup.first_pass.outputs)
    if scores is None or setup.loss is None:
        return not_applicable("the outputs are several tensors")
    leaf = scores.detach().clone().requires_grad_()
    terms = setup.loss(leaf, split(setup.moved(setup.first_pass.batch))[1])
    sizes = {name: _slope(term, leaf) for name, term in terms.items()}
    name, largest = max(sizes.items(), key=lambda item: item[1])
    rest = sum(size for other, size in sizes.items() if other != name)
    ratio = largest / rest if rest > 0 else math.inf
    about = f"The gradient of the term {name} is {ratio:.0f} times that of all others"
    evidence = tuple(f"{one}: {size:.3g}" for one, size in sizes.items())
    if ratio < TERM_WARN or rest == 0:
        return passed(f"{about}.", ratio)
    return Finding(
        "fail" if ratio >= TERM_FAIL else "warn", f"{about}: the others are not learned.", ratio, "loss.scale",
        "Give the terms weights that make their gradients of one order; check that all are means, not sums.", evidence,
    )  # fmt: skip


def _slope(term: Any, leaf: Tensor) -> float:
    if not isinstance(term, Tensor) or not term.requires_grad:
        return 0.0
    (gradient,) = torch.autograd.grad(term.sum(), leaf, retain_graph=True, allow_unused=True)
    return 0.0 if gradient is None else float(gradient.norm())


def look_target_scale(setup: Setup) -> Finding:
    """Compares the size of the numbers to be learned with 1 and with the network's first outputs."""
    batch = setup.moved(setup.first_pass.batch)
    targets, scores = targets_of(batch), scores_of(setup.first_pass.outputs)
    if setup.facts.get("loss_prepares_targets"):
        return not_applicable("the loss brings the targets to its own scale")
    if (
        targets is None
        or scores is None
        or setup.target_form in ("class", "class map", "flags", "vector", "tokens", "things")
    ):
        return not_applicable("the targets are no numbers to regress")
    numbers = _numbers(targets, scores, setup)
    if numbers is None:
        return not_applicable("the targets have another form than the outputs")
    size, output = float(numbers.square().mean().sqrt()), float(scores.float().square().mean().sqrt())
    spread = float(numbers.std(correction=0))
    about = f"Targets have root mean square {size:.3g} and deviation {spread:.3g}, the first outputs {output:.3g}"
    constant = _constant_loss(setup, scores, numbers)
    about += "" if constant is None else f"; a constant answer has loss {constant:.3g}"
    ratio = size / max(output, 1e-12)
    is_large, is_small = size > LARGE_WARN and ratio > 5, size < SMALL and ratio < 0.1
    if not is_large and not is_small:
        return passed(f"{about}.", size)
    return Finding(
        "fail" if size > LARGE_FAIL or is_small else "warn", f"{about}: the network must first grow {ratio:.2g} "
        "times.", size,
        "loss.target_scale", "Normalise the targets: subtract their mean and divide by their deviation, or by the "
        "picture's "
        "size, and undo it in predict.", (f"targets from {float(numbers.min()):.3g} to {float(numbers.max()):.3g}",),
    )  # fmt: skip


def _numbers(targets: Tensor, scores: Tensor, setup: Setup) -> Tensor | None:
    """The targets as floats, of points without their visibility."""
    values = targets.float()
    if (
        scores.ndim == values.ndim == 3
        and scores.shape[:2] == values.shape[:2]
        and values.shape[2] == scores.shape[2] + 1
    ):
        values = values[..., :-1][values[..., -1] > 0]
    elif values.numel() != scores.numel():
        return None
    images = [one for one in tensors_of(split(setup.first_pass.batch)[0]) if one.is_floating_point()]
    is_picture = values.ndim == 4 and any(one.shape[-2:] == values.shape[-2:] for one in images)
    if is_picture and images and float(images[0].abs().max()) > LARGE_FAIL:
        return None  # pictures of one scale in and out
    return values if values.numel() else None


def _constant_loss(setup: Setup, scores: Tensor, numbers: Tensor) -> float | None:
    asked = ask(setup)
    if asked is None or asked.kind == "other":
        return None
    return asked.loss(torch.full_like(scores, float(numbers.mean())))


CHECKS = (
    Check(
        name="the loss is a mean",
        subject="loss",
        causes={"loss.scale": "Take the mean over samples and positions; balance the terms."},
        symptom="Training is unstable or stands still, and changes with the batch size.",
        measure="The loss of the first batch twice over once; the loss of equal scores over log C; the gradients of "
        "the terms; "
        "the loss of the targets themselves against that of their mean.",
        threshold=f"A ratio above 1.7 or below 0.6 fails, a guess above {TIMES_FAIL:g} times log C, and a term whose "
        "gradient is "
        f"{TERM_FAIL:g} times that of the others; {TIMES_WARN:g} and {TERM_WARN:g} warn; a mean that costs less than "
        "the targets fails.",
        origin="Arithmetic: a mean does not change where each sample is counted twice, and cross-entropy of equal "
        "scores is log C.",
        look=look_scale,
        is_quick=True,
    ),
    Check(
        name="targets are of order 1",
        subject="loss",
        causes={"loss.target_scale": "Normalise the targets and undo it in predict."},
        symptom="The loss is huge and falls for a long time, or is tiny from the start, and the answer is a constant.",
        measure="The root mean square of the targets and of the first outputs, and the loss of a constant answer.",
        threshold=f"Above {LARGE_FAIL:g} and five times the outputs it fails, above {LARGE_WARN:g} it warns; below "
        f"{SMALL:g} and "
        "a tenth of the outputs it fails.",
        origin="Initial weights give outputs of about 1; Toshev and Szegedy 2014, section 3.1, normalise joints for "
        "that reason.",
        look=look_target_scale,
        is_quick=True,
    ),
)
