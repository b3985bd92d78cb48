"""A run is bound to the contents of its files, while it trains and when it is resumed."""

import json
import os
import shutil

import pytest
from PIL import Image
from safetensors.torch import load_file

from tests.test_run import AVERAGED, SMALL, StopAfter
from tests.tiny_trees import write_tree
from unpool import run
from unpool.errors import DataError, Stopped
from unpool.training.callbacks import Callback

STREAMED = {**SMALL, "data.memory": False}
HEADERS = {**STREAMED, "data.verify": "headers"}
FIRST = "CamVid/train/0.jpg"


@pytest.fixture
def camvid(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_tree("camvid", tmp_path / "camvid")


def train(root, folder, settings, **more):
    return run.train("camvid_unet", {**settings, "data.root": str(root)}, run=folder, **more)


def stopped(root, folder, settings, steps=2):
    with pytest.raises(Stopped):
        train(root, folder, settings, callbacks=[StopAfter(steps)])
    return folder


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def weights(folder):
    return {name: value.tolist() for name, value in load_file(folder / "model.safetensors").items()}


class ChangeAfter(Callback):
    """Mirrors an image after the first step."""

    def __init__(self, path):
        self.path = path

    def after_step(self, job, record):
        if record.step == 1:
            Image.open(self.path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(self.path)


@pytest.mark.parametrize("settings", [SMALL, STREAMED], ids=["held", "streamed"])
def test_resume_names_what_changed_and_goes_on_with_what_was_only_touched_or_moved(camvid, tmp_path, settings):
    folder = stopped(camvid, tmp_path / "run", settings)
    for name in (FIRST, "CamVid/trainannot/1.png", "CamVid/val/2.jpg", "CamVid/train.txt"):
        path = camvid / name
        whole = path.read_bytes()
        if path.suffix == ".txt":
            path.write_bytes(whole + b"\n")
        else:
            Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
        part = "val" if "val" in name else "train"
        changed = rf"not that of this run: {part} has changed {name.removeprefix('CamVid/')} \(.*\)\. Put it back"
        with pytest.raises(DataError, match=changed):
            run.resume(folder)
        path.write_bytes(whole)
    os.utime(camvid / FIRST, ns=(1, 1))
    moved = shutil.copytree(camvid, tmp_path / "moved")
    shutil.rmtree(camvid)
    assert run.resume(folder, {"data.root": str(moved)})["training"]["images_seen"] == 12


@pytest.mark.parametrize("settings", [STREAMED, HEADERS], ids=["decode", "headers"])
def test_image_that_changes_while_a_run_streams_ends_it_by_name_and_it_goes_on_once_put_back(
    camvid, tmp_path, settings
):
    whole = (camvid / FIRST).read_bytes()
    with pytest.raises(DataError, match=rf"{FIRST} was changed since the scan \(.*\): put it back, then resume"):
        train(camvid, tmp_path / "run", settings | {"train.epochs": 8}, callbacks=[ChangeAfter(camvid / FIRST)])
    with pytest.raises(DataError, match=r"train has changed train/0\.jpg"):
        run.resume(tmp_path / "run")
    (camvid / FIRST).write_bytes(whole)
    assert run.resume(tmp_path / "run")["training"]["images_seen"] == 48


def test_image_that_cannot_be_decoded_is_left_out_of_a_streamed_set_before_training(camvid, tmp_path):
    halve(camvid / FIRST)
    folder = stopped(camvid, tmp_path / "run", STREAMED)
    metrics = run.resume(folder)
    assert metrics["data"]["train"] == 5
    assert metrics["data"]["skipped"][0]["path"].endswith(FIRST)
    assert metrics["training"]["images_replaced"] == 0


def test_image_left_unverified_is_replaced_counted_and_the_run_resumed_bit_for_bit(camvid, tmp_path):
    halve(camvid / FIRST)
    settings = HEADERS | AVERAGED
    metrics = train(camvid, tmp_path / "whole", settings)
    assert metrics["data"]["train"] == 6
    assert metrics["data"]["unreadable"] == ["train/0.jpg"]
    assert metrics["training"]["images_replaced"] == 2
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [line["replaced"] for line in lines if line["kind"] == "step"][-1] == 2
    folder = stopped(camvid, tmp_path / "run", settings, 4)  # in the second epoch
    resumed = run.resume(folder)
    assert resumed["training"]["images_replaced"] == 2
    assert resumed["data"]["unreadable"] == ["train/0.jpg"]
    assert weights(folder) == weights(tmp_path / "whole")


def test_run_of_too_many_unreadable_images_ends_by_name_and_goes_on_once_they_are_repaired(
    camvid, tmp_path, monkeypatch
):
    monkeypatch.setattr("unpool.assemble.job.most_skipped", lambda total: 0)
    whole = (camvid / FIRST).read_bytes()
    halve(camvid / FIRST)
    problem = r"1 training images cannot be read, more than the 0 allowed: train/0\.jpg: put whole files"
    with pytest.raises(DataError, match=problem):
        train(camvid, tmp_path / "run", HEADERS)
    with pytest.raises(DataError, match=problem):
        run.resume(tmp_path / "run")
    (camvid / FIRST).write_bytes(whole)
    metrics = run.resume(tmp_path / "run")
    assert metrics["training"]["images_replaced"] == 0
    assert metrics["data"]["unreadable"] == []


def test_validation_images_are_decoded_before_training_whatever_is_left_unverified(camvid, tmp_path):
    halve(camvid / "CamVid/val/1.jpg")
    metrics = train(camvid, tmp_path / "run", HEADERS)
    assert metrics["data"]["val"] == 2
    assert metrics["images"] == 2
