"""Names of metrics and of what a run adds to them: no key of metrics.json or of a log line is two things."""

import json
from typing import Any

import pytest
import torch

import unpool
from tests.contracts.own_tasks import OWN_TASKS
from unpool import tasks
from unpool.errors import UnpoolError
from unpool.ops.preprocessing import Preprocessing
from unpool.task import Description
from unpool.task_facts import FACTS, check_described, check_measured, with_facts
from unpool.tasks import TASKS
from unpool.tasks.classification import Classification
from unpool.types import DataInfo

INFO = DataInfo(classes=tuple("abcdefg"), keypoints=("left_shoulder", "right_hip"), limbs=((0, 1),), words=("a", "b"))
SMALL = {"data.count": 8, "data.workers": 0, "model.width": 4, "train.epochs": 1, "train.precision": "float32"}
SMALL |= {"train.memory_format": "contiguous"}


@pytest.mark.parametrize("name", [*TASKS, *OWN_TASKS])
def test_metrics_of_every_task_are_described_and_stand_apart_from_facts(name, monkeypatch):
    for key, kind in OWN_TASKS.items():
        monkeypatch.setitem(TASKS, key, kind)
    channels = 3 * TASKS[name].frames
    sees = Preprocessing(channels=channels, mean=channels * (0.5,), std=channels * (0.25,))
    task = tasks.build(name, INFO, options={}, preprocessing=sees)
    check_measured(task)
    assert FACTS.isdisjoint({*task.described, *task.metric().compute()})


def test_precision_of_the_classes_and_of_the_numbers_are_both_in_metrics_json(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    metrics = unpool.train("scenes_unet", SMALL, run=tmp_path / "run")
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written["training"]["precision"] == "float32"
    assert written["precision"].keys() == written["iou"].keys()
    assert unpool.evaluate(tmp_path / "run")["precision"] == written["precision"]
    assert {**written, "run": metrics["run"]} == json.loads(json.dumps(metrics))
    assert unpool.resume(tmp_path / "run")["precision"] == written["precision"]


class Renamed(Classification):
    """Computes what it was made with instead of its scores."""

    best = "share"
    described = {"share": Description("share")}  # noqa: RUF012
    computed: dict[str, Any] = {"share": None}  # noqa: RUF012

    def metric(self):
        metric = super().metric()
        metric.compute = lambda: self.computed
        return metric


def renamed(**parts: Any) -> Renamed:
    return type("Renamed", (Renamed,), parts)(INFO)


def test_task_whose_best_metric_is_not_described_is_refused_when_it_is_built(monkeypatch):
    monkeypatch.setitem(TASKS, "renamed", type("Renamed", (Renamed,), {"best": "shares"}))
    with pytest.raises(TypeError, match=r"Renamed\.best is 'shares', which Renamed\.described lacks: describe it"):
        tasks.build("renamed", INFO, options={}, preprocessing=Preprocessing())
    check_described(renamed(best="loss"))


@pytest.mark.parametrize("fact", ["training", "history", "loss", "split", "step"])
def test_metric_with_the_name_of_a_fact_is_refused_before_anything_is_trained(fact):
    with pytest.raises(TypeError, match=f"Renamed calls a metric {fact}, as a run calls a fact of its own: rename"):
        check_described(renamed(described={"share": Description("share"), fact: Description("fact")}))
    with pytest.raises(TypeError, match=f"Renamed calls a metric {fact}"):
        check_measured(renamed(computed={"share": 1.0, fact: 2.0}))


def test_best_metric_that_is_not_computed_is_refused():
    with pytest.raises(TypeError, match=r"Renamed\.best is 'share', which its metric does not compute: it gives"):
        check_measured(renamed(computed={"shares": 1.0}))
    check_measured(renamed(best="loss"))


def test_training_refuses_such_a_task_before_its_first_step(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "segmentation", type("Clashing", (TASKS["segmentation"],), {"metric": Clashing.of}))
    with pytest.raises(TypeError, match="Clashing calls a metric training") as caught:
        unpool.train("scenes_unet", SMALL, run=tmp_path / "run")
    assert not isinstance(caught.value, UnpoolError)
    assert not (tmp_path / "run" / "log.jsonl").exists()


class Clashing:
    def __init__(self, task: Any) -> None:
        self.names = task.described

    @staticmethod
    def of(task: Any) -> "Clashing":
        return Clashing(task)

    def compute(self) -> dict[str, Any]:
        return {**dict.fromkeys(self.names), "training": 1.0}


def test_fact_that_has_no_reserved_name_or_that_of_a_metric_is_refused():
    with pytest.raises(TypeError, match="a run has no facts best, step_s: add them to FACTS"):
        with_facts({}, step_s=1.0, best=2)
    with pytest.raises(TypeError, match="have equal names, images"):
        with_facts({"images": torch.zeros(1)}, images=3)
