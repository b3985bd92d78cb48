"""Do the targets follow from the pictures at all, in which order, and with left and right as they are?"""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unpool.checks.augmented_targets import mirror_pairs
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.name_orders import other_orders
from unpool.checks.seen import Seen
from unpool.checks.simple_learner import Fit, features_of, fit, one_hot

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

LEAST = 60  # samples of a split
LEARNED, BY_CHANCE = 6.0, 2.0  # standard deviations of what shuffled targets give
FURTHER = 5.0  # by which another order must be better
ROLLS = (1, -1, 2, -2)
SHUFFLES, WORDS = 20, 64
SIDED = 0.7  # of the samples whose side the learner must tell in validation

OTHERS = "Pair pictures and targets by name; look for a list that was sorted, filtered or shuffled without the other."
SIDES = "Draw joints with their names on pictures of both splits; left is the side of the person, not of the viewer."


class Learned:
    """What a simple learner finds in training.

    Attributes:
        seen: the samples.
        targets: (N, M).
    """

    def __init__(self, setup: "Setup", seen: Seen, targets: Tensor) -> None:
        self.seen = seen
        self.targets = targets
        self.seed = setup.seed
        self.features, _ = features_of(seen.small, seed=setup.seed)

    @cached_property
    def fit(self) -> Fit:
        return fit(self.features, self.targets)

    def apart(self, targets: Tensor) -> float:
        """Standard deviations by which targets are explained better than when they are shuffled."""
        generator = torch.Generator().manual_seed(self.seed)
        chance = torch.tensor(
            [self.fit.explained(targets[torch.randperm(len(targets), generator=generator)]) for _ in range(SHUFFLES)]
        )
        return (self.fit.explained(targets) - float(chance.mean())) / max(float(chance.std()), 1e-6)


def columns_of(setup: "Setup", seen: Seen) -> Tensor | None:
    """The targets as numbers (N, M); None of those that have a place in the picture, or other shapes."""
    numbers = seen.numbers
    form = setup.target_form
    if numbers is None or len(numbers) != len(seen):
        return None
    if form == "class" and numbers.numel() == len(numbers) and 2 <= int(numbers.max()) + 1 <= 200:
        return one_hot(numbers.flatten(), int(numbers.max()) + 1)
    if form == "tokens" and numbers.dim() == 2 and not numbers.is_floating_point():
        return _words(numbers)
    if form in ("flags", "numbers") or (form == "things" and numbers.dim() <= 2):
        values = numbers.double().reshape(len(numbers), -1)
        varied = values.std(0) > 1e-9
        return (values - values.mean(0))[:, varied] / values.std(0)[varied] if bool(varied.any()) else None
    return None


def _words(tokens: Tensor) -> Tensor | None:
    """Which words stand in each text, of those in between a twentieth and nineteen of twenty texts."""
    words = one_hot(tokens.flatten(), int(tokens.max()) + 1).reshape(*tokens.shape, -1).amax(1)
    shares = words.mean(0)
    chosen = ((shares > 0.05) & (shares < 0.95)).nonzero().flatten()
    chosen = chosen[shares[chosen].argsort(descending=True)][:WORDS]
    return words[:, chosen] if len(chosen) else None


def _learned(setup: "Setup", seen: Seen | None) -> Learned | None:
    if seen is None or len(seen) < LEAST:
        return None
    targets = columns_of(setup, seen)
    return None if targets is None else Learned(setup, seen, targets)


def look_order(setup: "Setup") -> Finding:
    """Asks whether targets follow from the pictures, better than shuffled ones or those of the neighbours do."""
    train = _learned(setup, setup.seen)
    if train is None:
        return not_applicable(f"fewer than {LEAST} samples, or targets that have a place in the picture")
    here = train.apart(train.targets)
    about = (
        f"A simple learner explains {train.fit.explained(train.targets):.0%} of the targets ({here:.1f} "
        f"deviations above shuffled ones)"
    )
    if train.seen.is_whole:
        further = {name: train.apart(values) for name, values in _reordered(train)}
        name, best = max(further.items(), key=lambda item: item[1])
        if best > LEARNED and best > here + FURTHER:
            return Finding(
                "fail", f"{about}, and where they are {name} {best:.1f}: pictures have the targets of others.", here,
                "data.target_mismatch", OTHERS, tuple(f"{way}: {value:.1f}" for way, value in further.items()),
            )  # fmt: skip
    if here > BY_CHANCE:
        return passed(f"{about}.", here)
    val = _learned(setup, setup.seen_val)
    if val is None or len(val.seen) > len(train.seen):
        return passed(f"{about}; the learner may be too simple.", here)
    there = val.apart(val.targets)
    if there <= LEARNED:
        return passed(f"{about}, and no more in validation: the learner is too simple.", here)
    return Finding(
        "fail", f"{about}, and of fewer samples of validation {there:.1f}: in training, targets and pictures are of "
        "different samples.", here, "data.target_mismatch", OTHERS, (f"{len(train.seen)} samples of training", ),
    )  # fmt: skip


def _reordered(train: Learned) -> Iterator[tuple[str, Tensor]]:
    """The targets in other orders, by name: those of the neighbours, and by the other order of files' names."""
    seen = train.seen
    for by in ROLLS:
        yield f"moved by {by:+d} samples", seen.moved(train.targets, by)
    spot = torch.tensor(seen.indices).argsort()  # of each sample of the data set among those that were read
    for name, positions in other_orders(seen.source.dataset).items():
        if len(positions) == len(spot):
            yield f"taken in {name}", train.targets[spot[torch.tensor(positions)[torch.tensor(seen.indices)]]]


def look_sides(setup: "Setup") -> Finding:
    """Asks whether the side on which left joints lie follows from the pictures, as it does in validation."""
    pairs = mirror_pairs(setup.seen.numbers) if setup.target_form == "points" else []
    val = setup.seen_val
    if not pairs or val is None or min(len(setup.seen), len(val)) < LEAST:
        return not_applicable("the targets are no joints in pairs, or there are too few samples")
    first, second = _sides(setup.seen, pairs), _sides(val, pairs)
    if first is None or second is None:
        return not_applicable("the joints of the two splits are others")
    shares = [float(((one > 0).double().mean(1) > 0.5).double().mean()) for one in (first, second)]
    error = (0.25 / len(first) + 0.25 / len(second)) ** 0.5
    about = f"The first joint of a pair lies on the right in {shares[0]:.0%} of training, {shares[1]:.0%} of validation"
    if abs(shares[0] - shares[1]) > 6 * error:
        return Finding("fail", f"{about}.", shares[0], "data.left_right", SIDES, _named_pairs(pairs))
    there = fit(_around(val, pairs), second)
    agreed = _right(there.says(second, _around(setup.seen, pairs)), first)
    right = _right(there.left_out(second), second)
    about = f"{about}; the colours around the joints tell the side"
    if right < SIDED or agreed > 0.5 + 0.5 * (right - 0.5):
        return passed(f"{about}.", agreed)
    return Finding(
        "fail", f"{about} of {right:.0%} of the pairs in validation, and as they do there of {agreed:.0%} "
        f"in training: left "
        "and right are exchanged in a part of it.", agreed, "data.left_right", SIDES, _named_pairs(pairs),
    )  # fmt: skip


def _sides(seen: Seen, pairs: list[tuple[int, int]]) -> Tensor | None:
    """(N, P): 1 where the first joint of a pair lies right of the second, -1 left of it, 0 where one is hidden."""
    points = seen.numbers
    if points is None or points.dim() != 3:
        return None
    seen_both = [(points[:, [a, b], 2] > 0).all(1) if points.shape[-1] > 2 else True for a, b in pairs]
    signs = [(points[:, a, 0] - points[:, b, 0]).sign() for a, b in pairs]
    return torch.stack([sign * both for sign, both in zip(signs, seen_both, strict=True)], 1).double()


def _right(says: Tensor, sides: Tensor) -> float:
    """The share of the pairs that both joints are seen of whose side is said rightly."""
    is_seen = sides != 0
    return float(((says > 0) == (sides > 0))[is_seen].double().mean()) if bool(is_seen.any()) else 0.5


def _around(seen: Seen, pairs: list[tuple[int, int]]) -> Tensor:
    """(N, F): colours around each joint, those of a pair from left to right, so that names say nothing."""
    points = torch.stack(seen.targets or []).double()[..., :2].clone()
    for a, b in pairs:
        is_swapped = points[:, a, 0] > points[:, b, 0]
        points[is_swapped] = points[is_swapped][:, _exchanged(points.shape[1], a, b)]
    height, width = seen.images[0].shape[-2:]
    spots = torch.stack([points[..., 0] / width, points[..., 1] / height], -1).float() * 2 - 1
    blurred = torch.nn.functional.avg_pool2d(seen.small, 3, 1, 1)
    around = torch.nn.functional.grid_sample(blurred, spots[:, None], align_corners=False)[:, :, 0]  # (N, C, K)
    return torch.cat([around.flatten(1), around.flatten(1).square()], 1)


def _exchanged(count: int, a: int, b: int) -> list[int]:
    order = list(range(count))
    order[a], order[b] = b, a
    return order


def _named_pairs(pairs: list[tuple[int, int]]) -> tuple[str, ...]:
    return tuple(f"joints {a} and {b}" for a, b in pairs)


CHECKS = (
    Check(
        name="targets follow from the pictures",
        subject="data",
        causes={"data.target_mismatch": OTHERS},
        symptom="The loss stays at that of a guess, or falls only by learning the set by heart.",
        measure="The variance of the targets that ridge regression on patches explains of samples left out, against "
        "shuffled targets, those of the samples before and behind, and those in the other order of names (text, "
        "number).",
        threshold=f"Targets in another order that are {FURTHER:g} deviations better fail; so do targets as by chance "
        f"(below {BY_CHANCE:g}) where those of fewer samples of validation lie {LEARNED:g} above it.",
        origin=f"The deviation of {SHUFFLES} shuffles of the same targets; Coates, Ng and Lee 2011 for the features.",
        look=look_order,
    ),
    Check(
        name="left is left",
        subject="data",
        causes={"data.left_right": SIDES},
        symptom="Left and right limbs are confused, or both are drawn to the middle.",
        measure="On which side the first joint of each pair lies, by split; and whether the colours around the joints "
        "tell it in training as they do in validation.",
        threshold="Shares six standard errors apart fail; so does a learner whose gain over a guess, "
        f"{SIDED - 0.5:g} or more in validation, is less than half in training.",
        origin="Arithmetic: exchanging a part p of the samples leaves 1 - 2p of the gain.",
        look=look_sides,
    ),
)
