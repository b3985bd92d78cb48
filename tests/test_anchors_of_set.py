"""Anchors planned from a set's own boxes, and what `unpool show` says of anchors and of mistakes."""

import json
import logging

import pytest
import torch

from unpool import models
from unpool.assemble.anchors import AnchorReport, Unreached, report_anchors, show_anchors, with_planned_anchors
from unpool.assemble.data import read_data
from unpool.cli import environment
from unpool.cli.main import main
from unpool.errors import DataError, RecipeError
from unpool.ops.boxes import iou
from unpool.recipe import dump_recipe, load_recipe

SMALL = {"data.count": 12, "model.width": 8, "model.extra_width": 8}
REPORT = AnchorReport(40, 0.8, {"cat": 0.8}, [Unreached("a.png", "cat", 90.0, 4.0, 0.25)], [8, 8], 0.9)
TINY = [4, 4] * 5  # an anchor of 4x4 pixels for each map


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(environment, "prepare_torch", lambda: None)


def test_boxes_that_tiny_anchors_do_not_reach_are_listed_worst_first():
    report = show_anchors("scenes_ssd", SMALL | {"model.anchors": TINY})
    assert report.share == 0
    assert set(report.shares.values()) == {0.0}
    assert len(report.unreached) == min(20, report.boxes)
    overlaps = [one.iou for one in report.unreached]
    assert overlaps == sorted(overlaps)
    first = report.unreached[0]
    assert first.iou == pytest.approx(16 / (first.width * first.height))
    assert report.planned_share > 0.9
    assert json.loads(json.dumps(report.to_json()))["planned"] == report.planned
    assert f"model.anchors={report.planned}" in report.to_text()


def test_recipe_of_a_run_keeps_the_numbers_of_planned_anchors():
    recipe = load_recipe("scenes_ssd", SMALL | {"model.anchors": "planned"})
    data = read_data(recipe)
    settled = with_planned_anchors(recipe, data)
    numbers = settled.model.options["anchors"]
    assert len(numbers) % 10 == 0
    assert str(numbers[:2])[1:-1] in dump_recipe(settled)
    assert with_planned_anchors(settled, data) is settled


def test_shares_are_of_anchors_where_they_stand():
    recipe = load_recipe("scenes_ssd", SMALL | {"model.anchors": [], "data.size": [96, 160], "data.rule": "fit"})
    data = read_data(recipe)
    options = dict(recipe.model.options)
    network = models.build("ssd", backbone=recipe.model.backbone, num_classes=len(data.info.classes), **options).eval()
    with torch.inference_mode():
        anchors = network(torch.zeros(1, 3, 96, 160)).anchors
    best = []
    for index in range(len(data.train.samples)):
        layout = data.preprocessing.layout(data.train.samples.sizes_hw[index])
        (boxes,) = layout.boxes_to_input([data.train.samples.targets(index)["boxes"]])
        best.append(iou(boxes, anchors).amax(1))
    report = report_anchors(recipe, data)
    assert report.share == pytest.approx(float((torch.cat(best) >= 0.5).double().mean()))
    assert 0 < report.share < 1


def test_planned_anchors_that_reach_less_are_not_taken(monkeypatch, caplog):
    monkeypatch.setattr("unpool.assemble.anchors.plan_maps", lambda *given: torch.full((5, 2), 4.0))
    recipe = load_recipe("scenes_ssd", SMALL | {"model.anchors": "planned"})
    with caplog.at_level(logging.INFO):
        settled = with_planned_anchors(recipe, read_data(recipe))
    assert not settled.model.options["anchors"]
    assert "would reach 0.0 % of them at IoU 0.5, the default ones" in caplog.text


def test_too_few_boxes_give_no_anchors():
    recipe = load_recipe("scenes_ssd", SMALL | {"model.anchors": "planned", "data.count": 1, "data.side": 32})
    with pytest.raises(DataError, match=r"has \d boxes of different sides, and the network asks for one for each of 5"):
        with_planned_anchors(recipe, read_data(recipe))


def test_other_words_for_anchors_are_refused():
    with pytest.raises(RecipeError, match='anchors is "own"; it must be planned or a list'):
        load_recipe("scenes_ssd", {"model.anchors": "own"})


def test_recipe_without_boxes_has_no_anchors():
    with pytest.raises(RecipeError, match="learns no boxes"):
        show_anchors("scenes_unet", {"data.count": 4})


def test_show_anchors_prints_shares_and_json(capsys, monkeypatch):
    words = [f"{key}={value}" for key, value in SMALL.items()]
    monkeypatch.setattr("unpool.assemble.anchors.show_anchors", lambda *given, **more: REPORT)
    assert main(["show", "anchors", "scenes_ssd", *words]) == 0
    assert "  80.0%  of 40 boxes are reached by an anchor of the network at IoU 0.5\n" in capsys.readouterr().out
    assert main(["show", "anchors", "scenes_ssd", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unreached"][0]["image"] == "a.png"
