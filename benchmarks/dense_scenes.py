"""Classifiers trained on 32x32 pictures as coarse segmentation: scenes composed of held-out pictures, class by pixel.

The network of a run is made convolutional and dilated. Its scores stand at the centres of their windows and are
interpolated between them. Beside it: the upsampled scores of its own stride, and the classifier slid over the scene
in steps of the dilated stride: that is what it was trained for, as each crop has padding of its own. What lies between
the pictures has no class and is not counted.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool.convert import dilate, fully_convolutional
from unpool.data.readers.cifar import Cifar
from unpool.inspection.dense import counts
from unpool.inspection.score_maps import heat_and_classes
from unpool.ops.drawing import overlay, paint
from unpool.predictor import Predictor, load
from unpool.types import IGNORE

SEED = 0
SIDE, SPACE = 32, 16
GRID = (4, 6)
FILLS = ("grey", "mirrored")
WAYS = ("upsampled", "dilated", "slid")
BATCH = 256
COLOURS = (  # of ten classes, no two alike
    *((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189)),
    *((140, 86, 75), (240, 130, 210), (245, 220, 40), (60, 30, 110), (23, 190, 207)),
)


class Scene(NamedTuple):
    """(3, H, W) uint8, (H, W) class or IGNORE between the pictures, and where they lie: (top, left, picture)."""

    image: Tensor
    truth: Tensor
    places: list[tuple[int, int, int]]


def compose(
    reader: Any, picked: Sequence[int], generator: torch.Generator, *, fill: str, grey: Sequence[float]
) -> Scene:
    """Pictures on a grid, each at a random place of its cell; around it the mean colour, or its mirrored borders."""
    rows, columns = GRID
    cell = SIDE + SPACE
    image = torch.empty(3, rows * cell, columns * cell, dtype=torch.uint8)
    image[:] = (torch.tensor(grey) * 255).round().to(torch.uint8)[:, None, None]
    truth = torch.full(image.shape[1:], IGNORE)
    places = []
    for n, index in enumerate(picked):
        down, right = torch.randint(0, SPACE + 1, (2,), generator=generator).tolist()
        top, left = n // columns * cell, n % columns * cell
        sample = reader[index]
        if fill == "mirrored":
            padded = nn.functional.pad(
                sample["image"].float()[None], (right, SPACE - right, down, SPACE - down), mode="reflect"
            )
            image[:, top : top + cell, left : left + cell] = padded[0].to(torch.uint8)
        area = (slice(top + down, top + down + SIDE), slice(left + right, left + right + SIDE))
        image[(slice(None), *area)] = sample["image"]
        truth[area] = int(sample["label"])
        places.append((top + down, left + right, index))
    return Scene(image, truth, places)


@torch.no_grad()
def slide(classifier: nn.Module, image: Tensor, step: int) -> Tensor:
    """Scores (N, H', W') of crops of (1, C, H, W)."""
    crops = image.unfold(2, SIDE, step).unfold(3, SIDE, step)  # (1, C, H', W', h, w)
    size = crops.shape[2:4]
    flat = crops.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    return torch.cat([classifier(part) for part in flat.split(BATCH)]).T.unflatten(1, size)


class Networks(NamedTuple):
    """A classifier, made convolutional, and dilated."""

    classifier: nn.Module
    coarse: nn.Module
    fine: nn.Module
    stride: tuple[int, int]
    output_stride: int


def convert(classifier: nn.Module, example: Tensor, output_stride: int) -> Networks:
    """`example` is an image (1, C, H, W) larger than a window by two strides."""
    coarse = fully_convolutional(classifier.eval(), image=example[:, :, :SIDE, :SIDE])
    sides = [SIDE + 2 * step + 1 for step in coarse.stride]
    fine = dilate(coarse, output_stride=output_stride, image=example[:, :, : sides[0], : sides[1]])
    return Networks(classifier, coarse, fine, coarse.stride, output_stride)


@torch.no_grad()
def segment(networks: Networks, image: Tensor) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Class of each pixel (H, W) in each way, and the seconds of the scores."""
    size = (image.shape[2], image.shape[3])
    own, finer = networks.stride, (networks.output_stride, networks.output_stride)
    masks, times = {}, {}
    for way, stride in (("upsampled", own), ("dilated", finer), ("slid", finer)):
        started = time.perf_counter()
        if way == "slid":
            scores = slide(networks.classifier, image, networks.output_stride)
        else:
            scores = (networks.coarse if way == "upsampled" else networks.fine)(image)[0]
        times[way] = time.perf_counter() - started
        rows, columns = counts(size, (SIDE, SIDE), stride)
        _, masks[way] = heat_and_classes(scores[:, :rows, :columns], 0, size, window_hw=(SIDE, SIDE), stride=stride)
    return masks, times


def right(scene: Scene, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the centre of each picture has its class, and each pixel of the pictures."""
    at = torch.tensor([(top + SIDE // 2, left + SIDE // 2) for top, left, _ in scene.places])
    centres = (mask == scene.truth)[at[:, 0], at[:, 1]]
    return centres, (mask == scene.truth)[scene.truth != IGNORE]


class Measured(NamedTuple):
    """Shares that are right, by way; of the pictures alone; seconds of a scene; the first scene and its masks."""

    centres: dict[str, float]
    pixels: dict[str, float]
    alone: float
    seconds: dict[str, float]
    scene: Scene
    masks: dict[str, Tensor]


@torch.no_grad()
def measure(predictor: Predictor, networks: Networks, scenes: Sequence[Scene], reader: Any) -> Measured:
    centres: dict[str, list[Tensor]] = {way: [] for way in WAYS}
    pixels: dict[str, list[Tensor]] = {way: [] for way in WAYS}
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    alone, first = [], {}
    for scene in scenes:
        masks, taken = segment(networks, predictor.preprocessing.normalize(scene.image[None]))
        first = first or masks
        for way in WAYS:
            found = right(scene, masks[way])
            centres[way].append(found[0])
            pixels[way].append(found[1])
            times[way].append(taken[way])
        samples = [reader[index] for _, _, index in scene.places]
        tiles = predictor.preprocessing.normalize(torch.stack([sample["image"] for sample in samples]))
        labels = torch.stack([sample["label"] for sample in samples])
        alone.append(networks.classifier(tiles).argmax(1) == labels)
    return Measured(
        {way: float(torch.cat(found).float().mean()) for way, found in centres.items()},
        {way: float(torch.cat(found).float().mean()) for way, found in pixels.items()},
        float(torch.cat(alone).float().mean()),
        {way: min(taken) for way, taken in times.items()},
        scenes[0],
        first,
    )


def draw(found: Sequence[tuple[str, Measured]], classes: Sequence[str], output_stride: int) -> Image.Image:
    """A line a fill: scene, truth, upsampled, dilated, slid, with the pixels right in all scenes; then the classes."""
    titles = ("scene", "truth", "upsampled", f"dilated to stride {output_stride}", f"slid by {output_stride}")
    height, width = found[0][1].scene.truth.shape
    line = 24
    sheet = Image.new("RGB", (5 * (width + 8) + 8, len(found) * (height + line + 8) + 2 * line), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, (fill, measured) in enumerate(found):
        scene, y = measured.scene, 8 + row * (height + line + 8)
        known = {way: mask.where(scene.truth != IGNORE, IGNORE) for way, mask in measured.masks.items()}
        inside = [overlay(_pale(scene.image), known[way], COLOURS, opacity=0.65) for way in WAYS]
        images = [scene.image, paint(scene.truth, COLOURS), *inside]
        for i, (title, image) in enumerate(zip(titles, images, strict=True)):
            told = f" ({fill})" if i == 0 else f": {measured.pixels[WAYS[i - 2]]:.0%} in all" if i > 1 else ""
            pen.text((8 + i * (width + 8), y), title + told, fill="black", font=font)
            array = image.permute(1, 2, 0).contiguous().numpy()
            sheet.paste(Image.fromarray(np.asarray(array)), (8 + i * (width + 8), y + line - 4))
    x, y = 8, len(found) * (height + line + 8) + 14
    for name, colour in zip(classes, COLOURS, strict=True):
        pen.rectangle((x, y, x + 18, y + 14), fill=colour)
        pen.text((x + 24, y - 2), name, fill="black", font=font)
        x += 44 + int(pen.textlength(name, font=font))
    return sheet


def _pale(image: Tensor) -> Tensor:
    return (0.5 * image.float().mean(0, keepdim=True) + 110).round().to(torch.uint8)


def rows_of(name: str, fill: str, found: Measured, output_stride: int) -> list[Row]:
    """Two lines: the centres, the pixels with the time."""
    told = {"upsampled": "upsampled", "dilated": f"dilated to {output_stride}", "slid": f"crops every {output_stride}"}
    pictures = f"the pictures alone: {found.alone:.1%}"
    seconds = ", ".join(f"{told[way]} {found.seconds[way]:.2g}" for way in WAYS)
    rows = []
    for what, shares, reference in (
        ("centres of pictures", found.centres, pictures),
        ("pixels of pictures", found.pixels, f"chance: 10.0%; seconds a scene: {seconds}"),
    ):
        figure = ", ".join(f"{told[way]} {shares[way]:.1%}" for way in WAYS)
        rows.append(Row(what=f"{name}, {fill} between: {what} with their class", figure=figure, reference=reference))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.dense_scenes", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="classifications trained on CIFAR-10")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "cifar10_jpeg")
    parser.add_argument("--scenes", type=int, default=4, help="of each kind of space between pictures")
    parser.add_argument("--output_stride", type=int, default=4, metavar="N", help="of the dilated networks")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where to write a picture a run")
    parser.add_argument("--json", type=Path, default=RESULTS / "dense_scenes.json")
    options = parser.parse_args(arguments)
    torch.set_flush_denormal(True)
    started = time.monotonic()
    reader = Cifar(options.data, "test")
    rows: list[Row] = []
    details: dict[str, Any] = {}
    options.out.mkdir(parents=True, exist_ok=True)
    for run in options.runs:
        predictor = load(run, device="cpu")
        name = run.name.removesuffix("-run")
        example = predictor.preprocessing.normalize(reader[0]["image"].repeat(1, 6, 6)[None])
        networks = convert(predictor.model, example, options.output_stride)
        found = []
        for fill in FILLS:
            generator = torch.Generator().manual_seed(SEED)
            picked = torch.randperm(len(reader), generator=generator).split(GRID[0] * GRID[1])[: options.scenes]
            grey = predictor.preprocessing.mean
            scenes = [compose(reader, part.tolist(), generator, fill=fill, grey=grey) for part in picked]
            found.append((fill, measure(predictor, networks, scenes, reader)))
            rows += rows_of(name, fill, found[-1][1], options.output_stride)
            print("\n".join(f"{row.what}: {row.figure} ({row.reference})" for row in rows[-3:]))
            sys.stdout.flush()
        draw(found, predictor.info.classes, options.output_stride).save(options.out / f"{name}.png")
        details[name] = {fill: {"centres": m.centres, "pixels": m.pixels, "alone": m.alone} for fill, m in found}
    command = ["python", "-m", "benchmarks.dense_scenes", *(sys.argv[1:] if arguments is None else arguments)]
    wall_s = time.monotonic() - started
    write_result(options.json, rows, command=shlex.join(command), seed=SEED, wall_s=wall_s, details=details)
    return 0


if __name__ == "__main__":
    sys.exit(main())
