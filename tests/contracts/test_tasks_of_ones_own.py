"""A task of one's own goes through every verb, though nothing but the table of tasks names it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import unpool
from tests.contracts.own_readers import Bars
from tests.contracts.own_tasks import OWN_READERS, OWN_TASKS, readers
from unpool.data.readers import READERS
from unpool.tasks import TASKS
from unpool.training.checkpoint import load

ROOT = Path(__file__).parents[2]
KILLED_AT = 7  # of 12 steps, three an epoch: within the third, after two evaluations
BEST = {"largest_thing": "corner_error", "angle": "angle_error"}  # both are to be low
RECIPE = """
about: A task of one's own.
data: {{reader: {reader}, size: [32, 32], workers: 0}}
model: {{name: lenet5, width: 6}}
task: {{name: {task}}}
train:
  {{epochs: 4, batch: 4, optimizer: adamw, lr: 3e-3, ema: 0.8, precision: float32, memory_format: contiguous,
    save_every_s: 0, threads: 1}}
"""


@pytest.fixture(scope="module", params=list(OWN_TASKS))
def runs(request, tmp_path_factory):
    """Folders of a run that was killed and resumed, and of one left alone; both with their metrics."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(task=name, reader="scenes" if readers(name) else "things"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for key, kind in OWN_TASKS.items():
            patch.setitem(TASKS, key, kind)
        for key, kind in OWN_READERS.items():
            patch.setitem(READERS, key, kind)
        kill(name, recipe, folder / "killed")
        at_kill = load(folder / "killed" / "last")
        resumed = unpool.resume(folder / "killed", **readers(name))
        torch.manual_seed(123)  # whatever the process drew before
        alone = unpool.train(recipe, run=folder / "alone", **readers(name))
        yield SimpleNamespace(
            name=name, killed=folder / "killed", alone=folder / "alone", at_kill=at_kill, resumed=resumed, trained=alone
        )


def kill(name, recipe, run):
    """Trains in a process of its own, which is killed within step `KILLED_AT`."""
    command = [sys.executable, "-m", "tests.contracts.own_tasks", name, str(recipe), str(run), str(KILLED_AT)]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE) as one:
        assert one.stdout.readline() == b"hangs\n"
        one.kill()
    assert one.returncode == -signal.SIGKILL


def of_one(runs, name):
    if runs.name != name:
        pytest.skip("about the other task")


def test_run_that_was_killed_ends_with_the_bits_of_one_left_alone(runs):
    assert runs.at_kill[1]["step"] == KILLED_AT - 1
    for file in ("model.safetensors", "best.safetensors"):
        killed, alone = load_file(runs.killed / file), load_file(runs.alone / file)
        assert killed.keys() == alone.keys()
        assert [key for key in alone if not torch.equal(killed[key], alone[key])] == []
    for key in ("history", "best_step", "images_seen"):
        assert runs.resumed[key] == runs.trained[key]


def test_parameters_and_buffers_of_a_task_are_trained_averaged_and_saved(runs):
    of_one(runs, "largest_thing")
    tensors = runs.at_kill[0]
    final = load_file(runs.alone / "model.safetensors")
    for name in ("centres", "norm.weight", "norm.running_mean"):
        assert not torch.equal(tensors[f"weights/task.{name}"], final[f"task/{name}"])
        assert not torch.equal(tensors[f"average/task.{name}"], tensors[f"weights/task.{name}"])
    assert tensors["optimizer/task.centres/exp_avg"].abs().sum() > 0


def test_evaluation_of_a_run_gives_the_metrics_of_its_last_one(runs):
    given = {"reader": Bars(split="val")} if runs.name == "angle" else {}
    again = unpool.evaluate(runs.alone, **given)
    metrics = {key: value for key, value in again.items() if key not in ("split", "weights", "skipped")}
    assert {"loss", "images", BEST[runs.name]} < metrics.keys()
    assert metrics == {key: runs.trained[key] for key in metrics}


def test_best_weights_are_those_of_the_lowest_error(runs):
    best = min(runs.trained["history"], key=lambda line: line[BEST[runs.name]])
    assert runs.trained["best_step"] == best["step"]
