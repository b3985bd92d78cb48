"""The order of a sampler of a caller's own."""

from collections.abc import Iterable, Sequence
from itertools import islice

from unpool.errors import DataError


class Sampled:
    """Batches as a `batch_sampler` gives them: no function of the epoch, so that a run cannot be resumed.

    Args:
        batches: iterated anew for each epoch, once; told the epoch where it, or its sampler, has `set_epoch`.
        num_samples: size of the set.
        batch: samples of a full batch.

    Raises:
        DataError: an epoch has fewer batches than the first, or a position is in no sample.
    """

    def __init__(self, batches: Iterable[Sequence[int]], *, num_samples: int, batch: int) -> None:
        self.num_samples = num_samples
        self.batch = batch
        self._batches = batches
        self._epoch = 0
        self._drawn = self._draw(0)
        self.steps_per_epoch = len(self._drawn)

    def batches(self, epoch: int) -> list[list[int]]:
        """Those of the epoch, which are drawn when it is first asked for."""
        if epoch != self._epoch:
            self._epoch, self._drawn = epoch, self._draw(epoch)
        return [list(indices) for indices in self._drawn]

    def _draw(self, epoch: int) -> list[list[int]]:
        for part in (self._batches, getattr(self._batches, "sampler", None)):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)  # type: ignore[union-attr]
        drawn = [[int(index) for index in indices] for indices in islice(self._batches, None)]
        count = getattr(self, "steps_per_epoch", len(drawn))
        if len(drawn) < count or not drawn:
            raise DataError(f"the sampler gave {len(drawn)} batches in epoch {epoch}, and {count} are needed")
        drawn = drawn[:count]
        if wrong := {index for indices in drawn for index in indices if not 0 <= index < self.num_samples}:
            raise DataError(f"the sampler gave position {min(wrong)} of a data set of {self.num_samples} samples")
        return drawn
