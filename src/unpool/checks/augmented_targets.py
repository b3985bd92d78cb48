"""Targets move with their pictures: masks and joints are drawn into the picture and looked for after augmentation."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unpool.checks.augmenter import Augmenter, augmenter_of, target_tensor
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.outlines import TURNS, normed
from unpool.checks.setup import Setup
from unpool.checks.showing import MOST, Shown, drawn_target

DRAWS = 32
LEFT, FITS = 0.2, 0.85  # of correlation that is gained by moving the mask; that a moved mask must reach
SHARE = 0.1  # of the draws
NEAR, PAIRED = 0.02, 0.8  # of the picture's size; of the samples in which two joints are each other's mirror

MOVE = (
    "Draw the random numbers once and apply one transform to both, as torchvision's v2 does of (image, "
    "tv_tensors.Mask)."
)
NEAREST = "Transform masks by the nearest neighbour (InterpolationMode.NEAREST)."
SWAP = "After a mirror exchange the columns of left and right joints (points[:, pairs])."


def look_masks_move(setup: Setup) -> list[Finding] | Finding:
    """Draws a mask as the picture, augments both, and compares them."""
    augmenter = augmenter_of(setup)
    if setup.target_form != "class map":
        return not_applicable("the targets are no masks")
    if setup.augment is None or augmenter is None:
        return not_applicable("give augment=, the function that changes (image, target) of a training sample")
    moved: list[str] = []
    pictures: list[tuple[str, Tensor]] = []
    between = pixels = 0
    for draw in range(DRAWS):
        i = draw % augmenter.count
        picture, target = augmenter.raw(i)
        mask = target_tensor(setup, target)
        if mask is None or mask.shape[-2:] != picture.shape[-2:] or not isinstance(target, Tensor):
            return not_applicable("the target of augment is no mask of the picture's size")
        painted, low, high = _painted(mask)
        image = painted.reshape(-1, *mask.shape[-2:])[:1].float().expand(picture.shape[0], -1, -1)
        after, changed = augmenter.changed(i, image / max(high, 1), painted, draw)
        changed = target_tensor(setup, changed)
        if changed is None:
            return not_applicable("augment returns no mask")
        inside = (changed > low) & (changed < high)
        between, pixels = between + int(inside.sum()), pixels + changed.numel()
        hits = _left_behind(after, changed.reshape(-1, *changed.shape[-2:])[0], high)
        moved += [] if hits is None else [hits]
        pictures += [] if hits is None else _drawn_twice((image, painted), (after, changed), hits)
    findings = []
    if between > 1e-4 * pixels:
        findings.append(Finding(
            "fail", f"Masks of two values have {between / pixels:.2%} of pixels between these after augmentation: they "
            "are interpolated as pictures are.", between / pixels, "augment.mask_interpolated", NEAREST,
        ))  # fmt: skip
    share = len(moved) / DRAWS
    about = f"In {len(moved)} of {DRAWS} augmented samples the mask does not lie where its picture does"
    if share >= SHARE:
        ways = tuple(sorted(set(moved))[:5])
        findings.append(Finding("fail", f"{about}.", share, "augment.target_left", MOVE, ways, tuple(pictures[:MOST])))
    return findings or passed(f"{about}, and masks keep their values.", share)


def _drawn_twice(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], how: str) -> Shown:
    """A picture with its mask's border in red, before and after the augmentation."""
    pairs = (("before", before), (f"after: {how}", after))
    return tuple((name, drawn_target(*pair, "class map")) for name, pair in pairs)


def _painted(mask: Tensor) -> tuple[Tensor, float, float]:
    """A mask of the same kind with one form that no turn or mirror brings upon itself, in two of its values."""
    high = 1.0 if mask.is_floating_point() or mask.max() < 2 else 2.0
    high = (
        max(high, float(mask[mask < 200].max())) if not mask.is_floating_point() and bool((mask < 200).any()) else high
    )
    height, width = mask.shape[-2:]
    rows = torch.arange(height)[:, None] / height
    columns = torch.arange(width)[None] / width
    form = ((rows > 0.25) & (rows < 0.8) & (columns > 0.3) & (columns < 0.45)) | (
        (rows > 0.65) & (rows < 0.8) & (columns > 0.3) & (columns < 0.7)
    )
    form |= (rows > 0.25) & (rows < 0.35) & (columns > 0.3) & (columns < 0.55)
    return (form.expand(mask.shape) * high).to(mask.dtype), 0.0, high


def _left_behind(image: Tensor, mask: Tensor, high: float) -> str | None:
    """In what way a mask fits its picture far better; None where it lies upon it."""
    if image.shape[-2:] != mask.shape[-2:]:
        return "picture and mask have other sizes"
    first = F.adaptive_avg_pool2d(image.mean(0)[None, None], 32)[0]
    second = F.adaptive_avg_pool2d((mask.float() == high).float()[None, None], 32)[0]
    if float(second.std()) < 0.05 or float(first.std()) < 1e-6:
        return None
    edges, form = normed(first), normed(second)
    here = abs(float((edges * form).sum()))
    ways = {name: abs(float((edges * turn(form)).sum())) for name, turn in TURNS.items()}
    size = (64, 64)
    moved = torch.fft.irfft2(torch.fft.rfft2(edges, s=size) * torch.fft.rfft2(form, s=size).conj(), s=size).abs()
    ways["moved"] = float(moved.max())
    for degrees in (-45, -30, -20, -12, 12, 20, 30, 45):
        angle = torch.tensor(degrees * torch.pi / 180)
        turn = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])[None]
        spots = F.affine_grid(turn, [1, 1, 32, 32], align_corners=False)
        ways[f"turned by {degrees} degrees"] = abs(
            float((edges * normed(F.grid_sample(form[:, None], spots, align_corners=False)[:, 0])).sum())
        )
    name, best = max(ways.items(), key=lambda item: item[1])
    return f"the mask fits where it is {name}" if best >= FITS and best - here >= LEFT else None


def look_points_move(setup: Setup) -> list[Finding] | Finding:  # noqa: C901, one draw after another
    """Compares joints before and after augmentation with each other, and with dots drawn into the picture."""
    augmenter = augmenter_of(setup)
    if setup.target_form != "points":
        return not_applicable("the targets are no joints")
    if augmenter is None:
        return not_applicable("give augment=, the function that changes (image, target) of a training sample")
    left = mirrored = exchanged = tried = 0
    pictures: Shown = ()
    pairs = mirror_pairs(setup.seen.numbers)
    for draw in range(DRAWS):
        i = draw % augmenter.count
        picture, target = augmenter.raw(i)
        before = target_tensor(setup, target)
        if before is None or before.dim() != 2 or before.shape[1] < 2:
            return not_applicable("the target of augment is no list of joints")
        image, after = augmenter.changed(i, picture, target, draw)
        points = target_tensor(setup, after)
        if points is None or points.shape != before.shape:
            return not_applicable("augment returns other joints than it was given")
        visible = _visible(before) & _visible(points)
        if int(visible.sum()) >= 4:
            tried += 1
            is_mirror, in_order = _mirror(before[visible, :2].float(), points[visible, :2].float())
            mirrored, exchanged = mirrored + (is_mirror and in_order), exchanged + (not in_order)
            if is_mirror and in_order and not pictures:
                pictures = _first_joints(picture, before, image, points, pairs)
        if setup.augment is not None:
            left += _dot_is_left(augmenter, i, picture, before, draw)
    findings = []
    about = f"Of {tried} augmented samples {mirrored} were mirrored with their joints in the old order"
    if mirrored >= 3 and not exchanged and pairs:
        shown = tuple(f"joints {a} and {b} lie on opposite sides at one height" for a, b in pairs)
        text = f"{about}: what was the left one is now called the right one's name."
        findings.append(Finding("fail", text, mirrored / tried, "augment.pairs_not_swapped", SWAP, shown, pictures))
    if left > SHARE * DRAWS:
        text = f"In {left} of {DRAWS} samples a dot drawn at a joint lies elsewhere than the joint after augmentation."
        findings.append(Finding("fail", text, left / DRAWS, "augment.target_left", MOVE))
    return findings or passed(f"{about}; {exchanged} had joints exchanged; {left} dots were left behind.", left / DRAWS)


def _first_joints(before: Tensor, points: Tensor, after: Tensor, moved: Tensor, pairs: list[tuple[int, int]]) -> Shown:
    """The first joint of each pair in red, before and after."""
    chosen = [a for a, _ in pairs]
    if not chosen:
        return ()
    return (
        ("before, first joints of pairs", drawn_target(before, points[chosen], "points")),
        ("after, the same ones by number", drawn_target(after, moved[chosen], "points")),
    )


def _visible(points: Tensor) -> Tensor:
    return points[:, 2] > 0 if points.shape[1] > 2 else torch.ones(len(points), dtype=torch.bool)


def _mirror(before: Tensor, after: Tensor) -> tuple[bool, bool]:
    """Whether one affine map brings the joints to the new ones, and whether that is a mirror; (mirror, in order)."""
    ones = torch.ones(len(before), 1)
    size = (after - after.mean(0)).norm().clamp_min(1e-6)
    solved = torch.linalg.lstsq(torch.cat([before, ones], 1).double(), after.double()).solution
    error = (torch.cat([before, ones], 1).double() @ solved - after).norm() / size
    determinant = float(torch.linalg.det(solved[:2]))
    return determinant < 0, float(error) < NEAR


def _dot_is_left(augmenter: Augmenter, i: int, picture: Tensor, points: Tensor, draw: int) -> bool:
    """Whether a dot at the first visible joint is found elsewhere than every joint after the augmentation."""
    visible = _visible(points).nonzero().flatten()
    if not len(visible) or float(points[:, :2].max()) <= 1.5:
        return False
    height, width = picture.shape[-2:]
    x, y = points[int(visible[0]), :2].tolist()
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    radius = max(2.0, 0.04 * max(height, width))
    dot = ((rows - y) ** 2 + (columns - x) ** 2 <= radius**2).to(picture.dtype)
    after, hits = augmenter.changed(i, dot.expand(picture.shape).contiguous(), points.clone(), draw)
    if not isinstance(hits, Tensor):
        return False
    grey = after.mean(0)
    bright = grey - grey.median()
    if float(bright.max()) < 0.3:
        return False
    weights = (bright > 0.5 * bright.max()).float()
    if float(weights.mean()) > 0.1:
        return False
    middle = torch.stack([(weights * torch.arange(grey.shape[1])[None]).sum(),
                          (weights * torch.arange(grey.shape[0])[:, None]).sum()]) / weights.sum()  # fmt: skip
    distance = (hits[:, :2].float() - middle).norm(dim=1)[_visible(hits)]
    return bool(len(distance)) and float(distance.min()) > 2 * radius


def mirror_pairs(points: Tensor | None) -> list[tuple[int, int]]:
    """Pairs of joints that lie on opposite sides of the others' middle at one height, in most samples."""
    if points is None or points.dim() != 3 or points.shape[1] < 4:
        return []
    points = points.float()
    seen = points[..., 2] > 0 if points.shape[-1] > 2 else torch.ones(points.shape[:2], dtype=torch.bool)
    shown = points[seen.all(1)][:, :, :2]
    if len(shown) < 16:
        return []
    size = (shown.amax(1) - shown.amin(1)).amax(1)
    hits = []
    for a in range(shown.shape[1]):
        for b in range(a + 1, shown.shape[1]):
            others = [k for k in range(shown.shape[1]) if k not in (a, b)]
            middle = shown[:, others, 0].mean(1)
            is_opposite = (shown[:, a, 0] - middle) * (shown[:, b, 0] - middle) < 0
            is_level = (shown[:, a, 1] - shown[:, b, 1]).abs() < 0.3 * size
            if float((is_opposite & is_level).float().mean()) >= PAIRED:
                hits.append((a, b))
    return hits


CHECKS = (
    Check(
        name="masks move with pictures",
        subject="augment",
        causes={"augment.target_left": MOVE, "augment.mask_interpolated": NEAREST},
        symptom="Borders are never learned, and the training score stays below the one without augmentation.",
        measure=(
            f"A form without symmetry as picture and as mask, augmented {DRAWS} times: whether it lies "
            f"upon itself, "
            "and whether the mask has new values."
        ),
        threshold=(
            f"{SHARE:.0%} of the draws in which the mask, mirrored, turned or moved, correlates by "
            f"{FITS:g} and at "
            f"least {LEFT:g} more; any new value between the two."
        ),
        origin="Exact but for pixels of the border; colour, noise and erasing leave the place as it is.",
        look=look_masks_move,
    ),
    Check(
        name="joints move with pictures",
        subject="augment",
        causes={"augment.target_left": MOVE, "augment.pairs_not_swapped": SWAP},
        symptom="Left and right are confused, or all joints are drawn to the middle line.",
        measure=(
            f"The affine map from joints before to after, {DRAWS} times: a mirror that keeps the order "
            f"of joints; a "
            "dot drawn at a joint."
        ),
        threshold="Three mirrors without one exchange fail, where two joints are each other's mirror in "
        f"{PAIRED:.0%} of the samples.",
        origin="Exact; sets whose joints have no such pairs, such as hands, are left out.",
        look=look_points_move,
    ),
)
