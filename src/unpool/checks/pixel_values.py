"""Values of the pictures: range, mean and deviation, colour order, and whether both splits are alike."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.seen import Seen, as_image, shrunk
from unpool.checks.setup import Setup
from unpool.checks.showing import of_pairs
from unpool.checks.source import split
from unpool.tracing.foreign import foreign_code

RATIO = 0.03  # by which two steps between values may differ
APART_WARN, LEAST = 0.75, 24  # of the distributions of a figure (Kolmogorov and Smirnov's D); pictures of each split
FLAT = 0.05  # of their distance from 0: all values of a channel
APART_TIMES = 4.0  # in deviation, or deviations apart: more than light and dark rooms differ
ORDER_GAIN = 0.35  # what is left of the distance of the mean colours when blue and red are exchanged
FIT_FAIL = 0.5  # what is left of the misfit to the weights' statistics in a better preparation
LEAST_MISFIT = 0.35  # below which the statistics fit

RANGE = "Bring the pixels of both splits to one range: ToTensor() and v2.ToDtype(scale=True) give 0 to 1."
NORMALISE = "Prepare both splits by one function, with the mean and deviation that the weights were trained with."
ORDER = "Read both splits by one library: OpenCV gives blue first (image[..., ::-1] exchanges it), Pillow red."
SHIFT = "Look at pictures of both splits side by side; draw validation from where the network will be used."


class Scale(NamedTuple):
    """How the values of a channel lie.

    Attributes:
        step: between neighbouring values, of pictures of 8 bits; 0 where there is none.
        low, high: of all.
    """

    step: float
    low: float
    high: float


def scale_of(values: Tensor) -> Scale:
    """Tells the step between values of one channel, where they are those of bytes."""
    kept = values.double().unique()
    low, high = float(kept[0]), float(kept[-1])
    if len(kept) < 8 or len(kept) > 300 or high <= low:
        return Scale(0.0, low, high)
    gaps = kept.diff()
    step = float(gaps[gaps > 1e-4 * (high - low)].min())
    counts = (kept - low) / step
    is_even = float((counts - counts.round()).abs().max()) < 0.1
    return Scale(step if is_even and (high - low) / step < 300 else 0.0, low, high)


def _scales(seen: Seen) -> list[Scale]:
    images = seen.images[:48]
    return [scale_of(torch.cat([image[c].flatten()[:: max(1, image[c].numel() // 20_000)] for image in images]))
            for c in range(len(images[0]))]  # fmt: skip


def look_ranges(setup: Setup) -> Finding:
    """Compares range and steps of the pixels' values of the two splits."""
    train, val = setup.seen, setup.seen_val
    if not train.images:
        return not_applicable("the inputs are no pictures")
    first = _scales(train)
    if val is not None and val.images and len(val.images[0]) == len(first):
        hits = _ranges_apart(first, _scales(val))
        if hits is not None:
            return hits
    low, high = min(one.low for one in first), max(one.high for one in first)
    about = f"Pixels of training lie between {low:.3g} and {high:.3g}"
    shown = tuple(
        f"channel {c}: {one.low:.4g} to {one.high:.4g}, steps of {one.step:.4g}" for c, one in enumerate(first)
    )
    if all(one.high - one.low < FLAT * max(abs(one.low), abs(one.high)) for one in first):
        text = f"{about}, far from 0 and next to each other: mean and deviation are of another scale, such as bytes'."
        return Finding("fail", text, high - low, "data.normalization", NORMALISE, shown)
    first_layer = next((m for m in setup.model.modules() if not list(m.children())), None)
    if low >= 0 and 64 < high <= 255 and not isinstance(first_layer, _BatchNorm):
        text = f"{about}: weights start as if inputs were about 1, so that the first steps are far too large."
        return Finding("warn", text, high, "data.value_range", RANGE, shown)
    if low >= 0 and high <= 1.01 / 255 and high > 0:
        text = f"{about}: they were divided by 255 twice."
        return Finding("fail", text, high, "data.value_range", RANGE, shown)
    return passed(f"{about}.", high)


def _ranges_apart(first: Sequence[Scale], second: Sequence[Scale]) -> Finding | None:
    shown = tuple(
        f"channel {c}: train {a.low:.4g} to {a.high:.4g}, val {b.low:.4g} to {b.high:.4g}; steps of {a.step:.4g} and "
        f"{b.step:.4g}" for c, (a, b) in enumerate(zip(first, second, strict=True))
    )  # fmt: skip
    pairs = list(zip(first, second, strict=True))
    widths = [(b.high - b.low) / (a.high - a.low) for a, b in pairs if a.high > a.low and b.high > b.low]
    if widths and (min(widths) > 60 or max(widths) < 1 / 60):
        about = f"Pixels of validation have a range {widths[0]:.3g} times that of training."
        return Finding("fail", about, widths[0], "data.value_range", RANGE, shown)
    if all(a.step > 0 and b.step > 0 for a, b in pairs):
        ratios = [b.step / a.step for a, b in pairs]
        is_other = any(abs(ratio - 1) > RATIO for ratio in ratios)
        spans = [max(a.high, b.high) - min(a.low, b.low) > 258 * a.step for a, b in pairs]
        if is_other or any(spans):
            what = f"{ratios[0]:.3g} times those of" if is_other else "shifted against"
            about = (
                f"One step of a byte is {pairs[0][0].step:.4g} in training; the values of validation "
                f"are {what} training."
            )
            return Finding("fail", about, ratios[0], "data.normalization", NORMALISE, shown)
        return None
    low, high = min(b.low for _, b in pairs), max(b.high for _, b in pairs)
    is_plain = low >= 0 and 0.8 < high <= 1
    if is_plain and min(a.low for a, _ in pairs) < -0.5 and max(a.high for a, _ in pairs) > 1.2:
        about = "Pixels of training are normalised and those of validation lie between 0 and 1."
        return Finding("fail", about, high, "data.normalization", NORMALISE, shown)
    return None


def look_distributions(setup: Setup) -> Finding:
    """Compares colour, contrast and sharpness of both splits, also with red and blue exchanged."""
    train, val = setup.seen, setup.seen_val
    if val is None or min(len(train), len(val)) < LEAST or train.small.shape[1] != val.small.shape[1]:
        return not_applicable(f"give val=, and {LEAST} pictures or more in each split")
    order = _order_apart(*_from_0_to_1(train, val))
    if order is not None:
        return order._replace(pictures=of_pairs(train, val, [(i, i) for i in range(3)]))
    first, second = _figures(train), _figures(val)
    if not train.is_repeatable:
        with foreign_code():
            second = _figures(_augmented(setup, val))
    apart = {name: ks(first[name], second[name]) for name in first if name in second}
    name, most = max(apart.items(), key=lambda item: item[1])
    about = (
        f"The two splits differ most in {name}: D = {most:.2f}, of {len(first[name])} and {len(second[name])} pictures"
    )
    shown = tuple(
        f"{one}: {float(first[one].median()):.3g} in train, {float(second[one].median()):.3g} in val" for one in apart
    )
    limit = APART_WARN if train.is_repeatable or setup.augment is not None else 0.9
    if most < limit:
        return passed(f"{about}.", most)
    if (prepared := _prepared_apart(train, val, shown)) is not None:
        return prepared
    return Finding(
        "warn",
        f"{about}: hardly a value of one is one of the other.",
        most,
        "data.split_shift",
        SHIFT,
        shown,
        of_pairs(train, val, [(i, i) for i in range(3)]),
    )


def _prepared_apart(train: Seen, val: Seen, shown: tuple[str, ...]) -> Finding | None:
    """Whether all values of one split are those of the other, times a factor and moved, by more than light does."""
    first, second = (one.small.double() for one in (train, val))
    times, moved = float(second.std() / first.std().clamp_min(1e-9)), float(second.mean() - first.mean())
    if max(times, 1 / max(times, 1e-9)) < APART_TIMES and abs(moved) < APART_TIMES * float(first.std()):
        return None
    figures = [_figures(Seen(one.source, small=(small - small.mean()) / small.std()))
               for one, small in ((train, first), (val, second))]  # fmt: skip
    rest = max(ks(figures[0][name], figures[1][name]) for name in figures[0])
    if rest >= APART_WARN:
        return None
    about = (
        f"Values of validation deviate {times:.3g} times as much as those of training and lie {moved:+.3g} from them; "
        f"without that the splits look alike (D = {rest:.2f})"
    )
    return Finding("fail", f"{about}: they are not normalised alike.", times, "data.normalization", NORMALISE, shown)


def _order_apart(train: Tensor, val: Tensor) -> Finding | None:
    if train.shape[1] != 3:
        return None
    first, second = _colours(train), _colours(val)
    spread = (first.var(0) / len(first) + second.var(0) / len(second)).sqrt().clamp_min(1e-9)
    here = float(((first.mean(0) - second.mean(0)) / spread).norm())
    there = float(((first.mean(0) - second[:, SWAPPED].mean(0)) / spread).norm())
    about = (
        f"Mean colours of the two splits are {here:.1f} standard errors apart, with red and blue exchanged {there:.1f}"
    )
    if here < 10 or there > ORDER_GAIN * here:
        return None
    shown = tuple(f"channel {c}: {a:.3g} in train, {b:.3g} in val"
                  for c, (a, b) in enumerate(zip(train.mean((0, 2, 3)), val.mean((0, 2, 3)), strict=True)))  # fmt: skip
    return Finding("fail", f"{about}: one of them has blue first.", here, "data.channel_order", ORDER, shown)


def _from_0_to_1(train: Seen, val: Seen) -> tuple[Tensor, Tensor]:
    """Small copies of both splits, each channel from its least to its largest value: no mean, no deviation."""
    pixels = [image.flatten(1) for seen in (train, val) for image in seen.images]
    low = torch.stack([one.amin(1) for one in pixels]).amin(0)[:, None, None]
    high = torch.stack([one.amax(1) for one in pixels]).amax(0)[:, None, None]
    return tuple((one.small - low) / (high - low).clamp_min(1e-9) for one in (train, val))  # type: ignore[return-value]


SWAPPED = [2, 1, 0, 5, 4, 3]


def _colours(small: Tensor) -> Tensor:
    """(N, 6): mean and deviation of each channel."""
    return torch.cat([small.mean((2, 3)), small.std((2, 3))], 1).double()


def _figures(seen: Seen) -> dict[str, Tensor]:
    """Figures of each picture, by name."""
    grey = seen.grey
    contrast = grey.flatten(1).std(1)
    steep = grey.diff(dim=-1).abs().mean((1, 2)) / contrast.clamp_min(1e-6)
    figures = {"brightness": grey.mean((1, 2)), "contrast": contrast, "sharpness": steep}
    if seen.numbers is not None and seen.images and seen.numbers.shape[1:] == seen.images[0].shape:
        count = min(len(seen.images), len(seen.numbers))
        noise = torch.stack(seen.images[:count]) - seen.numbers[:count].float()
        figures["difference of input and target"] = noise.flatten(1).std(1)
    return figures


def _augmented(setup: Setup, val: Seen) -> Seen:
    """Validation as training would see it, where `augment` says so."""
    if setup.augment is None or val.targets is None:
        return val
    small = []
    for image, target in zip(val.images, val.targets, strict=False):
        changed = as_image(setup.augment(image.clone(), target.clone())[0])
        small.append(val.small[0] if changed is None else shrunk(changed))
    return Seen(val.source, small=torch.stack(small))


def ks(first: Tensor, second: Tensor) -> float:
    """The largest distance of two empirical distributions, from 0 to 1."""
    both = torch.cat([first, second]).sort().values
    shares = [torch.searchsorted(one.sort().values, both, right=True) / len(one) for one in (first, second)]
    return float((shares[0] - shares[1]).abs().max())


class Preparation(NamedTuple):
    """Mean and deviation by which pictures from 0 to 1 are prepared, of each of three channels."""

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


PREPARATIONS = (
    Preparation("0 to 1", (0, 0, 0), (1, 1, 1)),
    Preparation("ImageNet's mean and deviation", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    Preparation("-1 to 1", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    Preparation("0 to 255", (0, 0, 0), (1 / 255, 1 / 255, 1 / 255)),
)


def look_expected(setup: Setup) -> Finding:
    """Asks which preparation of the pictures fits the statistics that trained batch norms keep."""
    if apart := setup.facts.get("unlike_weights"):
        return _unlike(apart)
    layer = next((m for m in setup.model.modules() if isinstance(m, _BatchNorm) and is_trained(m)), None)
    if layer is None or not setup.seen.images or len(setup.seen.images[0]) != 3:
        return not_applicable("the network has no batch norm with statistics of an earlier training, or no colours")
    inputs = split(setup.moved(setup.train.batches(1)[0]))[0]
    if not isinstance(inputs, Tensor) or inputs.dim() != 4:
        return not_applicable("the inputs are no batch of pictures")
    inputs = inputs[:32].float()
    here = misfit(setup, layer, inputs)
    ways = list(_other_ways(inputs))
    fits = sorted((misfit(setup, layer, values), name, cause) for name, cause, values in ways)
    if not fits:
        return not_applicable("the values of the pictures tell no preparation")
    best, name, cause = fits[0]
    about = f"The first batch norm's statistics are missed by {here:.2f} (mean square of log variance and mean)"
    if here < LEAST_MISFIT or best > FIT_FAIL * here:
        return passed(f"{about}; other preparations fit no better.", here)
    cure = {"data.channel_order": ORDER, "data.value_range": RANGE}.get(cause, NORMALISE)
    return Finding(
        "fail", f"{about}, and by {best:.2f} where the pictures are {name}: that is what the weights expect.", here,
        cause, cure, tuple(f"{one}: {value:.2f}" for value, one, _ in fits[:4]),
    )  # fmt: skip


def _unlike(apart: Mapping[str, tuple[Any, Any]]) -> Finding:
    """What a recipe says of its pictures otherwise than its weights do."""
    order = ("color_order", "data.channel_order", ORDER), ("value_range", "data.value_range", RANGE)
    cause, cure = next(((c, cure) for key, c, cure in order if key in apart), ("data.normalization", NORMALISE))
    listed = tuple(
        f"data.{key} is {ours}, and the weights were trained with {theirs}" for key, (ours, theirs) in apart.items()
    )
    text = f"The recipe prepares its pictures otherwise than the weights expect: {', '.join(apart)}."
    return Finding("fail", text, float(len(apart)), cause, cure, listed)


def is_trained(layer: _BatchNorm) -> bool:
    """Whether a batch norm's statistics are not those that it starts from."""
    mean, var = layer.running_mean, layer.running_var
    if mean is None or var is None:
        return False
    return bool((mean != 0).float().mean() > 0.5) and bool((var != 1).float().mean() > 0.5)


def _other_ways(inputs: Tensor) -> Iterator[tuple[str, str, Tensor]]:
    """The pictures in every other preparation, as far as their values say which one they have."""
    known = []
    for scale in (1.0, 255.0):
        for one in PREPARATIONS[:3]:
            mean, std = (torch.tensor(v, device=inputs.device)[:, None, None] for v in (one.mean, one.std))
            pixels = (inputs * std + mean) / scale
            top, bottom = float(pixels.max()), float(pixels.min())
            if -0.01 <= bottom < 0.1 and 0.6 < top <= 1.01:
                known.append((scale, one, pixels))
    for scale, here, pixels in known[:2]:
        for other in PREPARATIONS[:3]:
            if other is here and scale == 1:
                continue
            mean, std = (torch.tensor(v, device=inputs.device)[:, None, None] for v in (other.mean, other.std))
            cause = "data.value_range" if scale != 1 else "data.normalization"
            yield f"prepared by {other.name}", cause, (pixels - mean) / std
        if scale == 1:
            yield "multiplied by 255", "data.value_range", pixels * 255
            mean, std = (torch.tensor(v, device=inputs.device)[:, None, None] for v in (here.mean, here.std))
            yield "with red and blue exchanged", "data.channel_order", (pixels.flip(1) - mean) / std


def misfit(setup: Setup, layer: _BatchNorm, inputs: Tensor) -> float:
    """How far mean and variance that a batch norm sees are from those that it keeps."""
    with input_of(layer) as kept, setup.trying(training=False), torch.no_grad(), foreign_code():
        setup.model(inputs)
    if not kept or layer.running_mean is None or layer.running_var is None:
        return 0.0
    values = kept[0].transpose(0, 1).flatten(1)
    mean, var = values.mean(1), values.var(1).clamp_min(1e-12)
    wanted = layer.running_var.clamp_min(1e-12)
    is_used = wanted > 1e-3 * wanted.median()
    errors = (var / wanted).log().square() / 4 + (mean - layer.running_mean).square() / (wanted + var)
    return float(errors[is_used].mean())


@contextmanager
def input_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    """A context in which what a layer gets is kept, call by call."""
    kept: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].detach().float()))
    try:
        yield kept
    finally:
        handle.remove()


CHECKS = (
    Check(
        name="pixels have one range",
        subject="data",
        causes={"data.value_range": RANGE, "data.normalization": NORMALISE},
        symptom="Training is well and validation is like guessing, or the loss jumps in the first steps.",
        measure="Least and largest value of each channel and the step between neighbouring ones (a byte's), by split.",
        threshold=f"Steps that differ by {RATIO:.0%}, or values further apart than 256 steps, fail; a range 60 times "
        f"the other's, and one that is below {FLAT:.0%} of its distance from 0; 0 to 255 without a batch norm in "
        "front warns.",
        origin="Exact: pictures of 8 bits that were prepared alike lie on one lattice of 256 values.",
        look=look_ranges,
        is_quick=True,
    ),
    Check(
        name="both splits look alike",
        subject="data",
        causes={"data.channel_order": ORDER, "data.normalization": NORMALISE, "data.split_shift": SHIFT},
        symptom="The training score is high and validation stays low from the beginning.",
        measure="Brightness, contrast and sharpness of pictures of both splits; mean colours, also with red and blue "
        "exchanged.",
        threshold=f"D of Kolmogorov and Smirnov from {APART_WARN:g} warns; colours 10 standard errors apart of which "
        f"the exchange leaves {ORDER_GAIN:g} fail; so do values that deviate {APART_TIMES:g} times as much, or lie as "
        "many deviations apart, and without that look alike.",
        origin="At D = 0.75 of 24 pictures each the chance is below 1e-5; splits drawn at random lie below 0.3, and "
        "CamVid's drives through other streets at 0.66.",
        look=look_distributions,
    ),
    Check(
        name="pictures are what the weights expect",
        subject="data",
        causes={"data.normalization": NORMALISE, "data.value_range": RANGE, "data.channel_order": ORDER},
        symptom="Trained weights are little better than new ones.",
        measure="Mean and variance at the first batch norm against those that it keeps from its training, for the "
        "pictures as they are and in the usual other preparations.",
        threshold=f"A misfit from {LEAST_MISFIT:g} of which another preparation leaves half fails.",
        origin="ImageNet's weights on other photographs in their own preparation lie below it.",
        look=look_expected,
    ),
)
