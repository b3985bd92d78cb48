"""One image through several detectors: what the page and the table say, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.tasks.tiny_detectors import OneStage, TwoStages
from unpool import models
from unpool.cli import environment
from unpool.cli.main import main
from unpool.data.proposals import make_proposer
from unpool.errors import DataError, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import story
from unpool.predictor.predictor import Predictor
from unpool.predictor.story import looked_at_by, show_story
from unpool.tasks.classification import Classification
from unpool.tasks.detection import Detection
from unpool.types import DataInfo

CLASSES = ("red", "green", "blue")
INFO = DataInfo(classes=CLASSES)


def detector(network, classes=CLASSES):
    info = DataInfo(classes=classes)
    return Predictor(network.eval(), Preprocessing(size_hw=(64, 64), rule="fit"), info, Detection(info), name="tiny")


def grid_network():
    torch.manual_seed(0)
    network = models.build("yolo", width=8, neck_width=8, num_classes=3, grid=[2, 2])
    nn.init.constant_(network.head.last.bias, 0.5)  # boxes of a quarter of the image, with scores
    return network


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Predictors by the names of runs, and a photograph."""
    torch.manual_seed(0)
    of_runs = {
        "two": detector(TwoStages(3)),
        "one": detector(OneStage(3, is_exclusive=True), classes=CLASSES[::-1]),
        "grid": detector(grid_network()),
        "other": detector(OneStage(3, is_exclusive=True), classes=("red", "green", "cat")),
        "label": Predictor(nn.Identity(), Preprocessing(), INFO, Classification(INFO)),
    }
    monkeypatch.setattr(story, "load", lambda run, weights: of_runs[str(run)])
    monkeypatch.setattr(environment, "prepare_torch", lambda: None)
    monkeypatch.chdir(tmp_path)
    values = torch.randint(0, 256, (48, 80, 3), generator=torch.Generator().manual_seed(1)).byte()
    Image.fromarray(values.numpy()).save("photo.png")
    return of_runs


def test_every_kind_of_detector_has_its_part_and_its_phases(runs):
    shown = show_story("photo.png", ["two", "one", "grid"], passes=1)
    assert [one.run for one in shown.chapters] == ["two", "one", "grid"]
    two, one, grid = shown.chapters
    assert two.looked_at == len(looked_at_by(runs["two"], torch.zeros(3, 48, 80, dtype=torch.uint8))) > 0
    assert {"proposals", "nms", "rest", "total"} <= set(two.seconds)
    assert {"nms", "rest", "total"} == set(one.seconds)
    assert list(grid.seconds) == ["backbone", "head", "nms", "rest", "total"]
    assert grid.looked_at <= 8
    for chapter in shown.chapters:
        assert chapter.seconds["total"] > 0
        assert chapter.boxes == len(runs[chapter.run].predict(torch.from_numpy(_pixels()))["boxes"])
    assert shown.phases[-2:] == ["rest", "total"]


def _pixels():
    return np.array(Image.open("photo.png")).transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("name", "phases"),
    [("rcnn", ["proposals", "head", "backbone", "nms"]), ("fastrcnn", ["proposals", "backbone", "head", "nms"])],
)
def test_given_regions_are_looked_at_and_have_their_phases(name, phases, runs):
    options = {"width": 8} | ({"neck_width": 8, "head_width": 8} if name == "fastrcnn" else {})
    seen = Preprocessing(size_hw=(64, 64), rule="fit", proposals={"grid": {"sides": [24, 24], "step": 1.0}})
    network = models.build(name, num_classes=3, **options).eval()
    runs["regions"] = Predictor(network, seen, INFO, Detection(INFO), name="tiny")
    (chapter,) = show_story("photo.png", ["regions"], passes=1).chapters
    assert chapter.looked_at == len(make_proposer(seen.proposals).propose(torch.zeros(3, 48, 80), ""))
    assert list(chapter.seconds) == [*phases, "rest", "total"]


def test_what_is_looked_at_lies_on_the_image(runs):
    for name in ("two", "one", "grid"):
        boxes = looked_at_by(runs[name], torch.from_numpy(_pixels()))
        assert (boxes >= 0).all()
        assert (boxes[:, 2] <= 80).all()
        assert (boxes[:, 3] <= 48).all()
        assert boxes[:, 2].max() > 48


def test_page_has_a_row_bars_and_two_pictures_of_each(runs, capsys):
    assert main(["show", "story", "photo.png", "two", "grid"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "two", "grid", "photo_story.html"]
    page = Path("photo_story.html").read_text()
    assert page.count("data:image/jpeg") == 4
    assert page.count('class="bars"') == 2


def test_json_has_the_seconds_and_no_picture(runs, capsys):
    assert main(["show", "story", "photo.png", "grid", "--json", "-o", "a.html"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["page"] == "a.html"
    assert set(values) == {"image", "passes", "machine", "runs", "page"}
    assert set(values["runs"][0]) == {"run", "network", "looked_at", "boxes", "sure", "seconds"}


def test_classes_that_differ_are_named_with_their_runs(runs):
    with pytest.raises(RecipeError, match="other has other classes than two: cat only in other; blue only in two"):
        show_story("photo.png", ["two", "other"])


def test_run_of_another_task_is_refused(runs):
    with pytest.raises(RecipeError, match="label answers as Classification: the story is of detection"):
        show_story("photo.png", ["two", "label"])


def test_things_have_the_colours_of_the_legend_whatever_the_order_of_a_runs_classes(runs, monkeypatch):
    record = {"boxes": [[4.0, 4.0, 60.0, 40.0]], "labels": [0], "classes": ["blue"], "score": [0.9]}
    monkeypatch.setattr(Predictor, "predict", lambda self, image: record)
    shown = show_story("photo.png", ["two", "one"], passes=1)
    picture = shown.chapters[1].pictures[1]
    factor = picture.shape[-1] // 80
    assert tuple(picture[:, 20 * factor, 4 * factor].tolist()) == dict(shown.classes)["blue"]


def test_what_is_looked_at_is_white_over_the_darkened_image(runs):
    Image.new("RGB", (80, 48), "white").save("pale.png")
    picture = show_story("pale.png", ["grid"], passes=1).chapters[0].pictures[0]
    assert set(picture.unique().tolist()) == {127, 255}


def test_one_run_is_one_detector(runs):
    assert "photo.png through 1 detector<" in show_story("photo.png", ["grid"], passes=1).to_page()


@pytest.mark.parametrize(
    ("image", "run", "kind", "says"),
    [
        ("folder", "two", DataError, "folder is a folder: give the file of an image first, then the runs"),
        ("photo.png", "ssd300", RecipeError, "'ssd300' is a network, not a run: train it first"),
        ("none.png", "two", DataError, "none.png: cannot read"),
    ],
)
def test_what_is_no_image_or_no_run_is_named(runs, image, run, kind, says):
    Path("folder").mkdir()
    with pytest.raises(kind, match=says):
        show_story(image, [run])
