"""Counts networks of torchvision and timm, and sets each count beside torchinfo's parameters and torch's FLOP counter.

The FLOP counter charges two operations a multiply-add, and also products of two feature maps, which `summary` names
beside its total: the two together are compared with it. Detectors run with values, since their regions depend on them.
"""

import argparse
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchinfo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as torchvision_models

from benchmarks.record import RESULTS, Row, write_result
from unpool import build, summary
from unpool.inspection.shapes import without_drawing
from unpool.models import row_of
from unpool.tracing.foreign import foreign_code
from unpool.tracing.recorder import evaluating

CLOSE = 0.01  # share by which multiply-adds may differ
TIMM = (
    *("resnet50", "resnext50_32x4d", "seresnet50", "ecaresnet26t", "regnety_032", "dpn68", "hrnet_w18", "repvgg_a0"),
    *("densenet121", "inception_v4", "efficientnet_b0", "efficientnet_lite0", "mobilenetv3_large_100", "ghostnet_100"),
    *("rexnet_100", "convnext_tiny", "convnextv2_tiny", "poolformer_s12", "mixer_s32_224", "resmlp_12_224"),
    *("gmlp_s16_224", "deit_tiny_patch16_224", "vit_small_patch32_224", "swin_tiny_patch4_window7_224", "pvt_v2_b0"),
    *("cait_xxs24_224", "levit_128", "edgenext_small", "mobilevit_s", "maxvit_tiny_rw_224"),
)


class Case(NamedTuple):
    """A network: how it is built, and the shape of its image."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    on_meta: bool = True


class Measured(NamedTuple):
    """The counts of one network; `problem` says what differs, empty where nothing does.

    Attributes:
        macs: that `summary` sums up.
        left_out: multiply-adds that it names beside.
        unknown: operations that it names and has no rule for.
        flops: half of what torch's counter has.
        has_memory: whether the memory of training was counted too; of networks without values alone.
    """

    name: str
    params: int
    torchinfo: int
    macs: int
    left_out: int
    unknown: tuple[str, ...]
    flops: int
    has_memory: bool
    problem: str


def cases() -> Iterator[Case]:
    """All of torchvision's classifiers, segmenters and detectors, and thirty of timm's networks."""
    for name in torchvision_models.list_models(torchvision_models):
        is_inception = name == "inception_v3"
        options = {"init_weights": False} if is_inception or name == "googlenet" else {}
        yield _torchvisions(name, (3, 299, 299) if is_inception else (3, 224, 224), **options)
    for name in torchvision_models.list_models(torchvision_models.segmentation):
        yield _torchvisions(name, (3, 520, 520), weights_backbone=None)
    for name in torchvision_models.list_models(torchvision_models.detection):
        yield _torchvisions(name, (3, 320, 320), weights_backbone=None)._replace(on_meta=False)
    for name in TIMM:
        yield Case(f"timm/{name}", lambda name=name: build(f"timm/{name}"), row_of(f"timm/{name}").input)


def _torchvisions(name: str, shape: tuple[int, int, int], **options: Any) -> Case:
    return Case(f"torchvision/{name}", lambda: torchvision_models.get_model(name, weights=None, **options), shape)


def measure(case: Case) -> Measured:
    """Counts a network in three ways."""
    torch.manual_seed(0)
    model, is_meta = _built(case)
    # memory by shapes alone: a detector would compute two images several times
    table = summary(model, case.shape, optimizer="sgd" if is_meta else None, batch=2)
    left_out = sum(one.macs or 0 for one in table.uncounted)
    unknown = tuple(one.operation for one in table.uncounted if one.macs is None)
    image = torch.zeros(1, *case.shape, device="meta" if is_meta else "cpu")
    model.requires_grad_(requires_grad=False)  # the counter hooks gradients of parameters that modules pass on
    with FlopCounterMode(display=False) as counter, evaluating(model), torch.no_grad():
        model(image)
    flops = counter.get_total_flops() // 2
    params = torchinfo.summary(model, verbose=0).total_params
    problems = [f"parameters {table.params:,} for {params:,}"] if table.params != params else []
    if abs(table.macs + left_out - flops) > CLOSE * flops:
        problems.append(f"multiply-adds {table.macs + left_out:,} for {flops:,}")
    if unknown:
        problems.append(f"no rule for {', '.join(unknown)}")
    has_memory = table.memory is not None and table.memory.kept is not None
    return Measured(
        case.name, table.params, params, table.macs, left_out, unknown, flops, has_memory, "; ".join(problems)
    )


def _built(case: Case) -> tuple[nn.Module, bool]:
    """The network without values, where its code allows that."""
    if case.on_meta:
        with foreign_code() as failure, without_drawing():
            model = case.make()
        if not failure and all(value.is_meta for value in (*model.parameters(), *model.buffers())):
            return model, True
    return case.make(), False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.summaries", description=__doc__)
    parser.add_argument("--only", default="", metavar="PART", help="of names, such as timm/ or torchvision/vit")
    parser.add_argument("--json", type=Path, default=RESULTS / "summaries.json")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=UserWarning)
    started, measured = time.monotonic(), []
    for case in cases():
        if options.only in case.name:
            measured.append(measure(case))
            print(f"{case.name:45} {measured[-1].problem or 'agrees'}", flush=True)
    command = shlex.join(["python", "-m", "benchmarks.summaries", *(sys.argv[1:] if arguments is None else arguments)])
    details = {"networks": [one._asdict() for one in measured]}
    wall_s = time.monotonic() - started
    write_result(options.json, rows_of(measured), command=command, seed=0, wall_s=wall_s, details=details)
    return int(any(one.problem for one in measured))


def rows_of(measured: Sequence[Measured]) -> list[Row]:
    """One line a claim."""
    count = len(measured)
    same = sum(one.params == one.torchinfo for one in measured)
    close = sum(abs(one.macs + one.left_out - one.flops) <= CLOSE * one.flops for one in measured)
    alone = sum(abs(one.macs - one.flops) <= CLOSE * one.flops for one in measured)
    silent = sum(bool(one.unknown) for one in measured)
    families = ", ".join(
        f"{sum(one.name.startswith(f) for one in measured)} {f[:-1]}" for f in ("torchvision/", "timm/")
    )
    return [
        Row(what=f"networks with a summary ({families})", figure=str(count)),
        Row(what="networks with torchinfo's number of parameters", figure=f"{same} of {count}"),
        Row(
            what="networks within 1 % of torch's FLOP counter, products of two maps included",
            figure=f"{close} of {count}",
        ),
        Row(what="the same without products of two maps, as published counts are", figure=f"{alone} of {count}"),
        Row(what="networks with operations that have no rule, which are named", figure=str(silent)),
    ]


if __name__ == "__main__":
    sys.exit(main())
