"""Averages of the weights: exponential over all steps, or equal over the ends of epochs.

Differs from Polyak and Juditsky 1992 as usual: the average is exponential, its decay warms up as
min(decay, (1 + n) / (10 + n)) after n updates, and floating buffers (batch-norm statistics) are averaged too, so that
the averaged weights have matching statistics. Buffers that hold infinity, such as a mask of attention, are copied.

The equal average is that of Izmailov et al. 2018 (arXiv:1803.05407), algorithm 1: the weights at the start of its part
of the run, and at the end of each cycle from there. They lie far apart, and a mean of their statistics fits no weights:
see `calibration`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Averaging:
    """Keeps one averaged copy of every floating tensor of a model's state.

    Args:
        decay: share of the average that one update keeps, 0 <= decay < 1.

    Raises:
        ValueError: decay outside its range.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay of the averaged weights is {decay}; it must lie in [0, 1), for instance 0.999")
        self.decay = decay
        self.updates = 0
        self.averages: dict[str, Tensor] = {}
        self._moving: tuple[list[Tensor], list[Tensor]] = [], []  # averages, and what they follow
        self._copied: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def start(self, model: nn.Module) -> None:
        """Begins at the model's weights; does nothing where an average exists."""
        if not self.averages:
            values = _floating(model)
            self.averages = {name: value.clone() for name, value in values.items()}
            self._follow(values)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards the model's weights."""
        self.start(model)
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self._move(1 - keep)
        self.updates += 1

    def _follow(self, values: Mapping[str, Tensor]) -> None:
        """Sets which averages move towards which values; between two infinities there is no number."""
        finite = [name for name, average in self.averages.items() if average.isfinite().all()]
        self._moving = [self.averages[name] for name in finite], [values[name] for name in finite]
        self._copied = [(self.averages[name], values[name]) for name in self.averages.keys() - set(finite)]

    def _move(self, share: float) -> None:
        """Moves the averages by this share of the way to what they follow."""
        torch._foreach_lerp_(*self._moving, share)  # pyright: ignore[reportPrivateImportUsage]
        for average, value in self._copied:
            average.copy_(value)

    def after_step(self, model: nn.Module, step: int, *, taken: bool) -> None:
        """Updates where it is due: after each step but those that were left out.

        Args:
            model: after the step.
            step: how many there were, those left out included.
            taken: whether this one changed the weights.
        """
        if taken:
            self.update(model)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """A context in which the model holds the averaged weights; its trained ones are put back at the end."""
        if not self.averages:
            yield
            return
        values = _floating(model)
        weights = {name: values[name].data for name in self.averages}
        try:
            for name, average in self.averages.items():
                values[name].data = average
            yield
        finally:
            for name, value in weights.items():
                values[name].data = value

    @torch.no_grad()
    def load(self, model: nn.Module, averages: Mapping[str, Tensor], *, updates: int) -> None:
        """Restores a saved average in the memory layout of the model\'s tensors."""
        values = _floating(model)
        self.averages = {name: torch.empty_like(values[name]).copy_(value) for name, value in averages.items()}
        self._follow(values)
        self.updates = updates


class EqualAveraging(Averaging):
    """The mean of the weights after each of `steps`; there is none before the first of them.

    Args:
        steps: how many steps were taken when weights are taken in, rising.
    """

    def __init__(self, steps: Sequence[int]) -> None:
        super().__init__(0.0)
        self.steps = steps

    def start(self, model: nn.Module) -> None:
        """Nothing: the first weights that are taken in begin the average."""

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes in the model's weights."""
        super().start(model)
        count = self.updates + 1
        self._move(1 / count)
        self.updates = count

    def after_step(self, model: nn.Module, step: int, *, taken: bool) -> None:
        if step in self.steps:
            self.update(model)

    def due(self, step: int) -> list[int]:
        """After which steps weights are taken in, up to this one."""
        return [one for one in self.steps if one <= step]


def _floating(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in _held(model).items() if value.is_floating_point()}


def _held(model: nn.Module) -> dict[str, Tensor]:
    persistent = model.state_dict(keep_vars=True)
    return {name: value for name, value in persistent.items() if isinstance(value, Tensor)}
