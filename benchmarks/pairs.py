"""Puts every decoder on every backbone, ours and timm's, and shows that each pair takes odd sizes, learns and exports.

A pair passes where it maps an image of 97x131 pixels and 1, 3 or 6 channels to finite logits of the right size, halves
its loss on four images in 30 steps, and its exported program gives the module's answer at two sizes. Weights are new.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.record import RESULTS, Row, write_result
from unpool import models

SEED = 0
ODD, SECOND, SMALL = (97, 131), (128, 160), (64, 96)
CLASSES, STEPS, TOLERANCE = 5, 30, 1e-5

BACKBONES = (
    "resnet50",
    "vgg16_bn",
    "googlenet",
    "timm/convnext_tiny",
    "timm/efficientnet_b0",
    "timm/mobilenetv3_large_100",
)
DECODERS: dict[str, dict[str, Any]] = {
    "fcn": {},  # output stride 8; at 32 no network could draw blocks of 16 pixels
    "unet": {},
    "fpn": {},
    "deeplabv3": {"output_stride": 16},
    "pspnet": {"output_stride": 16},
    "simple_baselines": {},
}


@dataclass(frozen=True)
class Pair:
    """What one pair showed: its size, the share of the first loss left, the export's relative error at two sizes."""

    decoder: str
    backbone: str
    params: int
    loss_left: float
    export_errors: tuple[float, ...]
    fault: str

    @property
    def passes(self) -> bool:
        return not self.fault and self.loss_left <= 0.5 and max(self.export_errors) <= TOLERANCE


def examine(decoder: str, backbone: str) -> Pair:
    """Everything about one pair; a fault is told, not raised."""
    params, left, errors = 0, float("nan"), (float("nan"),)
    try:
        for channels in (1, 6):
            check_shape(_build(decoder, backbone, channels).eval(), decoder, channels)
        network = _build(decoder, backbone, 3)
        params = sum(p.numel() for p in network.parameters())
        check_shape(network.eval(), decoder, 3)
        left = loss_left(network)
        errors = export_errors(network.eval())
    except Exception as error:  # whatever a network does wrong is what is to be shown
        return Pair(decoder, backbone, params, left, errors, f"{type(error).__name__}: {str(error)[:300]}")
    return Pair(decoder, backbone, params, left, errors, "")


def _build(decoder: str, backbone: str, channels: int) -> nn.Module:
    torch.manual_seed(SEED)
    options = DECODERS[decoder]
    return models.build(decoder, backbone=backbone, num_classes=CLASSES, in_channels=channels, **options)


def check_shape(network: nn.Module, decoder: str, channels: int) -> None:
    """One image of an odd size.

    Raises:
        ValueError: the answer has another size or is not finite.
    """
    with torch.no_grad():
        logits = network(torch.rand(1, channels, *ODD))
    size = tuple(logits.shape[-2:])
    wanted = ODD if decoder != "simple_baselines" else tuple(-(-side // 4) for side in ODD)
    if logits.shape[:2] != (1, CLASSES) or size != wanted or not torch.isfinite(logits).all():
        raise ValueError(f"logits are {tuple(logits.shape)} for {channels} channels of {ODD}, wanted {wanted}")


def loss_left(network: nn.Module) -> float:
    """Loss after 30 steps as a share of the first, on four images whose pixels are labelled in blocks by colour."""
    generator = torch.Generator().manual_seed(SEED)
    blocks = torch.randint(CLASSES, (4, 4, 6), generator=generator)
    labels = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)
    colours = torch.rand(CLASSES, 3, generator=generator) * 4 - 2
    image = colours[labels].permute(0, 3, 1, 2) + 0.1 * torch.randn(4, 3, *SMALL, generator=generator)
    optimizer = torch.optim.Adam(network.train().parameters(), lr=1e-3)
    losses = []
    for _ in range(STEPS + 1):
        optimizer.zero_grad()
        loss = _loss(network(image), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[-1] / losses[0]


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    height, width = logits.shape[-2:]
    rows = torch.arange(height) * labels.shape[1] // height
    columns = torch.arange(width) * labels.shape[2] // width
    return nn.functional.cross_entropy(logits, labels[:, rows][:, :, columns])


def export_errors(network: nn.Module) -> tuple[float, ...]:
    """Largest difference of the exported program from the module as a share of the largest logit, at two sizes."""
    sizes = {0: torch.export.Dim.STATIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    first, second = torch.rand(1, 3, *ODD), torch.rand(1, 3, *SECOND)
    program = torch.export.export(network, (first,), dynamic_shapes=(sizes,)).module()
    errors = []
    with torch.no_grad():
        for image in (first, second):
            exact = network(image)
            errors.append(float((program(image) - exact).abs().max() / exact.abs().max()))
    return tuple(errors)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.pairs", description=__doc__)
    parser.add_argument("--decoders", nargs="+", default=list(DECODERS), choices=list(DECODERS), metavar="DECODER")
    parser.add_argument("--backbones", nargs="+", default=list(BACKBONES), metavar="BACKBONE")
    parser.add_argument("--json", type=Path, default=RESULTS / "pairs.json")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    pairs = []
    for decoder in options.decoders:
        for backbone in options.backbones:
            pairs.append(examine(decoder, backbone))
            print(f"{'pass' if pairs[-1].passes else 'FAIL'}  {_line(asdict(pairs[-1]))}", flush=True)
    passed = sum(pair.passes for pair in pairs)
    rows = [
        Row(what="pairs that pass", figure=f"{passed} of {len(pairs)}", reference="loss to 50 %, export off by 1e-5")
    ]
    command = shlex.join(["python", "-m", "benchmarks.pairs", *(sys.argv[1:] if arguments is None else arguments)])
    details = {"pairs": [asdict(pair) for pair in pairs]}
    write_result(options.json, rows, command=command, seed=SEED, wall_s=time.monotonic() - started, details=details)
    print(f"{passed} of {len(pairs)} pass")
    return int(passed < len(pairs))


def _line(pair: Mapping[str, Any]) -> str:
    return "  ".join(f"{key} {value}" for key, value in pair.items() if value != "")


if __name__ == "__main__":
    sys.exit(main())
