"""Whether the optimiser holds the parameters that are to be trained, each once, and no others change."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.rehearsal import take_step
from unpool.checks.setup import Setup
from unpool.checks.source import Batch
from unpool.checks.vectors import leaves_of
from unpool.tracing.foreign import foreign_code

NO_OPTIMIZER = "no optimiser is known: pass optimizer="
UNIFORM, NORMAL = (1.6, 2.1), (2.7, 3.3)  # kurtosis of drawn weights; 1.8 and 3 for many values
STEPS = 16  # at most until the model changes: gradients of some batches may be accumulated
LEAST_VALUES = 200  # of a weight, to know its distribution
TYPOS = ("requires_grad_", "require_grad", "required_grad", "requires_grads", "requires_gradient", "require_gradient")


def look_held(setup: Setup) -> Finding | list[Finding]:
    """Compares the parameters of the model with those of the optimisers."""
    if setup.optimizer is None:
        return not_applicable(NO_OPTIMIZER)
    optimizers = _optimizers(setup)
    held = {id(weight): weight for one in optimizers for weight in _weights(one)}
    weights = dict(setup.model.named_parameters())
    trained = [name for name, weight in weights.items() if weight.requires_grad]
    doubled = _twice(optimizers, weights)
    if doubled is not None:
        return doubled
    missing = [name for name in trained if id(weights[name]) not in held]
    if missing:
        known = {id(weight) for weight in weights.values()} | {id(weight) for weight in _of_loss(setup)}
        foreign = [weight for number, weight in held.items() if number not in known]
        return _replaced(missing, weights, foreign) or _left_out(setup, missing, weights)
    learned = [weight for weight in _beside_the_model(setup) if id(weight) not in held]
    if learned:
        return Finding(
            "fail",
            f"the loss is computed of {len(learned)} trainable parameters beside the model's, which no optimiser "
            "holds: they get gradients and never change",
            len(learned),
            "optim.missing_parameters",
            "give the optimiser the parameters of the loss too: [*model.parameters(), *loss.parameters()]",
            tuple(f"a parameter of shape {tuple(weight.shape)}" for weight in learned[:8]),
        )
    return passed(f"the optimiser holds all {len(trained)} trainable parameters, each once", 0.0)


def _beside_the_model(setup: Setup) -> list[Tensor]:
    """Parameters that the loss is computed of and the model does not have, such as ArcFace's directions of classes."""
    if setup.loss is None:
        return []
    batch, leaves = setup.batches(1)[0], []
    known = {id(weight) for weight in setup.model.parameters()}
    with setup.trying(training=True), foreign_code():
        leaves = list(leaves_of(setup.loss_of(setup.outputs(batch), batch)))
    beside: list[Tensor] = [leaf for leaf in leaves if isinstance(leaf, nn.Parameter) and id(leaf) not in known]
    if not beside or setup.step is None:
        return beside
    return _left_by_step(setup, batch, beside)


def _left_by_step(setup: Setup, batch: Batch, beside: Sequence[Tensor]) -> list[Tensor]:
    """Those that the author's step, which may have an optimiser for them, leaves alone while the model changes."""
    watched = [*(weight for weight in setup.model.parameters() if weight.requires_grad), *beside]
    before, has_moved = [weight.detach().clone() for weight in watched], [True] * len(watched)
    with setup.trying(training=True), foreign_code():
        for _ in range(STEPS):
            take_step(setup, batch)
            has_moved = [not torch.equal(weight, kept) for weight, kept in zip(watched, before, strict=True)]
            if any(has_moved[: -len(beside)]):
                break
    is_stepped = any(has_moved[: -len(beside)])
    return [weight for weight, moved in zip(beside, has_moved[-len(beside) :], strict=True) if is_stepped and not moved]


def _replaced(missing: Sequence[str], weights: Mapping[str, Tensor], foreign: Sequence[Tensor]) -> Finding | None:
    """Weights that were replaced after the optimiser was made: it holds others, which are not the model's."""
    if not foreign:
        return None
    return Finding(
        "fail",
        f"the optimiser holds {len(foreign)} parameters that are not the model's, and {len(missing)} of the model's "
        "parameters are in no optimiser: they were replaced after the optimiser was made, and never change",
        len(missing),
        "optim.no_step",
        "make the optimiser after the last change of the model (a new head, to(device), a copy, loaded weights)",
        tuple(f"{name} {tuple(weights[name].shape)} is in no optimiser" for name in missing[:8]),
    )


def _left_out(setup: Setup, missing: Sequence[str], weights: Mapping[str, Tensor]) -> Finding:
    """Judges parameters in no optimiser: fresh ones are a mistake, trained ones are frozen in effect."""
    used = [name for name in missing if name not in setup.rehearsal.without_gradient]
    fresh = [name for name in used if _is_fresh(setup.model, name)]
    count = sum(weights[name].numel() for name in missing)
    share = count / sum(weight.numel() for weight in weights.values())
    about = f"{len(missing)} trainable parameters ({100 * share:.0f} % of all values) are in no optimiser"
    if not fresh:
        return passed(f"{about}; none of them has weights as they are drawn, so that they count as frozen", share)
    return Finding(
        "fail",
        f"{about}, and {len(fresh)} of them still have weights as they are drawn: they get gradients and never change",
        share,
        "optim.missing_parameters",
        "give model.parameters() to the optimiser, or call requires_grad_(False) on what is to stay as it is",
        tuple(f"{name} {tuple(weights[name].shape)}" for name in fresh[:8]),
    )


def _is_fresh(model: nn.Module, name: str) -> bool:
    """Whether a weight is distributed as initial weights are: uniform, or normal, which training does not keep."""
    weight = model.get_parameter(name).detach().float()
    if weight.dim() < 2 or weight.numel() < LEAST_VALUES:
        return False
    spread = weight.std()
    if not spread > 0:
        return False
    kurtosis = float(((weight - weight.mean()) / spread).pow(4).mean())
    if UNIFORM[0] < kurtosis < UNIFORM[1]:
        return True
    module = model.get_submodule(name.rpartition(".")[0])
    bias = dict(module.named_parameters(recurse=False)).get("bias")
    has_bias_of_0 = bias is None or not bool(bias.detach().any())
    return has_bias_of_0 and NORMAL[0] < kurtosis < NORMAL[1]


def _twice(optimizers: Sequence[torch.optim.Optimizer], weights: Mapping[str, Tensor]) -> Finding | None:
    """Parameters that one optimiser holds twice."""
    counts = [Counter(map(id, _weights(one))) for one in optimizers]
    double = {number for count in counts for number, times in count.items() if times > 1}
    if not double:
        return None
    names = [name for name, weight in weights.items() if id(weight) in double]
    return Finding(
        "fail",
        f"{len(double)} parameters stand twice in the optimiser, which applies their gradients twice",
        len(double),
        "optim.twice",
        "name each parameter once: leave the layers that have a group of their own out of the other group",
        tuple(names[:8]),
    )


def look_frozen(setup: Setup) -> Finding | list[Finding]:
    """Looks for parameters that are, or were meant to be, frozen, and change all the same."""
    typos = list(_typos(setup.model))
    if typos:
        return Finding(
            "fail",
            f"{typos[0]} sets an attribute that freezes nothing: its parameters are trained",
            float(len(typos)),
            "optim.frozen_trained",
            "call module.requires_grad_(False), or set requires_grad of each of its parameters",
            tuple(typos[:8]),
        )
    weights = dict(setup.model.named_parameters())
    frozen = {name for name, weight in weights.items() if not weight.requires_grad}
    if not frozen:
        return passed("nothing is frozen")
    if not setup.rehearsal.records:
        return not_applicable(f"no step could be taken: {setup.rehearsal.failure}")
    changed = [name for name in setup.rehearsal.changed if name in frozen]
    if changed:
        return Finding(
            "fail",
            f"{len(changed)} of {len(frozen)} frozen parameters change in {len(setup.rehearsal.records)} steps",
            len(changed) / len(frozen),
            "optim.frozen_trained",
            "set their grad to None and leave them out of the optimiser: decay and momentum move them without "
            "gradient; "
            "and see that step() does not make them trainable again",
            tuple(changed[:8]),
        )
    return _drifting(setup, frozen) or passed(f"{len(frozen)} frozen parameters stay as they are", 0.0)


def _drifting(setup: Setup, frozen: set[str]) -> Finding | None:
    """Norms whose weights are frozen and whose running statistics change in training, in a model trained before."""
    moved = set(setup.rehearsal.moved_buffers)
    norms = [
        name
        for name, part in setup.model.named_modules()
        if f"{name}.weight" in frozen
        and f"{name}.running_mean" in moved
        and bool(part.get_buffer("running_mean").any())
    ]
    if not norms:
        return None
    return Finding(
        "warn",
        f"the weights of {len(norms)} norms are frozen, and their running statistics change in training",
        float(len(norms)),
        "optim.frozen_trained",
        "put the frozen part into eval mode after each model.train()",
        tuple(norms[:8]),
    )


def _typos(model: nn.Module) -> Iterator[str]:
    """Attributes that look as if they froze something, on modules and parameters."""
    for name, module in model.named_modules():
        if not any(weight.requires_grad for weight in module.parameters()):
            continue
        written = [word for word in ("requires_grad", *TYPOS) if vars(module).get(word) is False]
        yield from (f"{name or 'model'}.{word} = False" for word in written)
    for name, weight in model.named_parameters():
        written = [word for word in TYPOS if weight.requires_grad and vars(weight).get(word) is False]
        yield from (f"{name}.{word} = False" for word in written)


def _optimizers(setup: Setup) -> list[torch.optim.Optimizer]:
    """The caller's optimiser, and others that stepped on the model's parameters."""
    seen = [one.optimizer for record in setup.rehearsal.records for one in record.applied] if setup.step else []
    known = [] if setup.optimizer is None else [setup.optimizer]
    return list({id(one): one for one in [*known, *seen]}.values())


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _of_loss(setup: Setup) -> list[Tensor]:
    return list(setup.loss.parameters()) if isinstance(setup.loss, nn.Module) else []


CHECKS = (
    Check(
        "every parameter is in the optimiser, once",
        "optim",
        {
            "optim.missing_parameters": "give model.parameters() to the optimiser, or freeze what is to stay as it is",
            "optim.no_step": "make the optimiser after the last change of the model",
            "optim.twice": "name each parameter once",
        },
        "Part of the network stays as it was drawn, and the score is that of random features.",
        "Parameters of the model are compared, as objects, with those of all optimisers that step.",
        "A failure where a parameter that gets a gradient and still has drawn weights is in none, where the optimiser "
        "holds parameters of another model in their stead, or where one stands twice.",
        "Arithmetic; drawn weights have the kurtosis of a uniform (1.8) or normal (3) distribution, and weights "
        "of trained "
        "networks have heavier tails (measured: EfficientNet-Lite0, VGG-16).",
        look_held,
        is_quick=True,
    ),
    Check(
        "frozen parameters stay",
        "optim",
        {"optim.frozen_trained": "call module.requires_grad_(False), and put frozen norms into eval mode"},
        "Trained features are lost in the first epoch; the run needs the memory of a full one.",
        "Parameters without requires_grad are compared before and after the first steps; modules and parameters are "
        "searched for attributes that look as if they froze something, such as module.requires_grad = False.",
        "A failure where one changes, or where such an attribute stands on something that is trained; a warning where "
        "running statistics of frozen norms change.",
        "Arithmetic: frozen is unchanged bit for bit.",
        look_frozen,
        is_quick=True,
    ),
)
