"""Batch norm: enough samples that differ, statistics of these data, and no bias before it."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.data import SequentialSampler

from unpool.checks.answers import targets_of
from unpool.checks.findings import Finding, not_applicable, passed
from unpool.checks.passes import Ran
from unpool.checks.rehearsal import take_step
from unpool.checks.setup import Setup
from unpool.checks.source import count
from unpool.checks.structure import images_of
from unpool.layers.fans import fans_of
from unpool.tracing.foreign import foreign_code

SMALL_FAIL, SMALL_WARN = 2, 3  # samples of a batch
ALIKE = 0.5  # variance inside of batches over that of the set; of a shuffled set 1 but for a few percent
RESIDUAL_FAIL, RESIDUAL_WARN = 0.5, 0.2  # share of the first statistics that is left at the end
FAST = 0.5  # momentum from which the statistics are those of the last batch or two
FROZEN = "FrozenBatchNorm2d"  # torchvision's, which takes long to import
NEW = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


def look_batch(setup: Setup) -> list[Finding]:
    """Tells whether batches have enough samples for batch norm, and samples that differ."""
    norms = _adapting(setup)
    if not norms:
        return [not_applicable("no batch norm averages over the batch")]
    sizes = [count(batch) for batch in setup.train.batches(16)] if setup.train.is_loader else []
    if not sizes:
        return [not_applicable("the training data come without batches: give a loader")]
    results = [_of_size(sizes, norms), _last_of_one(setup, sizes, norms), _of_variety(setup)]
    return [one for one in results if one is not None]


def _adapting(setup: Setup) -> dict[str, int]:
    """The batch norms that run and average over a batch in training: values of a channel, by name."""
    modes = setup_modes(setup)
    return {
        name: values
        for name, (norm, values) in setup.first_pass.norms.items()
        if isinstance(norm, _BatchNorm) and modes.get(name, True)
    }


def _of_size(sizes: list[int], norms: dict[str, int]) -> Finding:
    usual = sorted(sizes)[len(sizes) // 2]
    fewest = min(norms, key=lambda name: norms[name])
    about = (
        f"{len(norms)} batch norms average over batches of {usual} samples, {fewest} over {norms[fewest]:,} values "
        "of a channel"
    )
    if usual > SMALL_WARN:
        return passed(f"{about}.", usual)
    return Finding(
        "fail" if usual <= SMALL_FAIL else "warn", f"{about}: the statistics are noise, and evaluation uses "
        "others.", usual,
        "norm.small_batch", "Use group norm, or batches of 8 and more, or keep the norms of a trained network in "
        "evaluation "
        "mode.", tuple(list(norms)[:8]),
    )  # fmt: skip


def _last_of_one(setup: Setup, sizes: list[int], norms: dict[str, int]) -> Finding | None:
    """A last batch of one sample makes batch norm behind a pooling to 1 x 1 raise."""
    loader, usual = setup.train.loader, sizes[0]
    single = [name for name, values in norms.items() if values == count(setup.first_pass.batch)]
    if loader is None or loader.drop_last or setup.train.dataset is None or not single:
        return None
    if loader.batch_size is None or len(setup.train) % loader.batch_size != 1 or loader.batch_size == 1:
        return None
    return Finding(
        "fail", f"The last batch has 1 sample of {len(setup.train):,} in batches of {usual}, and {single[0]} "
        "averages one value "
        "for each sample: the epoch ends with an error.", 1.0, "norm.small_batch", "Set drop_last=True in the loader.",
        tuple(single),
    )  # fmt: skip


def _of_variety(setup: Setup) -> Finding | None:
    """Compares the variance of small pictures inside of batches with that over all of them."""
    loader = setup.train.loader
    is_plain = loader is not None and type(loader.batch_sampler) is torch.utils.data.BatchSampler
    if loader is not None and is_plain and isinstance(loader.sampler, SequentialSampler):
        return None  # an order that is not shuffled is another cause
    batches = [batch for batch in setup.train.batches(16) if count(batch) > 1]
    if len(batches) < 6:
        return None
    labels = [_classes(batch) for batch in batches]
    by_class = [set(some.tolist()) for some in labels if some is not None]
    single = sum(len(one) == 1 for one in by_class)
    all_classes = set().union(*by_class) if by_class else set()
    share = _variance_share(batches)
    about = f"Pictures differ {share:.2f} times as much inside of a batch as over {len(batches)} batches"
    is_one_class = len(by_class) == len(batches) and len(all_classes) > 1 and single >= 0.8 * len(batches)
    if is_one_class and _is_in_order([min(one) for one in by_class if one]):
        return None
    if not is_one_class and share >= ALIKE:
        return passed(f"{about}.", share)
    why = (
        f"{single} of {len(batches)} batches hold a single class of {len(all_classes)}"
        if is_one_class
        else "batches are alike"
    )
    return Finding(
        "fail", f"{about}; {why}: batch norm subtracts what tells one batch from another, and evaluation does "
        "not.", share,
        "norm.alike_batch", "Draw batches from the whole set (shuffle=True, or a sampler that mixes classes and "
        "videos), or use "
        "group norm.", (why,),
    )  # fmt: skip


def _is_in_order(classes: list[int]) -> bool:
    """Whether the classes of successive batches follow each other as in a set that is not shuffled."""
    changes = sum(a != b for a, b in pairwise(classes))
    return changes == len(set(classes)) - 1 and len(classes) > len(set(classes))


def _classes(batch: Any) -> Tensor | None:
    targets = targets_of(batch)
    return targets if targets is not None and targets.ndim == 1 and not targets.is_floating_point() else None


def _variance_share(batches: list[Any]) -> float:
    small = [one for batch in batches if (one := _thumbnails(batch)) is not None]
    if len(small) < 2 or any(one.shape[1:] != small[0].shape[1:] for one in small):
        return 1.0
    inside = torch.stack([one.var(0).mean() for one in small]).mean()
    return float(inside / torch.cat(small).var(0).mean().clamp_min(1e-12))


def _thumbnails(batch: Any) -> Tensor | None:
    images = images_of(batch)
    if not images or images[0].ndim != 4:
        return None
    return nn.functional.adaptive_avg_pool2d(images[0].float(), (8, 8)).flatten(1)


def look_bias(setup: Setup) -> Finding:
    """Finds biases that a batch norm behind them subtracts again."""
    norms = setup.first_pass.norms
    if not norms:
        return not_applicable("there is no norm")
    biased = [
        ran.name
        for ran in setup.first_pass.layers
        if ran.next_norm
        and isinstance(norms.get(ran.next_norm, (None,))[0], _BatchNorm)
        and isinstance(dict(ran.layer.named_parameters()).get("bias"), Tensor)
    ]
    if not biased:
        return passed("No layer that a batch norm reads has a bias.", 0.0)
    numbers = sum(
        dict(ran.layer.named_parameters())["bias"].numel() for ran in setup.first_pass.layers if ran.name in biased
    )
    return Finding(
        "warn", f"{len(biased)} layers have a bias, {numbers:,} numbers in all, that the batch norm behind them "
        "subtracts "
        f"again ({', '.join(biased[:3])}): it costs memory and learns nothing.", len(biased), "norm.bias_before",
        "Make these layers with bias=False.", tuple(biased[:12]),
    )  # fmt: skip


def look_momentum(setup: Setup) -> list[Finding]:
    """Computes which share of the first statistics is left at the end of the run."""
    norms = {
        n: m for n, (m, _) in setup.first_pass.norms.items() if isinstance(m, _BatchNorm) and m.running_mean is not None
    }
    moving = {name: norm.momentum for name, norm in norms.items() if norm.momentum is not None}
    if not moving:
        return [not_applicable("no batch norm has a momentum")]
    fast = [name for name, momentum in moving.items() if momentum > FAST]
    if fast:
        worst = moving[fast[0]]
        return [Finding(
            "fail", f"{len(fast)} batch norms have momentum {worst:g}: a running statistic keeps {1 - worst:.2f} of "
            "what it was "
            "at each step, so that evaluation uses those of the last batch.", worst, "norm.train_eval_gap",
            "PyTorch's momentum is the share of the new batch: 0.1 here is 0.9 in Keras and papers.", tuple(fast[:8]),
        )]  # fmt: skip
    slowest = min(moving, key=lambda name: moving[name])
    steps = _steps_of_run(setup)
    if moving[slowest] == 0:
        return [_still(setup, slowest, norms[slowest])]
    if steps is None:
        return [not_applicable("give epochs= and a loader, to tell how long the run is")]
    left = (1 - moving[slowest]) ** steps
    about = (
        f"Momentum {moving[slowest]:g} of {slowest} leaves {left:.0%} of the first statistics after the {steps:,} "
        "steps of the run"
    )
    if left < RESIDUAL_WARN or not is_fresh(norms[slowest]):
        return [passed(f"{about}.", left)]
    cause = "norm.slow_momentum" if moving[slowest] < 0.1 else "norm.train_eval_gap"
    return [Finding(
        "fail" if left >= RESIDUAL_FAIL else "warn", f"{about}: evaluation normalises by mean 0 and variance 1, not "
        "by the "
        "data's.", left, cause, f"Set momentum to {min(0.5, 3 / steps):.2g} or more, or train longer.", (slowest,),
    )]  # fmt: skip


def _still(setup: Setup, name: str, norm: _BatchNorm) -> Finding:
    if not is_fresh(norm):
        return passed(f"Momentum 0 keeps the statistics of {name} as they are.", 0.0)
    return Finding(
        "fail", f"Momentum 0 of {name} keeps its running statistics at mean 0 and variance 1: evaluation does not "
        "normalise.",
        0.0, "norm.train_eval_gap", "Set momentum to 0.1.", (name,),
    )  # fmt: skip


def _steps_of_run(setup: Setup) -> int | None:
    if setup.epochs is None or not setup.train.is_loader or len(setup.train) == 0:
        return None
    size = count(setup.train.batches(1)[0])
    return max(1, setup.epochs * math.ceil(len(setup.train) / size))


def is_fresh(norm: _BatchNorm) -> bool:
    """Whether its running statistics are those that a new norm has."""
    mean, variance = norm.running_mean, norm.running_var
    return mean is not None and variance is not None and bool((mean == 0).all()) and bool((variance == 1).all())


def _has_new_weights(norm: _BatchNorm) -> bool:
    """Whether scale and shift are those that a new norm has; a scale of 0 closes the branches of some residual nets."""
    scale, shift = norm.weight, norm.bias
    if scale is None or shift is None:
        return False
    return bool(((scale == 1).all() | (scale == 0).all()) & (shift == 0).all())


def _of_buffers(model: nn.Module) -> list[Finding]:
    """Norms that hold scale, shift and statistics as buffers (torchvision's FrozenBatchNorm2d), all of them new."""
    norms = {name: dict(m.named_buffers()) for name, m in model.named_modules() if type(m).__name__ == FROZEN}
    new = [name for name, held in norms.items() if all(bool((held[key] == value).all()) for key, value in NEW.items())]
    if not new or len(new) < len(norms):
        return []
    return [Finding(
        "fail", f"{len(new)} norms cannot learn and are as they were made: scale 1, shift 0, mean 0 and variance 1. "
        "Nothing was loaded into them, and they do nothing.", 1.0, "norm.frozen",
        "Load trained weights into them, or train from scratch with batch or group norm.", tuple(new[:8]),
    )]  # fmt: skip


def look_frozen(setup: Setup) -> list[Finding]:
    """Tells in which mode the network is trained, and whether frozen weights are those of a trained network."""
    modes = setup_modes(setup)
    norms = {
        name: m for name, m in setup.model.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is not None
    }
    moved = [name for name, m in setup.model.named_modules() if isinstance(m, _BatchNorm | _DropoutNd)]
    if moved and not modes.get("", True) and not any(modes.get(name, True) for name in moved):
        return [Finding(
            "warn" if setup.step is None else "fail", "The network is trained in evaluation mode: dropout does "
            "nothing and running statistics never "
            "change.",
            0.0, "norm.frozen", "Call model.train() at the start of each epoch, after validation has called "
                "model.eval().",
            tuple(moved[:8]),
        )]  # fmt: skip
    results = _of_buffers(setup.model)
    still = [name for name, norm in norms.items() if not modes.get(name, True) and is_fresh(norm)]
    trained = [name for name in still if any(weight.requires_grad for weight in norms[name].parameters())]
    new = [] if trained else [name for name in still if _has_new_weights(norms[name])]
    if new and len(new) == len(still):
        results.append(Finding(
            "fail", f"{len(new)} of {len(norms)} batch norms are frozen as they were made: scale 1, shift 0, mean 0 "
            "and variance 1. Nothing was loaded into them.", len(new) / len(norms), "norm.frozen",
            "Load trained weights before freezing, or train these layers.", tuple(new[:8]),
        ))  # fmt: skip
    elif still and not trained:
        results.append(Finding(
            "fail", f"{len(still)} of {len(norms)} batch norms are frozen with mean 0 and variance 1, the statistics "
            "of a new "
            "norm: they do not normalise.", len(still) / len(norms), "norm.other_statistics",
            "Load buffers with the weights (state_dict, not parameters), or let these norms adapt.", tuple(still[:8]),
        ))  # fmt: skip
    if trained:
        results.append(Finding(
            "fail", f"{len(still)} of {len(norms)} batch norms are in evaluation mode in training and have the "
            "statistics of a "
            "new norm (mean 0, variance 1): they do not normalise.", len(still) / len(norms), "norm.frozen",
            "Leave norms that start new in training mode; freeze only those of a trained network.", tuple(still[:8]),
        ))  # fmt: skip
    random = [name for name, layer in setup.model.named_modules() if _is_frozen_at_random(layer)]
    random += [ran.name for ran in setup.first_pass.layers if ran.name not in random and _is_before_new(ran, norms)]
    if random:
        results.append(Finding(
            "fail", f"{len(random)} frozen layers have the random weights of a new layer ({', '.join(random[:3])}): "
            "they never "
            "learn.", float(len(random)), "norm.frozen", "Load trained weights before freezing, or set requires_grad "
            "to True; "
            "freeze by module, not by a prefix that others share.", tuple(random[:12]),
        ))  # fmt: skip
    return results or [passed("No norm and no layer is frozen at the values that a new one has.", 0.0)]


def _is_before_new(ran: Ran, norms: Mapping[str, _BatchNorm]) -> bool:
    """Whether a layer is frozen together with the norm behind it, which never saw a batch: it was never trained."""
    norm = norms.get(ran.next_norm)
    if norm is None or norm.bias is None or bool(norm.bias.any()) or bool((norm.weight != 1).any()):
        return False
    if not is_fresh(norm):
        return False
    return not any(weight.requires_grad for weight in (*ran.layer.parameters(recurse=False), *norm.parameters()))


def _is_frozen_at_random(layer: nn.Module) -> bool:
    """Whether a layer is frozen and its weights are even between PyTorch's limits for a new layer.

    They fill the range of 1 / sqrt(fan-in) to its ends, and their fourth moment is that of an even distribution, 1.8
    times the squared variance; trained weights have 3 and more. Of n weights it deviates by about 1 / sqrt(n).
    """
    fans, weight = fans_of(layer), dict(layer.named_parameters(recurse=False)).get("weight")
    if fans is None or weight is None or weight.requires_grad or weight.numel() < 200:
        return False
    values = weight.detach().double().flatten()
    limit = weight[0].numel() ** -0.5
    variance = values.square().mean()
    kurtosis = float(values.pow(4).mean() / variance.square())
    near = 0.95 * limit < float(values.abs().max()) <= limit * 1.0001
    return near and abs(kurtosis - 1.8) < 0.2


def setup_modes(setup: Setup) -> dict[str, bool]:
    """The mode in which each module runs in the author's step; where there is no step, that which train() gives it."""
    if setup.step is None:
        with setup.trying(training=setup.model.training):
            return {name: module.training for name, module in setup.model.named_modules()}
    modes: dict[str, bool] = {}
    with setup.trying(), _modes_watched(setup.model, modes), foreign_code():
        take_step(setup, setup.batches(1)[0])
    return modes


@contextmanager
def _modes_watched(model: nn.Module, modes: dict[str, bool]) -> Iterator[None]:
    def enter(name: str, module: nn.Module, inputs: Any) -> None:
        modes.setdefault(name, module.training)

    handles = [module.register_forward_pre_hook(partial(enter, name)) for name, module in model.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
