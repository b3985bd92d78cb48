"""Trains by 1, 2 and 4 processes with one total batch; compares losses, weights, metrics, and the samples seen.

The last batch of an epoch has one sample, so that all processes but one have none there. In float64 what differs is how
the sum over a batch is rounded; in float32 the differences grow with the steps, as those of two machines do. How far
that goes is measured too: by one process again, after the last bit of each of its first weights was drawn anew.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from benchmarks import fingerprints
from benchmarks.fingerprints import Some
from benchmarks.record import RESULTS, Row, commit, write_result
from unpool.assemble.data import make_reader, read_data
from unpool.assemble.job import make_job
from unpool.assemble.loaders import make_eval_loader, make_train_loader
from unpool.recipe import load_recipe
from unpool.training import processes
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate
from unpool.training.job import Job, StepRecord
from unpool.training.loop import fit
from unpool.training.stopping import StopRequest
from unpool.types import Batch

BATCH, SAMPLES, EPOCHS, MEASURED = 8, 49, 3, 5  # 7 steps an epoch, the last of one sample
FIXED = {
    **fingerprints.FIXED,
    "train.epochs": EPOCHS,
    "train.batch": BATCH,
    "train.drop_last": False,
    "train.evaluate_every": EPOCHS,
    "data.repeat": 1,
    "model.sync_batch_norm": True,
}
RECIPES = {"mnist_convnet": "mnist", "scenes_unet": None, "figures_hourglass": None, "bsd_dncnn_s": "bsd_denoise"}
# at its own rate for 16 images DnCNN's loss leaps in the first steps of 8, and differences grow fourfold in each
CALM = {"bsd_dncnn_s": {"train.lr": 1e-4}}
FILE = RESULTS / "processes.json"
LOSS, NOISES = 1e-5, 10  # a loss in float32 may differ by so much, or by so many times what the last bits make


class Noted(Callback):
    """Notes the loss of each step, and the samples that this process has seen in it."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seen: list[tuple[int, list[int]]] = []
        self.latest: list[int] = []

    def after_step(self, job: Job, record: StepRecord) -> None:
        part = job.part(record.epoch, job.counters.position - 1)
        self.losses.append(record.loss)
        self.seen.append((record.epoch, self.latest[: part.count] if part else self.latest))


def work(
    recipe_name: str, root: Path | None, *, in_double: bool, synchronized: bool, is_nudged: bool, out: Path
) -> None:
    """One of the processes: trains, and the first of them writes what came out."""
    overrides = {
        **FIXED,
        **CALM.get(recipe_name, {}),
        "model.sync_batch_norm": synchronized,
        **({} if root is None else {"data.root": str(root)}),
    }
    recipe = load_recipe(recipe_name, overrides)
    torch.set_num_threads(1)
    if in_double:
        torch.Tensor.float = as_it_is  # pyright: ignore[reportAttributeAccessIssue] - the tasks compute losses in float32 where they can choose
    with processes.joined():
        data = read_data(
            recipe, train=Some(make_reader(recipe, "train"), SAMPLES), val=Some(make_reader(recipe, "val"), MEASURED)
        )
        loader = make_train_loader(recipe, data)
        job = make_job(recipe, data, loader, model=None, stop=StopRequest())
        noted, prepare = Noted(), job.prepare
        if in_double:
            job.learned.double()
        if is_nudged:
            nudge(job.learned.parameters())

        def noting(batch: Batch) -> Batch:
            if job.model.training:
                noted.latest = [int(index) for index in batch["index"]]
            prepared = prepare(batch)
            return {key: _double(value) for key, value in prepared.items()} if in_double else prepared

        job.prepare = noting
        shared = make_eval_loader(recipe, data.val.samples, data.preprocessing, is_shared=True)
        evaluation = Evaluate(shared, every=EPOCHS)
        fit(job, [noted, evaluation])
        seen = processes.gathered(noted.seen)
        if processes.is_leader():
            weights = {name: value.contiguous() for name, value in job.learned.state_dict().items()}
            safetensors.torch.save_file(weights, out / "weights.safetensors")
            metrics = evaluation.history[-1]
            (out / "facts.json").write_text(json.dumps({"losses": noted.losses, "seen": seen, "metrics": metrics}))


@torch.no_grad()
def nudge(weights: Iterable[Tensor]) -> None:
    """Moves each number to a neighbouring one, or leaves it."""
    generator = torch.Generator().manual_seed(0)
    for weight in weights:
        towards = torch.randint(-1, 2, weight.shape, generator=generator) * torch.inf
        weight.copy_(torch.where(towards.isnan(), weight, torch.nextafter(weight, towards)))


def as_it_is(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.to(torch.float32)


def _double(value: Any) -> Any:
    if isinstance(value, list):
        return [_double(one) for one in value]
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def trained(recipe: str, root: Path | None, count: int, *, options: Sequence[str]) -> dict[str, Any]:
    """What a run by so many processes left."""
    with tempfile.TemporaryDirectory() as folder:
        starter = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] if count > 1 else []
        command = [sys.executable, *starter, "-m", "benchmarks.processes", "--work", recipe, "--out", folder, *options]
        if root is not None:
            command += ["--root", str(root)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        facts = json.loads(Path(folder, "facts.json").read_text())
        return {**facts, "weights": safetensors.torch.load_file(Path(folder, "weights.safetensors"))}


def seen_once(seen: Sequence[Sequence[tuple[int, list[int]]]]) -> bool:
    """Whether the processes together have seen each sample once in each epoch."""
    counts = Counter((epoch, index) for of_rank in seen for epoch, indices in of_rank for index in indices)
    return counts == Counter((epoch, index) for epoch in range(EPOCHS) for index in range(SAMPLES))


def compared(one: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """The largest differences of two runs."""
    weights = [(one["weights"][name].double(), value.double()) for name, value in other["weights"].items()]
    largest = max(float(value.abs().max()) for value, _ in weights)
    pairs = zip(_numbers(one["metrics"]), _numbers(other["metrics"]), strict=True)
    return {
        "loss": max(abs(a - b) for a, b in zip(one["losses"], other["losses"], strict=True)),
        "weights": max(float((a - b).abs().max()) for a, b in weights) / largest,
        "metrics": max(abs(a - b) for a, b in pairs),
    }


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        return [number for item in (value.values() if isinstance(value, dict) else value) for number in _numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


def _line(recipe: str, kind: str, count: int, found: dict[str, float], *, once: str = "-") -> list[str]:
    line = [recipe, kind, str(count), *(f"{found[key]:.1e}" for key in ("loss", "weights", "metrics")), once]
    sys.stdout.write(" ".join(line) + "\n")
    sys.stdout.flush()
    return line


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder of the data sets; those of the repository's neighbour by default"
    )
    parser.add_argument("--only", nargs="*", default=list(RECIPES))
    parser.add_argument("--work", help="internal: be one of the processes")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--nudged", action="store_true")
    values = parser.parse_args()
    if values.work:
        kind = {"in_double": values.double, "synchronized": not values.apart, "is_nudged": values.nudged}
        work(values.work, values.root, **kind, out=values.out)
        return 0
    return compare(values.only, values.data)


def compare(recipes: Sequence[str], data: Path | None) -> int:
    started_s = time.monotonic()
    before = json.loads(FILE.read_text()) if FILE.is_file() and set(recipes) != set(RECIPES) else {}
    lines = [line for line in before.get("table", [])[1:] if line[0] not in recipes]
    commits = {line[0]: before["commit"] for line in lines} | before.get("details", {}).get("commits", {})
    commits |= dict.fromkeys(recipes, commit())
    is_good = True
    for recipe in recipes:
        folder = RECIPES[recipe]
        root = None if folder is None or data is None else data / folder
        if folder is not None and root is None:
            sys.stdout.write(f"{recipe} needs --data\n")
            continue
        kinds = (("float64", ["--double"]), ("float32", []), ("float32, own statistics", ["--apart"]))
        runs = {(kind, n): trained(recipe, root, n, options=options) for kind, options in kinds for n in (1, 2, 4)}
        nudged = compared(runs["float32", 1], trained(recipe, root, 1, options=["--nudged"]))
        lines.append(_line(recipe, "float32, last bits of the first weights", 1, nudged))
        limits = {"float64": {"weights": 1e-9}, "float32": {"loss": max(LOSS, NOISES * nudged["loss"])}}
        for (kind, count), other in runs.items():
            if count == 1:
                continue
            found, once = compared(runs[kind, 1], other), seen_once(other["seen"]) and seen_once(runs[kind, 1]["seen"])
            lines.append(_line(recipe, kind, count, found, once="yes" if once else "no"))
            is_good &= once and all(found[key] < most for key, most in limits.get(kind, {}).items())
            is_good &= kind != "float64" or found["metrics"] < 1e-6
    head = ["recipe", "in", "processes", "loss", "weights", "metrics", "each sample once"]
    steps = EPOCHS * -(-SAMPLES // BATCH)
    rows = [Row(what=f"largest differences from one process, {steps} steps", figure="see the table")]
    write_result(
        FILE,
        rows,
        command="python -m benchmarks.processes --data DIR",
        seed=0,
        wall_s=time.monotonic() - started_s + before.get("wall_s", 0.0),
        details={"commits": commits},
        table=[head, *lines],
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
