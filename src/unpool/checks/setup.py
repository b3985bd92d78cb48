"""The objects of one training run, as its author has them, and what all checks ask of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from unpool.checks.backward import Backward, go_back
from unpool.checks.budget import Budget
from unpool.checks.label_scores import LabelScores, label_scores_of
from unpool.checks.passes import Pass, run_once
from unpool.checks.rehearsal import Rehearsal, as_scalar, rehearse
from unpool.checks.restoring import unchanged
from unpool.checks.seen import Seen, see
from unpool.checks.source import TARGET_KEYS, Batch, Source, count, picked, split
from unpool.checks.structure import Paths, paths_of
from unpool.checks.vectors import are_vectors
from unpool.errors import RecipeError
from unpool.tracing.foreign import foreign_code

Form = Literal["class", "flags", "class map", "picture", "points", "things", "vector", "tokens", "numbers", "unknown"]
FEW = 4  # samples, of whose answer the shape is looked at, and to which a batch is cut at most
LEAST_STEPS, STEP_PASSES, STEPS_SHARE = 12, 3, 0.25  # steps for which there is to be time, of three passes each
CUT: tuple[Form, ...] = ("class", "flags", "class map", "picture", "points", "things", "numbers")  # in pairs, all count


@dataclass(kw_only=True, eq=False)
class Setup:
    """One run to be checked. Whoever tries its objects does so within `trying`.

    Attributes:
        model, loss, optimizer, step, forward, schedule, epochs, augment, metric, evaluate, predict, classes: as
            `unpool.check` takes them.
        train, val: the two splits; `val` is None where there is none.
        budget: what a measurement may take.
        form: of the targets; `form_of` tells it from the first batch where it is not given.
        facts: what only a recipe knows, such as mean and deviation that the weights expect; by name.
        seed: of everything that is drawn.
        sample_s: seconds that the network takes for one sample, where that is known.
    """

    model: nn.Module
    train: Source
    val: Source | None = None
    loss: Callable[[Any, Any], Any] | None = None
    optimizer: torch.optim.Optimizer | None = None
    step: Callable[[Batch], Any] | None = None
    forward: Callable[[nn.Module, Batch], Any] | None = None
    schedule: LRScheduler | None = None
    epochs: int | None = None
    augment: Callable[[Any, Any], Any] | None = None
    metric: Any = None
    evaluate: Callable[[nn.Module, Any], Any] | None = None
    predict: Callable[[Any], Any] | None = None
    classes: Sequence[str] = ()
    budget: Budget = field(default_factory=Budget)
    form: Form | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    sample_s: float = 0.0

    @cached_property
    def device(self) -> torch.device:
        return next((weight.device for weight in self.model.parameters()), torch.device("cpu"))

    @cached_property
    def rehearsal(self) -> Rehearsal:
        """What happens in the first steps of this run, measured once for all checks."""
        return rehearse(self)

    @cached_property
    def first_pass(self) -> Pass:
        """What runs in the network for the first training batches in training mode, measured once for all checks."""
        return run_once(self)

    @cached_property
    def backward(self) -> Backward:
        """Which parameters have a gradient, of one pass; measured once for all checks."""
        return go_back(self)

    @cached_property
    def paths(self) -> Paths:
        """Which pixels, channels and samples each answer can depend on, measured once for all checks."""
        return paths_of(self)

    @cached_property
    def seen(self) -> Seen:
        """Samples of training, as its data set yields them, read once for all checks."""
        return see(self, self.train)

    @cached_property
    def seen_val(self) -> Seen | None:
        """Samples of validation; None where there is none."""
        return None if self.val is None else see(self, self.val)

    @cached_property
    def label_scores(self) -> LabelScores | None:
        """What a learner says of labels that it was not fitted to; None where there are too few samples."""
        return label_scores_of(self)

    @cached_property
    def target_form(self) -> Form:
        """What a target is: a class, a map of classes, a picture, points, things with boxes, and so on."""
        if self.form != "class" or self.facts:  # a recipe says which task it is
            return self.form or form_of(self)
        seen: Form = "class"
        with foreign_code():
            seen = form_of(self)
        return "vector" if seen == "vector" else "class"  # people are classes to whoever learns vectors of them

    def batches(self, most: int) -> list[Batch]:
        """The first training batches that the network is to run on: of a large one some samples of each."""
        whole = self.train.batches(most)
        few = self.few
        return whole if few is None else [picked(batch, slice(0, few)) for batch in whole]

    @property
    def few(self) -> int | None:
        """To how many samples batches are cut, so that there is time for some steps; None where they are left whole."""
        allowed = self.budget.minutes * 60 * STEPS_SHARE / (LEAST_STEPS * STEP_PASSES * max(self.sample_s, 1e-9))
        is_cut = allowed < count(self.train.batches(1)[0]) and self.target_form in CUT
        return max(FEW, int(allowed)) if is_cut else None

    def class_name(self, label: int) -> str:
        """The name of a class, else its number in words."""
        return self.classes[label] if label < len(self.classes) else f"class {label}"

    @contextmanager
    def trying(self, *, training: bool | None = None) -> Iterator[None]:
        """A context in which model and optimiser may be changed; afterwards they are as they were.

        Args:
            training: the mode of the model inside; None leaves it as its author has it.
        """
        with unchanged(self.model, *self._modules, optimizer=self.optimizer, schedule=self.schedule):
            torch.manual_seed(self.seed)
            if training is not None:
                self.model.train(training)
            yield

    @property
    def _modules(self) -> tuple[nn.Module, ...]:
        return (self.loss,) if isinstance(self.loss, nn.Module) else ()

    def outputs(self, batch: Batch) -> Any:
        """What the network gives for a batch, on its device."""
        batch = self.moved(batch)
        return self.forward(self.model, batch) if self.forward is not None else self.model(split(batch)[0])

    def loss_of(self, outputs: Any, batch: Batch) -> Tensor:
        """The loss as one number that has a gradient.

        Raises:
            RecipeError: there is no loss, or it is no scalar.
        """
        if self.loss is None:
            raise RecipeError("no loss was given: pass loss=, a function of (outputs, targets)")
        value = self.loss(outputs, split(self.moved(batch))[1])
        return as_scalar(value)

    def moved(self, batch: Batch) -> Batch:
        """The batch on the network's device."""
        return _to(batch, self.device)


def form_of(setup: Setup) -> Form:
    """Tells the form of the targets from the first batch and the network's output for it."""
    batch = setup.train.batches(1)[0]
    inputs, targets = split(batch)
    if isinstance(targets, Mapping):
        targets = _form_by_key(targets)
        if isinstance(targets, str):
            return targets  # type: ignore[return-value]
    if not isinstance(targets, Tensor):
        return "things" if isinstance(targets, list | tuple) else "unknown"
    with setup.trying(training=False), torch.no_grad():
        output = setup.outputs(picked(batch, slice(0, FEW)))
    form = _form_by_shape(inputs, targets, output)
    return "vector" if form == "class" and are_vectors(setup, batch, output) else form


def _form_by_key(batch: Mapping[str, Any]) -> Any:
    for keys, form in (
        (("boxes", "labels"), "things"),
        (("keypoints",), "points"),
        (("captions", "caption", "tokens"), "tokens"),
    ):
        if any(key in batch for key in keys) and not (form == "things" and "boxes" not in batch):
            return form
    return next((batch[key] for key in TARGET_KEYS if key in batch), None)


def _form_by_shape(inputs: Any, targets: Tensor, output: Any) -> Form:
    is_integer = not (targets.is_floating_point() or targets.is_complex())
    image_hw = tuple(inputs.shape[-2:]) if isinstance(inputs, Tensor) and inputs.dim() == 4 else None
    scores = output if isinstance(output, Tensor) else None
    if is_integer and targets.dim() <= 1:
        is_unit = scores is not None and scores.dim() == 2 and _is_unit(scores)
        return "vector" if is_unit else "class"
    if is_integer and targets.dim() >= 3 and tuple(targets.shape[-2:]) == image_hw:
        return "class map"
    if is_integer and targets.dim() == 2:
        return "tokens" if scores is None or scores.dim() == 3 else "flags"
    if targets.dim() == 4:
        return _form_of_maps(inputs, targets, scores)
    if targets.dim() == 3 and tuple(targets.shape[-2:]) == image_hw:
        return "class map"
    if targets.dim() == 3 and targets.shape[-1] in (2, 3):
        return "points"
    if targets.dim() == 2 and bool(((targets == 0) | (targets == 1)).all()):
        return "flags"
    return "numbers" if targets.dim() <= 2 else "unknown"


def _form_of_maps(inputs: Any, targets: Tensor, scores: Tensor | None) -> Form:
    """Of targets (B, C, H, W): numbers at each position, of the input's size or of another."""
    if not isinstance(inputs, Tensor) or inputs.dim() != 4:
        return "unknown"
    is_answered = scores is not None and scores.shape[1:] == targets.shape[1:]
    if inputs.shape[-2:] == targets.shape[-2:]:
        return "class map" if is_answered and bool(((targets == 0) | (targets == 1)).all()) else "picture"
    return "picture" if is_answered and inputs.shape[1] == targets.shape[1] else "unknown"  # the rest are heat maps


def _is_unit(vectors: Tensor) -> bool:
    return bool(((vectors.float().norm(dim=1) - 1).abs() < 1e-3).all())


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: _to(one, device) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_to(one, device) for one in value) if type(value) in (tuple, list) else value
    return value
