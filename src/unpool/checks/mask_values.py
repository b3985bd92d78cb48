"""Values of masks: ids and nothing between them, more than one class, the same classes in both splits."""

import torch
from torch import Tensor

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.label_values import num_outputs
from unpool.checks.seen import Seen
from unpool.checks.setup import Setup
from unpool.checks.showing import Shown, as_bytes

BETWEEN_FAIL, EXTREME = 0.003, 0.85  # of the pixels: between two ids; at the ends, from which it is a mask
RIM, LEAST = 0.6, 60  # of the borders between two classes that have a thin rim of a third; borders that are needed
VOID = 200  # values from here stand for no class
VOID_FAIL = 0.02  # of the pixels, where no class but one is left

SOFT = "Store masks as PNG, resize them by the nearest neighbour, and round those that were blended before."
PALETTE = "Read masks with a palette as they are (mode P holds the ids); convert('L') and convert('RGB') give colours."
KIND = "Read masks as whole numbers; ToTensor divides by 255: use PILToTensor or torch.from_numpy(np.array(mask))."
RANGE = "Number the classes from 0, and name the id of pixels without a class to the loss (ignore_index)."


def look_masks(setup: Setup) -> list[Finding] | Finding:
    """Looks at the ids in the masks of both splits."""
    train, val = _masks(setup.seen), None if setup.seen_val is None else _masks(setup.seen_val)
    if train is None or setup.target_form not in ("class map", "picture"):
        return not_applicable("the targets are no masks")
    if train.is_floating_point():
        return _soft(setup, train, val)
    if setup.target_form != "class map":
        return not_applicable("the targets are pictures")
    classes = num_outputs(setup) or len(setup.classes) or int(train.max()) + 1
    counts = {int(value): int(n) for value, n in zip(*train.unique(return_counts=True), strict=True)}
    shown = tuple(f"id {value}: {n / train.numel():.2%} of the pixels" for value, n in counts.items())
    inside = [value for value in counts if 0 <= value < classes]
    known = set() if val is None else set(val.unique().tolist())
    lost = sorted(value for value in known - set(counts) if 0 <= value < classes)
    if len(inside) == 1 and classes > 1 and (len(known) > 1 or val is None) and len(train) >= 16:
        return _one_class(counts, inside[0], train.numel(), shown)
    if classes > 2 and 0 not in counts and {*range(1, classes)} <= set(counts) and len(train) >= 16:
        about = f"The masks hold the ids {min(counts)} to {max(counts)}: no pixel is 0, the first of {classes} outputs."
        return Finding("fail", about, float(min(counts)), "data.label_range", RANGE, shown)
    if lost and len(train) >= 16:
        about = f"Ids {', '.join(map(str, lost))} stand in masks of validation and in none of {len(train)} of training."
        return Finding("fail", about, float(len(lost)), "data.class_one_split",
                       "Number the classes of both splits by one list.", shown)  # fmt: skip
    return _rims(setup, train, classes, shown)


def _masks(seen: Seen) -> Tensor | None:
    """(N, H, W) of the masks of one channel that were kept."""
    if not seen.targets:
        return None
    chosen = seen.targets[:64]
    maps = [one.reshape(one.shape[-2:]) for one in chosen if one.dim() >= 2 and one.shape[:-2].numel() == 1]
    if len(maps) < min(64, len(seen.targets)) or len({one.shape for one in maps}) != 1:
        return None
    return torch.stack(maps)


def _one_class(counts: dict[int, int], only: int, pixels: int, shown: tuple[str, ...]) -> Finding:
    void = sum(n for value, n in counts.items() if value != only) / pixels
    if void >= VOID_FAIL:
        about = (
            f"All pixels of the masks are class {only} or stand for no class ({void:.0%}): colours were read for ids."
        )
        return Finding("fail", about, void, "data.palette", PALETTE, shown)
    about = f"All pixels of the training masks are class {only}."
    return Finding("fail", about, 1.0, "data.label_kind", KIND, shown)


def _soft(setup: Setup, train: Tensor, val: Tensor | None) -> Finding:
    low, high = float(train.min()), float(train.max())
    near = 0.03 * (high - low)
    is_extreme = (train <= low + near) | (train >= high - near)
    is_end = (train == low) | (train == high)
    share, between = float(is_extreme.float().mean()), float((~is_end).float().mean())
    others_are_two = val is not None and len(val.unique()) <= 2
    about = f"{between:.1%} of the pixels of the masks lie between their two ids {low:g} and {high:g}"
    if not others_are_two and (share < EXTREME or setup.target_form == "picture"):
        return not_applicable("the targets are pictures or probabilities")
    if between < BETWEEN_FAIL or high == low:
        return passed(f"{about}.", between)
    values = len(train.unique())
    return Finding(
        "fail" if others_are_two or values > 8 else "warn",
        f"{about}: {values} values" + (", and validation has two." if others_are_two else "."), between,
        "data.soft_mask", SOFT, _where_between(setup, is_end), _masks_shown(setup, is_end, train),
    )  # fmt: skip


def _masks_shown(setup: Setup, is_end: Tensor, masks: Tensor) -> Shown:
    """The masks with the most values between, and these in red."""
    order = (~is_end).float().mean((1, 2)).argsort(descending=True).tolist()
    return tuple((f"mask of {setup.seen.where(i)}", as_bytes(masks[i], (~is_end[i]).float())) for i in order[:3])


def _where_between(setup: Setup, is_end: Tensor) -> tuple[str, ...]:
    shares = (~is_end).float().mean((1, 2))
    return tuple(f"{setup.seen.where(i)}: {shares[i]:.1%}" for i in shares.argsort(descending=True).tolist()[:5])


def _rims(setup: Setup, masks: Tensor, classes: int, shown: tuple[str, ...]) -> Finding:
    """Tells whether a class is a thin rim between one below and one above it, and has large areas elsewhere."""
    values = sorted(value for value in masks.unique().tolist() if 0 <= value < classes)
    worst, rim, borders = 0.0, -1, 0
    for middle in values[1:-1]:
        share, count = rim_share(masks, middle)
        if count >= LEAST and share > worst and _has_areas(masks, middle):
            worst, rim, borders = share, middle, count
    void = float(((masks < 0) | (masks >= classes)).float().mean())
    about = f"{len(masks)} masks hold {len(values)} of {classes} classes"
    about += f", and {void:.1%} of their pixels stand for no class" if void else ""
    if worst < RIM:
        return passed(f"{about}.", worst)
    is_repeatable = setup.seen.is_repeatable
    return Finding(
        "fail", f"{about}; {worst:.0%} of {borders} borders between a class below {rim} and one above it have a rim of "
        f"class {rim} one or two pixels wide, which is what blending of ids leaves.", worst,
        "data.soft_mask" if is_repeatable else "augment.mask_interpolated", SOFT, shown,
    )  # fmt: skip


def rim_share(masks: Tensor, middle: int) -> tuple[float, int]:
    """Of the places where a row goes from below to above a class, or back, the part with a thin run of it between."""
    thin = direct = 0
    for maps in (masks, masks.mT):
        first, second = maps[..., :-1], maps[..., 1:]
        direct += int(_crosses(first, second, middle).sum())
        for width in (1, 2):
            ends = maps[..., : -width - 1], maps[..., width + 1 :]
            is_middle = (maps.unfold(-1, width, 1)[..., 1 : maps.shape[-1] - width, :] == middle).all(-1)
            thin += int((_crosses(*ends, middle) & is_middle).sum())
    return thin / max(thin + direct, 1), thin + direct


def _crosses(first: Tensor, second: Tensor, middle: int) -> Tensor:
    """Where one is below a class and the other above it, values for no class left out."""
    is_known = (first >= 0) & (second >= 0) & (first < VOID) & (second < VOID)
    return is_known & ((first - middle).sign() * (second - middle).sign() < 0)


def _has_areas(masks: Tensor, middle: int) -> bool:
    """Whether squares of 5 pixels of the class are a tenth of it: a rim class that is meant has none."""
    is_middle = (masks == middle).float()[:, None]
    inner = (torch.nn.functional.avg_pool2d(is_middle, 5, 1) > 0.99).float().sum()
    return float(inner) > 0.1 * float(is_middle.sum())


CHECKS = (
    Check(
        name="masks hold ids",
        subject="data",
        causes={
            "data.soft_mask": SOFT,
            "data.palette": PALETTE,
            "data.label_kind": KIND,
            "data.label_range": RANGE,
            "data.class_one_split": "Number the classes of both splits by one list.",
            "augment.mask_interpolated": "Resize and turn masks by the nearest neighbour.",
        },
        symptom="Borders are learned as a class of their own, or one class is all that is ever answered.",
        measure="The values in the masks of 64 samples a split: between the two ids of a mask of numbers, as thin rims "
        "between two classes, and which classes are there at all.",
        threshold=f"{BETWEEN_FAIL:.1%} of the pixels between two ids fail; a thin rim at {RIM:.0%} of the borders of a "
        "class that also has areas; masks of one class.",
        origin="Masks that nobody blended have no value between; in healthy sets no rim is at a tenth of such borders.",
        look=look_masks,
    ),
)
