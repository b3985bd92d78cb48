"""The first batch of each split goes through network and loss; where that fails, the cause and what to do."""

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unpool.checks.answers import scores_of, targets_of
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import CUT, FEW, Setup
from unpool.checks.source import BATCH, Batch, Source, count, picked, split
from unpool.tracing.foreign import Failure, foreign_code
from unpool.tracing.recorder import tensors_of

LONGEST_S = 10.0  # of one pass of a whole batch, whose outputs may also fill the memory


def look_first_batch(setup: Setup) -> list[Finding]:
    """Runs the first batch of each split, training in training mode."""
    sources = [source for source in (setup.train, setup.val) if source is not None]
    return [_of_split(setup, source, training=source is setup.train) for source in sources]


def _of_split(setup: Setup, source: Source, *, training: bool) -> Finding:
    with foreign_code() as unread:
        batch = source.batches(1)[0]
        split(batch)
    if unread and not source.is_loader and _are_single(source):
        return not_applicable(f"samples of {source.name} cannot be joined to a batch: give its loader ({unread})")
    if unread:
        return Finding(
            "fail", f"The first batch of {source.name} cannot be read: {unread}", cause="data.unreadable",
            cure="Read one sample of the data set by hand and mend what it raises.", evidence=(f"{source.name}, "
            "batch 0",),
        )  # fmt: skip
    batch = _bearable(setup, batch, training=training)
    seen = _Seen(source.name, batch)
    with setup.trying(training=training), torch.no_grad(), foreign_code() as failure:
        start = time.perf_counter()
        seen.outputs = setup.outputs(batch)
        setup.sample_s = (time.perf_counter() - start) / max(1, count(batch))
        seen.has_outputs = True
        if setup.loss is not None and (training or setup.target_form != "vector"):  # of other people than in training
            seen.loss = float(setup.loss_of(seen.outputs, batch))
    if failure and not training and _is_for_training(setup, seen):
        return _finite(seen)
    if failure:
        return _failed(setup, seen, failure)
    return _finite(seen)


def _bearable(setup: Setup, batch: Batch, *, training: bool) -> Batch:
    """The batch, or its first samples where by their time the whole of it would take too long."""
    is_cut, few = False, picked(batch, slice(0, FEW))
    with setup.trying(training=training), torch.no_grad(), foreign_code():
        start = time.perf_counter()
        setup.outputs(few)
        whole_s = (time.perf_counter() - start) * count(batch) / count(few)
        is_cut = whole_s > LONGEST_S and setup.target_form in CUT
    return few if is_cut else batch


def _is_for_training(setup: Setup, seen: "_Seen") -> bool:
    """Whether the loss takes what the network gives in training mode, and in evaluation that is of another kind."""
    value = None
    with setup.trying(training=True), torch.no_grad(), foreign_code():
        outputs = setup.outputs(seen.batch)
        if seen.has_outputs and type(outputs) is not type(seen.outputs):
            value = setup.loss_of(outputs, seen.batch)
    return value is not None


def _are_single(source: Source) -> bool:
    """Whether samples can be read one by one, so that it is their shapes that differ."""
    with foreign_code() as failure:
        for index in source.drawn(BATCH):
            split(source.dataset[index])
    return not failure


class _Seen:
    """What one split got through."""

    def __init__(self, name: str, batch: Batch) -> None:
        self.name = name
        self.batch = batch
        self.outputs: Any = None
        self.has_outputs = False
        self.loss: float | None = None

    @property
    def shapes(self) -> tuple[str, ...]:
        """The shapes of inputs, targets and outputs, as evidence."""
        inputs, targets = split(self.batch)
        named = (("inputs", inputs), ("targets", targets), ("outputs", self.outputs))
        return tuple(f"{self.name} {name}: {_form(value)}" for name, value in named if value is not None)


def _finite(seen: _Seen) -> Finding:
    if all(bool(value.isfinite().all()) for value in _floats(seen.outputs)) and _is_finite(seen.loss):
        loss = "" if seen.loss is None else f"; the loss is {seen.loss:.4g}"
        return passed(f"The first batch of {seen.name} goes through the network{loss}.", seen.loss)
    if not all(bool(value.isfinite().all()) for value in _floats(split(seen.batch)[0])):
        cause, cure = "data.unreadable", "Find the sample whose picture holds NaN or infinity and mend or remove it."
    elif not all(bool(value.isfinite().all()) for value in _floats(seen.outputs)):
        cause, cure = "network.variance", "Start from smaller weights, such as He's, and normalise the pictures."
    else:
        cause, cure = (
            "loss.wrong_way",
            "The loss takes a logarithm or root of 0 or below: use the form that takes logits.",
        )
    return Finding(
        "fail", f"The first batch of {seen.name} gives outputs or a loss that are not finite: the loss is {seen.loss}.",
        seen.loss, cause, cure, seen.shapes,
    )  # fmt: skip


def _is_finite(loss: float | None) -> bool:
    return loss is None or abs(loss) < float("inf")


def _floats(value: Any) -> list[Tensor]:
    return [one for one in tensors_of(value) if one.is_floating_point()]


class _Rule(NamedTuple):
    """What an error of the network or of the loss means.

    Attributes:
        pattern: of its text.
        cause, cure: see Finding.
        cause_of: chooses another cause by what is known; None keeps it.
    """

    pattern: str
    cause: str
    cure: str
    cause_of: "Callable[[Setup, _Seen], str] | None" = None


def _of_range(setup: Setup, seen: _Seen) -> str:
    """Labels outside of the outputs: too few outputs where the labels are 0, 1, 2 and so on, else wrong labels."""
    scores, targets = scores_of(seen.outputs), targets_of(seen.batch)
    if scores is None or targets is None or scores.ndim < 2:
        return "data.label_range"
    outputs, low, high = scores.shape[1], int(targets.min()), int(targets.max())
    names = len(setup.classes)
    is_one_based = low == 1 and high == outputs
    is_enough = names in (0, outputs) and (is_one_based or low < 0 or high >= 2 * outputs + 8)
    return "data.label_range" if is_enough or names == outputs else "network.output_size"


def _of_shapes(setup: Setup, seen: _Seen) -> str:
    """Shapes of outputs and targets differ: axes mixed, masks of another size, or a wrong kind of target."""
    inputs, targets, scores = split(seen.batch)[0], targets_of(seen.batch), scores_of(seen.outputs)
    if not isinstance(inputs, Tensor) or targets is None or scores is None:
        return "network.output_size"
    if scores.ndim and len(scores) != len(inputs):
        return "network.batch_mixing"
    if targets.ndim >= 3 and inputs.ndim == 4 and targets.shape[-2:] != inputs.shape[-2:] == scores.shape[-2:]:
        return "data.mask_size"
    if targets.ndim == scores.ndim - 1 and scores.ndim == 2 and targets.is_floating_point():
        return "data.label_kind"
    return "network.output_size"


_RULES = (
    _Rule(r"between 0 and 1", "network.double_softmax",
          "The loss takes probabilities and the network returns scores: use the loss that takes logits."),
    _Rule(r"more than 1 (value|spatial)", "norm.small_batch",
          "Batch norm has a single value of a channel to average: use batches of 8 or more and drop_last, or group "
          "norm."),
    _Rule(r"out of bounds|out of range|index \d+ is out|class values must be|Class values must be", "data.label_range",
          "Number the classes 0, 1, 2 up to the number of outputs less one; name the ignored label to the "
          "loss.", _of_range),
    _Rule(r"scalar type|expected floating point|not implemented for|expected.*dtype|must be the same dtype|"
          r"expected object of|result type|must be Tensor|0D or 1D target|multi-target|"
          r"can't be cast|unsupported operand|has no attribute", "data.label_kind",
          "Give the loss the targets that it takes: whole numbers (int64) for cross-entropy, numbers (float32) else."),
    _Rule(r"size|shape|dimension", "network.output_size",
          "Make outputs and targets of one shape: as many outputs as classes, maps of the size of the "
          "masks.", _of_shapes),
)  # fmt: skip


def _failed(setup: Setup, seen: _Seen, failure: Failure) -> Finding:
    where = "the loss" if seen.has_outputs else "the network"
    text = f"{type(failure.error).__name__}: {failure}"
    cause, cure = _of_loss(setup, seen, text) if seen.has_outputs else _of_network(seen, text)
    about = f"The first batch of {seen.name} does not get through {where}: {text}"
    return Finding("fail", about, None, cause, cure, seen.shapes)


def _of_loss(setup: Setup, seen: _Seen, text: str) -> tuple[str, str]:
    if "must be one number" in text:
        return "loss.scale", "The loss returns one number for each sample or pixel: take its mean."
    for rule in _RULES:
        if re.search(rule.pattern, text, re.IGNORECASE):
            cause = rule.cause if rule.cause_of is None else rule.cause_of(setup, seen)
            return cause, rule.cure
    return (
        "data.label_kind",
        "Call the loss by hand with outputs and targets of the shapes above and mend what it raises.",
    )


def _of_network(seen: _Seen, text: str) -> tuple[str, str]:
    inputs = split(seen.batch)[0]
    if re.search(r"more than 1 (value|spatial)", text):
        return _RULES[1].cause, _RULES[1].cure
    if isinstance(inputs, Tensor) and not inputs.is_floating_point():
        return (
            "data.value_range",
            "The pictures are whole numbers: turn them into float32 from 0 to 1 and normalise them.",
        )
    if isinstance(inputs, Tensor) and inputs.ndim == 4 and inputs.shape[-1] in (1, 3, 4) and "channels" in text:
        return "data.channel_order", "The channels are the last axis: put them second, as image.permute(2, 0, 1) does."
    return "network.output_size", (
        "Print the shapes at the layer named in the error; a linear layer behind the maps needs channels x height x "
        "width "
        "inputs for this size of picture."
    )


def _form(value: Any) -> str:
    tensors = list(tensors_of(value))
    if not tensors:
        return type(value).__name__
    shown = ", ".join(f"{tuple(one.shape)} {str(one.dtype).removeprefix('torch.')}" for one in tensors[:3])
    return shown + (f" and {len(tensors) - 3} more" if len(tensors) > 3 else "")


CHECKS = (
    Check(
        name="the first batch passes",
        subject="network",
        causes={
            "data.unreadable": "Mend or remove the sample that cannot be read.",
            "data.label_range": "Number the classes from 0, and name the ignored label to the loss.",
            "data.label_kind": "Give whole numbers to cross-entropy and numbers to the other losses.",
            "data.mask_size": "Resize masks with their images, by the nearest neighbour.",
            "data.value_range": "Turn whole numbers into float32 from 0 to 1.",
            "data.channel_order": "Put the channels before height and width.",
            "network.output_size": "As many outputs as classes, and maps of the size of the masks.",
            "network.batch_mixing": "Flatten with x.flatten(1), which keeps the samples apart.",
            "network.double_softmax": "Use the loss that takes logits.",
            "network.variance": "Start from smaller weights.",
            "norm.small_batch": "Use larger batches and drop the last incomplete one.",
            "loss.scale": "Take the mean of the loss.",
            "loss.wrong_way": "Use the form of the loss that takes logits.",
        },
        symptom="Training ends at its first step, or at the first validation after an hour.",
        measure="The first batch of each split goes through the network and the loss.",
        threshold="Anything raised, and any output or loss that is not finite, fails.",
        origin="Exact: training would do the same.",
        look=look_first_batch,
        is_quick=True,
    ),
)
