"""The rate that `unpool find-lr` proposes, beside a sweep of five: four recipes, each a tenth of the recipe long.

The five are the recipe's rate times 1/9, 1/3, 1, 3 and 9. The best of them and the proposal are trained with three
seeds; the proposal holds where its mean is no lower than that of the best by more than the spread of the seeds, twice
the standard error of such a difference. A call goes on where the one before was stopped.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.record import RESULTS, ROOT, Row, write_result
from benchmarks.series import Ended, digest, shown, spread, trained
from unpool import load_recipe
from unpool.assemble.rate_range import find_lr
from unpool.training.rate_range import STEPS

FACTORS = (1 / 9, 1 / 3, 1.0, 3.0, 9.0)
SHARE, SEEDS = 10, 3


class Swept(NamedTuple):
    """One recipe: its data, what its score is and how it is shown, and overrides."""

    data: str
    metric: str
    factor: float = 100
    unit: str = " %"
    overrides: tuple[str, ...] = ()


RECIPES = {
    "cifar10_resnet20": Swept("cifar10_jpeg", "top1"),
    "camvid_unet": Swept("camvid", "mean_iou"),
    "lsp_simple_baselines": Swept("lspet_pose", "pck@0.2"),
    "bsd_dncnn_s": Swept("bsd_denoise", "psnr", 1, " dB"),
}


def tenth(recipe: str) -> list[str]:
    """Overrides by which a run is a tenth as long, with one evaluation."""
    train = load_recipe(recipe, ["data.root=data"]).train
    epochs = max(1, round(train.epochs / SHARE))
    warmup = train.warmup_epochs / SHARE
    return [f"train.epochs={epochs}", f"train.warmup_epochs={warmup:g}", f"train.evaluate_every={epochs}"]


def proposal(recipe: str, overrides: Sequence[str], *, root: Path, runs: Path, steps: int) -> dict[str, Any]:
    """What the range test says, kept in a file."""
    kept = runs / f"{recipe}-{digest(recipe, overrides)}-{steps}.json"
    if not kept.is_file():
        found = find_lr(recipe, [*overrides, f"data.root={root}"], steps=steps).to_json()
        runs.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(kept)
    values: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return values


def swept(recipe: str, overrides: Sequence[str], *, root: Path, runs: Path, seeds: int, steps: int) -> dict[str, Any]:
    """Scores of one seed by rate, and of all seeds of the best and of the proposal."""
    one = RECIPES[recipe]
    spent: dict[Path, float] = {}

    def score(rate: float, seed: int) -> float:
        given = [*overrides, f"train.lr={rate:.6g}"]
        ended: Ended = trained(recipe, given, root=root, runs=runs, seed=seed)
        spent[ended.run] = ended.metrics["training"]["time_s"] if ended.metrics else 0.0
        value = ended.score(one.metric)
        print(f"{recipe}, rate {rate:.3g}, seed {seed}: {one.metric} {value:.4f}", flush=True)
        return value

    asked = proposal(recipe, overrides, root=root, runs=runs, steps=steps)
    base = load_recipe(recipe, ["data.root=data"]).train.lr
    by_rate = {factor * base: score(factor * base, 0) for factor in FACTORS}
    best = max((rate for rate in by_rate if math.isfinite(by_rate[rate])), key=by_rate.__getitem__)
    of_best = [score(best, seed) for seed in range(seeds)]
    of_proposal = [] if asked["proposal"] is None else [score(asked["proposal"], seed) for seed in range(seeds)]
    return {
        "recipe": recipe,
        "by_rate": {f"{rate:.3g}": value for rate, value in by_rate.items()},
        "best": best,
        "proposal": asked["proposal"],
        "too_low": asked["too_low"],
        "too_high": asked["too_high"],
        "scores_of_best": of_best,
        "scores_of_proposal": of_proposal,
        "spread": spread([of_best, of_proposal], of=seeds),
        "spent_s": sum(spent.values()),
    }


def holds(found: dict[str, Any]) -> bool:
    """Whether the proposal is within the spread of the best rate, or the best one itself."""
    if not found["scores_of_proposal"] or not all(map(math.isfinite, found["scores_of_proposal"])):
        return False
    behind = fmean(found["scores_of_best"]) - fmean(found["scores_of_proposal"])
    return behind <= 0 or behind <= found["spread"]


def row(found: dict[str, Any]) -> Row:
    one = RECIPES[found["recipe"]]
    how = {"factor": one.factor, "unit": one.unit}
    if found["proposal"] is None:
        figure = "no rate proposed"
    else:
        verdict = "within the spread" if holds(found) else "not within the spread"
        figure = f"{shown(found['scores_of_proposal'], **how)} at {found['proposal']:.2g}: {verdict}"
    reference = f"{shown(found['scores_of_best'], **how)} at {found['best']:.2g}, the best of five"
    return Row(what=f"{found['recipe']}, a tenth as long, {one.metric}", figure=figure, reference=reference)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.rate_sweep", description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=RECIPES, metavar="RECIPE")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "rate_sweep", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="of the best rate and of the proposal")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the range test")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="further overrides of every run")
    options = parser.parse_args(arguments)
    runs = options.runs.absolute()
    found = []
    for recipe in options.only:
        one = RECIPES[recipe]
        given = [*one.overrides, *tenth(recipe), *options.set]
        root = options.data.absolute() / one.data
        found.append(swept(recipe, given, root=root, runs=runs, seeds=options.seeds, steps=options.steps))
        print(f"{row(found[-1]).what}: {row(found[-1]).figure} ({row(found[-1]).reference})", flush=True)
    is_whole = (options.only, options.seeds, options.steps, options.set) == (list(RECIPES), SEEDS, STEPS, [])
    result = (RESULTS if is_whole else runs) / "rate_sweep.json"
    command = "python -m benchmarks.rate_sweep --data DATA"
    rows, spent_s = [row(one) for one in found], sum(one["spent_s"] for one in found)
    write_result(result, rows, command=command, seed=None, wall_s=spent_s, details={"recipes": found})
    return int(not all(map(holds, found)))


if __name__ == "__main__":
    sys.exit(main())
