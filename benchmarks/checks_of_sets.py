"""What `unpool check` says of public sets as they are: `python -m benchmarks.checks_of_sets --data DIR --json FILE`.

Each run is made in a process of its own. `EXPECTED` is written from the sets' description: what is odd in them, and
whether it must be a warning or failure, or only be said. What is found beyond is judged in `JUDGED` by who looked at
the files; a warning or failure that stands in neither is counted as not judged.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

import unpool
from benchmarks.record import RESULTS, Row, write_result

LONGEST = 2.5  # times the minutes of a check, before its process is ended
MEAN, STD = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


class Of(NamedTuple):
    """One run of a set: a recipe, or plain objects where `recipe` is empty.

    Attributes:
        folder: of the set.
        recipe: that reads it.
        root: below the folder, where the recipe's reader begins.
        shorter: side that pictures are brought to; 0 leaves that to the recipe.
    """

    folder: str
    recipe: str = ""
    root: str = ""
    shorter: int = 0

    @property
    def name(self) -> str:
        return self.recipe or f"{self.folder} (plain)"


RUNS = (
    Of("hymenoptera", "hymenoptera_resnet18"),
    Of("camvid", "camvid_unet_small"),
    Of("lspet_pose", "lsp_simple_baselines"),
    Of("bccd", "bccd_ssd", "BCCD"),
    Of("fruitveg_loc", "fruitveg_localizer"),
    Of("coco_mini", "coco_fasterrcnn", shorter=256),
    Of("coco_mini", "coco_simple_baselines"),
    Of("caltech101_loc3", "caltech_localizer"),
    Of("cub200_10", "cub_localizer"),
    Of("cub200_10", "cub_parts"),
    Of("mnist", "mnist_convnet"),
    Of("cifar10_jpeg", "cifar10_resnet20"),
    Of("lfw_gray", "lfw_arcface"),
    Of("orl_faces", "orl_triplet"),
    Of("flickr8k_mini", "flickr8k_lstm"),
    Of("bsd_denoise", "bsd_dncnn_s"),
    Of("isbi2012_em", "isbi_unet"),
    Of("imagenet_samples"),
)


class Oddity(NamedTuple):
    """Something odd that a set's description names.

    Attributes:
        run: the recipe, or plain run, that is to say it.
        words: pattern of one text of a finding, its evidence included.
        what: for people.
        cause: of a warning or failure that must hold the words; empty where it is enough that a finding says it.
        matters: for what is learned or measured, so that it must be found; else it is counted apart.
    """

    run: str
    words: str
    what: str
    cause: str = ""
    matters: bool = True


EXPECTED = (
    Oddity("hymenoptera_resnet18", r"imageNotFound\.gif", "a notice in the stead of a picture", "data.constant"),
    Oddity("camvid_unet_small", r"[\d.]+% of their pixels stand for no class", "void pixels"),
    Oddity("lsp_simple_baselines", r"[\d,]+ of [\d,]+ are marked hidden", "invisible joints"),
    Oddity("bccd_ssd", r"no extent.*BloodImage_00343\.xml", "a box without area in training", "data.box_invalid"),
    Oddity("bccd_ssd", r"no extent.*BloodImage_00338\.xml", "a box without area in validation", "data.box_invalid"),
    Oddity("bccd_ssd", r"00037\.jpg.*00038\.jpg", "one smear in both splits", "data.leak"),
    Oddity("fruitveg_localizer", r"cucumber_17.*cucumber_48", "mirror images, which a drawn split must not divide"),
    Oddity("hymenoptera_resnet18", r"\.gif is GIF", "one file of another format", matters=False),
    Oddity("coco_fasterrcnn", r"1 of 76 images have no label", "an image without instances", matters=False),
    Oddity("coco_fasterrcnn", r"crowd", "crowd regions", matters=False),
    Oddity("caltech_localizer", r"grey image.*2 files", "two grey pictures among coloured ones", matters=False),
    Oddity("caltech_localizer", r"face/.* and .*face/", "people in both splits", matters=False),
    Oddity("imagenet_samples (plain)", r"grey", "two grey pictures among coloured ones", matters=False),
)
JUDGED: Mapping[tuple[str, str], tuple[bool, str]] = {  # (run, cause): whether it is true, and why
    ("mnist_convnet", "network.output_at_start"): (True, "the first loss is 5.4; its last layer starts large"),
}


def checked(run: Of, data: Path, *, minutes: float, pages: Path | None) -> dict[str, Any]:
    """What a check in this process finds."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        if run.recipe:
            folder = data / run.folder
            root = stacked(folder, Path(scratch)) if run.folder == "isbi2012_em" else folder / run.root
            sides = {"data.shorter": run.shorter, "data.longest": 2 * run.shorter} if run.shorter else {}
            report = unpool.check(run.recipe, {"data.root": str(root), **sides}, minutes=minutes)
        else:
            report = unpool.check(**samples_of_imagenet(data / run.folder), minutes=minutes)
    if pages is not None:
        pages.mkdir(parents=True, exist_ok=True)
        (pages / f"{run.recipe or run.folder}.html").write_text(report.to_page(), encoding="utf-8")
    findings = [
        {"check": result.check.name, **finding.to_json(), "pictures": len(finding.pictures)}
        for result in report.results
        for finding in result.findings
        if finding.verdict != "not applicable"
    ]
    late = [text for text in report.cut if text.startswith("no time")]
    return {"seconds": round(time.perf_counter() - start, 1), "late": late, "findings": findings}


def stacked(folder: Path, scratch: Path) -> Path:
    """The two stacks of slices as the reader of images and masks takes them, by links."""
    for name, source in (("images", "train-volume.tif"), ("masks", "train-labels.tif")):
        (scratch / name).mkdir()
        (scratch / name / "em.tif").symlink_to(folder / source)
    (scratch / "classes.txt").write_text("membrane\ncell\n", encoding="utf-8")
    return scratch


class Photographs(Dataset):
    """Pictures of ImageNet and their classes, as val.txt lists them."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / "val.txt").read_text(encoding="utf-8").split()
        pairs = zip(lines[::2], lines[1::2], strict=True)
        self.samples = [(str(folder / "images" / Path(file).name), int(label)) for file, label in pairs]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        with Image.open(path) as picture:
            pixels = torch.frombuffer(bytearray(picture.convert("RGB").resize((128, 128)).tobytes()), dtype=torch.uint8)
        return (pixels.reshape(128, 128, 3).permute(2, 0, 1).float() / 255 - MEAN) / STD, label


def samples_of_imagenet(folder: Path) -> dict[str, Any]:
    """A plain run of a set that no recipe reads: it has no training split."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, width in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1000))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    return {"model": model, "train": Photographs(folder), "loss": nn.functional.cross_entropy, "optimizer": optimizer}


def in_its_process(run: Of, options: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own; `failure` in its stead where that ends otherwise."""
    command = [sys.executable, "-m", "benchmarks.checks_of_sets", "--one", run.name, "--data", str(options.data)]
    command += ["--minutes", str(options.minutes)] + (["--pages", str(options.pages)] if options.pages else [])
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60 * LONGEST * options.minutes + 60, env=dict(os.environ)
        )
    except subprocess.TimeoutExpired:
        return {"seconds": 0.0, "late": [], "findings": [], "failure": "longer than two and a half times its minutes"}
    if done.returncode:
        return {"seconds": 0.0, "late": [], "findings": [], "failure": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout.splitlines()[-1])


def is_said(oddity: Oddity, result: Mapping[str, Any]) -> bool:
    """Whether a finding of the run holds the words, as a warning or failure of the cause where it has one."""
    return any(
        re.search(oddity.words, text) is not None
        for one in result["findings"]
        if not oddity.cause or (one["cause"] == oddity.cause and one["verdict"] in ("warn", "fail"))
        for text in (one["about"], *one["evidence"])
    )


def beyond(name: str, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Warnings and failures of a run that the description does not name, each with the judgement of it."""
    named = {one.cause for one in EXPECTED if one.run == name and one.cause and is_said(one, result)}
    others = [one for one in result["findings"] if one["verdict"] in ("warn", "fail") and one["cause"] not in named]
    return [{**one, "true": JUDGED.get((name, one["cause"]), (None, "not judged"))[0],
             "reason": JUDGED.get((name, one["cause"]), (None, "not judged"))[1]} for one in others]  # fmt: skip


def summed_up(results: Mapping[str, Mapping[str, Any]]) -> tuple[list[Row], list[list[str]], dict[str, Any]]:
    """Rows, a table of one line a run, and the details."""
    asked = [one for one in EXPECTED if one.run in results]
    said = {one: is_said(one, results[one.run]) for one in asked}
    more = {name: beyond(name, result) for name, result in results.items()}
    others = [one for found in more.values() for one in found]
    invented = [one for one in others if one["true"] is not True]
    seconds = [result["seconds"] for result in results.values()]
    sets = {run.folder for run in RUNS if run.name in results}
    rows = [
        Row(what="oddities that matter and are found", figure=_part(said, matters=True), reference="all"),
        Row(what="other oddities that are said", figure=_part(said, matters=False)),
        Row(what=f"invented failures, {len(sets)} sets", figure=_count(invented, "fail"), reference="0"),
        Row(what=f"invented warnings, {len(sets)} sets", figure=_count(invented, "warn"), reference="0"),
        Row(what="true findings beyond those described", figure=str(len(others) - len(invented))),
        Row(what="s a check, median and longest", figure=f"{statistics.median(seconds):.0f}, {max(seconds):.0f}"),
    ]
    table = [["set", "run", "expected", "found beyond", "s"]]
    for run in (run for run in RUNS if run.name in results):
        expected = [f"{one.what}: {'found' if said[one] else 'not found'}" for one in asked if one.run == run.name]
        found = [f"{one['verdict']} {one['cause']} ({one['reason']})" for one in more[run.name]]
        seconds_of = f"{results[run.name]['seconds']:.0f}"
        table.append([run.folder, run.name, "; ".join(expected), "; ".join(found), seconds_of])
    details = {
        "expected": [{**one._asdict(), "found": said[one]} for one in asked],
        "runs": {name: {**result, "beyond": more[name]} for name, result in results.items()},
    }
    return rows, table, details


def _part(said: Mapping[Oddity, bool], *, matters: bool) -> str:
    kept = [was for one, was in said.items() if one.matters is matters]
    return f"{sum(kept)} of {len(kept)}"


def _count(findings: Sequence[Mapping[str, Any]], verdict: str) -> str:
    return str(sum(one["verdict"] == verdict for one in findings))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.checks_of_sets", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--only", nargs="*", default=[], metavar="RUN", help="names of runs, such as bccd_ssd")
    parser.add_argument("--one", metavar="RUN", help="check one run in this process and print what was found")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--pages", type=Path, metavar="DIR", help="where to write the page of each run")
    parser.add_argument("--json", type=Path, help=f"where the result goes, such as {RESULTS / 'checks_of_sets.json'}")
    options = parser.parse_args(arguments)
    by_name = {run.name: run for run in RUNS}
    if options.one:
        found = checked(by_name[options.one], options.data, minutes=options.minutes, pages=options.pages)
        print(json.dumps(found).replace(f"{options.data}/", ""))
        return 0
    began, results = time.monotonic(), {}
    rows: list[Row] = []
    for name in options.only or by_name:
        results[name] = in_its_process(by_name[name], options)
        print(name, results[name]["seconds"], "s", results[name].get("failure", ""), flush=True)
        rows, table, details = summed_up(results)
        if options.json:
            only = f" --only {' '.join(options.only)}" if options.only else ""
            command = f"python -m benchmarks.checks_of_sets --data DIR --minutes {options.minutes:g}{only}"
            wall_s = time.monotonic() - began
            write_result(options.json, rows, command=command, seed=0, wall_s=wall_s, details=details, table=table)
    print("\n".join(f"{row.what}: {row.figure}" for row in rows))
    failed = [name for name, result in results.items() if "failure" in result]
    wrong = [one for name, result in results.items() for one in beyond(name, result) if one["true"] is not True]
    return int(bool(failed or wrong))


if __name__ == "__main__":
    sys.exit(main())
