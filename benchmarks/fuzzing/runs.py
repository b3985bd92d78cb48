"""Finished tiny runs, one of segmentation and one of classification, and what their verbs answer."""

import hashlib
import json
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from benchmarks.fuzzing.verdict import Answer, answer, print_of, print_of_folder
from benchmarks.kill_resume import MEASURED
from tests.tiny_trees import write_tree
from unpool import run
from unpool.training.checkpoint import states

EPOCHS = 2
SMALL = {
    "train.epochs": EPOCHS,
    "train.warmup_epochs": 0,
    "train.batch": 2,
    "train.eval_batch": 2,
    "train.evaluate_every": 1,
    "train.schedule": "constant",  # a state from before the last may take over, and one more epoch changes no rate
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "train.threads": 1,
    "data.workers": 0,
}
SEGMENTATION = {"data.train_size": [32, 32], "model.name": "unet_same_bn", "model.backbone": None}
SEGMENTATION |= {"model.width": 4, "model.depth": 2}
RUNS = {
    "segmentation": ("folder_unet", "folder_masks", "images/0.jpg", SEGMENTATION),
    "classification": ("folder_resnet18", "folder", "ant/0.jpg", {"data.size": [32, 32], "model.name": "lenet5"}),
}
VERBS = ("predict", "predict best", "evaluate", "resume")


class Peace(NamedTuple):
    """A finished run, the data set and image of its verbs, and the print of each verb's right answer."""

    run: Path
    image: Path
    right: dict[str, str]


def finished(name: str, work: Path) -> Peace:
    """The run of a row of `RUNS`, trained where `work` has none yet."""
    recipe, reader, image, small = RUNS[name]
    root, directory = work / "data" / name, work / "runs" / name
    if not (directory / "report.html").is_file():
        shutil.rmtree(directory, ignore_errors=True)
        write_tree(reader, root)
        run.train(recipe, {**SMALL, **small, "data.root": str(root)}, run=directory)
    right = {}
    for verb in VERBS:
        copy = copied(directory, work / "peace")
        given, value = ask(verb, copy, root / image)
        if given.code or given.trace:
            raise RuntimeError(f"{verb} of a whole run failed: {given.message}{given.trace}")
        right[verb] = value
    return Peace(directory, root / image, right)


def copied(directory: Path, target: Path) -> Path:
    """A new copy of a run."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(directory, target))


def ask(verb: str, directory: Path, image: Path) -> tuple[Answer, str]:
    """The answer of a verb on a run, and the print of what it computed: bytes of files, metrics, weights and states."""
    calls = {"predict": _predict, "predict best": partial(_predict, weights="best")}
    calls |= {"evaluate": _evaluate, "resume": _resume}
    given = answer(lambda: calls[verb](directory, image))
    return given, str(given.value)


def _predict(directory: Path, image: Path, weights: Literal["last", "best"] = "last") -> str:
    out = directory.with_name(f"{directory.name}-out")
    shutil.rmtree(out, ignore_errors=True)
    run.predict(directory, [image], out, weights=weights)
    return print_of_folder(out)


def _evaluate(directory: Path, image: Path) -> str:
    return print_of(run.evaluate(directory))


def _resume(directory: Path, image: Path) -> str:
    torch.manual_seed(0)
    metrics: dict[str, Any] = run.resume(directory, {"train.epochs": EPOCHS + 1})
    kept = {name: value for name, value in metrics.items() if name != "training"}
    return hashlib.sha256(f"{print_of(kept)} {_log_of(directory)} {_state_of(directory)}".encode()).hexdigest()


def _state_of(directory: Path) -> list[str]:
    """sha256 of the weights and of the newest state."""
    newest = states(directory / "last")[0] / "state.safetensors"
    files = (directory / "model.safetensors", directory / "best.safetensors", newest)
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def _log_of(directory: Path) -> list[Any]:
    """The computed part of each line of the log; a damaged line as it is."""
    lines = []
    for line in (directory / "log.jsonl").read_bytes().split(b"\n"):
        with suppress(ValueError):
            line = {key: value for key, value in json.loads(line).items() if not key.endswith(MEASURED)}
        lines.append(line)
    return lines
