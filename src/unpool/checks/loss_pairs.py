"""Losses of pairs, triplets and groups: what is the same is brought together, and what is not is kept apart."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unpool.checks.answers import Asked, ask, targets_of
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.checks.source import split
from unpool.checks.vectors import has_weights
from unpool.tracing.recorder import tensors_of

SURE = 4.0  # standard errors by which pictures of one kind of pair are nearer than those of the other
ROUNDING = 1e-5  # of losses of vectors of length 1


def look_pairs(setup: Setup) -> Finding:
    """Compares the loss of vectors that are right with those that are exchanged, drawn, or all the same."""
    outputs = setup.first_pass.outputs
    if isinstance(outputs, tuple | list) and len(outputs) == 3 and _are_vectors(list(outputs)):
        return _of_triplets(setup)
    asked = ask(setup)
    if asked is None:
        return not_applicable("give loss= and outputs and targets that are tensors")
    if asked.scores.ndim == 3 and asked.scores.shape[1] == 2 and asked.targets.ndim == 1 and _are_two(asked.targets):
        return _of_pairs(setup, asked)
    return (
        _of_groups(asked)
        if setup.target_form == "vector"
        else not_applicable("the outputs are no vectors of pairs or groups")
    )


def _are_vectors(values: list[object]) -> bool:
    return all(isinstance(one, Tensor) and one.ndim == 2 for one in values)


def _are_two(targets: Tensor) -> bool:
    return len(targets.unique()) == 2


def _directions(number: Tensor, dim: int) -> Tensor:
    """(B, D): a unit vector for each number, at right angles where the dimensions are enough."""
    generator = torch.Generator().manual_seed(0)
    kinds = int(number.max()) + 1
    vectors = torch.randn(kinds, dim, generator=generator)
    if kinds <= dim:
        vectors = torch.linalg.qr(vectors.T)[0].T
    return F.normalize(vectors, dim=1)[number]


def _of_groups(asked: Asked) -> Finding:
    """Targets name the group of each vector."""
    groups = asked.targets.flatten().unique(return_inverse=True)[1]
    size, dim = asked.scores.shape[0], asked.scores.shape[1]
    if len(groups) != size or int(groups.max()) == 0 or int(groups.max()) + 1 == size:
        return not_applicable("the first batch has no two groups of several samples")
    if has_weights(asked.setup, asked.batch, asked.outputs):
        return not_applicable("the loss learns a direction of its own for each group, which says what is right")
    right = _directions(groups, dim).to(asked.scores)
    wrong = _directions(_exchanged(groups), dim).to(asked.scores)
    same = _directions(torch.zeros_like(groups), dim).to(asked.scores)
    return _judged(asked.loss(right), asked.loss(wrong), asked.loss(same), asked.loss(asked.scores))


def _exchanged(groups: Tensor) -> Tensor:
    """Numbers that differ inside of each group and repeat over the groups."""
    order = torch.zeros_like(groups)
    for group in groups.unique():
        members = (groups == group).nonzero().flatten()
        order[members] = torch.arange(len(members))
    return order


def _judged(right: float, wrong: float, same: float, now: float) -> Finding:
    about = f"Vectors that are right have loss {right:.3g}, exchanged ones {wrong:.3g}, all equal ones {same:.3g}"
    is_flat = max(right, wrong, same) - min(right, wrong, same) < ROUNDING
    if right > wrong + ROUNDING or is_flat:
        what = "it is the same whatever the vectors are" if is_flat else "it draws different things together"
        return Finding(
            "fail", f"{about}: {what}; the first outputs have {now:.3g}.", right - wrong, "loss.pair_convention",
            "Check which label means the same, the order of anchor, positive and negative, and the sign and size of "
            "the margin "
            "(vectors of length 1 are at most 2 apart).", (about,),
        )  # fmt: skip
    if same <= right:
        return Finding(
            "fail", f"{about}: vectors that are all equal cost no more than right ones, so that the network may give "
            "one answer "
            "for everything.", same - right, "loss.pair_convention", "Use a margin above 0: max(0, d_same - d_other "
            "+ margin).",
            (about,),
        )  # fmt: skip
    return passed(f"{about}.", right)


def _of_pairs(setup: Setup, asked: Asked) -> Finding:
    """Targets say of each pair whether it is the same; which value says so is seen from the pictures."""
    values = asked.targets.unique()
    size, dim = len(asked.targets), asked.scores.shape[2]
    first = _directions(torch.arange(size) % dim, dim)
    other = first.roll(1, 1) if dim > 1 else -first
    together, apart = torch.stack([first, first], 1), torch.stack([first, F.normalize(first - 2 * other, dim=1)], 1)
    is_high = (asked.targets == values[1])[:, None, None]
    high_same = torch.where(is_high, together, apart).to(asked.scores)
    low_same = torch.where(is_high, apart, together).to(asked.scores)
    costs = asked.loss(high_same), asked.loss(low_same)
    takes_high = costs[0] < costs[1]
    about = (
        f"The loss brings pairs with label {float(values[1 if takes_high else 0]):g} together ({min(costs):.3g} "
        f"against {max(costs):.3g})"
    )
    if costs[0] == costs[1]:
        return Finding("fail", f"The loss is {costs[0]:.3g} whichever pairs are near.", 0.0, "loss.pair_convention",
                       "Check the margin and the use of the labels in the loss.", (about,))  # fmt: skip
    nearer = _nearer_label(setup, float(values[1]))
    if nearer is None:
        return passed(f"{about}; the pictures do not say which pairs are the same.")
    z, high_is_nearer = nearer
    about += (
        f"; pictures of pairs with label {float(values[1 if high_is_nearer else 0]):g} are nearer by {z:.1f} "
        "standard errors"
    )
    if takes_high == high_is_nearer:
        return passed(f"{about}.", z)
    return Finding(
        "fail", f"{about}: similar and different are exchanged.", z, "loss.pair_convention",
        "Hadsell et al. 2006 write 0 for similar; if 1 means similar, the loss is y d^2 + (1 - y) max(0, margin - "
        "d)^2.", (about,),
    )  # fmt: skip


def _nearer_label(setup: Setup, high: float) -> tuple[float, bool] | None:
    """By how many standard errors one label's pictures are nearer, and whether that is the higher label."""
    near: dict[bool, list[Tensor]] = {True: [], False: []}
    for batch in setup.train.batches(20):
        pair, targets = _pair_of(split(batch)[0]), targets_of(batch)
        if pair is None or targets is None or targets.ndim != 1:
            return None
        distance = _distance(*pair)
        near[True].append(distance[targets == high])
        near[False].append(distance[targets != high])
    one, other = torch.cat(near[True]), torch.cat(near[False])
    if min(len(one), len(other)) < 8:
        return None
    error = (one.var() / len(one) + other.var() / len(other)).sqrt().clamp_min(1e-12)
    z = float((other.mean() - one.mean()) / error)
    return (abs(z), z > 0) if abs(z) >= SURE else None


def _pair_of(inputs: object) -> tuple[Tensor, Tensor] | None:
    if isinstance(inputs, Tensor):
        return (inputs[:, 0], inputs[:, 1]) if inputs.ndim == 5 and inputs.shape[1] == 2 else None
    images = [one for one in tensors_of(inputs) if one.ndim == 4]
    return (images[0], images[1]) if len(images) == 2 else None


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """(B,): between small pictures of mean 0 and length 1, so that light does not count."""
    small = [F.adaptive_avg_pool2d(image.float(), (12, 12)).flatten(1) for image in (one, other)]
    first, second = (F.normalize(value - value.mean(1, keepdim=True), dim=1) for value in small)
    return (first - second).norm(dim=1)


def _of_triplets(setup: Setup) -> Finding:
    """Outputs are anchor, positive and negative."""
    if setup.loss is None:
        return not_applicable("give loss=")
    anchor, *_ = setup.first_pass.outputs
    size, dim = anchor.shape
    near = _directions(torch.arange(size) % dim, dim).to(anchor)
    far = -near
    batch = setup.moved(setup.first_pass.batch)
    with torch.no_grad():
        right, wrong, same = (
            float(setup.loss_of(one, batch)) for one in ((near, near, far), (near, far, near), (near, near, near))
        )
    verdict = _judged(right, wrong, same, float(setup.loss_of(setup.first_pass.outputs, batch)))
    if verdict.verdict == "fail":
        return verdict
    return _exchanged_pictures(setup) or verdict


def _exchanged_pictures(setup: Setup) -> Finding | None:
    """Whether the pictures called negative are nearer to the anchor than those called positive."""
    differences = []
    for batch in setup.train.batches(20):
        images = [one for one in tensors_of(split(batch)[0]) if one.ndim == 4]
        if len(images) != 3:
            return None
        differences.append(_distance(images[0], images[1]) - _distance(images[0], images[2]))
    all_ = torch.cat(differences)
    z = float(all_.mean() / (all_.std() / len(all_) ** 0.5).clamp_min(1e-12))
    if len(all_) < 16 or z < SURE:
        return None
    return Finding(
        "fail", f"Pictures called negative are nearer to their anchors than those called positive, by {z:.1f} "
        "standard errors.", z,
        "loss.pair_convention", "Exchange positive and negative where the triplets are made.", ("order of the three "
        "inputs",),
    )  # fmt: skip


CHECKS = (
    Check(
        name="pairs are of one convention",
        subject="loss",
        causes={"loss.pair_convention": "Check which label means the same, the order of a triplet, and the margin."},
        symptom="All vectors become one, or the loss is 0 from the start, and retrieval stays at chance.",
        measure="The loss of vectors that are right, of exchanged ones and of equal ones; of pairs also which "
        "label's pictures are "
        "nearer to each other.",
        threshold="It fails where right vectors cost as much as exchanged or equal ones, or where the pictures "
        f"disagree by {SURE:g} "
        "standard errors.",
        origin="Exact but for the pictures; Hadsell et al. 2006, Schroff et al. 2015 (arXiv:1503.03832).",
        look=look_pairs,
        is_quick=True,
    ),
)
