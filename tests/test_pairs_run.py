"""Stereo and flow through the verbs: train, resume, several processes, evaluate, predict, report."""

import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from unpool import run
from unpool.data.dense_files import read_flo, read_pfm
from unpool.data.pair_scenes import FlowScenes, StereoScenes
from unpool.types import Decoding

SMALL = {
    **{"train.precision": "float32", "train.memory_format": "contiguous", "train.batch": 2, "data.workers": 0},
    **{"train.schedule": "constant", "train.evaluate_every": 1, "data.count": 6, "data.side": 32, "data.most": 6},
}
RUNS = {
    "scenes_mc_cnn": SMALL | {"data.train_size": [24, 32], "model.width": 4, "task.disparities": 8},
    "scenes_mc_cnn_fast": SMALL | {"data.train_size": [24, 32], "model.width": 4, "task.disparities": 8},
    "scenes_flow_pyramid": SMALL | {"model.width": 4},
}
READERS = {"scenes_mc_cnn": StereoScenes, "scenes_mc_cnn_fast": StereoScenes, "scenes_flow_pyramid": FlowScenes}


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module", params=RUNS)
def trained(request, tmp_path_factory):
    """A recipe's name, and a run of two epochs on pairs of 32 pixels."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return request.param, folder, run.train(request.param, RUNS[request.param] | {"train.epochs": 2}, run=folder)


def test_pairs_are_resumed_to_the_bit(trained, tmp_path):
    name, folder, _ = trained
    run.train(name, RUNS[name] | {"train.epochs": 1}, run=tmp_path / "cut")
    run.resume(tmp_path / "cut", {"train.epochs": 2})
    whole, cut = weights(folder), weights(tmp_path / "cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_pairs_are_evaluated_as_in_training_and_reported(trained):
    _, folder, made = trained
    again = run.evaluate(folder)
    for metric in ("epe", "bad3_visible", "loss"):
        assert again[metric] == pytest.approx(made[metric], rel=1e-5)
    assert (folder / "report.html").is_file()


def test_pair_in_files_is_answered_with_a_map_of_its_size(trained, tmp_path):
    name, folder, _ = trained
    sample = READERS[name](None, "val", decoding=Decoding(channels=6), side=40, most=6.0)[0]
    files = [tmp_path / "first.png", tmp_path / "second.png"]
    for path, half in zip(files, sample["image"].chunk(2), strict=True):
        Image.fromarray(half.permute(1, 2, 0).contiguous().numpy()).save(path)
    (record,) = run.predict(folder, files, tmp_path / "out")
    if "flow" in record:
        assert read_flo(tmp_path / "out" / record["flow"]).shape == (2, 40, 40)
    else:
        disparity = read_pfm(tmp_path / "out" / record["disparity"])
        assert disparity.shape == (40, 40)
        assert 0 <= disparity.min() <= disparity.max() <= 7
    assert Image.open(tmp_path / "out" / record["view"]).size == (80, 40)


def test_two_processes_learn_what_one_does(trained, tmp_path):
    """Losses are rounded in another order; what is drawn for a pixel depends on its sample, not on its process."""
    name, folder, _ = trained
    given = [f"{key}={value}" for key, value in (RUNS[name] | {"train.epochs": 2, "train.processes": 2}).items()]
    command = [sys.executable, "-m", "unpool", "train", name, *given, "--no-check", "--run", str(tmp_path / "two")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    one, two = weights(folder), weights(tmp_path / "two")
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=2e-3, atol=2e-4)
