"""Trains by 1, 2 and 4 processes with one total batch; compares losses, weights, metrics, and the samples seen.

The last batch of an epoch has one sample, so that all processes but one have none there. In float64 what differs is how
the sum over a batch is rounded; in float32 the differences grow with the steps, as those of two machines do.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from benchmarks import fingerprints
from benchmarks.fingerprints import Some
from benchmarks.record import RESULTS, Row, write_result
from unpool.assemble.data import make_reader, read_data
from unpool.assemble.job import make_job
from unpool.assemble.loaders import make_eval_loader, make_train_loader
from unpool.recipe import load_recipe
from unpool.training import processes
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate
from unpool.training.job import Job, StepRecord
from unpool.training.loop import fit
from unpool.training.preflight import has_unused_weights
from unpool.training.stopping import StopRequest
from unpool.types import Batch

BATCH, SAMPLES, EPOCHS, MEASURED = 8, 49, 3, 17  # 7 steps an epoch, the last of one sample
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


def work(recipe_name: str, root: Path | None, *, in_double: bool, synchronized: bool, out: Path) -> None:
    """One of the processes: trains, and the first of them writes what came out."""
    overrides = {**FIXED, "model.sync_batch_norm": synchronized, **({} if root is None else {"data.root": str(root)})}
    recipe = load_recipe(recipe_name, overrides)
    torch.set_num_threads(1)
    if in_double:
        torch.Tensor.float = as_it_is  # the tasks compute losses in float32 where they can choose
    with processes.joined():
        data = read_data(
            recipe, train=Some(make_reader(recipe, "train"), SAMPLES), val=Some(make_reader(recipe, "val"), MEASURED)
        )
        loader = make_train_loader(recipe, data)
        job = make_job(recipe, data, loader, model=None, stop=StopRequest())
        noted, prepare = Noted(), job.prepare
        if in_double:
            job.learned.double()

        def noting(batch: Batch) -> Batch:
            if job.model.training:
                noted.latest = [int(index) for index in batch["index"]]
            prepared = prepare(batch)
            return {key: _double(value) for key, value in prepared.items()} if in_double else prepared

        job.prepare = noting
        if processes.world_size() > 1:
            job.has_unused_weights = has_unused_weights(job, loader.batch_of(loader.order.batches(0)[0], 0))
        evaluation = Evaluate(make_eval_loader(recipe, data.val.samples, data.preprocessing), every=EPOCHS)
        fit(job, [noted, evaluation])
        seen = processes.gathered(noted.seen)
        if processes.is_leader():
            weights = {name: value.contiguous() for name, value in job.learned.state_dict().items()}
            safetensors.torch.save_file(weights, out / "weights.safetensors")
            metrics = evaluation.history[-1]
            (out / "facts.json").write_text(json.dumps({"losses": noted.losses, "seen": seen, "metrics": metrics}))


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
    values = parser.parse_args()
    if values.work:
        work(values.work, values.root, in_double=values.double, synchronized=not values.apart, out=values.out)
        return 0
    return compare(values.only, values.data)


def compare(recipes: Sequence[str], data: Path | None) -> int:
    started_s = time.monotonic()
    lines, is_good = [], True
    for recipe in recipes:
        folder = RECIPES[recipe]
        root = None if folder is None or data is None else data / folder
        if folder is not None and root is None:
            sys.stdout.write(f"{recipe} needs --data\n")
            continue
        for options in (["--double"], [], ["--apart"]):
            runs = {count: trained(recipe, root, count, options=options) for count in (1, 2, 4)}
            for count in (2, 4):
                found = compared(runs[1], runs[count])
                once = seen_once(runs[count]["seen"]) and seen_once(runs[1]["seen"])
                kind = "float64" if "--double" in options else "float32"
                kind += ", own statistics" if "--apart" in options else ""
                lines.append(
                    [recipe, kind, str(count), *(f"{found[key]:.1e}" for key in found), "yes" if once else "no"]
                )
                sys.stdout.write(" ".join(lines[-1]) + "\n")
                is_good &= once and (kind != "float64" or (found["weights"] < 1e-9 and found["metrics"] < 1e-6))
    head = ["recipe", "in", "processes", "loss", "weights", "metrics", "each sample once"]
    steps = EPOCHS * -(-SAMPLES // BATCH)
    rows = [Row(what=f"largest differences from one process, {steps} steps", figure="see the table")]
    write_result(
        RESULTS / "processes.json",
        rows,
        command="python -m benchmarks.processes --data DIR",
        seed=0,
        wall_s=time.monotonic() - started_s,
        table=[head, *lines],
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
