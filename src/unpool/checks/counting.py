"""Whether the score is counted over the whole set, in evaluation mode, and as others count it."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.ideals import Ideal, target_of
from unpool.checks.liked import best_outputs
from unpool.checks.scorers import Counting, Scorer
from unpool.checks.scores import NO_METRIC, UNKNOWN, Route
from unpool.checks.second import Second, seconds_of
from unpool.checks.setup import Setup
from unpool.checks.source import count
from unpool.tracing.foreign import foreign_code

SAME = 0.01  # of a score: less misleads nobody, as of joints of which some batches show more
LIKED = 8  # samples for which the outputs of smallest loss are searched
SINGLE = 64  # batches that are counted
SHARE = 0.6  # of the samples that are answered right where scores are compared
UNLIKE = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)


def look_batches(setup: Setup) -> Finding | list[Finding]:
    """Scores the same answers in batches of several sizes, one of which is a single sample."""
    if setup.val is None or (setup.metric is None and setup.evaluate is None):
        return not_applicable(NO_METRIC)
    scorer = Scorer(setup)
    number = len(scorer)
    if number < 4:
        return not_applicable(f"{number} samples are too few to make several batches of")
    if setup.val.is_loader and all(count(batch) == 1 for batch in setup.val.batches(SINGLE)):
        return not_applicable("validation has batches of one sample: a mean over batches is one over samples")
    outputs = partly_right(scorer)
    made, failures = [], []
    for name, score in _ways(setup, scorer):
        with foreign_code() as failure:
            values = [score(outputs, sizes) for sizes in ((number,), (number - 1, 1), _thirds(number))]
            made.append(_by_batches(name, values))
        failures += [f"{name}: {failure}"] if failure else []
    wrong = [one for one in made if one.verdict != "pass"]
    return (
        wrong or made or [not_applicable("; ".join(failures) or "metric is a function of one batch: pass evaluate=")]
    )[0]


def _ways(setup: Setup, scorer: Scorer) -> Iterator[tuple]:
    """What is counted over several batches; a function of one batch only where nothing else says how it is used."""
    if setup.evaluate is not None and setup.val is not None and setup.val.is_loader:
        yield "evaluate", scorer.by_evaluate
    if isinstance(setup.metric, Counting):
        yield "metric", scorer.by_metric


def _thirds(number: int) -> tuple[int, ...]:
    first = number // 3
    return (first, max(1, first // 2), number - first - max(1, first // 2))


def _by_batches(name: str, values: Sequence[float]) -> Finding:
    gap = max(values) - min(values)
    about = f"{name}: the same answers score {', '.join(f'{value:.5g}' for value in values)}"
    about += " in one batch, in two of which the last has one sample, and in three"
    if not gap > SAME * max(1e-3, abs(values[0])):
        return passed(about, gap)
    return Finding(
        "fail",
        f"{about}: the score depends on the batches",
        gap,
        "metric.averaged_batches",
        "count over the set and divide once at the end: sums of right and of all samples, of intersections and unions; "
        "not the mean of each batch's score",
    )


def partly_right(scorer: Scorer) -> Tensor:
    """Outputs that are right for some of the samples, and not for the last one."""
    generator = torch.Generator().manual_seed(0)
    if scorer.ideal is None:
        best = _liked(scorer) if scorer.setup.target_form == "things" else None
        if best is not None:
            return torch.cat([best, scorer.outputs[len(best) :]])
        return scorer.outputs + scorer.outputs.std() * torch.randn(scorer.outputs.shape, generator=generator)
    is_right = torch.rand(len(scorer), generator=generator) < SHARE
    is_right[-1] = False
    mask = is_right.reshape(-1, *[1] * (scorer.outputs.dim() - 1))
    right, wrong = scorer.ideal.right, scorer.ideal.wrong
    return torch.where(mask, right if scorer.ideal.has_classes else 0.7 * right + 0.3 * wrong, wrong)


def _liked(scorer: Scorer) -> Tensor | None:
    """Outputs that the loss likes best, for a part of the samples that is not the whole."""
    number = min(LIKED, len(scorer) // 2)
    batch = scorer.collate(scorer.samples[:number])
    with foreign_code():
        return best_outputs(scorer.setup, batch, (number, *scorer.outputs.shape[1:]), rounds=60)
    return None


def look_mode(setup: Setup) -> Finding:
    """Looks at the network's mode while the evaluation asks it."""
    if setup.evaluate is None or setup.val is None:
        return not_applicable("how validation is done is not known: pass evaluate=, a function of (model, val)")
    parts = [(name, part) for name, part in setup.model.named_modules() if isinstance(part, UNLIKE)]
    if not parts:
        return passed("the network answers alike in training and evaluation mode: no dropout, no batch norm")
    training: dict[str, None] = {}
    calls = 0

    def note(_part: nn.Module, _inputs: object) -> None:
        nonlocal calls
        calls += 1
        training.update({name: None for name, part in parts if part.training})

    data = Scorer(setup).data()
    handle = setup.model.register_forward_pre_hook(note)
    try:
        with setup.trying(training=True):
            setup.evaluate(setup.model, data)
    finally:
        handle.remove()
    if calls == 0:
        return not_applicable("evaluate(model, val) does not call the model that it gets")
    if not training:
        return passed(f"dropout and batch norm are in evaluation mode while {calls} batches are validated", 0.0)
    return Finding(
        "fail",
        f"validation runs in training mode: {len(training)} layers of dropout or batch norm are in training mode",
        float(len(training)),
        "metric.train_mode",
        "call model.eval() before validation and model.train() after it; torch.no_grad() does not change the mode",
        tuple(training)[:8],
    )


def look_second(setup: Setup) -> Finding | list[Finding]:
    """Looks for a score, written a second time, that has the values of the metric on several sets of answers."""
    if setup.val is None or (setup.metric is None and setup.evaluate is None):
        return not_applicable(NO_METRIC)
    scorer = Scorer(setup)
    target = target_of(scorer.targets)
    if scorer.ideal is None or target is None:
        return not_applicable(UNKNOWN)
    for name, score in (("metric", scorer.by_metric), ("evaluate", scorer.by_evaluate)):
        if (setup.metric if name == "metric" else setup.evaluate) is None:
            continue
        with foreign_code():
            finding = _compared(Route(name, score), scorer, scorer.ideal, target)
            if finding is not None:
                return finding
    return not_applicable("no second implementation is known that has this score's values")


def _compared(route: Route, scorer: Scorer, ideal: Ideal, target: Tensor) -> Finding | None:
    probes = (partly_right(scorer), ideal.wrong, (ideal.right + ideal.wrong) / 2)
    values = [route.score(probe) for probe in probes]
    if max(values) == min(values):
        return None
    for second in seconds_of(scorer.setup.target_form, ideal, target):
        others = [second.score(probe) for probe in probes]
        if all(abs(a - b) <= 1e-3 * max(1e-3, abs(b)) for a, b in zip(values, others, strict=True)):
            return _as(route, second, values)
    return None


def _as(route: Route, second: Second, values: Sequence[float]) -> Finding:
    figures = ", ".join(f"{value:.4g}" for value in values)
    if not second.wrong:
        return passed(f"{route.name} is {second.name}: {figures} on three sets of answers, by both implementations")
    return Finding(
        "fail",
        f"{route.name} is {second.name}: {figures} on three sets of answers; {second.wrong}",
        values[0],
        "metric.disagrees",
        second.cure,
    )


CHECKS = (
    Check(
        "the score is counted over the set",
        "metric",
        {"metric.averaged_batches": "count over the set and divide once at the end"},
        "The score changes with the batch size of validation.",
        f"The same answers, {100 * SHARE:.0f} % of them right, are scored in batches of several sizes; a "
        "stand-in for the "
        "network gives them to evaluate. Of things with boxes, the outputs that the loss likes best are right.",
        f"A failure where scores differ by more than {SAME} of themselves. Not applicable where validation has batches "
        "of one sample.",
        "Arithmetic: a count over the set does not depend on its parts; sums of float32 differ by 1e-6.",
        look_batches,
    ),
    Check(
        "validation runs in evaluation mode",
        "metric",
        {"metric.train_mode": "call model.eval() before validation and model.train() after it"},
        "Validation scores swing, depend on the batch size, and are better or worse than those of the program "
        "that predicts.",
        "The mode of dropout and batch norm while evaluate asks the network, which was in training mode before.",
        "A failure where one of them is in training mode.",
        "Definition.",
        look_mode,
    ),
    Check(
        "a second implementation agrees",
        "metric",
        {"metric.disagrees": "compare the formula with the one of the score's paper"},
        "The score cannot be compared with that of others.",
        "Scores of three sets of answers, against those of shares, means over classes, overlaps and errors that are "
        "written a second time, in the form that has the same values.",
        "A failure where the form that has the same values is known to be a mistake, such as a peak of 255 for "
        "values from "
        "0 to 1. Not applicable where no known form has them.",
        "Arithmetic, to 1 in 1000.",
        look_second,
    ),
)
