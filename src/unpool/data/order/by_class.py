"""Orders that choose samples by their class."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.data.draws import permutation, uniform
from unpool.data.order.batches import check_batch, cut, num_batches
from unpool.errors import RecipeError

_CLASS, _SAMPLE, _ROUNDS = 2, 3, 4  # streams of random numbers; rounds take all streams from theirs on


class WeightedByClass:
    """Samples drawn with replacement: first a class by its weight, then one of its samples, each equally likely.

    An epoch draws as often as the set has samples: one may be drawn several times, and another never.

    Args:
        labels: (n,) class of each sample.
        batch: draws in a batch; the last one may be smaller.
        seed: of the draws.
        drop_last: leave out the last batch of an epoch where it is not full.
        weights: one a class: classes are drawn in proportion to them, whatever the number of their samples. None draws
            every class that has a sample equally often.

    Raises:
        RecipeError: a weight is negative or not finite, all are 0, or a class with a weight has no sample.
    """

    def __init__(
        self,
        labels: Sequence[int] | Tensor,
        *,
        batch: int,
        seed: int,
        drop_last: bool = False,
        weights: Sequence[float] | None = None,
    ) -> None:
        check_batch(batch)
        label = torch.as_tensor(labels, dtype=torch.int64)
        self.num_samples = len(label)
        self.batch = batch
        self._seed = seed
        self._drop_last = drop_last
        self._by_class = label.argsort(stable=True)  # positions of the samples, class by class
        self._counts = label.bincount()
        self._first = self._counts.cumsum(0) - self._counts
        self._limits = _class_weights(weights, self._counts).cumsum(0)

    @property
    def steps_per_epoch(self) -> int:
        return num_batches(self.num_samples, self.batch, drop_last=self._drop_last)

    def batches(self, epoch: int) -> list[list[int]]:
        """New draws in every epoch."""
        point = uniform(self._seed, epoch, self.num_samples, stream=_CLASS) * self._limits[-1:]
        chosen = torch.searchsorted(self._limits, point, right=True)  # class of each draw
        within = uniform(self._seed, epoch, self.num_samples, stream=_SAMPLE) * self._counts[chosen]
        indices = self._by_class[self._first[chosen] + within.long()]
        return cut([indices.tolist()], self.batch, drop_last=self._drop_last)


def _class_weights(weights: Sequence[float] | None, counts: Tensor) -> Tensor:
    """(N,) float64."""
    if weights is None:
        return (counts > 0).double()
    values = torch.tensor([float(weight) for weight in weights], dtype=torch.float64)
    if not values.isfinite().all() or (values < 0).any() or not values.any():
        raise RecipeError(f"weights are {list(weights)}; expected finite ones, none negative, and not all 0")
    if len(values) < len(counts):
        raise RecipeError(f"{len(values)} weights for {len(counts)} classes; give one for each class")
    counts = torch.nn.functional.pad(counts, (0, len(values) - len(counts)))
    empty = ((values > 0) & (counts == 0)).nonzero().flatten().tolist()
    if empty:
        raise RecipeError(f"classes {empty} have a weight and no sample; set their weights to 0, or add samples")
    return values


class PTimesK:
    """Batches of P classes with K samples of each, for losses that compare samples with one another.

    An epoch has as many batches as the set would fill, and at least one. Classes are taken in rounds, each at most once
    a round, in a new order every round; those left over when a round is cut into batches wait for the next round. Of a
    class, K samples at a time are taken from a permutation of its samples; those left over wait for the next
    permutation. So an epoch may lack a sample, or take it more than once. A sample is twice in one batch only where its
    class has fewer than K, which are then repeated in turn.

    Args:
        labels: (n,) class of each sample.
        classes: P.
        samples: K.
        seed: of the order.

    Raises:
        RecipeError: the set has samples of fewer than P classes.
    """

    def __init__(self, labels: Sequence[int] | Tensor, *, classes: int, samples: int, seed: int) -> None:
        if classes < 1 or samples < 1:
            raise RecipeError(f"a batch of {classes} classes with {samples} samples each; expected at least 1 of both")
        label = torch.as_tensor(labels, dtype=torch.int64)
        counts = label.bincount()
        self.num_samples = len(label)
        self.batch = classes * samples
        self._classes = classes
        self._samples = samples
        self._seed = seed
        self._members = label.argsort(stable=True).split(counts[counts > 0].tolist())  # positions, one tensor a class
        if len(self._members) < classes:
            raise RecipeError(
                f"a batch of {classes} classes, but the set has {len(self._members)}: take fewer a batch, "
                f"train.batch={len(self._members) * samples} at most where {samples} of each are taken"
            )

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.num_samples // self.batch)

    def batches(self, epoch: int) -> list[list[int]]:
        """P * K positions a batch, the K of one class side by side."""
        per_round = len(self._members) // self._classes
        batches = []
        for number in range(-(-self.steps_per_epoch // per_round)):
            turns = permutation(self._seed, epoch, len(self._members), stream=self._stream(number)).tolist()
            taken = [i for c in turns[: per_round * self._classes] for i in self._take(c, number, epoch)]
            batches += cut([taken], self.batch, drop_last=False)
        return batches[: self.steps_per_epoch]

    def _take(self, number: int, turn: int, epoch: int) -> list[int]:
        """K samples of one class, in round `turn`."""
        members = self._members[number]
        pieces = max(1, len(members) // self._samples)
        stream = self._stream(turn // pieces) + 1 + number
        shuffled = members[permutation(self._seed, epoch, len(members), stream=stream)].tolist()
        first = turn % pieces * self._samples
        return [shuffled[(first + i) % len(shuffled)] for i in range(self._samples)]

    def _stream(self, turn: int) -> int:
        """First stream of a round: it shuffles the classes, and each of those after it the samples of one class."""
        return _ROUNDS + turn * (len(self._members) + 1)
