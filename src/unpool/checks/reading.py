"""What the network reads: all of each picture, no other picture of the batch, and enough around each position."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from unpool.checks.answers import targets_of
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.checks.source import picked
from unpool.checks.structure import has_large_stride, images_of, unread_share, with_images
from unpool.tracing.recorder import tensors_of

TRAINING = 5  # place of the argument `training` of a batch norm
AXIS_0 = (
    "Look in forward for view, reshape, transpose, and softmax, a mean or normalize over axis 0: flatten with "
    "x.flatten(1), and exchange axes with permute, not with view."
)
STATISTICS = "Keep running statistics (track_running_stats=True) and do not call F.batch_norm with training=True."
UNREAD_FAIL = 0.1  # of the pixels; the border that a stride leaves over is less
FIELD_FAIL, FIELD_WARN = 0.25, 0.5  # of the typical width of a thing
PIXELS_FAIL, PIXELS_WARN = 3, 5  # that the last map of a network for whole pictures reads: an edge needs 3


def look_input_used(setup: Setup) -> Finding:
    """Tells whether every channel and pixel of every input reaches an answer."""
    paths = setup.paths
    if not paths.channels:
        return _used_by_exchange(setup, paths.failure)
    for number, used in enumerate(paths.channels):
        which = "the picture" if len(paths.channels) == 1 else f"input {number}"
        missing = [str(channel) for channel in (~used).nonzero().flatten().tolist()]
        if missing:
            what = which if not used.any() else f"channel {', '.join(missing)} of {len(used)} of {which}"
            return Finding(
                "fail", f"No output depends on {what}.", float(used.float().mean()), "network.input_unused",
                "Look in forward for an input that is overwritten, indexed or not passed on.", ("inputs "
                f"{number}", what),
            )  # fmt: skip
    unread = max(unread_share(pixels) for pixels in paths.pixels)
    holes = {name: share for name, share in paths.holes.items() if share > 0}
    about = f"Outputs depend on every channel and on {1 - unread:.0%} of the pixels"
    if unread < UNREAD_FAIL or holes or setup.target_form == "things":  # detectors read where they see something
        return passed(f"{about}.", unread)
    return Finding(
        "fail", f"{about}: {unread:.0%} are read by nothing.", unread, "network.input_unused",
        "Look in forward for a crop or an index, and for sizes that leave rows over.",
        (_where_unread(paths.pixels[0]),),
    )  # fmt: skip


def _where_unread(pixels: Tensor) -> str:
    rows, columns = (~pixels).all(1).nonzero().flatten().tolist(), (~pixels).all(0).nonzero().flatten().tolist()
    return f"whole rows that nothing reads: {len(rows)}; whole columns: {len(columns)}; {tuple(pixels.shape)} pixels"


def _used_by_exchange(setup: Setup, why: str) -> Finding:
    """Exchanges the pictures of a batch where a gradient back to them cannot be measured."""
    batch = setup.first_pass.batch
    images = images_of(batch)
    with setup.trying(training=False), torch.no_grad():
        noise = [torch.randn_like(one) * one.std() + one.mean() for one in images]
        torch.manual_seed(setup.seed)
        kept = [one.clone() for one in tensors_of(setup.outputs(batch))]
        torch.manual_seed(setup.seed)  # what the network draws itself is no answer to the picture
        other = list(tensors_of(setup.outputs(with_images(batch, noise))))
    if any(a.shape == b.shape and not torch.equal(a, b) for a, b in zip(kept, other, strict=False)):
        return passed("The outputs change where other pictures are read.")
    if all(bool((one == 0).all()) for one in kept):
        return not_applicable(f"all outputs are 0, and {why}")
    return Finding(
        "fail", "The outputs are the same for noise in the pictures' stead: the network does not read them.", 0.0,
        "network.input_unused", "Look in forward for an input that is overwritten or not passed on.",
    )  # fmt: skip


def look_holes(setup: Setup) -> Finding:
    """Measures how much of a map a stride larger than the kernel leaves unread."""
    strided = [name for name, module in setup.model.named_modules() if has_large_stride(module)]
    if not strided:
        return passed("No stride is larger than its kernel.", 0.0)
    paths = setup.paths
    if not paths.pixels:
        return not_applicable(paths.failure)
    unread = max(unread_share(pixels) for pixels in paths.pixels)
    name, share = max(paths.holes.items(), key=lambda item: item[1], default=("", 0.0))
    if share <= UNREAD_FAIL:
        return passed(
            f"{len(strided)} strides are larger than their kernels, and other paths read what these leave out.", share
        )
    module = dict(setup.model.named_modules())[name]
    about = (
        f"{name} ({type(module).__name__}, kernel {module.kernel_size}, stride {module.stride}) leaves {share:.0%} "
        "of its input unread"
    )
    return Finding(
        "fail" if unread > UNREAD_FAIL else "warn", f"{about}; {unread:.0%} of the picture's pixels reach no "
        "output.", share,
        "network.stride_holes", "Make the kernel at least as large as the stride, or reduce by pooling.",
        tuple(f"{one}: {value:.0%} unread" for one, value in paths.holes.items()),
    )  # fmt: skip


def look_batch_mixing(setup: Setup) -> list[Finding]:
    """Tells whether the answer to one picture depends on another picture of the batch, in evaluation mode."""
    paths = setup.paths
    structural = paths.mixed
    if structural:
        return [Finding(
            "fail", "The output of the first sample depends on the picture of the second.", 1.0, "network.batch_mixing",
            AXIS_0, _flattening(setup),
        )]  # fmt: skip
    measured = _mixed_by_exchange(setup)
    if measured is None and structural is None:
        return [not_applicable("the outputs have no axis of samples")]
    if not measured:
        return [passed("Exchanging one picture of a batch changes no other answer in evaluation mode.", 0.0)]
    without = [name for name, m in setup.model.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is None]
    by_norm = bool(without) or _takes_statistics(setup)
    return [Finding(
        "fail", "In evaluation mode the answer to one picture depends on the others of the batch.", measured,
        "norm.dropout_in_eval" if by_norm else "network.batch_mixing", STATISTICS if by_norm else AXIS_0,
        tuple(f"{name} keeps no running statistics" for name in without),
    )]  # fmt: skip


class _BatchNorms(TorchFunctionMode):
    """Notes whether a batch norm is called with the statistics of its batch."""

    takes_them = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (nn.functional.batch_norm, torch.batch_norm):
            self.takes_them |= bool(kwargs.get("training", args[TRAINING] if len(args) > TRAINING else False))
        return func(*args, **kwargs)


def _takes_statistics(setup: Setup) -> bool:
    noted = _BatchNorms()
    with setup.trying(training=False), torch.no_grad(), noted:
        setup.outputs(setup.first_pass.batch)
    return noted.takes_them


def _flattening(setup: Setup) -> tuple[str, ...]:
    shown = tuple(one.shape for one in images_of(setup.first_pass.batch))
    return (f"inputs {[tuple(one) for one in shown]}", f"class {type(setup.model).__name__}")


def _mixed_by_exchange(setup: Setup) -> float | None:
    """How much the other answers change, against their size, where the first picture is exchanged; 0 for not at all."""
    batch = picked(setup.first_pass.batch, slice(0, 4))
    images = images_of(batch)
    if not images or len(images[0]) < 2:
        return None
    changed = [torch.cat([one[:1].flip(-1) * 0.5 + one[1:2] * 0.5 + 0.1, one[1:]]) for one in images]
    with setup.trying(training=False), torch.no_grad():
        torch.manual_seed(setup.seed)
        before = [one.clone() for one in tensors_of(setup.outputs(batch))]
        torch.manual_seed(setup.seed)
        after = list(tensors_of(setup.outputs(with_images(batch, changed))))
    pairs = [
        (a, b)
        for a, b in zip(before, after, strict=False)
        if a.shape == b.shape and a.ndim and len(a) == len(images[0])
    ]
    pairs = [(a, b) for a, b in pairs if a.is_floating_point() and tuple(a.shape[:2]) != (len(a), len(a))]
    if not pairs:
        return None
    shares = [float((a[1:] - b[1:]).abs().max() / a.abs().max().clamp_min(1e-12)) for a, b in pairs]
    return max(shares) if max(shares) > 1e-4 else 0.0  # rounding of other shapes of a product


def look_receptive_field(setup: Setup) -> Finding:
    """Compares what one output position reads with the width of the things in the masks."""
    if setup.target_form in ("class", "flags", "vector", "numbers") and setup.paths.inner_field is not None:
        return _of_pixels(setup.paths.inner_field)
    if setup.target_form != "class map":
        return not_applicable("the targets are no masks")
    width = width_of_things(setup)
    reads = setup.paths.field
    if width is None or reads is None:
        return not_applicable(setup.paths.failure or "no thing stands out from the most frequent class")
    share = min(reads) / width
    about = f"An output position reads {reads[0]} x {reads[1]} pixels; things are typically {width:.0f} pixels wide"
    if share >= FIELD_WARN:
        return passed(f"{about}.", share)
    return Finding(
        "fail" if share < FIELD_FAIL else "warn", f"{about}: inside of them it cannot see their form.", share,
        "network.receptive_field", "Reduce by pooling or strides, dilate convolutions, or add layers: an encoder and a "
        "decoder read far around each position.", (f"field {reads}", f"width {width:.0f}"),
    )  # fmt: skip


def _of_pixels(reads: tuple[int, int]) -> Finding:
    """Of a network that answers about the whole picture: its last map must see more than single pixels."""
    about = f"A position of the last map reads {reads[0]} x {reads[1]} pixels"
    if min(reads) >= PIXELS_WARN:
        return passed(f"{about}.", min(reads))
    return Finding(
        "fail" if min(reads) < PIXELS_FAIL else "warn", f"{about}: it knows colours, and no edge or form.", min(reads),
        "network.receptive_field", "Use kernels of 3 and strides or pooling before the maps are "
        "averaged.", (f"field {reads}",),
    )  # fmt: skip


def width_of_things(setup: Setup) -> float | None:
    """The median length of unbroken runs of a class other than the most frequent one, over the pixels in them."""
    lengths = []
    for batch in setup.train.batches(4):
        masks = targets_of(batch)
        if masks is None or masks.ndim < 3:
            return None
        masks = masks.long().flatten(0, -3)[:16]
        common = int(masks.flatten().mode().values)
        lengths += [_runs(masks, common), _runs(masks.mT, common)]
    runs = torch.cat(lengths).sort().values
    if not len(runs):
        return None
    return float(runs[int((runs.cumsum(0) * 2 < runs.sum()).sum())])


def _runs(masks: Tensor, common: int) -> Tensor:
    """Lengths of the runs along the last axis, without those of one class and of 255, which stands for no class."""
    padded = torch.nn.functional.pad(masks, (1, 0), value=-1).flatten()
    starts = torch.cat([torch.ones(1, dtype=torch.bool), padded[1:] != padded[:-1]]).nonzero().flatten()
    lengths = torch.diff(starts, append=torch.tensor([len(padded)]))
    values = padded[starts]
    return lengths[(values >= 0) & (values != common) & (values != 255)]


CHECKS = (
    Check(
        name="all of the picture is read",
        subject="network",
        causes={"network.input_unused": "Look in forward for an input that is overwritten, indexed or not passed on."},
        symptom="The network learns little more than the frequencies of the classes.",
        measure="In a copy where nothing can hide a path, the gradient of all outputs with respect to every input "
        "value.",
        threshold=f"A channel without a gradient fails, and {UNREAD_FAIL:.0%} of the pixels without one.",
        origin="Exact, by the structure of the network; the border that a stride leaves over is less than a tenth.",
        look=look_input_used,
    ),
    Check(
        name="no stride leaves holes",
        subject="network",
        causes={"network.stride_holes": "Make the kernel at least as large as the stride."},
        symptom="Thin things are missed, and results change where a picture is shifted by a pixel.",
        measure="For each layer whose stride is larger than its kernel, the share of its input that reaches no output.",
        threshold=f"More than {UNREAD_FAIL:.0%} warns; where pixels of the picture itself are lost, it fails.",
        origin="Exact, by the structure of the network. ResNet's shortcuts jump, but the other branch reads what "
        "they leave.",
        look=look_holes,
    ),
    Check(
        name="samples are not mixed",
        subject="network",
        causes={
            "network.batch_mixing": "Flatten with x.flatten(1); exchange axes with permute.",
            "norm.dropout_in_eval": "Keep running statistics, and normalise by them in evaluation.",
        },
        symptom="The score depends on the batch size, and single pictures are answered wrongly.",
        measure="The gradient of one sample's output with respect to another's picture; in evaluation mode also one "
        "picture "
        "of a batch is exchanged and the other answers are compared.",
        threshold="Any dependence fails.",
        origin="Exact.",
        look=look_batch_mixing,
    ),
    Check(
        name="the receptive field holds the things",
        subject="network",
        causes={"network.receptive_field": "Reduce by pooling or strides, dilate, or add layers."},
        symptom="Borders are found, and the inside of large things is filled with wrong classes.",
        measure="Pixels that the middle of the output depends on, against the median run of a class in the masks; of "
        "networks for "
        "whole pictures those that the last map depends on.",
        threshold=f"Below {FIELD_FAIL:g} of a thing's width it fails, below {FIELD_WARN:g} it warns; without masks "
        "below "
        f"{PIXELS_FAIL} and {PIXELS_WARN} pixels.",
        origin="Healthy runs that tell things by colour read half of their width; a quarter is less than any form "
        "needs.",
        look=look_receptive_field,
    ),
)
