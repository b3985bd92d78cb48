"""Evaluation gives what training learned: no dropout, and running statistics of these data."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.norms import (
    ALIKE,
    FAST,
    RESIDUAL_FAIL,
    RESIDUAL_WARN,
    SMALL_FAIL,
    SMALL_WARN,
    is_fresh,
    look_batch,
    look_bias,
    look_frozen,
    look_momentum,
    setup_modes,
)
from unpool.checks.setup import Setup
from unpool.checks.source import picked
from unpool.tracing.recorder import tensors_of

SHIFT_FAIL, RATIO_FAIL = 3.0, 30.0  # of means in deviations, of variances; the worst norm, the median of its channels
GAP_FAIL, GAP_LEAST = 3.0, 0.3  # evaluation's loss over training's; and of the first loss, below which it may be chance


def look_evaluation_repeats(setup: Setup) -> Finding:
    """Runs evaluation mode twice on the same batch."""
    batch = picked(setup.batches(1)[0], slice(0, 16))
    runs: list[list[Tensor]] = []
    for seed in (setup.seed, setup.seed + 1):
        with setup.trying(training=False), torch.no_grad():
            torch.manual_seed(seed)
            runs.append([one.float().clone() for one in tensors_of(setup.outputs(batch))])
    changes = [
        float((a - b).abs().max() / a.abs().max().clamp_min(1e-12))
        for a, b in zip(*runs, strict=False)
        if a.shape == b.shape and a.numel()
    ]
    worst = max(changes, default=0.0)
    if worst <= 1e-5:
        return passed("In evaluation mode the same batch gives the same answer twice.", worst)
    dropped = [name for name, m in setup.model.named_modules() if "Dropout" in type(m).__name__]
    return Finding(
        "fail", f"In evaluation mode the same batch gives answers that differ by {worst:.1%} of the largest: "
        "something is drawn "
        "at random.", worst, "norm.dropout_in_eval", "Write F.dropout(x, p, training=self.training), or use "
        "nn.Dropout, and "
        "call no .train() inside of the network.", tuple(dropped[:6]) or (f"forward of {type(setup.model).__name__}",),
    )  # fmt: skip


def look_other_statistics(setup: Setup) -> Finding:
    """Compares the statistics of frozen norms with those of this run's pictures."""
    modes = setup_modes(setup)
    frozen = {
        name: norm
        for name, norm in setup.model.named_modules()
        if isinstance(norm, _BatchNorm)
        and not modes.get(name, True)
        and norm.running_mean is not None
        and not is_fresh(norm)
    }
    if not frozen:
        return not_applicable("no norm keeps the statistics of other data in training")
    measured: dict[str, tuple[float, float]] = {}
    with setup.trying(training=False), torch.no_grad(), _inputs_watched(frozen, measured):
        for batch in setup.batches(1):
            setup.outputs(batch)
    if not measured:
        return not_applicable("no frozen norm runs")
    name, (shift, ratio) = max(measured.items(), key=lambda item: max(item[1][0] / SHIFT_FAIL, item[1][1] / RATIO_FAIL))
    about = (
        f"The inputs of {name} lie {shift:.2f} deviations from its running mean and vary {ratio:.1f} times more or less"
    )
    if shift < SHIFT_FAIL and ratio < RATIO_FAIL:
        return passed(f"{about}.", shift)
    return Finding(
        "fail", f"{about}: its statistics are of other data.", shift, "norm.other_statistics",
        "Prepare pictures as those were that the weights learned from (value range, mean, deviation, channel order), "
        "or let "
        "the norms adapt in training mode.",
        tuple(f"{one}: {a:.2f} deviations, {b:.1f} times" for one, (a, b) in list(measured.items())[:8]),
    )  # fmt: skip


@contextmanager
def _inputs_watched(norms: dict[str, Any], measured: dict[str, tuple[float, float]]) -> Iterator[None]:
    def enter(name: str, norm: Any, inputs: Any) -> None:
        values = inputs[0].float().movedim(1, 0).flatten(1)
        deviation = norm.running_var.clamp_min(1e-12).sqrt()
        ratio = (values.var(1).clamp_min(1e-12) / norm.running_var.clamp_min(1e-12)).log().abs().exp()
        measured.setdefault(
            name, (float(((values.mean(1) - norm.running_mean) / deviation).abs().median()), float(ratio.median()))
        )

    handles = [norm.register_forward_pre_hook(partial(enter, name)) for name, norm in norms.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def look_gap(setup: Setup) -> Finding:
    """Compares both modes on the same batch after the first steps."""
    if not any(isinstance(module, _BatchNorm) for module in setup.model.modules()):
        return not_applicable("there is no batch norm")
    rehearsal = setup.rehearsal
    if rehearsal.by_mode is None or not rehearsal.records:
        return not_applicable("give loss= to compare it in both modes, and more minutes where that is given")
    training, evaluation = rehearsal.by_mode
    about = (
        f"After {len(rehearsal.records)} steps the same batches have loss {training:.3g} in training mode and "
        f"{evaluation:.3g} in evaluation"
    )
    if evaluation <= GAP_FAIL * training or evaluation - training < GAP_LEAST * rehearsal.losses[0]:
        return passed(f"{about}.", evaluation / max(training, 1e-12))
    norms = [name for name, module in setup.model.named_modules() if isinstance(module, _BatchNorm)]
    return Finding(
        "fail", f"{about}: running statistics do not describe the batches.", evaluation / max(training, 1e-12),
        "norm.train_eval_gap", "Set momentum to 0.1, draw batches from the whole set, use one norm for each kind of "
        "input, or "
        "use group norm.", tuple(norms[:6]),
    )  # fmt: skip


CHECKS = (
    Check(
        name="batches suit batch norm",
        subject="norm",
        causes={
            "norm.small_batch": "Use group norm, larger batches, or norms in evaluation mode.",
            "norm.alike_batch": "Draw batches from the whole set, or use group norm.",
        },
        symptom="Training looks well and validation jumps about or stays at chance.",
        measure="Samples of a batch; classes in each batch; the variance of 8 x 8 pictures inside of batches over "
        "that of all.",
        threshold=f"Up to {SMALL_FAIL} samples fail, {SMALL_WARN} warn; batches of one class, or a variance below "
        f"{ALIKE:g}, fail.",
        origin="Wu and He 2018 (arXiv:1803.08494), figure 1: with 2 samples the error of ResNet-50 rises from 23.6 "
        "to 34.7 %.",
        look=look_batch,
        is_quick=True,
    ),
    Check(
        name="no bias before batch norm",
        subject="norm",
        causes={"norm.bias_before": "Make these layers with bias=False."},
        symptom="None that can be seen: numbers that are stored, decayed and counted and never matter.",
        measure="Layers with a bias whose output a batch norm reads.",
        threshold="Any warns.",
        origin="Ioffe and Szegedy 2015 (arXiv:1502.03167), section 3.2: the bias is cancelled by the subtracted mean.",
        look=look_bias,
        is_quick=True,
    ),
    Check(
        name="running statistics move",
        subject="norm",
        causes={
            "norm.slow_momentum": "Raise the momentum, or train longer.",
            "norm.train_eval_gap": "Use PyTorch's convention: 0.1 is 0.9 elsewhere; 0 never moves.",
        },
        symptom="The training loss falls and validation stays at chance, or jumps from epoch to epoch.",
        measure="The share of the first statistics that is left after all steps, (1 - momentum) ^ steps.",
        threshold=f"More than {RESIDUAL_WARN:.0%} left warns, {RESIDUAL_FAIL:.0%} fails; a momentum above {FAST:g} "
        "fails.",
        origin="Arithmetic.",
        look=look_momentum,
        is_quick=True,
    ),
    Check(
        name="nothing is frozen by mistake",
        subject="norm",
        causes={
            "norm.frozen": "Call model.train() before each epoch; freeze trained weights only.",
            "norm.other_statistics": "Load buffers with the weights.",
        },
        symptom="The result is that of a smaller network, or of one without norms.",
        measure="The mode of each module in the step; frozen norms with the statistics of a new norm; frozen layers "
        "whose weights "
        "fill PyTorch's range for new layers evenly.",
        threshold="Any fails.",
        origin="Exact but for the weights: of an even distribution the fourth moment is 1.8, of trained weights 3 "
        "and more.",
        look=look_frozen,
        is_quick=True,
    ),
    Check(
        name="evaluation draws nothing",
        subject="norm",
        causes={"norm.dropout_in_eval": "Write F.dropout(x, p, training=self.training)."},
        symptom="The same picture gets another answer each time.",
        measure="The outputs of one batch in evaluation mode, twice.",
        threshold="A difference of more than 1e-5 of the largest output fails.",
        origin="Exact; less is the rounding of sums in another order.",
        look=look_evaluation_repeats,
        is_quick=True,
    ),
    Check(
        name="statistics are of these data",
        subject="norm",
        causes={"norm.other_statistics": "Prepare pictures as the weights expect them, or let norms adapt."},
        symptom="A frozen backbone helps less than one that starts new.",
        measure="Mean and variance of what each frozen norm reads, against its running ones; the median channel.",
        threshold=f"A mean {SHIFT_FAIL:g} deviations off, or a variance {RATIO_FAIL:g} times another, fails.",
        origin="Trained backbones on other photographs stayed below 1 deviation and 5 times.",
        look=look_other_statistics,
    ),
    Check(
        name="both modes agree",
        subject="norm",
        causes={"norm.train_eval_gap": "Mend the momentum, the batches, or share no norm between kinds of input."},
        symptom="The training loss falls and validation stays at chance, also on training pictures.",
        measure="The loss of one training batch in both modes, without dropout, after the first steps and 30 batches "
        "that let "
        "the statistics settle.",
        threshold=f"Evaluation's loss more than {GAP_FAIL:g} times training's, and {GAP_LEAST:.0%} of the first loss "
        "apart, fails.",
        origin="Healthy runs stayed below 1.3 times.",
        look=look_gap,
        is_watched=True,
    ),
)
