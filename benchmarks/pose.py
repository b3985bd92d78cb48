"""Trains the networks of human pose: on figures, on photographs, on 32 photographs by heart, and shortly on 64.

Each network is trained by `unpool train` as a process of its own; one that was cut off goes on where it was saved: call
the command again. `lsp` starts from the weights that `figures` learned, as no other photographs may be seen, and its
people's places are known: a square about the visible joints, 1.4 times their extent. PCK is of the torso, left shoulder
to right hip, visible joints only. The mean pose is that of the training squares, the same answer for everyone.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.accuracy import Metrics, evaluate, train
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool.data.readers.lsp import Lsp
from unpool.metrics.pose import PoseScores
from unpool.ops.fields import affinity_fields
from unpool.ops.heatmaps import gaussians
from unpool.ops.parsing import parse
from unpool.ops.skeleton import LSP, LSP_LIMBS

PCK = "pck@0.2"
NO_AUGMENTATION = "data.augment=[]"


class Trained(NamedTuple):
    """One training: its recipe, what is changed about it and called, what it starts from, and what is asked."""

    recipe: str
    overrides: tuple[str, ...] = ()
    change: str = ""
    start: str = ""  # a recipe of figures
    metric: str = PCK
    reference: str = ""


FIGURES = {
    "Simple Baselines, ResNet-18, one figure": Trained("figures_simple_baselines", reference="at least 95 %"),
    "hourglass of one stack, one figure": Trained("figures_hourglass", reference="at least 95 %"),
    "OpenPose of two stages, three figures that overlap": Trained(
        "figures_openpose", metric="limbs", reference="at least 90 %"
    ),
}
_THIRD = ("train.epochs=27", "task.foreground=10")  # 19,872 crops
_DISKS = (*_THIRD, "task.label=disk", "task.size=2.5", "task.loss=bce")  # of 10 pixels of the image
_GAUSSIANS = (*_THIRD, "task.label=gaussian", "task.loss=mse")
PHOTOGRAPHS = {
    "Simple Baselines, ResNet-18": Trained(
        "lsp_simple_baselines", start="figures_simple_baselines", reference="at least 12 %, aim 30"
    ),
    "hourglass of one stack": Trained("lsp_hourglass", start="figures_hourglass", reference="at least 12 %, aim 30"),
    "Simple Baselines, new weights, disks, per-pixel classification": Trained("lsp_simple_baselines", _DISKS, "disks"),
    "Simple Baselines, new weights, Gaussians, squared error": Trained("lsp_simple_baselines", _GAUSSIANS, "gaussians"),
}
BY_HEART = 32
# mirrored pictures were never seen
_HEART = (
    NO_AUGMENTATION,
    "task.flip_test=false",
    "train.epochs=120",
    "train.batch=8",
    "train.ema=null",
    "train.evaluate_every=20",
)
HEARTS = {name: Trained(PHOTOGRAPHS[name].recipe, _HEART) for name in list(PHOTOGRAPHS)[:2]}
FEW = 64
_FALL = (NO_AUGMENTATION, "train.warmup_epochs=1", "train.evaluate_every=10")
_WIDE = (*_FALL, "data.size=[96, 96]", "train.batch=8", "train.epochs=3")  # a quarter of 368
_LARGE = (*_FALL, "train.batch=16")  # of many weights, which make each step slow
_SMALL = (*_LARGE, "data.size=[64, 64]", "train.epochs=4")
FALLS = {
    "convolutional pose machines": Trained("lsp_cpm", (*_WIDE, "task.centre=5.5")),
    "DeepPose, first stage": Trained("lsp_deeppose", (*_LARGE, "data.size=[115, 115]", "train.epochs=6")),
    "FCGN, disks": Trained("lsp_fcgn_disks", (*_SMALL, "task.size=5")),
    "FCGN, Gaussians": Trained("lsp_fcgn_gaussians", (*_SMALL, "task.size=3")),
    "OpenPose": Trained("coco_openpose", (*_WIDE, "data.train_size=[96, 96]")),
}


def seen(metrics: Metrics) -> str:
    run = metrics["training"]
    return f"{run['images_seen']:,} images, {run['time_s'] / 60:.1f} min, {run['precision']}"


def run_all(networks: dict[str, Trained], part: str, data: Path | None, runs: Path) -> dict[str, tuple[Path, Metrics]]:
    """(run, metrics) of each network by its name, trained where that is not done yet."""
    found = {}
    for name, one in networks.items():
        overrides = [*one.overrides, *([f"data.root={data}"] if data else [])]
        if one.start:
            overrides.append(f"model.weights={start(one.start, runs)}")
        run = runs / "-".join(filter(None, ("pose", part, one.recipe, one.change)))
        found[name] = run, train(one.recipe, overrides, run)
        print(f"{name}: {one.metric} {found[name][1][one.metric]:.4f}, {seen(found[name][1])}", flush=True)
    return found


def start(recipe: str, runs: Path) -> Path:
    """Weights of the run on figures."""
    run = runs / f"pose-figures-{recipe}"
    train(recipe, (), run)
    return run / "model.safetensors"


def rows_of(networks: dict[str, Trained], found: dict[str, tuple[Path, Metrics]]) -> list[Row]:
    return [
        Row(
            what=f"{name}, {'limbs joined right' if one.metric == 'limbs' else one.metric}",
            figure=f"{100 * found[name][1][one.metric]:.1f} % ({seen(found[name][1])})",
            reference=one.reference,
        )
        for name, one in networks.items()
    ]


def figures(data: Path, runs: Path) -> list[Row]:
    """One person, three people, and the time that parsing takes."""
    found = run_all(FIGURES, "figures", None, runs)
    count, fps = 30, parsing_fps(30)
    row = Row(what=f"parsing of {count} people, one core, images/s", figure=f"{fps:.0f}", reference="at least 30")
    return [*rows_of(FIGURES, found), row]


def parsing_fps(people: int) -> float:
    """Images of so many people that one core parses in a second of its time, fields and heatmaps given."""
    maps, fields = crowd(people)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found, spent = parse(maps, fields, LSP_LIMBS), []
    for _ in range(20):
        begun = time.process_time()
        parse(maps, fields, LSP_LIMBS)
        spent.append(time.process_time() - begun)
    torch.set_num_threads(threads)
    if len(found.joints) != people:
        raise RuntimeError(f"{len(found.joints)} people were found of {people}")
    return 1 / median(spent)


def crowd(people: int) -> tuple[Tensor, Tensor]:
    """Perfect heatmaps (14, 46, 82) and fields (26, 46, 82) of people in rows, as of an image of 368x656."""
    height, width, columns = 46, 82, 10
    standing = torch.as_tensor(_STANDING)[None] * torch.tensor([5.0, 11.0])  # (1, 14, 2)
    places = [(2.0 + 8 * (i % columns), 2.0 + 15 * (i // columns)) for i in range(people)]
    joints = standing + torch.tensor(places)[:, None]
    maps = gaussians(joints, (height, width), 0.7).amax(0)
    return maps, affinity_fields(joints, LSP_LIMBS, (height, width), 0.5)


_STANDING = (  # x, y of LSP's joints in a box of 1
    *((0.3, 1.0), (0.3, 0.8), (0.35, 0.55), (0.65, 0.55), (0.7, 0.8), (0.7, 1.0)),
    *((0.0, 0.6), (0.1, 0.4), (0.25, 0.2), (0.75, 0.2), (0.9, 0.4), (1.0, 0.6), (0.5, 0.17), (0.5, 0.0)),
)


def photographs(data: Path, runs: Path) -> list[Row]:
    """LSP extended, and the mean pose beside the networks."""
    error = mean_pose(data)
    row = Row(what=f"the mean pose for everyone, {PCK}", figure=f"{100 * error:.1f} %", reference="4.3 %")
    print(f"{row.what}: {row.figure}", flush=True)
    return [row, *rows_of(PHOTOGRAPHS, run_all(PHOTOGRAPHS, "lsp", data, runs))]


def mean_pose(data: Path) -> float:
    """Share of right joints where each person's are the mean of the training people's, by their squares."""
    total, count = torch.zeros(len(LSP), 2), torch.zeros(len(LSP), 1)
    for points, visible, side in squares(Lsp(data, "train")):
        total += torch.where(visible[:, None], points / side, 0.0)
        count += visible[:, None]
    people = Lsp(data, "val")
    scores = PoseScores(people.info)
    for points, visible, side in squares(people):
        batch = {"keypoints": points[None], "visible": visible[None]}
        scores.update({"keypoints": (total / count * side)[None], "score": torch.ones(1, len(LSP))}, batch)
    return scores.compute()[PCK]


def squares(reader: Lsp) -> Iterator[tuple[Tensor, Tensor, int]]:
    """(14, 2) joints, (14,) which are visible, and the side of the square, of each person."""
    for i in range(len(reader)):
        sample = reader[i]
        yield sample["keypoints"], sample["visible"], sample["image"].shape[-1]


def by_heart(data: Path, runs: Path) -> list[Row]:
    """The first 32 training photographs, learned and measured."""
    rows = []
    for name, (run, metrics) in run_all(HEARTS, "heart", few(data, runs / "lsp-by-heart", BY_HEART), runs).items():
        figure = f"{100 * evaluate(run, '--split', 'train')[PCK]:.1f} % ({seen(metrics)})"
        rows.append(
            Row(what=f"{name}, {BY_HEART} photographs by heart, {PCK}", figure=figure, reference="at least 95 %")
        )
        print(f"{rows[-1].what}: {figure}", flush=True)
    return rows


def few(data: Path, folder: Path, count: int) -> Path:
    """A folder with the first training people of `data`, and the next eight for validation."""
    if not (folder / "val.txt").is_file():
        (folder / "images").mkdir(parents=True, exist_ok=True)
        numbers = (data / "train.txt").read_text(encoding="utf-8").split()[: count + 8]
        shutil.copy(data / "joints.mat", folder)
        for number in numbers:
            shutil.copy(data / "images" / f"im{int(number):05d}.jpg", folder / "images")
        for split, part in (("train", numbers[:count]), ("val", numbers[count:])):
            (folder / f"{split}.txt").write_text("\n".join(part) + "\n", encoding="utf-8")
    return folder


def few_scenes(data: Path, folder: Path, count: int) -> Path:
    """A folder with the first `count` images of COCO, training first, that show labelled people, as both splits."""
    last = folder / "annotations" / "person_keypoints_val2017.json"
    if not last.is_file():
        parts = [_shown(data, split) for split in ("train2017", "val2017")]
        images = [(split, image) for split, part in parts for image in part["images"]][:count]
        numbers = {image["id"] for _, image in images}
        people = [one for _, part in parts for one in part["annotations"] if one["image_id"] in numbers]
        content = {**parts[0][1], "images": [image for _, image in images], "annotations": people}
        last.parent.mkdir(parents=True, exist_ok=True)
        for split in ("train2017", "val2017"):
            (folder / split).mkdir(exist_ok=True)
            for source, image in images:
                shutil.copy(data / source / image["file_name"], folder / split)
            last.with_name(f"person_keypoints_{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _shown(data: Path, split: str) -> tuple[str, dict[str, Any]]:
    """The split, and its annotations without images on which no joint is labelled."""
    path = data / "annotations" / f"person_keypoints_{split}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    shown = {one["image_id"] for one in content["annotations"] if one["num_keypoints"]}
    return split, {**content, "images": [image for image in content["images"] if image["id"] in shown]}


def falls(data: Path, runs: Path) -> list[Row]:
    """The loss of some passes over 64 people, or all of COCO's scenes up to 64, at half the paper's size or less."""
    people, scenes = few(data, runs / "lsp-few", FEW), few_scenes(data.parent / "coco_mini", runs / "coco-few", FEW)
    rows = []
    for name, one in FALLS.items():
        run = runs / f"pose-falls-{one.recipe}"
        metrics = train(one.recipe, [*one.overrides, f"data.root={scenes if 'coco' in one.recipe else people}"], run)
        first, last, passes = fall(run)
        figure = f"{first:.4g} to {last:.4g} in {passes} passes ({seen(metrics)})"
        rows.append(Row(what=f"{name}, mean loss of the first and of the last pass", figure=figure, reference="falls"))
        print(f"{name}: {figure}", flush=True)
    return rows


def fall(run: Path) -> tuple[float, float, int]:
    """Mean loss of a run's first pass over its images and of its last, and how many there were."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [(line["epoch"], line["loss"]) for line in lines if line["kind"] == "step"]
    last = losses[-1][0]
    return mean(loss for epoch, loss in losses if epoch == 0), mean(x for epoch, x in losses if epoch == last), last + 1


PARTS: dict[str, Callable[[Path, Path], list[Row]]] = {
    "figures": figures,
    "lsp": photographs,
    "heart": by_heart,
    "falls": falls,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.pose", description=__doc__)
    shared = ROOT.parent / "shared" / "data" / "lspet_pose"
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--data", type=Path, default=shared, help="folder of LSP extended")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    options = parser.parse_args(arguments)
    runs = options.runs.absolute()
    rows = PARTS[options.part](options.data.absolute(), runs)
    spent_s = sum(
        json.loads(path.read_text(encoding="utf-8"))["training"]["time_s"] for path in finished(options.part, runs)
    )
    command = f"python -m benchmarks.pose {options.part}"
    write_result(RESULTS / f"pose_{options.part}.json", rows, command=command, seed=0, wall_s=spent_s)
    return 0


def finished(part: str, runs: Path) -> list[Path]:
    """What the runs of a part gave."""
    return sorted(runs.glob(f"pose-{part}-*/metrics.json"))


if __name__ == "__main__":
    sys.exit(main())
