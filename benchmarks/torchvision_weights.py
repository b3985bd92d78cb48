"""Puts the weights of each of torchvision's networks into ours of the same name and compares their answers.

Weights are torchvision's new ones, drawn from a seed, with the norms' statistics randomised so that they count. The
error is the largest difference of any output as a share of the largest output, in float32 on one image; a network
passes up to 1e-5.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.record import RESULTS, Row, write_result
from unpool import models
from unpool.models import pretrained
from unpool.models.weights import assign_weights, from_torchvision
from unpool.types import Auxiliary

SEED, TOLERANCE = 0, 1e-5
SIZE = (97, 131)  # (H, W), the smallest round one that AlexNet takes

VGGS = [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]
RESNETS = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
DENSE = [f"{head}_resnet{depth}" for head in ("fcn", "deeplabv3") for depth in (50, 101)]
OURS = {  # by torchvision's name
    **{name: name for name in (*VGGS, *RESNETS)},
    "alexnet": "alexnet_torchvision",
    "googlenet": "googlenet_torchvision_aux",
    **{name: f"{name}_aux" for name in DENSE},
}


@dataclass(frozen=True)
class Comparison:
    """Of one network: the error of its answer and of each auxiliary head, in the order of the outputs."""

    name: str
    errors: tuple[float, ...]

    @property
    def passes(self) -> bool:
        return max(self.errors) <= TOLERANCE


def compare(name: str) -> Comparison:
    """Torchvision's network `name` and ours, with the same weights on the same image."""
    torch.manual_seed(SEED)
    theirs = randomised(_theirs(name))
    options = pretrained.OPTIONS["voc"] if name in DENSE else {}
    ours = models.build(OURS[name], **options).eval()
    assign_weights(ours, from_torchvision(theirs.state_dict()), source=name)
    image = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        pairs = zip(outputs(ours(image)), outputs(_answer(theirs, image)), strict=True)
        return Comparison(name, tuple(float((mine - other).abs().max() / other.abs().max()) for mine, other in pairs))


def _theirs(name: str) -> nn.Module:
    if name in DENSE:
        build = getattr(torchvision.models.segmentation, name)
        return build(weights=None, weights_backbone=None, aux_loss=True)
    options = {"init_weights": True} if name == "googlenet" else {}
    return getattr(torchvision.models, name)(weights=None, **options)


def _answer(network: nn.Module, image: Tensor) -> object:
    if isinstance(network, torchvision.models.GoogLeNet):
        network.training = True  # it gives its heads' answers while training only; its parts stay in evaluation
    return network(image)


def randomised(network: nn.Module) -> nn.Module:
    """The network in evaluation, with statistics, factors and shifts of its norms that all differ."""
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_(std=0.2)  # type: ignore[union-attr]
                norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
                norm.weight.uniform_(0.5, 1.0)
                norm.bias.normal_(std=0.2)
    return network.eval()


def outputs(answer: object) -> list[Tensor]:
    """The answer, then those of auxiliary heads from the image on, in either house's form."""
    if isinstance(answer, Tensor):
        return [answer]
    if isinstance(answer, Auxiliary):
        return [answer.logits, *answer.auxiliary]
    if isinstance(answer, Mapping):
        return [answer["out"], answer["aux"]]
    logits, second, first = answer  # type: ignore[misc]
    return [logits, first, second]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.torchvision_weights", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="torchvision's names; all where none is given")
    parser.add_argument("--json", type=Path, default=RESULTS / "torchvision_weights.json")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in OURS]:
        parser.error(f"{', '.join(unknown)}: there are {', '.join(OURS)}")
    started = time.monotonic()
    comparisons = []
    for name in options.names or OURS:
        comparisons.append(compare(name))
        errors = "  ".join(f"{error:.1e}" for error in comparisons[-1].errors)
        print(f"{'pass' if comparisons[-1].passes else 'FAIL'}  {name:20}  {errors}", flush=True)
    passed = sum(one.passes for one in comparisons)
    what = "torchvision's networks whose weights give the same answers"
    rows = [Row(what=what, figure=f"{passed} of {len(comparisons)}", reference="relative error at most 1e-5")]
    write_result(
        options.json,
        rows,
        command=shlex.join(
            ["python", "-m", "benchmarks.torchvision_weights", *(sys.argv[1:] if arguments is None else arguments)]
        ),
        seed=SEED,
        wall_s=time.monotonic() - started,
        details={
            "torchvision": torchvision.__version__,
            "size_hw": SIZE,
            "networks": [asdict(one) for one in comparisons],
        },
    )
    print(f"{passed} of {len(comparisons)} pass")
    return int(passed < len(comparisons))


if __name__ == "__main__":
    sys.exit(main())
