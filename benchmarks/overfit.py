"""Lets every kind of network learn four images by heart: one that cannot is wired wrongly.

A network passes where each of its outputs brings its loss, within 300 steps of Adam, below 1 % of where it began (or of
what the best constant answer, or the image itself where it is to be denoised, would cost, if that is less), and where
each parameter has had a finite gradient that is not zero. Networks are narrow, images small, weights new, in training
mode with dropout set to 0. A row stands for those of its module that differ in depth or width alone.

What is learned: classifiers tell the four images apart, and localizers give each of them any boxes; segmentation finds
squares by their colour, pixels at the borders of squares being ignored as in Pascal VOC; pose finds three coloured
spots, as heatmaps, fields or coordinates; denoising finds the squares behind the noise; captioners say a second word of
each image after the same first one, and readers of strings one character of each, everywhere.
"""

import argparse
import math
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from benchmarks.record import RESULTS, Row, write_result
from unpool import models
from unpool.models import MODELS, captions, denoising, localization, pose, reading, segmentation
from unpool.tracing.recorder import tensors_of
from unpool.types import IGNORE

SEED, IMAGES, STEPS, SHARE = 0, 4, 300, 0.01
CLASSES, JOINTS = 4, 3
NARROW = {"width": 8, "neck_width": 16, "head_width": 16}


@dataclass(frozen=True)
class Case:
    """One network: the side of its images, Adam's rate, its options beside a width of 8, its squares and their rim."""

    name: str
    size: int = 32
    lr: float = 2e-3
    options: Mapping[str, Any] = field(default_factory=dict)
    square: int = 8
    rim: int = 1


@dataclass(frozen=True)
class Learned:
    """What one network showed: the share of the loss left in its worst output, and parameters without gradient."""

    name: str
    params: int
    lr: float
    first: float
    left: float
    steps: int
    wall_s: float
    dead: tuple[str, ...]
    fault: str = ""

    @property
    def passes(self) -> bool:
        return not self.fault and not self.dead and self.left < SHARE


class Target(NamedTuple):
    """What one output is to become; `trivial` is the loss of an answer that needs no network."""

    loss: Callable[[Tensor], Tensor]
    trivial: float


CASES = (
    *(Case(name) for name in ("resnet18", "resnet18_a", "resnet18_c", "plain18", "resnet50", "resnet50_v1")),
    *(Case(name) for name in ("cifar_resnet20", "cifar_resnet20_b", "cifar_plain20", "preresnet110", "preresnet50")),
    *(Case(name) for name in ("extraction", "vgg11", "vgg11_lrn", "vgg16_c", "vgg11_bn")),
    *(Case(name, 64) for name in ("googlenet", "googlenet_bn", "googlenet_torchvision")),
    *(Case(name, 64) for name in ("googlenet_aux", "googlenet_torchvision_aux")),
    *(Case(name, 28) for name in ("mlp", "mnist_convnet", "lenet5_28")),
    Case("lenet5"),
    Case("stage_classifier"),
    # weights from N(0, 0.01^2) need the width that they were chosen for, or nothing comes through
    *(Case(name, 67, 1e-3, options={"width": 48}) for name in ("alexnet", "alexnet_grouped", "caffenet", "zf")),
    Case("alexnet_torchvision", 67),
    *(Case(name, 64, options={"backbone": "vgg11"}, square=32, rim=8) for name in ("fcn32s", "fcn16s", "fcn8s")),
    Case("fcn_alexnet", 64, square=32, rim=8),
    *(Case(name, 64, square=32, rim=8) for name in ("fcn", "deeplabv3", "pspnet")),
    *(Case(name, 64, 4e-3, square=32, rim=8) for name in ("fcn_resnet50_aux", "deeplabv3_resnet50_aux", "pspnet_aux")),
    *(Case(name) for name in ("fpn", "frrn_a", "frrn_b")),
    *(Case(name) for name in ("segnet", "segnet_basic", "unet_same", "unet", "unet_mirror")),
    Case("unet_same_bn", lr=4e-3),
    Case("unet_valid", 60, options={"depth": 2}),
    *(Case(name, 67) for name in ("deeppose", "deeppose_grouped")),
    Case("deeppose3", 67, options={"torso": (2, 1)}),
    Case("fcgn", 64),
    *(Case(name, 64, options={"stages": 3}) for name in ("cpm", "cpm_flic", "cpm_vgg")),
    *(Case(name, 64, 4e-3, options={"width": 64}) for name in ("hourglass1", "hourglass2")),
    Case("openpose", 64, 1e-3, options={"limbs": 2, "stages": 3, "width": 16}),
    Case("simple_baselines", 64, options={"widths": (16, 16, 16)}),
    Case("joint_regression", 64),
    *(Case(name, 64) for name in ("localizer", "localizer_per_class", "localizer_fc")),
    Case("alexnet_localizer", 67, 1e-3, options={"width": 48}),
    Case("linear_autoencoder", 28),
    Case("denoising_autoencoder", 28, options={"width": 100}),
    Case("conv_autoencoder", lr=1e-3, options={"width": 32}),
    *(Case(name, 16, 5e-3, options={"width": 32}) for name in ("dncnn_s", "dncnn_b")),
    Case("unet_regression", 16, 4e-3, options={"width": 16}),
    Case("deepface", 75, 1e-3, options={"size_hw": (75, 75), "hidden": 32}),
    Case("siamese"),
    Case("facenet_nn1"),
    Case("embedder", lr=2e-2),
    *(Case(name) for name in ("caption_rnn", "caption_lstm")),
    Case("caption_attention", 64, options={"at_stride": 32}),
    *(Case(name) for name in ("crnn", "position_reader")),
)


def learn(case: Case, *, steps: int = STEPS) -> Learned:
    """Everything about one network; a fault is told, not raised."""
    started = time.monotonic()
    torch.manual_seed(SEED)
    try:
        network = build(case)
        losses, dead = _train(network, case, steps=steps)
    except Exception as error:  # whatever a network does wrong is what is to be shown
        fault = f"{type(error).__name__}: {str(error)[:300]}"
        return Learned(case.name, 0, case.lr, math.nan, math.nan, 0, time.monotonic() - started, (), fault)
    return Learned(
        name=case.name,
        params=sum(p.numel() for p in network.parameters()),
        lr=case.lr,
        first=losses[0][0],
        left=losses[-1][1],
        steps=len(losses) - 1,
        wall_s=round(time.monotonic() - started, 1),
        dead=dead,
    )


def build(case: Case) -> nn.Module:
    """The narrow network in training mode, without dropout; on resnet18 where the case names no other backbone."""
    row = MODELS[case.name]
    backbone = case.options.get("backbone", "resnet18") if row.kind == "composed" else None
    known = models.known_options(case.name, backbone=backbone)
    options = {key: value for key, value in NARROW.items() if key in known} | {**case.options, "backbone": backbone}
    outputs = row.input[0] if case.name in denoising.MODELS else JOINTS if case.name in pose.MODELS else CLASSES
    network = models.build(case.name, num_classes=outputs, **options).train()
    for module in network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return network


def _train(network: nn.Module, case: Case, *, steps: int) -> tuple[list[tuple[float, float]], tuple[str, ...]]:
    """Sum of the losses and share left after each step, until every share is small; names without gradient."""
    image, aim = problem(case, MODELS[case.name].input[0])
    optimizer = torch.optim.Adam(network.parameters(), lr=case.lr)
    waiting = {name: p for name, p in network.named_parameters() if p.requires_grad}
    targets: list[Target] = []
    floor: list[float] = []
    history: list[tuple[float, float]] = []
    for _ in range(steps + 1):
        outputs = [_second_word(network, image)] if case.name in captions.MODELS else list(tensors_of(network(image)))
        targets = targets or [aim(output) for output in outputs]
        losses = [target.loss(output) for target, output in zip(targets, outputs, strict=True)]
        values = [float(loss.detach()) for loss in losses]
        floor = floor or [min(value, target.trivial) for value, target in zip(values, targets, strict=True)]
        history.append((sum(values), max(value / least for value, least in zip(values, floor, strict=True))))
        if history[-1][1] < SHARE or not math.isfinite(history[-1][0]):
            break
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        waiting = {name: p for name, p in waiting.items() if not _moved(p)}
        optimizer.step()
    return history, tuple(waiting)


def _second_word(network: Any, image: Tensor) -> Tensor:
    """The scores of the word after the first, by which every weight of a captioner has been used."""
    first, second = (torch.full((len(image),), number) for number in (0, 1))
    begun = network.begin(network(image).features)
    begun = begun._replace(state=network.step(first, begun).state)
    return network.scores(network.step(second, begun).hidden)


def _moved(parameter: Tensor) -> bool:
    gradient = parameter.grad
    return gradient is not None and bool(torch.isfinite(gradient).all()) and bool(gradient.any())


def problem(case: Case, channels: int) -> tuple[Tensor, Callable[[Tensor], Target]]:
    """The four images (4, C, size, size), and what makes the target of an output of the network."""
    random = torch.Generator().manual_seed(SEED)
    if case.name in pose.MODELS:
        return _spots(case.size, channels, random)
    labels = _squares(case.size, case.square, random)  # (4, size, size)
    colours = torch.stack([torch.randperm(CLASSES, generator=random) for _ in range(channels)], dim=1)
    clean = colours[labels].permute(0, 3, 1, 2) / (CLASSES - 1)  # (4, C, size, size) from 0 to 1
    noise = torch.randn(clean.shape, generator=random)
    if case.name in denoising.MODELS:
        noisy = clean + 0.3 * noise
        return noisy, lambda output: _towards(clean, trivial=float(mse_loss(noisy, clean)))
    image = 4 * clean - 2 + 0.1 * noise
    if case.name in segmentation.MODELS:
        return image, lambda output: _classified(_central(_rimmed(labels, case), output.shape[-1]))
    told_apart = _classified(torch.arange(IMAGES))
    if case.name in reading.MODELS:
        return image, lambda output: _classified(torch.arange(IMAGES)[:, None].expand(-1, output.shape[2]))
    if case.name not in localization.MODELS:
        return image, lambda output: told_apart
    aims = iter((lambda output: told_apart, lambda output: _towards(torch.rand(output.shape, generator=random) - 0.5)))
    return image, lambda output: next(aims)(output)  # scores, then boxes


def _squares(size: int, side: int, random: torch.Generator) -> Tensor:
    count = -(-size // side)
    squares = torch.randint(CLASSES, (IMAGES, count, count), generator=random)
    return squares.repeat_interleave(side, 1).repeat_interleave(side, 2)[:, :size, :size]


def _rimmed(labels: Tensor, case: Case) -> Tensor:
    """The labels with IGNORE along the inner borders of the squares."""
    place = torch.arange(case.size)
    near = (place % case.square < case.rim) | (place % case.square >= case.square - case.rim)
    near &= (place >= case.rim) & (place < case.size - case.rim)
    return labels.masked_fill(near[:, None] | near, IGNORE)


def _central(labels: Tensor, size: int) -> Tensor:
    start = (labels.shape[-1] - size) // 2
    return labels[:, start : start + size, start : start + size]


def _spots(size: int, channels: int, random: torch.Generator) -> tuple[Tensor, Callable[[Tensor], Target]]:
    """Three spots an image, each of its own colour; targets are heatmaps, or places from -0.5 to 0.5."""
    places = 0.15 + 0.7 * torch.rand(IMAGES, JOINTS, 2, generator=random)  # x, y
    colours = torch.randn(JOINTS, channels, generator=random)
    spots = _bumps(places, size, size, width=0.08)  # (4, JOINTS, size, size)
    image = 2 * torch.einsum("bkhw,kc->bchw", spots, colours)
    image = image + 0.1 * torch.randn(image.shape, generator=random)

    def aim(output: Tensor) -> Target:
        if output.dim() == 2:
            return _towards((places - 0.5).flatten(1))
        maps = _bumps(places, output.shape[-2], output.shape[-1], width=0.12)
        return _towards(maps[:, torch.arange(output.shape[1]) % JOINTS])

    return image, aim


def _bumps(places: Tensor, height: int, width_px: int, *, width: float) -> Tensor:
    """(B, K, 2) in shares of the image -> (B, K, height, width_px), 1 at the place."""
    rows, columns = ((torch.arange(n) + 0.5) / n for n in (height, width_px))
    across = (columns - places[..., :1]).square()[..., None, :]  # (B, K, 1, W)
    down = (rows - places[..., 1:]).square()[..., :, None]  # (B, K, H, 1)
    return torch.exp(-(across + down) / (2 * width**2))


def _classified(labels: Tensor) -> Target:
    shares = torch.bincount(labels[labels != IGNORE], minlength=CLASSES) / (labels != IGNORE).sum()
    constant = float(torch.special.entr(shares).sum())
    return Target(lambda logits: cross_entropy(logits, labels, ignore_index=IGNORE), constant)


def _towards(target: Tensor, *, trivial: float = math.inf) -> Target:
    constant = float((target - target.mean()).square().mean())
    return Target(lambda output: mse_loss(output, target), min(constant, trivial))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.overfit", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[case.name for case in CASES], metavar="NETWORK")
    parser.add_argument("--json", type=Path, default=RESULTS / "overfit.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the networks are small, and the same bits come out on any number of processors
    started = time.monotonic()
    shown: list[Learned] = []
    for case in (case for case in CASES if case.name in options.only):
        shown.append(learn(case))
        print(f"{'pass' if shown[-1].passes else 'FAIL'}  {_line(asdict(shown[-1]))}", flush=True)
    passed = sum(one.passes for one in shown)
    rows = [
        Row(what="networks that pass", figure=f"{passed} of {len(shown)}", reference=f"loss below 1 % in {STEPS} steps")
    ]
    command = shlex.join(["python", "-m", "benchmarks.overfit", *(sys.argv[1:] if arguments is None else arguments)])
    details = {"networks": [asdict(one) for one in shown]}
    write_result(options.json, rows, command=command, seed=SEED, wall_s=time.monotonic() - started, details=details)
    print(f"{passed} of {len(shown)} pass in {time.monotonic() - started:.0f} s")
    return int(passed < len(shown))


def _line(one: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in one.items()
    )


if __name__ == "__main__":
    sys.exit(main())
