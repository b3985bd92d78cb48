"""Trains the face recipes with three seeds each and sets them side by side: closed set on ORL, verification on LFW.

ORL: images 1 to 5 of each of 40 people are learned from and enrolled, 6 and 7 are searched; one table row a network and
its loss. LFW: one small ResNet by each loss on the people of peopleTrain.txt, from scratch, and once from ImageNet's
features; the 600 pairs of pairsVal.txt are one fold, so that each figure is of one fold; the threshold is chosen on
pairs of training people who are held back. Each training is a process of its own, in a folder named after all its
settings: call the command again after a stop.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from benchmarks.localization import FEATURES
from benchmarks.record import RESULTS, ROOT, Row, write_result
from benchmarks.series import Ended, shown, trained

SEEDS = 3
FROM_IMAGENET = (  # of an installed package, whose images have colours; the trained layers at a tenth of the rate
    *FEATURES,
    *("data.size=[112,112]", "data.channels=3"),
    *("train.epochs=12", "train.warmup_epochs=1", "train.lr=1e-3", "train.backbone_lr=0.1", "train.evaluate_every=4"),
)
HEAD = ["data", "network", "loss", "seeds", "main figure", "95 %, over people", "area under ROC", "minutes each"]
PUBLISHED = "published: 3.8 % with five images a person (Lawrence et al. 1997); mark 8 %"
MARK = "mark 68 %, aim 76 %; 62 % is a simple baseline"


class Kind(NamedTuple):
    """What is measured on a set: the metric, the ends of its interval, and the figure in words."""

    data: str
    metric: str
    what: str
    is_error: bool
    reference: str


ORL = Kind("orl_faces", "rank1", "ORL, error of rank-1 identification", is_error=True, reference=PUBLISHED)
LFW = Kind("lfw_gray", "pair_accuracy", "LFW, accuracy on one fold of 600 pairs", is_error=False, reference=MARK)


class Trained(NamedTuple):
    """One line of the table: a recipe with overrides."""

    kind: Kind
    recipe: str
    network: str
    loss: str
    overrides: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.kind.what}, {self.network}, {self.loss}"


def trainings() -> list[Trained]:
    """Every line, those of ORL first."""
    small = "ResNet-20, ArcFace's head"
    orl = [
        Trained(ORL, "orl_siamese", "Siamese network of Chopra et al.", "contrastive"),
        Trained(ORL, "orl_triplet", "NN1 of FaceNet, narrow", "triplet"),
        Trained(ORL, "orl_deepface", "DeepFace, narrow", "softmax"),
        Trained(ORL, "orl_arcface", small, "softmax + margin (arcface)"),
    ]
    losses = {"contrastive": "contrastive", "triplet": "triplet", "softmax": "softmax"}
    losses |= {"cosface": "softmax + margin (cosface)", "arcface": "softmax + margin (arcface)"}
    lfw = [Trained(LFW, "lfw_arcface", small, words, (f"task.loss={loss}",)) for loss, words in losses.items()]
    features = Trained(LFW, "lfw_arcface", "EfficientNet-Lite0, ImageNet's features", losses["arcface"], FROM_IMAGENET)
    return [*orl, *lfw, features]


def figures(one: Trained, runs: Sequence[Ended]) -> tuple[str, str, str]:
    """Mean and deviation of the main figure, the mean ends of its interval, and the area under ROC."""
    kind = one.kind
    turned = [1 - run.score(kind.metric) if kind.is_error else run.score(kind.metric) for run in runs]
    low, high = (fmean(run.score(f"{kind.metric}_{end}") for run in runs) for end in ("low", "high"))
    ends = (1 - high, 1 - low) if kind.is_error else (low, high)
    interval = f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"
    return shown(turned), interval, shown([run.score("pair_auc") for run in runs])


def minutes(runs: Sequence[Ended]) -> str:
    return f"{fmean(run.metrics['training']['time_s'] for run in runs if run.metrics) / 60:.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    rows, table, spent_s = [], [HEAD], 0.0
    for one in trainings():
        if options.only not in one.title:
            continue
        runs = []
        for seed in range(options.seeds):
            root = options.data.absolute() / one.kind.data
            overrides = [*one.overrides, *options.change]
            runs.append(trained(one.recipe, overrides, root=root, runs=options.runs.absolute(), seed=seed))
            print(f"{one.title}, seed {seed}: {one.kind.metric} {runs[-1].score(one.kind.metric):.4f}", flush=True)
        figure, interval, auc = figures(one, runs)
        rows.append(Row(what=one.title, figure=f"{figure} ({interval} over people)", reference=one.kind.reference))
        table.append([one.kind.data, one.network, one.loss, str(len(runs)), figure, interval, auc, minutes(runs)])
        spent_s += sum(run.metrics["training"]["time_s"] for run in runs if run.metrics)
        print(f"{one.title}: {figure}, {interval}", flush=True)
        command = "python -m benchmarks.faces --data DATA"
        write_result(options.json, rows, command=command, seed=0, wall_s=spent_s, table=table)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.faces", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    parser.add_argument("--json", type=Path, default=RESULTS / "faces.json", help="where the result is written")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each line")
    parser.add_argument("--only", default="", metavar="TEXT", help="lines whose title has this text")
    parser.add_argument("--change", nargs="*", default=[], metavar="key=value", help="overrides, to prove a slice")
    return parser


if __name__ == "__main__":
    sys.exit(main())
