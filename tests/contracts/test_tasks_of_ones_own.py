"""A task of one's own goes through every verb, though nothing but the table of tasks names it."""

import html
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import unpool
from tests.contracts.own_readers import Bars, Things
from tests.contracts.own_tasks import OWN_READERS, OWN_TASKS, doubled, readers
from unpool.data.readers import READERS
from unpool.tasks import TASKS
from unpool.training import calibration
from unpool.training.calibration import EPOCHS
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
  {{epochs: 4, batch: 2, accumulate: 2, optimizer: adamw, lr: 3e-3, ema: 0.8, save_every_s: 0,
    precision: float32, memory_format: contiguous, threads: 1}}
"""


@pytest.fixture(scope="module", params=list(OWN_TASKS))
def runs(request, tmp_path_factory):
    """Folders of a run that was killed and resumed, and of one left alone; both with their metrics."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(task=name, reader="scenes" if readers(name) else "things"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(calibration, "EPOCHS", EPOCHS)  # as in the process that is killed
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


def test_run_that_was_killed_ends_with_the_bits_of_one_left_alone(runs):
    assert runs.at_kill[1]["step"] == KILLED_AT - 1
    for file in ("model.safetensors", "best.safetensors"):
        killed, alone = load_file(runs.killed / file), load_file(runs.alone / file)
        assert killed.keys() == alone.keys()
        assert [key for key in alone if not torch.equal(killed[key], alone[key])] == []
    assert runs.resumed["history"] == runs.trained["history"]
    for key in ("best_step", "images_seen"):
        assert runs.resumed["training"][key] == runs.trained["training"][key]


@pytest.mark.parametrize("runs", ["largest_thing"], indirect=True)
def test_parameters_and_buffers_of_a_task_are_trained_averaged_saved_and_loaded(runs):
    tensors = runs.at_kill[0]
    final, loaded = load_file(runs.alone / "model.safetensors"), unpool.load(runs.alone).task.state_dict()
    for name in ("centres", "norm.weight", "norm.running_mean"):
        assert not torch.equal(tensors[f"weights/task.{name}"], final[f"task/{name}"])
        assert torch.equal(loaded[name], final[f"task/{name}"])
        assert not torch.equal(tensors[f"average/task.{name}"], tensors[f"weights/task.{name}"])
    assert tensors["optimizer/task.centres/exp_avg"].abs().sum() > 0


FACTS_OF_EVALUATION = ("split", "weights", "skipped", "not_measured")


def test_evaluation_of_a_run_gives_the_metrics_of_its_last_one(runs):
    given = {"reader": Bars(split="val")} if runs.name == "angle" else {}
    again = unpool.evaluate(runs.alone, **given)
    metrics = {key: value for key, value in again.items() if key not in FACTS_OF_EVALUATION}
    assert {"loss", "images", BEST[runs.name]} < metrics.keys()
    assert metrics == {key: runs.trained[key] for key in metrics}
    assert again["not_measured"] == runs.trained["data"]["not_measured"]


def test_best_weights_are_those_of_the_lowest_error(runs):
    best = min(runs.trained["history"], key=lambda line: line[BEST[runs.name]])
    assert runs.trained["training"]["best_step"] == best["step"]


def test_predictions_of_files_score_what_the_evaluation_did(runs, tmp_path):
    reader = {"angle": Bars, "largest_thing": Things}[runs.name](split="val")
    files = [tmp_path / f"{index}.png" for index in range(len(reader))]
    for index, file in enumerate(files):
        Image.fromarray(reader[index]["image"].permute(1, 2, 0).numpy()).save(file)
    records = unpool.predict(runs.alone, files, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"] == records
    written = {f"{file.stem}_{ending}" for file in files for ending in ("view.jpg", *TASKS[runs.name].files)}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.json", *written}
    metric = TASKS[runs.name](reader.info).metric()
    for index, record in enumerate(records):
        batch = {key: value[None] for key, value in reader[index].items()}
        metric.update(as_prediction(record, tmp_path / "out"), batch)
    found = metric.compute()
    assert found == {name: pytest.approx(runs.trained[name], abs=0.01) for name in found}


def as_prediction(record, out):
    """What a task predicts for one image, from its record and raw files."""
    if "degrees" in record:
        return {"twice": doubled(torch.tensor([record["degrees"]]))}
    box = [float(side) for side in (out / record["box"]).read_text().split()]
    return {"boxes": [torch.tensor([box])], "labels": [torch.tensor([Things.info.classes.index(record["class"])])]}


@pytest.mark.parametrize("runs", ["largest_thing"], indirect=True)
def test_answer_on_a_larger_image_lies_on_that_image(runs):
    predictor, image = unpool.load(runs.alone), Things(split="val")[2]["image"]
    small, large = predictor([image, image.repeat_interleave(2, 1).repeat_interleave(3, 2)])
    wanted = [side * factor for side, factor in zip(small["box"], (3, 2, 3, 2), strict=True)]
    assert large["box"] == pytest.approx(wanted, rel=0.2)  # made smaller for the network, it is not the same image


def test_report_shows_described_metrics_and_only_shares_in_percent(runs):
    page = (runs.killed / "report.html").read_text(encoding="utf-8")
    page = html.unescape(page)
    main = re.findall('class="headline"><b>([^<]*)</b><span>([^<]*)<', page)
    tiles = {title: value for value, title in main} | dict(re.findall("<td>([^<]*)</td><td>([^<]*)</td>", page))
    described = TASKS[runs.name](Things.info).described
    for name, one in described.items():
        if not one.each:
            assert tiles[one.title].endswith(f" {one.unit}" if one.unit else " %")
            assert float(tiles[one.title].split()[0]) / (100 if one.is_share else 1) == pytest.approx(
                runs.trained[name], rel=1e-3, abs=5e-4
            )
    shown = re.sub(r"(?s)<style>.*?</style>|Training waited[^<]*", "", page)
    shares = [tiles[one.title] for one in described.values() if one.is_share]
    without_counts = re.sub(r"(?s)Classes of the training set.*?</table>", "", shown)
    assert sorted(re.findall(r"[\d.]+ ?%", without_counts)) == sorted(shares)
