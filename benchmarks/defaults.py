"""What each default is worth: two recipes as shipped, and with one technique removed or exchanged at a time.

CIFAR-10 (jpeg copies): ResNet-20 on the first 10,000 training images, 20 epochs, three seeds. CamVid at 160x120: U-Net
on ResNet-18, 3,000 images, two seeds. An effect is the mean over the seeds less that of the recipe as shipped; one
smaller than the spread of the seeds, twice the standard error of such a difference, is not shown. Hours in all: a call
goes on where the one before was stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from benchmarks.accuracy import evaluate
from benchmarks.record import RESULTS, ROOT, Row, write_result
from benchmarks.series import Ended, fewer_of_cifar, shown, spread, trained

SHIPPED = "as shipped"


class Study(NamedTuple):
    """One recipe: what it is measured by, the length of its runs, and what is changed about it by a name.

    `tests` are changes at test time alone: arguments of `unpool evaluate` on the runs as shipped.
    """

    recipe: str
    data: str
    metric: str
    length: tuple[str, ...]
    seeds: int
    changes: dict[str, tuple[str, ...]]
    tests: dict[str, tuple[str, ...]]


def _augment(*steps: str) -> str:
    return f"data.augment=[{', '.join(steps)}]"


_SHIFT, _FLIP = "{translate: {pixels: 4}}", "{flip: {}}"
_CIFAR = (_SHIFT, _FLIP)
_SCALE, _CROP, _COLOUR = (
    "{scale: {range: [0.8, 1.4]}}",
    "{crop: {}}",
    "{color_jitter: {brightness: 0.2, contrast: 0.2}}",
)
_CAMVID = (_SCALE, _FLIP, _CROP, _COLOUR)
_WIDE = "{color_jitter: {brightness: 0.4, contrast: 0.4, saturation: 0.4}}"
STUDIES = {
    "cifar10": Study(
        recipe="cifar10_resnet20",
        data="cifar10_jpeg",
        metric="top1",
        length=("train.epochs=20", "train.evaluate_every=20"),
        seeds=3,
        changes={
            "no augmentation": ("data.augment=[]",),
            "no flips": (_augment(_SHIFT),),
            "no translation": (_augment(_FLIP),),
            "random erasing too": (_augment(*_CIFAR, "{erasing: {}}"),),
            "cutmix too": (_augment(*_CIFAR, "{cutmix: {p: 0.5}}"),),
            "group norm": ("model.norms=group",),
            "initial weights of Glorot": ("model.init=glorot",),
            "last scale of a block zero": ("model.init={he: {zero_residual: true}}",),
            "constant rate of 0.1": ("train.schedule=constant", "train.lr=0.1"),
            "rate of 0.1, a tenth from epoch 10 and 15": (
                *("train.schedule=step", "train.milestones=[10, 15]", "train.lr=0.1"),
            ),
            "no averaged weights": ("train.ema=null",),
            "decay on norms and biases too": ("train.decay_norms=true",),
            "precise statistics": ("train.precise_norms=true",),
        },
        tests={"flips at test": ("--tta", "flip")},
    ),
    "camvid": Study(
        recipe="camvid_unet_small",
        data="camvid",
        metric="mean_iou",
        length=("train.epochs=8", "train.evaluate_every=8", "train.drop_last=false"),
        seeds=2,
        changes={
            "no augmentation": ("data.augment=[]",),
            "no scaling": (_augment(_FLIP, _COLOUR),),
            "no flips": (_augment(_SCALE, _CROP, _COLOUR),),
            "no colour jitter": (_augment(_SCALE, _FLIP, _CROP),),
            "stronger colour jitter": (_augment(_SCALE, _FLIP, _CROP, _WIDE),),
            "stronger scaling": (_augment("{scale: {range: [0.55, 1.8]}}", _FLIP, _CROP, _COLOUR),),
            "group norm": ("model.norms=group",),
            "initial weights of Glorot": ("model.init=glorot",),
            "constant rate": ("train.schedule=constant",),
            "averaged weights": ("train.ema=0.99",),
            "decay on norms and biases too": ("train.decay_norms=true",),
            "no class weights": ("task.class_weights=null",),
            "precise statistics": ("train.precise_norms=true",),
        },
        tests={"flips at test": ("--tta", "flip")},
    ),
}
TRAINING_IMAGES = 10_000  # of CIFAR-10


class Effect(NamedTuple):
    """One change: the scores by seed, the effect, and the spread of the seeds below which none is shown."""

    what: str
    scores: list[float]
    effect: float
    spread: float

    @property
    def is_shown(self) -> bool:
        return abs(self.effect) > self.spread  # neither where the spread is not known

    @property
    def words(self) -> str:
        if self.effect != self.effect:
            return "diverged"
        return f"{100 * self.effect:+.2f}" if self.is_shown else "not shown"


def effects(scores: dict[str, list[float]], tests: dict[str, list[float]]) -> list[Effect]:
    """What each change does to the scores by seed, `SHIPPED` among them; those of tests are of the same weights."""
    base = scores[SHIPPED]
    seeds = spread(list(scores.values()), of=len(base))
    found = [Effect(what, values, fmean(values) - fmean(base), seeds) for what, values in scores.items()]
    for what, values in tests.items():
        gains = [after - before for after, before in zip(values, base, strict=True)]
        error = 2 * stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
        found.append(Effect(what, values, fmean(gains), error))
    return [one for one in found if one.what != SHIPPED]


def measure(study: Study, changes: Sequence[str], *, root: Path, runs: Path, length: Sequence[str], seeds: int) -> Any:
    """(scores by change, scores of tests, seconds of training) of a study, printed as they come."""
    scores: dict[str, list[float]] = {}
    tests: dict[str, list[float]] = {}
    spent_s = 0.0
    for what, overrides in {SHIPPED: (), **study.changes}.items():
        if what != SHIPPED and what not in changes:
            continue
        ended = [trained(study.recipe, [*length, *overrides], root=root, runs=runs, seed=i) for i in range(seeds)]
        scores[what] = [one.score(study.metric) for one in ended]
        spent_s += sum(one.metrics["training"]["time_s"] for one in ended if one.metrics)
        print(f"{study.recipe}, {what}: {shown(scores[what])}", flush=True)
        if what == SHIPPED:
            tests = {name: _tested(study, ended, given) for name, given in study.tests.items() if name in changes}
    return scores, tests, spent_s


def _tested(study: Study, ended: Sequence[Ended], arguments: Sequence[str]) -> list[float]:
    return [evaluate(one.run, *arguments)[study.metric] for one in ended]


def rows(study: Study, base: Sequence[float], found: Sequence[Effect]) -> list[Row]:
    """As shipped, what lowers the score, what raises it, and what was not shown to do either."""
    seeds = found[0].spread if found else float("nan")
    kinds = {
        "lower it": [one for one in found if one.is_shown and one.effect < 0],
        "raise it": [one for one in found if one.is_shown and one.effect > 0],
        "no effect shown": [one for one in found if not one.is_shown],
    }
    lines = [
        Row(
            what=f"{study.recipe} as shipped, {study.metric}, {' '.join(study.length)}, {len(base)} seeds",
            figure=shown(base),
            reference=f"an effect below {100 * seeds:.2f} is not shown",
        )
    ]
    for kind, some in kinds.items():
        ordered = sorted(some, key=lambda one: one.effect)
        words = [one.what if kind == "no effect shown" and one.effect == one.effect else f"{one.what} {one.words}"
                 for one in ordered]  # fmt: skip
        lines.append(Row(what=f"{study.recipe}: {kind}", figure=", ".join(words) or "none"))
    return lines


def table(name: str, base: Sequence[float], found: Sequence[Effect]) -> list[list[str]]:
    lines = [[name, SHIPPED, shown(base), "", ""]]
    lines += [[name, e.what, shown(e.scores), f"{100 * e.effect:+.2f}", e.words] for e in found]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    everything = {f"{name}: {what}" for name, one in STUDIES.items() for what in (*one.changes, *one.tests)}
    parser = argparse.ArgumentParser(prog="benchmarks.defaults", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="changes, such as 'camvid: no flips'")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "defaults", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, help="of each run, in place of three and two")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="further overrides of every run")
    options = parser.parse_args(arguments)
    asked = {one for one in everything if any(text in one for text in options.only)}
    if not asked:
        parser.error(f"--only {' '.join(options.only)} is in none of: {'; '.join(sorted(everything))}")
    lines, lined, spent_s, details = [], [["study", "change", "score", "effect", "shown"]], 0.0, {}
    for name, study in STUDIES.items():
        changes = [one.removeprefix(f"{name}: ") for one in asked if one.startswith(f"{name}: ")]
        if not changes:
            continue
        root, length = options.data.absolute() / study.data, (*study.length, *options.set)
        if name == "cifar10":
            root = fewer_of_cifar(root, options.runs.absolute() / "cifar10_fewer", TRAINING_IMAGES)
        kept = {"root": root, "runs": options.runs.absolute(), "length": length, "seeds": options.seeds or study.seeds}
        scores, tests, seconds = measure(study, changes, **kept)
        found = effects(scores, tests)
        lines += rows(study._replace(length=length), scores[SHIPPED], found)
        lined += table(name, scores[SHIPPED], found)
        spent_s, details[name] = spent_s + seconds, {**scores, **tests}
    for line in lined:
        print("  ".join(line))
    command = "python -m benchmarks.defaults --data DATA"
    is_whole = options.only == [""] and not options.set and options.seeds is None
    result = (RESULTS if is_whole else options.runs) / "defaults.json"
    write_result(result, lines, command=command, seed=None, wall_s=spent_s, details=details, table=lined)
    return 0


if __name__ == "__main__":
    sys.exit(main())
