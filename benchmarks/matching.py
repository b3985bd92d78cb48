"""Stereo and flow by trained networks, beside block matching, Farnebäck's method and DIS on the same generated pairs.

Networks are trained by `unpool train` as processes of their own; one that was cut off goes on where it was saved: call
the command again. All are measured on the split `test`, which no training and no choice of weights has seen; the first
network of each part is the one that is judged. Block matching compares squares by normalised cross-correlation, with
the winner of each pixel, then with the same left-right check, interpolation and median as the network, then also with
the network's semi-global step; the network stands beside it without that step too. Of windows and penalties the best
are taken on the very pairs that are measured, which favours it. Semi-global block matching, Farnebäck's method and DIS
are OpenCV's, each at its best setting of several, chosen in the same way.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.accuracy import evaluate, train
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool import load, load_recipe
from unpool.assemble.data import make_reader
from unpool.metrics.pixel_errors import PixelErrors
from unpool.ops.drawing_motion import disparity_colours, flow_colours
from unpool.ops.semi_global import semi_global_scores
from unpool.ops.stereo import disparities_of, interpolated, median_filtered, winner_takes_all, within
from unpool.types import Sample

WINDOWS = (3, 5, 7, 9, 11, 13, 15, 17, 21)
STEREO = {"mc_cnn_wide": ("scenes_mc_cnn", ()), "mc_cnn_fast": ("scenes_mc_cnn_fast", ())}
FLOW = {"flow_pyramid": ("scenes_flow_pyramid", ())}
PENALTIES = ((0.02, 0.1), (0.05, 0.2), (0.1, 0.4), (0.2, 0.8))  # of a change of disparity, beside correlations
AIMS = {"bad3_visible": 3.0, "epe": 2.0}  # times below the best classical method without a semi-global step
SEMI_GLOBAL = "semi-global"  # in the name of a method that has such a step
WITHOUT = "winner of each pixel"
FIGURES = ("bad3_visible", "bad3", "bad1_visible", "bad1", "epe_visible", "epe")
SHOWN = 4  # pairs of a picture
_LEAST_VARIANCE = 1e-3


class Scored(NamedTuple):
    """A method on the test split: its setting, and its figures by name."""

    method: str
    setting: str
    figures: Mapping[str, float]


def pairs(recipe: str, count: int | None) -> list[Sample]:
    """The test split of a recipe's generated set."""
    reader = make_reader(load_recipe(recipe, [] if count is None else [f"data.count={count}"]), "test")
    return [reader[index] for index in range(len(reader))]


def scored(method: str, setting: str, key: str, answers: Iterable[Tensor], samples: Sequence[Sample]) -> Scored:
    """The figures of a method from its answers, one a pair."""
    errors = PixelErrors("flow" if key == "flow" else "disparity")
    for answer, sample in zip(answers, samples, strict=True):
        errors.update({key: answer[None]}, {name: sample[name][None] for name in (key, "hidden")})
    figures = errors.compute()
    return Scored(method, setting, {name: figures[name] for name in FIGURES})


def correlations(image: Tensor, window: int, disparities: int) -> Tensor:
    """(1, D, H, W) normalised cross-correlation of squares around the pixels of a grey pair (2, H, W)."""
    left, right = image[None, :1].double() - 128, image[None, 1:].double() - 128
    mean = partial(_mean_around, window=window)
    width = image.shape[-1]
    scores = torch.full((1, disparities, *image.shape[-2:]), -1.0)
    for d in range(min(disparities, width)):
        here, there = left[..., d:], right[..., : width - d]  # squares end where either image does
        here_mean, there_mean = mean(here), mean(there)
        covariance = mean(here * there) - here_mean * there_mean
        variance = (mean(here * here) - here_mean**2) * (mean(there * there) - there_mean**2)
        scores[0, d, :, d:] = (covariance / variance.clamp(min=_LEAST_VARIANCE).sqrt())[0, 0]
    return scores


def _mean_around(values: Tensor, window: int) -> Tensor:
    """(1, 1, H, W) means of squares, at borders of the part within the image."""
    return nn.functional.avg_pool2d(values, window, 1, window // 2, count_include_pad=False)


def block_matching(samples: Sequence[Sample], disparities: int) -> list[Scored]:
    """Block matching at its best window: plain, and with the network's steps behind it."""
    ways: dict[tuple[str, str], Callable[[Tensor], Tensor]] = {
        ("block matching", ""): lambda scores: winner_takes_all(within(scores))[0],
        ("block matching, checked and filled", ""): lambda scores: disparities_of(scores)[0][0],
    }
    for penalties in PENALTIES:
        ways[f"block matching, {SEMI_GLOBAL}, checked and filled", f", penalties {penalties[0]:g} {penalties[1]:g}"] = (
            partial(_semi_global, penalties=penalties)
        )
    tried: dict[str, list[Scored]] = {name: [] for name, _ in ways}
    for window in WINDOWS:
        every = [correlations(sample["image"], window, disparities) for sample in samples]
        for (name, setting), way in ways.items():
            asked = f"{window}x{window}{setting}"
            tried[name].append(scored(name, asked, "disparity", map(way, every), samples))
            print(f"{name}, {asked}: bad 3.0 {tried[name][-1].figures['bad3_visible']:.2%} of visible", flush=True)
    return [min(ones, key=lambda one: one.figures["bad3_visible"]) for ones in tried.values()]


def _semi_global(scores: Tensor, *, penalties: tuple[float, float]) -> Tensor:
    return disparities_of(semi_global_scores(scores.float(), penalties))[0][0]


def opencv_stereo(samples: Sequence[Sample], disparities: int) -> Scored:
    """OpenCV's semi-global block matching at its best window."""
    import cv2

    tried = []
    for window in (3, 5, 7, 9, 11):
        count = -(-disparities // 16) * 16  # a multiple of 16
        cost = window * window
        method = cv2.StereoSGBM.create(0, count, window, P1=8 * cost, P2=32 * cost, disp12MaxDiff=1, uniquenessRatio=5)
        answers = [_sgbm(method, sample["image"], count) for sample in samples]
        tried.append(scored(f"OpenCV's {SEMI_GLOBAL} matching", f"{window}x{window}", "disparity", answers, samples))
    return min(tried, key=lambda one: one.figures["bad3_visible"])


def _sgbm(method: Any, image: Tensor, count: int) -> Tensor:
    """Its disparities, in front of the left image the colour of its border; what it leaves out is filled as ours."""
    left, right = (np.pad(half.numpy(), ((0, 0), (count, 0)), "edge") for half in image)
    found = torch.from_numpy(method.compute(left, right)[:, count:].astype(np.float32) / 16)[None]
    return median_filtered(interpolated(found, found >= 0))[0]


def flow_methods() -> dict[str, dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]]:
    """Farnebäck's method and DIS of OpenCV, each with several settings."""
    import cv2

    def farneback(first: np.ndarray, second: np.ndarray, *, window: int, levels: int, neighbours: int) -> np.ndarray:
        sigma = 1.1 if neighbours == 5 else 1.5
        return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, levels, window, 5, neighbours, sigma, 0)

    def dis(first: np.ndarray, second: np.ndarray, *, preset: int) -> np.ndarray:
        method = cv2.DISOpticalFlow.create(preset)
        method.setFinestScale(0)
        return method.calc(first, second, None)

    presets = {
        "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
        "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
        "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    }
    windows = {
        f"window {window}, {levels} levels, neighbours {around}": partial(
            farneback, window=window, levels=levels, neighbours=around
        )
        for window in (9, 13, 17, 23)
        for levels in (3, 5)
        for around in (5, 7)
    }
    return {"Farnebäck": windows, "DIS": {name: partial(dis, preset=preset) for name, preset in presets.items()}}


def classical_flow(samples: Sequence[Sample]) -> list[Scored]:
    """Each of OpenCV's methods at its best setting."""
    grey = torch.tensor([0.299, 0.587, 0.114])
    frames = [
        [torch.einsum("chw,c->hw", half.float(), grey).round().byte().numpy() for half in sample["image"].chunk(2)]
        for sample in samples
    ]
    best = []
    for name, settings in flow_methods().items():
        tried = []
        for setting, method in settings.items():
            answers = (torch.from_numpy(method(*two).transpose(2, 0, 1).copy()) for two in frames)
            tried.append(scored(name, setting, "flow", answers, samples))
            print(f"{name}, {setting}: {tried[-1].figures['epe']:.3f} pixels", flush=True)
        best.append(min(tried, key=lambda one: one.figures["epe"]))
    return best


def by_networks(
    networks: Mapping[str, tuple[str, Sequence[str]]], runs: Path, *, overrides: Sequence[str], count: int | None
) -> tuple[list[Scored], list[Row], float]:
    """Trains each network, or goes on with it; its figures, rows on the training, and seconds spent."""
    scores, rows, spent_s = [], [], 0.0
    for name, (recipe, own) in networks.items():
        run = runs / f"matching-{name}"
        facts: dict[str, Any] = train(recipe, [*own, *overrides], run)["training"]
        spent_s += facts["time_s"]
        of_set = [] if count is None else [f"data.count={count}"]
        figures = evaluate(run, *of_set, "--split", "test")
        scores.append(Scored(name, recipe, {key: figures[key] for key in FIGURES}))
        seen = f"{facts['time_s'] / 60:.1f} min, {facts['images_seen']:,} pairs, {facts['precision']}"
        rows.append(Row(what=f"training of {name}", figure=seen))
    return scores, rows, spent_s


def in_table(scores: Sequence[Scored]) -> list[list[str]]:
    """A line for each method."""
    head = ["method", "setting", "bad 3.0 visible", "bad 3.0", "bad 1.0 visible", "bad 1.0", "EPE visible", "EPE"]
    lines = [
        [
            one.method,
            one.setting,
            *(f"{one.figures[name]:.2%}" if "bad" in name else f"{one.figures[name]:.3f}" for name in FIGURES),
        ]
        for one in scores
    ]
    return [head, *lines]


def verdicts(name: str, scores: Sequence[Scored], networks: Sequence[Scored]) -> list[Row]:
    """How many times the first network is below the best classical method, and what was asked.

    Where methods have a semi-global step, like with like too: the network without it, and the best method with it.
    """
    plain = [one for one in scores if SEMI_GLOBAL not in one.method]
    rows = [_below(name, plain, networks[0], f"at least {AIMS[name]:g} times")]
    without = [one for one in networks if one.method == f"{networks[0].method}, {WITHOUT}"]
    rows += [_below(name, plain, one, "") for one in without]
    if len(plain) < len(scores):
        rows.append(_below(name, scores, networks[0], ""))
    return rows


def _below(name: str, scores: Sequence[Scored], ours: Scored, reference: str) -> Row:
    classical = min(scores, key=lambda s: s.figures[name])
    times = classical.figures[name] / max(ours.figures[name], 1e-9)
    what = f"{name}: {ours.method} below {classical.method}"
    return Row(what=what, figure=f"{times:.2f} times", reference=reference)


def without_semi_global(run: Path, name: str, samples: Sequence[Sample]) -> Scored:
    """A network's answers as the winners of its scores, checked and filled."""
    predictor = load(run)
    predictor.task.penalties = None
    answers = (predictor.predict(sample["image"])["disparity"] for sample in samples)
    return scored(f"{name}, {WITHOUT}", "", "disparity", answers, samples)


def draw(runs: Path, samples: Mapping[str, Sequence[Sample]], out: Path) -> None:
    """Pictures of pairs, truth and answers: out/stereo.png and out/flow.png."""
    for key, run in (("disparity", runs / "matching-mc_cnn_wide"), ("flow", runs / "matching-flow_pyramid")):
        if key not in samples or not (run / "metrics.json").is_file():
            continue
        predictor, lines = load(run), []
        for sample in samples[key][:SHOWN]:
            most = float(sample[key].abs().max())
            colours = disparity_colours if key == "disparity" else flow_colours
            answer = predictor.predict(sample["image"])[key]
            images = [half.expand(3, -1, -1) for half in sample["image"].chunk(2)]
            lines.append(torch.cat([*images, colours(sample[key], most), colours(answer, most)], dim=-1))
        out.mkdir(parents=True, exist_ok=True)
        sheet = torch.cat(lines, dim=-2).permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(sheet).save(out / f"matching_{key}.png")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.matching", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="stereo or flow; by default both")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "proofs", help="where pictures go")
    parser.add_argument("--pairs", type=int, help="only so many to measure, to try it out; nothing is recorded")
    parser.add_argument("--networks", nargs="*", default=[*STEREO, *FLOW], help="by default all")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="of every training, to try it out")
    options = parser.parse_args(arguments)
    samples = {}
    for part in options.parts or ("stereo", "flow"):
        started_s = time.monotonic()
        networks = {
            name: row for name, row in (STEREO if part == "stereo" else FLOW).items() if name in options.networks
        }
        recipe = "scenes_mc_cnn" if part == "stereo" else "scenes_flow_pyramid"
        key, aim = ("disparity", "bad3_visible") if part == "stereo" else ("flow", "epe")
        samples[key] = pairs(recipe, options.pairs)
        disparities = load_recipe(recipe).task.options.get("disparities", 0)
        ours, rows, spent_s = by_networks(networks, options.runs, overrides=options.set, count=options.pairs)
        if part == "stereo":
            classical = [*block_matching(samples[key], disparities), opencv_stereo(samples[key], disparities)]
            ours.append(without_semi_global(options.runs / f"matching-{ours[0].method}", ours[0].method, samples[key]))
        else:
            classical = classical_flow(samples[key])
        table = in_table([*classical, *ours])
        print("\n".join("  ".join(line) for line in table))
        rows = [*verdicts(aim, classical, ours), *rows]
        print("\n".join(f"{row.what}: {row.figure} ({row.reference})" for row in rows))
        if options.pairs is None and not options.set:
            wall_s = max(spent_s, time.monotonic() - started_s)
            path, command = RESULTS / f"matching_{part}.json", f"python -m benchmarks.matching {part}"
            write_result(path, rows, command=command, seed=0, wall_s=wall_s, table=table)
    draw(options.runs, samples, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
