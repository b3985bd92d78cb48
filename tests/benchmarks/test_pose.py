"""Promises of the benchmark of poses: what it asks of recipes can be had, small sets are what they say."""

import json

import pytest
import torch
from PIL import Image

from benchmarks import pose
from unpool import models, tasks
from unpool.assemble.data import make_preprocessing
from unpool.ops.skeleton import LSP, LSP_LIMBS
from unpool.recipe import load_recipe
from unpool.types import DataInfo

NETWORKS = {
    f"{part} {name}": one
    for part, table in (
        ("figures", pose.FIGURES),
        ("lsp", pose.PHOTOGRAPHS),
        ("heart", pose.HEARTS),
        ("falls", pose.FALLS),
    )
    for name, one in table.items()
}
COUNTS = {"heart": pose.BY_HEART, "falls": pose.FEW}


@pytest.mark.parametrize("called", NETWORKS)
def test_network_takes_what_is_changed_about_its_recipe(called):
    one = NETWORKS[called]
    recipe = load_recipe(one.recipe, one.overrides)  # refuses options that there are not
    assert not one.start or load_recipe(one.start)
    info = DataInfo(keypoints=LSP, limbs=LSP_LIMBS)
    task = tasks.build(recipe.task.name, info, options=recipe.task.options, preprocessing=make_preprocessing(recipe))
    channels = recipe.data.channels + task.added_channels
    options = {**recipe.model.options, "num_classes": task.outputs, "in_channels": channels}
    with torch.device("meta"):
        network = models.build(recipe.model.name, backbone=recipe.model.backbone, **options)
        network.eval()(torch.zeros(1, channels, *(recipe.data.size or recipe.data.train_size)))


@pytest.mark.parametrize("called", [name for name in NETWORKS if name.split()[0] in COUNTS])
def test_few_images_fill_whole_batches_and_are_not_augmented(called):
    recipe = load_recipe(NETWORKS[called].recipe, NETWORKS[called].overrides)
    assert recipe.data.augment == ()
    images = 58 if recipe.data.reader == "coco_scenes" else COUNTS[called.split()[0]]  # COCO with people
    assert images // recipe.train.batch >= 4


@pytest.mark.parametrize("called", [name for name in NETWORKS if name.startswith("falls")])
def test_falling_losses_are_seen_at_half_the_papers_size_or_less(called):
    one = NETWORKS[called]
    paper, small = load_recipe(one.recipe).data, load_recipe(one.recipe, one.overrides).data
    published = max(paper.size or paper.train_size)
    assert max(small.size) <= published / 2 + 2
    assert small.train_size in (None, small.size)


def test_fall_is_from_the_mean_of_the_first_pass_to_that_of_the_last(tmp_path):
    losses = [(0, 8.0), (0, 6.0), (1, 5.0), (2, 3.0), (2, 1.0)]
    lines = [{"kind": "step", "epoch": epoch, "loss": loss} for epoch, loss in losses]
    lines.append({"kind": "evaluation", "epoch": 3, "loss": 0.5})
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert pose.fall(tmp_path) == (7.0, 2.0, 3)


def test_scenes_are_those_with_labelled_people_of_both_splits(tmp_path):
    data = tmp_path / "coco"
    (data / "annotations").mkdir(parents=True)
    for split, numbers in (("train2017", (1, 2, 3)), ("val2017", (4, 5))):
        (data / split).mkdir()
        images = [{"id": n, "file_name": f"{n}.jpg", "height": 8, "width": 8} for n in numbers]
        people = [{"id": 10 * n, "image_id": n, "num_keypoints": n % 2} for n in numbers]
        for n in numbers:
            Image.new("RGB", (8, 8)).save(data / split / f"{n}.jpg")
        content = {"images": images, "annotations": people, "categories": []}
        (data / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(content))
    folder = pose.few_scenes(data, tmp_path / "few", 64)
    assert pose.few_scenes(data, tmp_path / "few", 64) == folder
    for split in ("train2017", "val2017"):
        content = json.loads((folder / "annotations" / f"person_keypoints_{split}.json").read_text())
        assert [image["id"] for image in content["images"]] == [1, 3, 5]
        assert [one["image_id"] for one in content["annotations"]] == [1, 3, 5]
        assert sorted(path.name for path in (folder / split).iterdir()) == ["1.jpg", "3.jpg", "5.jpg"]


def test_time_of_a_part_is_that_of_its_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(pose, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(pose, "few", lambda data, folder, count: folder)
    monkeypatch.setattr(pose, "few_scenes", lambda data, folder, count: folder)

    def train(recipe, overrides, run):
        run.mkdir(parents=True)
        steps = [{"kind": "step", "epoch": 0, "loss": 4.0}, {"kind": "step", "epoch": 1, "loss": 1.0}]
        (run / "log.jsonl").write_text("\n".join(map(json.dumps, steps)))
        training = {"time_s": 60.0, "images_seen": 128, "precision": "float32"}
        metrics = {"training": training, pose.PCK: 0.96}
        (run / "metrics.json").write_text(json.dumps(metrics))
        return metrics

    monkeypatch.setattr(pose, "train", train)
    monkeypatch.setattr(pose, "evaluate", lambda run, *arguments: {pose.PCK: 0.96})
    for part, networks in (("heart", pose.HEARTS), ("falls", pose.FALLS)):
        assert pose.main([part, "--data", str(tmp_path), "--runs", str(tmp_path / part)]) == 0
        result = json.loads((tmp_path / "results" / f"pose_{part}.json").read_text())
        assert result["wall_s"] == 60 * len(networks)
        assert len(result["rows"]) == len(networks)
    assert result["rows"][0]["figure"].startswith("4 to 1 in 2 passes")
