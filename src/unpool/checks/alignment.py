"""Do masks, boxes and joints lie where the pictures have their edges, and are they those of this picture?"""

from typing import NamedTuple

import torch
from torch import Tensor

from unpool.checks.box_values import look_boxes
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.outlines import GRID, Outlined, agreement, normed, outlined, scaled, shifts, turned
from unpool.checks.seen import Seen
from unpool.checks.setup import Setup
from unpool.checks.showing import of_samples

BETTER, SURE = 0.05, 5.0  # in correlation, and in standard errors of the mean difference
BOXED = 0.2  # correlation that boxes must reach elsewhere: their sides cross all that lies around the thing
FURTHEST = 12  # of 48 rows that an outline is moved by at most
PART, CLEAR = 0.12, 0.15  # of the samples that fit another way, each by so much more correlation
STRANGE = 0.5  # of the samples that fit the target of another sample better
THE_SAME = 0.9  # correlation of two small copies of one picture
READINGS = ("x, y, width, height", "middle, width, height", "y1, x1, y2, x2")

CURE = "Draw a picture with its target on it, and mend the reading of that which is moved: order of axes, crop, EXIF."
FORMAT = "Draw a picture with its boxes on it, and convert them where they are read to what the model takes."
OTHERS = "Pair pictures and targets by the names of the files, and sort both lists in the same way."
EXIF = "Turn both by the orientation of EXIF, or none: PIL.ImageOps.exif_transpose for the pictures, and for masks too."


class Fit(NamedTuple):
    """How targets fit their pictures, in the best of other ways."""

    name: str
    gain: float
    sureness: float


def look_alignment(setup: Setup) -> list[Finding] | Finding:
    """Asks whether moved targets agree better with the edges of the pictures than they do as they are."""
    pair = outlined(setup.seen, setup.target_form)
    if pair is None:
        return not_applicable("the targets have no outline in pixels of the picture, or fewer than 8 samples have one")
    if look_boxes(setup).verdict in ("fail", "warn"):
        return not_applicable("the boxes are wrong as numbers, which comes first")
    as_is = agreement(pair)
    best = max(_ways(setup, pair, as_is), key=lambda one: one.gain)
    here = float(as_is.mean())
    about = f"Outlines of the targets and edges of {len(as_is)} pictures correlate by {here:.2f}"
    is_boxed = setup.target_form in ("things", "numbers")
    is_seen = not is_boxed or here + best.gain > BOXED
    if best.gain > max(BETTER, 0.3 * here) and best.sureness > SURE and is_seen:
        return _moved(setup, pair, f"{about}, and by {here + best.gain:.2f} where they are {best.name}.", best)
    part = _part_moved(pair, as_is)
    if part is not None:
        name, share, which = part
        is_turn = "180" in name or " 90 " in name or "270" in name
        cause = "data.mask_size" if is_turn else "data.mask_misaligned"
        cause = cause if setup.seen.is_repeatable else "augment.target_left"
        text = f"{about}; of {share:.0%} of the samples far better where the targets are {name}."
        return _finding(setup, pair, text, share, cause, EXIF if is_turn else CURE, which)
    return passed(f"{about}; no shift, mirror, turn or scale fits better.", here)


def _ways(setup: Setup, pair: Outlined, as_is: Tensor) -> list[Fit]:
    moved = shifts(pair)
    mean = moved.mean(0)
    near = torch.zeros_like(mean, dtype=torch.bool)
    rows = torch.arange(2 * GRID)
    rows = torch.minimum(rows, 2 * GRID - rows)
    near[(rows[:, None] <= FURTHEST) & (rows[None] <= FURTHEST)] = True
    near[(rows[:, None] <= 1) & (rows[None] <= 1)] = False
    spot = int(mean.masked_fill(~near, -1).argmax())
    down, right = (value - 2 * GRID if value > GRID else value for value in divmod(spot, 2 * GRID))
    name = f"moved by {right / GRID:+.0%} of the width and {down / GRID:+.0%} of the height"
    is_boxed = setup.target_form in ("things", "numbers")  # a thing touches its box's sides only in places
    ways = {name: moved.flatten(1)[:, spot], **turned(pair), **({} if is_boxed else scaled(pair))}
    if is_boxed:
        ways = {key: value for key, value in ways.items() if "exchanged" not in key}
    fits = [_fit(key, value, as_is) for key, value in ways.items()]
    for reading in READINGS if is_boxed else ():
        other = outlined(setup.seen, setup.target_form, reading=reading)
        if other is not None and len(set(other.positions) & set(pair.positions)) >= 8:
            fits.append(_of_reading(reading, other, pair, as_is))
    return fits


def _fit(name: str, other: Tensor, as_is: Tensor) -> Fit:
    gain = other - as_is
    return Fit(name, float(gain.mean()), float(gain.mean() / (gain.std() / len(gain) ** 0.5).clamp_min(1e-9)))


def _of_reading(reading: str, other: Outlined, pair: Outlined, as_is: Tensor) -> Fit:
    both = sorted(set(other.positions) & set(pair.positions))
    values = agreement(other)[[other.positions.index(i) for i in both]]
    return _fit(f"read as {reading}", values, as_is[[pair.positions.index(i) for i in both]])


def _moved(setup: Setup, pair: Outlined, about: str, best: Fit) -> Finding:
    if best.name.startswith("read as"):
        return _finding(setup, pair, about, best.gain, "data.box_format", FORMAT, list(range(4)))
    return _finding(setup, pair, about, best.gain, "data.mask_misaligned", CURE, list(range(4)))


def _part_moved(pair: Outlined, as_is: Tensor) -> tuple[str, float, list[int]] | None:
    """Whether one turn fits a part of the samples far better, and the other turns do not do so as often."""
    hits = {name: values - as_is for name, values in turned(pair).items()}
    gains = torch.stack(list(hits.values()))
    is_best = (gains.argmax(0)[None] == torch.arange(len(gains))[:, None]) & (gains > CLEAR)
    counts = is_best.sum(1)
    order = counts.argsort(descending=True)
    most, second = int(counts[order[0]]), int(counts[order[1]])
    if most < max(6, PART * len(as_is)) or most < 3 * second:
        return None
    which = is_best[order[0]].nonzero().flatten().tolist()
    return list(hits)[int(order[0])], most / len(as_is), which


def _finding(
    setup: Setup, pair: Outlined, about: str, value: float, cause: str, cure: str, which: list[int]
) -> Finding:
    seen = setup.seen
    positions = [pair.positions[i] for i in which[:4]]
    names = tuple(seen.where(i) for i in positions)
    return Finding("fail", about, value, cause, cure, names, of_samples(seen, positions, setup.target_form))


def look_pairing(setup: Setup) -> Finding:
    """Asks whether targets fit their own pictures better than those of other samples."""
    maps = _maps(setup, setup.seen)
    if maps is None:
        return not_applicable("the targets are no masks, pictures, joints or boxes in pixels of the picture")
    edges, outlines, positions = maps
    match = edges.flatten(1) @ outlines.flatten(1).T
    here = match.diagonal()
    others = match[~torch.eye(len(match), dtype=torch.bool)]
    apart = float((here.mean() - others.mean()) / (others.std() / len(here) ** 0.5).clamp_min(1e-9))
    best, partner = match.max(1)
    is_sure = (best > others.mean() + 4 * others.std()) | (best > THE_SAME)
    is_other = (best - here > CLEAR) & (best > 2 * here) & is_sure
    strange = float(is_other.float().mean())
    about = (
        f"{len(here)} targets correlate by {here.mean():.2f} with their own pictures, by "
        f"{others.mean():.2f} with others"
    )
    if strange >= STRANGE and _is_exchange(partner[is_other]):
        number = torch.tensor([setup.seen.indices[i] if setup.seen.indices else i for i in positions])
        apart_by = (number[partner] - number)[is_other].mode().values
        off = (number[partner] - number)[is_other] == apart_by
        shown = f", most often the one {int(apart_by):+d} further" if off.float().mean() > 0.5 else ""
        return Finding(
            "fail", f"{about}; of {strange:.0%} another sample's target fits better{shown}.", strange,
            "data.target_mismatch", OTHERS, _exchanged(setup.seen, positions, partner, is_other),
            of_samples(setup.seen, [positions[i] for i in is_other.nonzero().flatten().tolist()], setup.target_form),
        )  # fmt: skip
    val = None if setup.seen_val is None else _maps(setup, setup.seen_val)
    if apart > 3 or val is None or len(here) < 30:
        return passed(f"{about}.", apart)
    match = val[0].flatten(1) @ val[1].flatten(1).T
    rest = match[~torch.eye(len(match), dtype=torch.bool)]
    in_val = float((match.diagonal().mean() - rest.mean()) / (rest.std() / len(match) ** 0.5).clamp_min(1e-9))
    is_moved = any(one.verdict == "fail" for one in _listed(look_alignment(setup)))
    if in_val < 8 or abs(apart) > 2.5 or is_moved:
        return passed(f"{about}.", apart)
    return Finding(
        "fail", f"{about}: no more than chance ({apart:.1f} standard errors), and in validation {in_val:.1f}.", apart,
        "data.target_mismatch", OTHERS, tuple(setup.seen.where(i) for i in positions[:4]),
        of_samples(setup.seen, positions, setup.target_form, most=4),
    )  # fmt: skip


def _listed(hits: list[Finding] | Finding) -> list[Finding]:
    return [hits] if isinstance(hits, Finding) else hits


def _maps(setup: Setup, seen: Seen) -> tuple[Tensor, Tensor, list[int]] | None:
    if setup.target_form == "picture":
        return _of_pictures(seen)
    pair = outlined(seen, setup.target_form)
    return None if pair is None else (pair.edges, pair.outlines, pair.positions)


def _of_pictures(seen: Seen) -> tuple[Tensor, Tensor, list[int]] | None:
    """Small copies of the two pictures of each sample."""
    if seen.numbers is None or seen.numbers.dim() < 3 or len(seen) < 8:
        return None
    targets = seen.numbers.float().flatten(1, -3) if seen.numbers.dim() > 3 else seen.numbers.float()[:, None]
    targets, inputs = torch.nn.functional.adaptive_avg_pool2d(targets, 16), seen.small
    inputs = torch.nn.functional.adaptive_avg_pool2d(inputs, 16).mean(1)
    small = targets.mean(1)
    return normed(inputs), normed(small), list(range(len(seen)))


def _is_exchange(partners: Tensor) -> bool:
    """Whether the better partners are many: a target that fits everything is no evidence."""
    return len(partners.unique()) >= 0.5 * len(partners)


def _exchanged(seen: Seen, positions: list[int], partner: Tensor, is_other: Tensor) -> tuple[str, ...]:
    chosen = is_other.nonzero().flatten().tolist()[:6]
    return tuple(
        f"the target of {seen.where(positions[int(partner[i])])} fits {seen.where(positions[i])}" for i in chosen
    )


CHECKS = (
    Check(
        name="targets lie on the pictures",
        subject="data",
        causes={
            "data.mask_misaligned": CURE,
            "data.mask_size": EXIF,
            "data.box_format": FORMAT,
            "augment.target_left": CURE,
        },
        symptom="Masks are blurred or shifted, and the score stops rising early.",
        measure="The correlation of the picture's edges with the outline of its mask, boxes or joints on a grid of 48, "
        "as they are and moved, mirrored, turned, scaled, and of boxes read in another convention.",
        threshold=(
            f"Another way that correlates more, by {BETTER:g} and three tenths of it, at {SURE:g} "
            f"standard errors; "
            f"or a part of {PART:.0%} of the samples that fits in one other way, each by {CLEAR:g}."
        ),
        origin="Five standard errors over some 30 ways leave a chance of 1e-5; healthy sets lie at the unmoved place "
        "within one cell of the grid.",
        look=look_alignment,
    ),
    Check(
        name="targets belong to their pictures",
        subject="data",
        causes={"data.target_mismatch": OTHERS},
        symptom="The loss falls to that of the mean answer and no further.",
        measure="The correlation of each picture's edges with every sample's outline; of pictures as targets, of small "
        "copies of both.",
        threshold=f"{STRANGE:.0%} of the samples fit another one's target far better; or all fit as by chance, and in "
        "validation at eight standard errors.",
        origin="Counting; in healthy sets no target fits half of the pictures better than its own.",
        look=look_pairing,
    ),
)
