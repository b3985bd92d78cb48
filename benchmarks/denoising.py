"""Denoises BSD68 by trained networks and by classical filters on the same noise, and sets autoencoders beside PCA.

Each network is trained by `unpool train` as a process of its own; one that was cut off goes on where it was saved: call
the command again. The filters are scikit-image's, each with the setting that is best on average over the very images it
is measured on, which favours them. Answers are clipped to the range of an image before they are measured, the noise is
not. The autoencoder and PCA have a code of the same size; PCA is computed from the training images, its mean kept too.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.accuracy import evaluate, train
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool import load, load_recipe
from unpool.assemble.data import make_preprocessing, make_reader
from unpool.assemble.loaders import make_eval_loader
from unpool.data.store import scan
from unpool.metrics.image_quality import psnr, ssim
from unpool.pages.images import Card, Picture, grid
from unpool.pages.page import Section, build_page

Plane = NDArray[np.float64]
Filter = Callable[[Plane], Plane]

LEVELS = (15, 25, 50)


class Trained(NamedTuple):
    """One network of the table: its recipe, what is changed about it, the levels to measure at, and what is asked."""

    recipe: str
    overrides: tuple[str, ...] = ()
    levels: tuple[int, ...] = (25,)
    reference: str = "above the best filter"


NETWORKS = {
    "DnCNN-S": Trained("bsd_dncnn_s", reference="mark 28.15; published 29.23 on all 68, about 0.3 dB easier"),
    "DnCNN-S long": Trained("bsd_dncnn_s", ("train.epochs=20",), reference="mark 28.3, aim 28.5"),
    "DnCNN-B": Trained("bsd_dncnn_b", levels=LEVELS),
    "U-Net": Trained("bsd_unet"),
    "U-Net blind": Trained("bsd_unet", ("data.noise={gaussian: {level: [0, 55]}}",), levels=LEVELS),
}
CODE = 32  # numbers
SHOWN = 10  # digits


def filters(level: float) -> dict[str, dict[str, Filter]]:
    """Settings to try of each filter, for noise of `level` on 0..255; images are on 0..1."""
    from skimage.filters import gaussian, median
    from skimage.morphology import disk, footprint_rectangle
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

    sigma = level / 255
    windows = {
        "disk 1": disk(1),
        "3x3": footprint_rectangle((3, 3)),
        "disk 2": disk(2),
        "5x5": footprint_rectangle((5, 5)),
    }
    means = {
        f"h {share:g} sigma, patch {side}": partial(
            denoise_nl_means, patch_size=side, patch_distance=10, h=share * sigma, sigma=sigma, fast_mode=True
        )
        for share in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
        for side in (3, 5, 7)
    }
    return {
        "Gaussian": {
            f"sigma {s:g}": partial(gaussian, sigma=s)
            for s in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0)
        },
        "median": {name: partial(median, footprint=window) for name, window in windows.items()},
        "total variation": {
            f"weight {w:g}": partial(denoise_tv_chambolle, weight=w, eps=1e-5, max_num_iter=200)
            for w in (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25)
        },
        "non-local means": means,
    }


def noise_of(level: float) -> str:
    """Override of a recipe: Gaussian noise of one level."""
    return f"data.noise={{gaussian: {{level: {level}}}}}"


def noisy_set(data: Path, level: float, most: int | None) -> list[tuple[Tensor, Tensor]]:
    """(noisy, clean) of each image of BSD68, (1, 1, H, W) on 0..1: the noise that every network is measured on."""
    recipe = load_recipe(NETWORKS["DnCNN-S"].recipe, [f"data.root={data}", noise_of(level)])
    samples = scan(make_reader(recipe, "val")).samples
    collate = make_eval_loader(recipe, samples, make_preprocessing(recipe)).transform
    batches = [collate([samples[i]], 0) for i in range(min(len(samples), most or len(samples)))]
    return [(batch["image"] / 255, batch["clean"].float() / 255) for batch in batches]


def score(images: Sequence[tuple[Tensor, Tensor]], filtered: Filter) -> tuple[float, float]:
    """Mean PSNR in decibels and mean SSIM of a filter."""
    found = []
    for noisy, clean in images:
        answer = torch.from_numpy(np.asarray(filtered(noisy[0, 0].double().numpy())))[None, None].clamp(0, 1)
        found.append((float(psnr(answer, clean)), float(ssim(answer, clean))))
    return mean(one[0] for one in found), mean(one[1] for one in found)


def best_filters(images: Sequence[tuple[Tensor, Tensor]], level: float) -> list[tuple[str, str, float, float]]:
    """(filter, setting, PSNR, SSIM), each filter at the setting of the highest PSNR."""
    best = []
    for name, settings in filters(level).items():
        found = {setting: score(images, filtered) for setting, filtered in settings.items()}
        setting = max(found, key=lambda one: found[one][0])
        best.append((name, setting, *found[setting]))
        print(f"level {level}: {name}, {setting}: {found[setting][0]:.2f} dB", flush=True)
    return best


def bsd(data: Path, runs: Path, *, most: int | None, overrides: Sequence[str], networks: Sequence[str]) -> None:
    """Trains and measures the networks and the filters; writes denoising_bsd.json."""
    started_s = time.monotonic()
    table, rows, spent_s = [["method", "level", "setting", "PSNR, dB", "SSIM"]], [], 0.0
    for level in LEVELS:
        images = noisy_set(data, level, most)
        before = mean(float(psnr(noisy, clean)) for noisy, clean in images)
        table.append(["none", str(level), "", f"{before:.2f}", ""])
        for name, setting, decibels, likeness in best_filters(images, level):
            table.append([name, str(level), setting, f"{decibels:.2f}", f"{likeness:.4f}"])
            if level == 25:
                rows.append(
                    Row(what=f"{name} filter, level 25, mean PSNR", figure=f"{decibels:.2f} dB", reference=setting)
                )
    for name in networks:
        one = NETWORKS[name]
        run = runs / f"denoising-{name.lower().replace(' ', '-')}"
        metrics = train(one.recipe, [f"data.root={data}", *one.overrides, *overrides], run)
        spent_s += metrics["training"]["time_s"]
        facts = metrics["training"]
        seen = f"{facts['images_seen']:,} patches, {facts['time_s'] / 60:.1f} min, {facts['precision']}"
        for level in one.levels:
            found = evaluate(run, noise_of(level))
            print(f"level {level}: {name}: {found['psnr']:.2f} dB, {seen}", flush=True)
            table.append([name, str(level), seen, f"{found['psnr']:.2f}", f"{found['ssim']:.4f}"])
            figure = f"{found['psnr']:.2f} dB ({seen})"
            reference = one.reference if level == 25 else ""
            rows.append(Row(what=f"{name}, level {level}, mean PSNR", figure=figure, reference=reference))
        found = evaluate(run, noise_of(25), "--split", "test")
        gain = found["psnr"] - found["input_psnr"]
        rows.append(Row(what=f"{name}, level 25 on Set12, gain", figure=f"{gain:.2f} dB", reference="at least 8 dB"))
    command = "python -m benchmarks.denoising bsd"
    wall_s = max(spent_s, time.monotonic() - started_s)
    if most is None and not overrides and list(networks) == list(NETWORKS):
        write_result(RESULTS / "denoising_bsd.json", rows, command=command, seed=0, wall_s=wall_s, table=table)


def principal_components(images: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) and first components (count, D) of images (N, D)."""
    centre = images.double().mean(0)
    moved = images.double() - centre
    values, vectors = torch.linalg.eigh(moved.T @ moved / len(images))
    return centre, vectors[:, values.argsort(descending=True)[:count]].T


def digits(data: Path, split: str) -> Tensor:
    """(N, 784) float32 on 0..1."""
    recipe = load_recipe("mnist_linear_autoencoder", {"data.root": str(data)})
    reader = make_reader(recipe, split)
    return torch.stack([reader[i]["image"].flatten() for i in range(len(reader))]).float() / 255


def autoencoders(data: Path, runs: Path, out: Path, *, overrides: Sequence[str]) -> None:
    """Trains the linear autoencoder, sets it beside PCA, and writes denoising_mnist.json and a page of digits."""
    run = runs / "denoising-mnist_linear_autoencoder"
    metrics = train("mnist_linear_autoencoder", [f"data.root={data}", *overrides], run)
    seen, test = digits(data, "train"), digits(data, "val")
    centre, components = principal_components(seen, CODE)
    by_pca = ((test.double() - centre) @ components.T @ components + centre).float()
    network = load(run, device="cpu")
    with torch.inference_mode():
        by_network = network.model.eval()(test.view(-1, 1, 28, 28)).flatten(1).clamp(0, 1)
    answers = {f"PCA, {CODE} components": by_pca.clamp(0, 1), f"linear autoencoder, code of {CODE}": by_network}
    rows = []
    for name, answer in answers.items():
        error = float((answer - test).square().mean())
        decibels = float(psnr(answer.view(-1, 1, 28, 28), test.view(-1, 1, 28, 28)).mean())
        rows.append(Row(what=f"{name}, mean squared error on 0..1", figure=f"{error:.5f} ({decibels:.2f} dB)"))
        print(f"{name}: {error:.5f}, {decibels:.2f} dB", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    write_digits(out / "autoencoder_pca.html", test[:SHOWN], {name: answer[:SHOWN] for name, answer in answers.items()})
    if not overrides:
        command = "python -m benchmarks.denoising mnist"
        write_result(
            RESULTS / "denoising_mnist.json", rows, command=command, seed=0, wall_s=metrics["training"]["time_s"]
        )


def write_digits(path: Path, truth: Tensor, answers: dict[str, Tensor]) -> None:
    """A page of digits with what each method gives back, and the same as one picture."""
    columns = {"image": truth, **answers}
    cards = [
        Card(f"digit {i}", "", tuple(Picture(name, _picture(values[i])) for name, values in columns.items()))
        for i in range(len(truth))
    ]
    path.write_text(build_page("Autoencoder and PCA", [Section("Digits", [grid(cards)])]), encoding="utf-8")
    lines = [torch.cat([_picture(one) for one in values], dim=-1) for values in columns.values()]
    Image.fromarray(torch.cat(lines, dim=-2).permute(1, 2, 0).contiguous().numpy()).save(path.with_suffix(".png"))


def _picture(values: Tensor) -> Tensor:
    """(784,) on 0..1 -> (3, 84, 84) uint8."""
    grey = (values.view(1, 28, 28) * 255).round().to(torch.uint8)
    return grey.expand(3, -1, -1).repeat_interleave(3, 1).repeat_interleave(3, 2)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.denoising", description=__doc__)
    shared = ROOT.parent / "shared" / "data"
    parser.add_argument("part", choices=("bsd", "mnist"))
    parser.add_argument("--data", type=Path, default=shared, help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "proofs", help="where pictures go")
    parser.add_argument("--images", type=int, help="only so many of BSD68, to try it out; nothing is recorded")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, help="by default all")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="of every training, to try it out")
    options = parser.parse_args(arguments)
    if options.part == "mnist":
        autoencoders(options.data.absolute() / "mnist", options.runs, options.out, overrides=options.set)
    else:
        data = options.data.absolute() / "bsd_denoise"
        bsd(data, options.runs, most=options.images, networks=options.networks, overrides=options.set)
    return 0


if __name__ == "__main__":
    sys.exit(main())
