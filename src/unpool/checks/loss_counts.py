"""Which targets the loss counts, and how much each class."""

import torch
from torch import Tensor

from unpool.checks.answers import Asked, ask, drawn_scores, is_ignored, targets_of, with_targets
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup

FOCAL = 12.0  # slope of a wrong answer over a right one's: 7.4 of a cross-entropy at scores of 2, 100 of a focal loss
BATCHES = 8  # that are searched for a target that stands for nothing
UNBALANCED, WEIGHTED = 1.5, 1.5  # the most over the least frequent class; the largest over the smallest weight
OPPOSED, DISORDERED, INVERSE = 0.3, -0.5, -0.9  # correlation of the logarithms of weight and frequency


def look_ignored(setup: Setup) -> Finding:
    """Changes the answers where the target stands for nothing, and looks whether the loss changes."""
    if ask(setup) is None:
        return not_applicable("give loss= and outputs and targets that are tensors")
    asked, ignored = _with_ignored(setup)
    if asked is None or ignored is None:
        return not_applicable("no target stands for nothing (255, -1, padding, or a hidden joint)")
    share = float(ignored.float().mean())
    drawn = drawn_scores(asked)
    changed = torch.where(ignored.expand_as(drawn), drawn_scores(asked, 1), drawn)
    first, second = asked.loss(drawn), asked.loss(changed)
    about = f"{share:.1%} of the targets stand for nothing ({_what(asked)})"
    if abs(first - second) > 1e-6 * max(abs(first), 1e-12):
        return Finding(
            "fail", f"{about}, and other answers there change the loss from {first:.5g} to {second:.5g}.", share,
            "loss.ignored_counted", "Leave them out: ignore_index of cross_entropy, or multiply by a mask and divide "
            "by its sum.",
            (f"targets {tuple(asked.targets.shape)}",),
        )  # fmt: skip
    divided = _divided_by_all(asked, ignored)
    if divided is not None:
        return Finding(
            "warn", f"{about}: they cost nothing, but the loss is divided by their number too (a guess costs "
            f"{divided:.2f} of what "
            "it would cost without them).", divided, "loss.ignored_counted", "Divide the sum by the number of "
            "targets that "
            "count.",
        )  # fmt: skip
    return passed(f"{about}, and answers there do not change the loss.", share)


def _with_ignored(setup: Setup) -> tuple[Asked | None, Tensor | None]:
    """The first batch in which a target stands for nothing, and which of its scores belong to such targets."""
    for batch in setup.batches(BATCHES):
        with setup.trying(training=False), torch.no_grad():
            outputs = setup.outputs(batch)
        asked = ask(setup, batch, outputs)
        ignored = None if asked is None else _ignored_positions(asked)
        if ignored is not None and bool(ignored.any()):
            return asked, ignored
    return None, None


def _ignored_positions(asked: Asked) -> Tensor | None:
    """Which scores belong to a target that stands for nothing; of a form that the scores' can be expanded from."""
    targets = asked.targets
    if asked.kind == "one of":
        return is_ignored(asked).unsqueeze(1)
    if asked.kind == "words":
        return _is_padding(targets)[..., None]
    if asked.setup.target_form == "tokens" and asked.scores.ndim == 3 and asked.scores.shape[1] == targets.shape[1] - 1:
        return _is_padding(targets)[:, 1:, None]  # the words that follow
    if (
        targets.ndim == 3
        and targets.shape[-1] == 3
        and bool(torch.isin(targets[..., 2], torch.tensor([0.0, 1.0, 2.0])).all())
    ):
        hidden = targets[..., 2] == 0
        if asked.scores.shape[:2] == hidden.shape:
            return hidden.reshape(*hidden.shape, *(1,) * (asked.scores.ndim - 2))
    if (
        targets.numel() == asked.scores.numel()
        and bool((targets < 0).any())
        and asked.setup.target_form in ("flags", "class map")
    ):
        return (targets < 0).reshape(asked.scores.shape)
    if targets.numel() == asked.scores.numel() and asked.setup.target_form == "class map":
        return (targets == 255).reshape(asked.scores.shape)
    return None


def _is_padding(words: Tensor) -> Tensor:
    """Positions of the word that ends most sentences and repeats there, without its first one, which may end them."""
    last = words[:, -1]
    padding = int(last.mode().values)
    repeated = (words == padding) & (words.roll(1, 1) == padding)
    repeated[:, 0] = False
    tail = repeated.flip(1).cumprod(1).flip(1).bool()
    return tail if bool((last == padding).float().mean() > 0.5) else torch.zeros_like(tail)


def _what(asked: Asked) -> str:
    if asked.kind == "words" or asked.setup.target_form == "tokens":
        return "padding"
    if asked.targets.ndim == 3 and asked.targets.shape[-1] == 3 and asked.kind == "other":
        return "hidden joints"
    values = asked.targets[is_ignored(asked)] if asked.kind == "one of" else asked.targets[asked.targets < 0]
    return f"value {int(values.flatten()[0])}" if values.numel() else "value 255"


def _divided_by_all(asked: Asked, ignored: Tensor) -> float | None:
    """The share by which a guess costs less for ignored targets that are divided by; None where it is none."""
    if asked.kind != "one of" or not bool(ignored.any()):
        return None
    zero = torch.zeros_like(asked.scores)
    counted = torch.where(is_ignored(asked), torch.zeros_like(asked.targets), asked.targets)
    ratio = asked.loss(zero) / max(asked.loss(zero, counted), 1e-12)
    return ratio if abs(ratio - float((~ignored).float().mean())) < 0.01 and ratio < 0.97 else None


def look_class_weights(setup: Setup) -> Finding:
    """Measures the weight of each class in the loss and compares it with how often the class occurs."""
    asked = ask(setup)
    if asked is None or asked.kind not in ("one of", "yes or no"):
        return not_applicable("give loss= and targets that are classes")
    frequency = _frequencies(setup, asked)
    weights = _weights(asked)
    known = (frequency > 0) & (weights > 0)
    if int(known.sum()) < 2:
        return not_applicable("fewer than two classes occur")
    frequency, weights = frequency[known], weights[known]
    spread, range_ = float(frequency.max() / frequency.min()), float(weights.max() / weights.min())
    about = f"Classes occur up to {spread:.1f} times as often as others, and weigh up to {range_:.1f} times as much"
    if spread < UNBALANCED or range_ < WEIGHTED:
        return passed(f"{about}.", range_)
    correlation = _correlation(frequency.log(), weights.log())
    about += f"; weight and frequency are correlated by {correlation:+.2f}"
    best = _correlation(frequency.log().sort().values, weights.log().sort(descending=True).values)
    is_disordered = len(weights) > 3 and correlation > DISORDERED and best < INVERSE and spread > 3
    if correlation <= OPPOSED and not is_disordered:
        return passed(f"{about}.", correlation)
    names = list(setup.classes) or [str(i) for i in range(len(known))]
    shown = [name for name, is_known in zip(names, known.tolist(), strict=False) if is_known]
    shares, sizes = (frequency / frequency.sum()).tolist(), (weights / weights.mean()).tolist()
    what = "the weights stand in another order than the classes" if is_disordered else "frequent classes weigh most"
    return Finding(
        "fail", f"{about}: {what}.", correlation, "loss.weights_inverted", "Weigh each class by 1 / its frequency, "
        "in the order "
        "of the labels; pos_weight is the number of negatives over that of positives.",
        tuple(
            f"class {name}: {share:.1%} of the targets, weight {weight:.3g}"
            for name, share, weight in zip(shown, shares, sizes, strict=False)
        )[:12],
    )  # fmt: skip


def _correlation(one: Tensor, other: Tensor) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / (one.norm() * other.norm()).clamp_min(1e-12))


def _frequencies(setup: Setup, asked: Asked) -> Tensor:
    """(C,): how often each class occurs in the first batches; of yes or no those of no and yes."""
    total = torch.zeros(2 if asked.kind == "yes or no" else asked.num_classes)
    for batch in setup.train.batches(30):
        targets = targets_of(batch)
        if targets is None:
            continue
        flat = targets.flatten().long()
        total += torch.bincount(flat[(flat >= 0) & (flat < len(total))], minlength=len(total)).float()
    return total


def _weights(asked: Asked) -> Tensor:
    """(C,): the size of the gradient of a sample's equal scores, one sample of each class in a batch."""
    if asked.kind == "yes or no":
        return _weights_of_two(asked)
    classes = asked.num_classes
    inner = asked.scores.shape[2:]
    scores = torch.zeros((classes, classes, *inner), dtype=asked.scores.dtype, requires_grad=True)
    targets = torch.arange(classes, dtype=asked.targets.dtype).reshape(-1, *(1,) * len(inner)).expand(classes, *inner)
    loss = asked._replace(batch=_only(asked, targets)).tensor(scores)
    (gradient,) = torch.autograd.grad(loss, scores)
    return gradient.float().flatten(1).norm(dim=1)


def _weights_of_two(asked: Asked) -> Tensor:
    """(2,): of no and yes; 0 where the loss has no weight for each, as an overlap or a focal loss has none."""
    is_squashed = bool(((asked.scores >= 0) & (asked.scores <= 1)).all())
    middle = torch.full_like(asked.scores, 0.5 if is_squashed else 0.0)
    weights, mirrored = _slopes(asked, middle, asked.targets), _slopes(asked, middle, 1 - asked.targets)
    is_fixed = abs(float((weights[1] / weights[0]) / (mirrored[1] / mirrored[0])) - 1) < 0.05  # not of an overlap
    step = 0.3 if is_squashed else 2.0
    sure, unsure = (_slopes(asked, middle + sign * step, asked.targets)[0] for sign in (1, -1))
    is_focal = float(sure / unsure.clamp_min(1e-12)) > FOCAL
    return weights if is_fixed and not is_focal else torch.zeros(2)


def _slopes(asked: Asked, scores: Tensor, targets: Tensor) -> Tensor:
    """(2,): the mean size of the gradient where the target is no, and where it is yes."""
    leaf = scores.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(asked.tensor(leaf, targets), leaf)
    slopes, yes = gradient.abs().flatten(), targets.flatten() > 0.5
    return torch.stack([slopes[~yes].mean(), slopes[yes].mean()]).float()


def _only(asked: Asked, targets: Tensor) -> object:
    """A batch of the targets alone, in the form that the loss takes."""
    return with_targets(asked.batch, targets)


CHECKS = (
    Check(
        name="what stands for nothing costs nothing",
        subject="loss",
        causes={"loss.ignored_counted": "Leave these targets out, and divide by the number of the others."},
        symptom="Void becomes a class, captions end early, or hidden joints are drawn to the corner.",
        measure="The loss before and after the answers at void, padding and hidden joints were exchanged.",
        threshold="Any change fails; a division by the number of all targets warns.",
        origin="Exact.",
        look=look_ignored,
        is_quick=True,
    ),
    Check(
        name="class weights balance",
        subject="loss",
        causes={"loss.weights_inverted": "Weigh each class by 1 / its frequency, in the order of the labels."},
        symptom="Rare classes are never predicted, less even than without weights.",
        measure="The gradient of equal scores for one sample of each class, against the frequencies of the first "
        "batches.",
        threshold=f"A correlation of the logarithms above {OPPOSED:g} fails; above {DISORDERED:g} where the same "
        "weights in another "
        f"order would reach {INVERSE:g}.",
        origin="Weights of 1 / frequency have correlation -1; weights of their shares +1.",
        look=look_class_weights,
        is_quick=True,
    ),
)
