"""Whether the score is the best for perfect answers, low for blind ones, and reads outputs along the right axis."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.checks.findings import Check, Finding, Verdict, not_applicable, passed
from unpool.checks.ideals import Ideal, target_of
from unpool.checks.scorers import Scorer
from unpool.checks.setup import Setup
from unpool.tracing.foreign import foreign_code

BEST = (1.0, 100.0)  # of a score of classes
NEAR = 0.005  # of the best score, that rounding and smoothing may take
ALIKE = 0.8  # of the larger of two scores of numbers: an error of perfect answers is 0, a quality of wrong ones low
BLIND, USELESS = 0.85, 0.93  # of the way from the worst to the best score, that an answer without looking may reach
NO_METRIC = "no score is known: pass metric= or evaluate=, and val="
UNKNOWN = "what a perfect output is cannot be made from these targets and outputs"


class Route(NamedTuple):
    """One way to a score: the metric, or the evaluation."""

    name: str
    score: Callable[[Tensor], float]


def routes(setup: Setup, scorer: Scorer) -> Iterator[Route]:
    """The ways to a score of one run that work for its network's outputs."""
    if setup.metric is not None:
        yield Route("metric", scorer.by_metric)
    if setup.evaluate is not None:
        yield Route("evaluate", scorer.by_evaluate)


def scored(
    setup: Setup, judge: Callable[[Scorer, Ideal, Route], Finding | None], scorer: Scorer | None = None
) -> Finding | list[Finding]:
    """Judges each way to a score; the first that is wrong, else one finding that says what was measured."""
    if setup.val is None or (setup.metric is None and setup.evaluate is None):
        return not_applicable(NO_METRIC)
    scorer = scorer or Scorer(setup)
    if scorer.ideal is None:
        return not_applicable(UNKNOWN)
    made: list[Finding] = []
    failures = []
    for route in routes(setup, scorer):
        with foreign_code() as failure:
            finding = judge(scorer, scorer.ideal, route)
            made += [] if finding is None else [finding]
        failures += [f"{route.name}: {failure}"] if failure else []
    wrong = [one for one in made if one.verdict in ("fail", "warn")]
    if wrong:
        return wrong[0]
    return made[0] if made else not_applicable("; ".join(failures) or UNKNOWN)


def look_perfect(setup: Setup) -> Finding | list[Finding]:
    """Scores perfect, wrong and unsure answers, and answers drawn at random."""
    if setup.val is None or (setup.metric is None and setup.evaluate is None):
        return not_applicable(NO_METRIC)
    scorer = Scorer(setup)
    for route in routes(setup, scorer):
        with foreign_code():
            still = _still(scorer, route)
            if still is not None:
                return still
    return scored(setup, lambda scorer, ideal, route: _perfect(setup, scorer, ideal, route), scorer)


def _still(scorer: Scorer, route: Route) -> Finding | None:
    """Whether the score is the same for any outputs; random ones may all be wrong, so that 0 says nothing."""
    target = target_of(scorer.targets)
    if target is None or len(target.unique()) < 2:
        return None
    if scorer.setup.target_form not in ("class", "flags", "class map") and scorer.outputs.numel() != target.numel():
        return None  # of vectors few answers are of any worth
    spread = 10 * max(1.0, float(target.float().std()), float(scorer.outputs.std()))
    draws = [spread * torch.randn(scorer.outputs.shape, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    probes = [scorer.outputs, *draws, *(-draw for draw in draws)]
    if scorer.ideal is not None:
        probes += [scorer.ideal.right, scorer.ideal.wrong]
    values = [route.score(probe) for probe in probes]
    if not math.isfinite(values[0]) or any(value != values[0] for value in values) or values[0] in (0.0, *BEST):
        return None
    has_one = scorer.outputs.shape[1:2] == (1,)
    return Finding(
        "fail",
        f"{route.name}: the score is {values[0]:.4g} for whatever the network answers: {len(probes)} sets of "
        f"outputs of shape (N, {', '.join(map(str, scorer.outputs.shape[1:]))}), drawn at random, and negated",
        values[0],
        "metric.wrong_axis" if has_one else "metric.not_perfect",
        "compare a single output with a threshold: argmax over one output is always 0"
        if has_one
        else "follow the outputs through the evaluation: something that does not depend on them is scored",
    )


def _perfect(setup: Setup, scorer: Scorer, ideal: Ideal, route: Route) -> Finding:
    right, wrong = route.score(ideal.right), route.score(ideal.wrong)
    mixed = _mixed_up(scorer, ideal, route, right)
    if mixed is not None:
        return mixed
    about = f"{route.name}: perfect answers score {right:.4g}, wrong ones {wrong:.4g}"
    if ideal.unsure is not None and right != wrong and abs(route.score(ideal.unsure) - right) > NEAR * abs(right):
        return _border(ideal.unsure, route, right)
    if not ideal.has_classes:
        if right == wrong or math.isnan(right):
            return _not_perfect(about, right, "the score does not depend on the answers")
        if min(right, wrong) > ALIKE * max(right, wrong) > 0:
            return _not_perfect(about, right, "something else than the answers makes nearly all of it")
        return passed(about, right)
    is_error = right < wrong and wrong > 0.5  # else wrong answers are right more often than perfect ones
    best = 0.0 if is_error else min(BEST, key=lambda value: abs(value - right))
    near = (
        (0.1 * wrong if is_error else 0.05) if setup.target_form == "points" else NEAR
    )  # maps are coarser than points
    if abs(right - best) <= near * max(best, 1.0) or right == len(scorer):
        return passed(about, right)
    ignored = _due_to_ignored(setup, scorer, ideal, route, best)
    return ignored or _not_perfect(about, right, f"expected {best:.4g}")


def _not_perfect(about: str, value: float, more: str) -> Finding:
    return Finding(
        "fail",
        f"{about}: {more}",
        value,
        "metric.not_perfect",
        "score the targets themselves as if they were answers, and follow where the rest is lost: classes that do not "
        "occur (leave them out of the mean), positions of another size, an index that starts elsewhere",
    )


def _border(unsure: Tensor, route: Route, right: float) -> Finding:
    low, high = float(unsure.min()), float(unsure.max())
    score = route.score(unsure)
    return Finding(
        "fail",
        f"{route.name}: answers just beyond the border between no and yes ({low:.2g} and {high:.2g}) score "
        f"{score:.4g}, "
        f"sure ones {right:.4g}: the threshold is not at the border of these outputs",
        score,
        "metric.wrong_axis",
        "compare probabilities with 0.5, and logits with 0; apply the sigmoid before a threshold of 0.5",
    )


def _mixed_up(scorer: Scorer, ideal: Ideal, route: Route, right: float) -> Finding | None:
    """Adds a constant to all scores of a position, which changes neither its largest score nor its softmax."""
    scores = ideal.right
    axis = scores.dim() - 1 if _is_last(scorer) else 1
    if not ideal.has_classes or scores.dim() < 2 or scores.shape[axis] < 2 or ideal.unsure is not None:
        return None
    if target_of(scorer.targets) is None or scorer.are_shares or scorer.setup.target_form == "points":
        return None
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(scores.shape, generator=generator)
    shape = [1 if number == axis else size for number, size in enumerate(scores.shape)]
    shifted = noise + 30 * torch.randn(shape, generator=generator)
    before, after = route.score(noise), route.score(shifted)
    if abs(before - after) <= 1e-4 * max(1.0, abs(before)):
        return None
    return Finding(
        "fail",
        f"{route.name}: a constant added to all class scores of a sample changes the score from {before:.4g} to "
        f"{after:.4g}, although it changes no answer: the largest score or the softmax is taken along another axis",
        after - before,
        "metric.wrong_axis",
        f"take argmax and softmax along the axis of the classes, dim={axis} of outputs of shape "
        f"(N, {', '.join(map(str, scores.shape[1:]))})",
        (f"perfect answers score {right:.4g}",),
    )


def _is_last(scorer: Scorer) -> bool:
    """Whether classes are the last axis, as in scores of words."""
    return scorer.setup.target_form == "tokens"


def ignored_by_loss(setup: Setup, scorer: Scorer) -> Tensor | None:
    """(N, ...) of what the loss does not count, in the shape of the answers; None where it counts all of them.

    Where the loss does not count an output, its gradient there is exactly 0.
    """
    if setup.loss is None or setup.target_form not in ("class map", "tokens", "points", "class"):
        return None
    outputs = torch.randn(scorer.outputs.shape, generator=torch.Generator().manual_seed(0))
    outputs = outputs.sigmoid() if scorer.are_shares else outputs
    outputs = outputs.requires_grad_()
    (grad,) = torch.autograd.grad(setup.loss_of(outputs, scorer.batch), outputs)
    size = grad.abs()
    if setup.target_form == "tokens":
        counted = size.sum(-1)
    elif setup.target_form == "points":
        counted = size.flatten(2).sum(2)
    else:
        counted = size.sum(1)
    ignored = counted == 0
    return ignored if 0 < float(ignored.float().mean()) < 0.95 else None


def look_ignored(setup: Setup) -> Finding | list[Finding]:
    """Changes answers where the loss does not count them, and scores again."""
    return scored(setup, lambda scorer, ideal, route: _ignored(setup, scorer, ideal, route))


def _ignored(setup: Setup, scorer: Scorer, ideal: Ideal, route: Route) -> Finding:
    if setup.loss is None:
        return not_applicable("what the loss ignores is not known: pass loss=")
    ignored = ignored_by_loss(setup, scorer)
    if ignored is None:
        return passed("the loss ignores nothing in these samples", 0.0)
    other = torch.where(_spread(ignored, ideal.right, setup), ideal.wrong, ideal.right)
    right, changed, wrong = route.score(ideal.right), route.score(other), route.score(ideal.wrong)
    share = float(ignored.float().mean())
    if share > NEAR and abs(right - 1) < NEAR and abs(wrong - share) < NEAR:
        return _counts_ignored(route, share, f"{wrong:.4g} when every answer is wrong: these count as right")
    if abs(right - changed) <= 1e-6 * max(1.0, abs(right)):
        return passed(f"{route.name}: answers that the loss ignores ({100 * share:.1f} %) do not change the score", 0.0)
    return _counts_ignored(route, share, f"{right:.4g} when they are right, {changed:.4g} when they are wrong")


def _spread(mask: Tensor, outputs: Tensor, setup: Setup) -> Tensor:
    """A mask of answers as one of outputs, with the axis of the classes, or of the map."""
    if setup.target_form == "tokens":
        return mask[..., None].expand_as(outputs)
    if setup.target_form == "points":
        return mask.reshape(*mask.shape, *[1] * (outputs.dim() - 2)).expand_as(outputs)
    return mask[:, None].expand_as(outputs)


def _counts_ignored(route: Route, share: float, figures: str) -> Finding:
    return Finding(
        "fail",
        f"{route.name}: {100 * share:.1f} % of the answers are ignored by the loss and counted by the score: {figures}",
        share,
        "metric.ignored_counted",
        "leave out of the score what the loss leaves out: the ignored value of masks, padding, joints that nobody sees",
    )


def _due_to_ignored(setup: Setup, scorer: Scorer, ideal: Ideal, route: Route, best: float) -> Finding | None:
    """Whether perfect answers score less because values that are no class count as wrong."""
    target = target_of(scorer.targets)
    number = ideal.right.shape[-1 if setup.target_form == "tokens" else 1]
    if target is None or target.is_floating_point() or setup.target_form not in ("class map", "class"):
        return None
    outside = (target < 0) | (target >= number)
    share = float(outside.float().mean())
    if not 0 < share < 1 or setup.metric is None or not isinstance(scorer.targets, Tensor):
        return None
    inside = scorer.by_metric(ideal.right, targets=torch.where(outside, 0, target))
    if abs(inside - best) > NEAR * max(best, 1.0) or ignored_by_loss(setup, scorer) is None:
        return None
    value = scorer.by_metric(ideal.right)
    return _counts_ignored(
        route, share, f"perfect answers score {value:.4g}, and {inside:.4g} where these are filled in"
    )


def look_blind(setup: Setup) -> Finding | list[Finding]:
    """Scores answers that do not depend on the image."""
    if setup.target_form == "vector":
        return _blind_vectors(setup)
    return scored(setup, lambda scorer, ideal, route: _blind(scorer, ideal, route))


def _blind(scorer: Scorer, ideal: Ideal, route: Route) -> Finding:
    right, wrong = route.score(ideal.right), route.score(ideal.wrong)
    scores = [route.score(one) for one in ideal.constant]
    way = [(score - wrong) / (right - wrong) for score in scores] if math.isfinite(right) and right != wrong else []
    if not ideal.has_classes or not way:
        return not_applicable("the best score of these answers has no bound to compare a constant one with")
    best = max(range(len(way)), key=lambda one: way[one])
    about = f"{route.name}: the same answer for every sample scores up to {scores[best]:.3g}, perfect ones {right:.3g}"
    target = target_of(scorer.targets)
    if way[best] <= BLIND or target is None or bool((target == target.flatten()[0]).all()):
        return passed(about, scores[best])
    evidence = (f"always class {best}: {scores[best]:.4g}",)
    return _rewards(about, scores[best], evidence, verdict="fail" if way[best] > USELESS else "warn")


def _blind_vectors(setup: Setup) -> Finding:
    """Scores vectors that are drawn at random."""
    if setup.evaluate is None or setup.val is None:
        return not_applicable(NO_METRIC)
    scorer = Scorer(setup)
    draws = torch.randn(scorer.outputs.shape, generator=torch.Generator().manual_seed(0))
    score = scorer.by_evaluate(torch.nn.functional.normalize(draws, dim=-1))
    about = f"evaluate: vectors drawn at random score {score:.3g}"
    labels = target_of(scorer.targets)
    if score < BLIND or labels is None or len(labels.unique()) < 3:
        return passed(about, score)
    about += f" over {len(labels.unique())} classes"
    return _rewards(about, score, ("does each query stand in the list that it is searched in?",))


def _rewards(about: str, value: float, evidence: tuple[str, ...], *, verdict: Verdict = "fail") -> Finding:
    return Finding(
        verdict,
        f"{about}: the score does not tell a network that sees from one that does not",
        value,
        "metric.rewards_constant",
        "use a score that each class counts in equally: the mean over classes of recall, F1 or IoU over the whole set; "
        "count samples without anything to find apart; leave a query out of its own gallery",
        evidence,
    )


CHECKS = (
    Check(
        "perfect answers score best",
        "metric",
        {
            "metric.not_perfect": "score the targets as if they were answers, and follow where the rest is lost",
            "metric.wrong_axis": "take argmax along the axis of the classes; compare logits with 0, "
            "probabilities with 0.5",
            "metric.ignored_counted": "leave out of the score what the loss leaves out",
        },
        "The score stays below what the pictures show, whatever is changed.",
        "Outputs made from the targets of validation are scored: all right, all wrong, right by a little; and "
        "random ones "
        "with a constant added to all classes of a position, and negated.",
        f"A failure where right answers of classes do not score 1 or 100 (0 of an error) to {100 * NEAR:.1f} %, "
        "where the "
        "size of a right answer matters to a threshold, where the constant changes the score, or where all outputs "
        "have one score between the worst and the best.",
        "Arithmetic: argmax and softmax over classes do not change by a constant.",
        look_perfect,
    ),
    Check(
        "the score ignores what the loss ignores",
        "metric",
        {"metric.ignored_counted": "leave out of the score what the loss leaves out"},
        "The score is a few percent too low, or too high, against that of others on the same set.",
        "Answers at which the gradient of the loss is exactly 0 are made wrong, and the score is computed again.",
        "A failure where it changes.",
        "Arithmetic.",
        look_ignored,
    ),
    Check(
        "blind answers score low",
        "metric",
        {"metric.rewards_constant": "use a score that each class counts in equally"},
        "The score is high from the first epoch, and the answers are all the same.",
        "The same answer for every sample is scored, for each class; of vectors, random ones.",
        f"A failure where it reaches {100 * USELESS:.0f} % of the way from all wrong to all right, a warning from "
        f"{100 * BLIND:.0f} % on.",
        "Measured on healthy runs: at most 79 % (overlap with the foreground of a set that is mostly foreground).",
        look_blind,
    ),
)
