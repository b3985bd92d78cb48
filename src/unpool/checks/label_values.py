"""Labels of whole pictures: their range, classes that have no sample or stand in one split only, and imbalance."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.checks.answers import Asked, ask, scores_of, targets_of
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.seen import Seen
from unpool.checks.setup import Setup
from unpool.checks.source import count

EXPECTED = 12.0  # samples of a class that are expected where none is seen: the chance of that is below 1e-5
WEIGHT_WARN = 0.1  # of an equal share of the gradient
WORDS_FAIL = 0.7  # correlation of the frequencies of words
BATCHES = 40  # in which the shares of the classes are counted

RANGE = "Number the classes 0, 1, 2 up to the number of outputs less one: subtract 1 from labels that begin at 1."
EMPTY = "Collect samples of the class, or take it out of the list and out of the network's outputs."
APART = "Number the classes of all splits by one list, and divide the samples so that each split has every class."
VOCABULARY = "Make the list of words from training alone, and number the texts of both splits by it."
RARE = "Weight the classes in the loss (such as by N / (C x count)), or draw rare ones more often by a sampler."


def look_labels(setup: Setup) -> list[Finding] | Finding:
    """Compares the labels of both splits with the outputs and the names of the classes."""
    labels, val = _labels(setup, setup.seen), _labels(setup, setup.seen_val)
    if labels is None:
        return not_applicable("the targets are no classes of whole pictures")
    outputs = num_outputs(setup)
    names = len(setup.classes)
    hits = (
        _numbered_apart(setup),
        _out_of_range(setup, labels, val, outputs, names),
        _in_one_split(setup, labels, val) or _empty(setup, labels, outputs or names),
    )
    findings = [one for one in hits if one is not None]
    if any(one.cause == "data.label_range" for one in findings):  # what is missing follows from it
        findings = [one for one in findings if one.cause == "data.label_range"]
    low, high = int(labels.min()), int(labels.max())
    return findings or passed(
        f"{len(labels):,} labels from {low} to {high}, of {outputs or names or high + 1} classes."
    )


def _labels(setup: Setup, seen: Seen | None) -> Tensor | None:
    if setup.target_form != "class" or seen is None or seen.numbers is None:
        return None
    values = seen.numbers.flatten()
    return values.long() if len(values) == len(seen) and bool((values == values.long()).all()) else None


def num_outputs(setup: Setup) -> int | None:
    """The classes that the network scores; None where its outputs do not say it."""
    with setup.trying(training=False), torch.no_grad():
        scores = scores_of(setup.outputs(setup.batches(1)[0]))
    return scores.shape[1] if scores is not None and scores.dim() >= 2 and scores.shape[1] > 1 else None


def _out_of_range(setup: Setup, labels: Tensor, val: Tensor | None, outputs: int | None, names: int) -> Finding | None:
    both = labels if val is None else torch.cat([labels, val])
    low, high, most = int(both.min()), int(both.max()), outputs or names
    ignored = getattr(setup.loss, "ignore_index", None)
    wrong = both[(both < 0) | (both >= (most or high + 1))]
    wrong = wrong[wrong != ignored] if isinstance(ignored, int) else wrong
    if len(wrong):
        about = f"{len(wrong):,} of {len(both):,} labels lie outside of 0 to {most - 1}: they go from {low} to {high}."
        return Finding("fail", about, float(len(wrong)), "data.label_range", RANGE, (f"such as {int(wrong[0])}",))
    present = torch.bincount(both.clamp_min(0), minlength=most)
    begins_at_one = most > 2 and not present[0] and bool((present[1:] > 0).all())
    if not begins_at_one and not (names and high >= names):
        return None
    if begins_at_one and len(both) < EXPECTED * most:
        return None
    about = (
        f"The labels go from {low} to {high}" + (f", and there are {names} names of classes" if names else "")
        + f": no sample has label 0, and the network has {most} outputs."
    )  # fmt: skip
    return Finding("fail", about, float(low), "data.label_range", RANGE, _shares(setup, both, most))


def _numbered_apart(setup: Setup) -> Finding | None:
    """Compares the numbers that the data sets themselves give to names, as torchvision's folders do."""
    first, second = (_numbers_of(source.dataset) for source in (setup.train, setup.val or setup.train))
    if not first or not second:
        return None
    other = [f"{name} is {first.get(name, 'not there')} in train and {n} in val" for name, n in second.items()
             if first.get(name) != n]  # fmt: skip
    missing = [f"{name} is {n} in train and not there in val" for name, n in first.items() if name not in second]
    if not other:
        return None
    about = (
        f"The two splits give other numbers to {len(other)} of {len(second)} classes, so that right "
        f"answers count as wrong."
    )
    return Finding("fail", about, float(len(other)), "data.class_one_split", APART, (*other[:5], *missing[:5]))


def _numbers_of(dataset: object) -> dict[str, int]:
    while type(dataset) is torch.utils.data.Subset:
        dataset = dataset.dataset
    held = vars(dataset).get("class_to_idx") if dataset is not None and "__dict__" in dir(dataset) else None
    return held if isinstance(held, dict) else {}


def _in_one_split(setup: Setup, labels: Tensor, val: Tensor | None) -> Finding | None:
    if val is None:
        return None
    size = int(max(labels.max(), val.max())) + 1
    train_counts, val_counts = (torch.bincount(one.clamp_min(0), minlength=size) for one in (labels, val))
    only_val = _missing(val_counts, train_counts, whole=setup.seen.is_whole)
    only_train = _missing(train_counts, val_counts, whole=setup.seen_val is not None and setup.seen_val.is_whole)
    if only_val:
        about = f"{len(only_val)} classes stand in validation and not in training: the network cannot know them."
        return Finding("fail", about, float(len(only_val)), "data.class_one_split", APART, _named(setup, only_val))
    if only_train:
        about = f"{len(only_train)} classes stand in training and not in validation: nothing says how they are learned."
        return Finding("warn", about, float(len(only_train)), "data.class_one_split", APART, _named(setup, only_train))
    return None


def _missing(of: Tensor, other: Tensor, *, whole: bool) -> list[int]:
    """Classes of one split that the other lacks, where as many as in the first would have been seen."""
    shares = of / of.sum().clamp_min(1)
    expected = shares * int(other.sum())
    sure = expected >= (3 if whole else EXPECTED)
    return ((of > 0) & (other == 0) & sure).nonzero().flatten().tolist()


def _empty(setup: Setup, labels: Tensor, classes: int | None) -> Finding | None:
    if not classes or not 2 <= classes <= 1000:
        return None
    counts = torch.bincount(labels.clamp(0, classes - 1), minlength=classes)
    empty = (counts == 0).nonzero().flatten().tolist()
    if not empty or (not setup.seen.is_whole and len(labels) < EXPECTED * classes):
        return None
    about = (
        f"{len(empty)} of {classes} classes have no sample among {len(labels):,} that were read: the network has an "
        "output for each, which only learns to be low."
    )
    verdict = "fail" if setup.seen.is_whole else "warn"
    return Finding(verdict, about, float(len(empty)), "data.empty_class", EMPTY, _named(setup, empty))


def _named(setup: Setup, classes: Sequence[int]) -> tuple[str, ...]:
    names = setup.classes
    return tuple(f"class {n}" + (f" ({names[n]})" if n < len(names) else "") for n in classes[:8])


def _shares(setup: Setup, labels: Tensor, classes: int) -> tuple[str, ...]:
    counts = torch.bincount(labels.clamp(0, max(classes - 1, 0)), minlength=classes).tolist()
    return tuple(f"{name}: {n:,} samples" for name, n in zip(_named(setup, range(classes)), counts, strict=False))


def look_words(setup: Setup) -> Finding:
    """Compares how often each number of a word stands in the texts of both splits."""
    train, val = setup.seen.numbers, None if setup.seen_val is None else setup.seen_val.numbers
    if setup.target_form != "tokens" or train is None or val is None or train.dim() != 2 or val.dim() != 2:
        return not_applicable("the targets are no texts in both splits")
    size = int(max(train.max(), val.max())) + 1
    first, second = (_in_texts(one, size) for one in (train, val))
    is_common = ((first > 0.02) | (second > 0.02)) & (torch.minimum(first, second) < 0.9)
    if int(is_common.sum()) < 5 or min(len(train), len(val)) < 30:
        return not_applicable("there are too few texts or words")
    first, second = first[is_common], second[is_common]
    alike = float((first @ second) / (first.norm() * second.norm()).clamp_min(1e-9))
    about = f"The frequencies of {len(first)} words by their numbers correlate by {alike:.2f} between the splits"
    if alike >= WORDS_FAIL:
        return passed(f"{about}.", alike)
    apart = (first - second).abs().argsort(descending=True)[:5].tolist()
    numbers = is_common.nonzero().flatten()
    shown = tuple(
        f"word {int(numbers[i])}: in {first[i]:.0%} of the texts of train, {second[i]:.0%} of val" for i in apart
    )
    return Finding(
        "fail", f"{about}: one number stands for two words.", alike, "data.class_one_split", VOCABULARY, shown
    )


def _in_texts(tokens: Tensor, size: int) -> Tensor:
    """(size,): in which share of the texts each number stands."""
    hits = torch.zeros(len(tokens), size)
    return hits.scatter(1, tokens.long().clamp(0, size - 1), 1.0).mean(0)


def look_imbalance(setup: Setup) -> Finding:
    """Measures what share of the gradient comes from the rarest class, sampler and weights of the loss counted in."""
    if setup.target_form != "class" or setup.loss is None:
        return not_applicable("the targets are no classes of whole pictures, or there is no loss=")
    counted = torch.zeros(0)
    weights = torch.zeros(0)
    seen = 0
    for batch in setup.train.batches(BATCHES):
        with setup.trying(training=False), torch.no_grad():
            outputs = setup.outputs(batch) if not seen else None
        seen += count(batch)
        if outputs is not None:
            asked = ask(setup, batch, outputs)
            if asked is None or asked.kind != "one of" or asked.scores.dim() != 2:
                return not_applicable("the loss is not one of scores against classes")
            classes = asked.num_classes
            counted, weights = torch.zeros(classes), _weights(asked)
            targets = asked.targets
        else:
            targets = targets_of(batch)
        if targets is None:
            return not_applicable("the batches hold no labels")
        inside = targets[(targets >= 0) & (targets < len(counted))].cpu().long().flatten()
        counted += torch.bincount(inside, minlength=len(counted))
    present = counted > 0
    if int(present.sum()) < 2:
        return not_applicable("fewer than two classes were seen")
    shares = counted[present] * weights[present] / (counted[present] * weights[present]).sum()
    rarest = float(shares.min()) * int(present.sum())
    number = int(present.nonzero().flatten()[int(shares.argmin())])
    name = _named(setup, [number])[0]
    about = (
        f"{name} has {int(counted[number]):,} of {int(counted.sum()):,} samples in the batches, and {shares.min():.1%} "
        f"of the loss's weight, {rarest:.2f} of an equal share"
    )
    if rarest >= WEIGHT_WARN or counted.sum() < EXPECTED * len(counted):
        return passed(f"{about}.", rarest)
    return Finding(
        "warn", f"{about}: the loss falls almost as far when the class is never answered.", rarest, "data.imbalance",
        RARE, tuple(f"{one}: {int(n):,}" for one, n in zip(_named(setup, range(len(counted))), counted, strict=False)),
    )  # fmt: skip


def _weights(asked: Asked) -> Tensor:
    """How much the loss weighs one sample of each class: the gradient of its scores where all scores are equal."""
    classes = asked.num_classes
    size = len(asked.targets)
    weights = torch.ones(classes)
    for first in range(0, classes, max(size - 1, 1)):
        chosen = torch.arange(first, min(first + max(size - 1, 1), classes))
        targets = torch.zeros_like(asked.targets)
        targets[: len(chosen)] = chosen.to(targets)
        scores = torch.zeros_like(asked.scores, requires_grad=True)
        asked.tensor(scores, targets).backward()
        norms = torch.zeros(size) if scores.grad is None else scores.grad.flatten(1).norm(dim=1).cpu()
        common = norms[-1] if size > 1 else norms.new_tensor(1.0)  # the last has class 0, in every batch of these
        weights[chosen] = norms[: len(chosen)] / common.clamp_min(1e-12)
    return weights


CHECKS = (
    Check(
        name="labels are in range",
        subject="data",
        causes={"data.label_range": RANGE, "data.class_one_split": APART, "data.empty_class": EMPTY},
        symptom="An index error on the second epoch, or a class that is never answered and a score that stays low.",
        measure="The labels of both splits, against the number of outputs, the names of the classes, and one another.",
        threshold="A label outside of the outputs fails, labels that leave out 0, a class of validation that training "
        "lacks, another numbering, and an output without a sample; a class that only validation lacks warns.",
        origin=f"Counting. Of a drawn part, a class counts as missing where {EXPECTED:.0f} of its samples were "
        "expected: the chance to see none is below 1e-5.",
        look=look_labels,
        is_quick=True,
    ),
    Check(
        name="words have one number",
        subject="data",
        causes={"data.class_one_split": VOCABULARY},
        symptom="Validation is like guessing from the first epoch, and sentences in it make no sense.",
        measure="In which share of the texts each number stands, as the cosine of the two splits.",
        threshold=f"Below {WORDS_FAIL:g} it fails.",
        origin="Texts of one kind lie above 0.9 from 80 texts on; two lists of their own at 0.5.",
        look=look_words,
        is_quick=True,
    ),
    Check(
        name="the rarest class has weight",
        subject="data",
        causes={"data.imbalance": RARE},
        symptom="A high accuracy, and a rare class that is never answered.",
        measure="Samples of each class in the training batches times what the loss weighs one of them (the gradient at "
        "equal scores), as a part of the sum.",
        threshold=f"Below {WEIGHT_WARN:g} of an equal share it warns.",
        origin="Arithmetic: a class with a tenth of its share is left out at the price of a loss that is lower by less "
        "than a tenth of the others'. Healthy runs with 3 % of a class and weights of the classes lie at 0.9.",
        look=look_imbalance,
    ),
)
