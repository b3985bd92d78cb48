"""Fingerprints of six short runs: sha256 of their weights after 30 steps, and of what `evaluate` and `predict` answer.

A change that should not change behaviour must leave every one of them as it was: `compare` trains again and says what
differs from the kept ones. They hold on one processor, in float32, with one thread.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

import unpool
from benchmarks.record import RESULTS, ROOT, Row, machine, write_result
from unpool.data.readers import READERS
from unpool.types import Decoding, Reader, Sample

STEPS, SEEN = 30, 4  # optimiser steps; validation images that are measured and predicted
FILE = RESULTS / "fingerprints.json"
FIXED = {
    "train.device": "cpu",
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "train.threads": 1,
    "train.warmup_epochs": 0,
    "train.evaluate_every": 1,
    "train.eval_batch": 4,
    "data.workers": 0,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recipe, made small: `data` is its folder below that of all data sets, `overrides` what is fixed beside."""

    recipe: str
    data: str | None = None
    batch: int = 8
    overrides: tuple[tuple[str, Any], ...] = ()


LECTURE = (("train.schedule", "constant"), ("train.lr", 1e-3), ("train.ema", None))
CASES = {
    "scenes_unet": Case(recipe="scenes_unet"),
    "mnist_lecture": Case(recipe="mnist_convnet", data="mnist", batch=32, overrides=LECTURE),
    "cifar10_resnet20": Case(recipe="cifar10_resnet20", data="cifar10_jpeg", batch=32),
    "bsd_dncnn_s": Case(recipe="bsd_dncnn_s", data="bsd_denoise", overrides=(("data.repeat", 1),)),
    "figures_hourglass": Case(recipe="figures_hourglass", batch=4),
    "figures_openpose": Case(recipe="figures_openpose", batch=2),
}


class Some:
    """`count` samples of a reader, evenly spread, or all of them where it has no more."""

    def __init__(self, reader: Reader, count: int) -> None:
        self.gives, self.info, self.faults = reader.gives, reader.info, reader.faults
        count = min(count, len(reader))
        self._indices = [i * len(reader) // count for i in range(count)]
        self.names: Sequence[str] = [reader.names[i] for i in self._indices]
        self._reader = reader

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.names):
            raise IndexError(f"sample {index} of {len(self.names)}")
        return self._reader[self._indices[index]]


def fingerprint(case: Case, data: Path) -> dict[str, str]:
    """sha256 of the weights, metrics and files that one short run leaves in the current folder, by name."""
    root = {} if case.data is None else {"data.root": str(data / case.data)}
    settings = {**FIXED, **root, "train.epochs": 1, "train.batch": case.batch, **dict(case.overrides)}
    recipe = unpool.load_recipe(case.recipe, settings)
    kind, options = READERS[recipe.data.reader], dict(recipe.data.options)
    if recipe.data.reader in ("cifar", "mnist", "images"):
        options["decoding"] = Decoding(channels=recipe.data.channels)
    folder = None if case.data is None else Path(data / case.data)
    train, val = (kind(folder, split, **options) for split in ("train", "val"))  # type: ignore[call-arg]
    train, val = Some(train, STEPS * case.batch), Some(val, SEEN)
    trained = unpool.train(recipe, model=None, train=train, val=val, run=Path("run"))
    weights = safetensors.torch.load_file("run/model.safetensors")
    _write_images(val)
    images = sorted(Path("images").iterdir())
    answered = unpool.predict(Path("run"), images, Path("out"))
    measured = unpool.evaluate(Path("run"), reader=val)
    known = {key: value for key, value in trained.items() if key in measured or key == "history"}
    return {
        "weights": _of_tensors(weights),
        "train": _of_json(_without_times(known)),
        "evaluate": _of_json(measured),
        "predict": _of_json(answered),
        "predicted files": _of_files(Path("out")),
    }


def _write_images(reader: Reader | Some) -> None:
    Path("images").mkdir()
    for index in range(len(reader)):
        image = reader[index]["image"]
        values = image.permute(1, 2, 0).squeeze(2).contiguous().numpy()
        Image.fromarray(values).save(Path("images") / f"{index}.png")


def _of_tensors(tensors: dict[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.contiguous().numpy().tobytes())
    return total.hexdigest()


def _of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else str(value)


def _of_files(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(part) for key, part in value.items() if not key.endswith("_s")}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def measure(names: Sequence[str], data: Path) -> dict[str, dict[str, str]]:
    """The fingerprints of each case."""
    torch.set_num_threads(1)
    taken = {}
    for name in names:
        started_s = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, _inside(folder):
            taken[name] = fingerprint(CASES[name], data)
        print(f"{name}: {time.monotonic() - started_s:.0f} s", flush=True)
    return taken


def differences(kept: dict[str, dict[str, str]], taken: dict[str, dict[str, str]]) -> list[str]:
    """`case: what` of each fingerprint that is not the kept one."""
    return [f"{name}: {what}" for name, parts in taken.items() for what in parts if kept[name].get(what) != parts[what]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.fingerprints", description=__doc__)
    parser.add_argument("verb", choices=("keep", "compare"), help="write them down, or compare with those kept")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(CASES)}; all where none is given")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--file", type=Path, default=FILE, help="where they are kept")
    options = parser.parse_args(arguments)
    started_s = time.monotonic()
    taken = measure(options.names or list(CASES), options.data.absolute())
    if options.verb == "keep":
        rows = [Row(what="fingerprints of short runs, kept to compare with", figure=str(sum(map(len, taken.values()))))]
        command, wall_s = "python -m benchmarks.fingerprints keep", time.monotonic() - started_s
        write_result(options.file, rows, command=command, seed=0, wall_s=wall_s, details={"sha256": taken})
        return 0
    kept = json.loads(options.file.read_text(encoding="utf-8"))
    if kept["machine"]["processor"] != machine()["processor"]:
        print(f"kept on {kept['machine']['processor']}: on another processor equal code may differ")
    found = differences(kept["details"]["sha256"], taken)
    print("\n".join(found) if found else f"equal: {sum(map(len, taken.values()))} fingerprints of {len(taken)} runs")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
