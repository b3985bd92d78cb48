"""Quick checks before training stop what is wrong, change no bit of a right run, and look on while it trains."""

import logging
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from unpool import guarding, resume, train
from unpool.checks.findings import Finding
from unpool.checks.report import Report, Result
from unpool.errors import RecipeError
from unpool.recipe import load_recipe
from unpool.training.callbacks import Callback

SMALL = {
    **{"data.count": 16, "data.workers": 0, "data.size": [32, 32], "model.width": 4, "train.batch": 4},
    **{"train.epochs": 5, "train.precision": "float32", "train.memory_format": "contiguous"},
}
CLIPPED = SMALL | {"train.clip_norm": 1e-4}


@pytest.fixture(autouse=True)
def _checked(monkeypatch, tmp_path):
    monkeypatch.setattr(guarding, "LONGEST_S", 60.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def looks(monkeypatch):
    """Titles of the reports that are made."""
    made, look = [], guarding.look
    monkeypatch.setattr(guarding, "look", lambda *args, **kwargs: made.append(kwargs) or look(*args, **kwargs))
    return made


def test_run_that_is_wrong_is_stopped_before_its_first_step(tmp_path):
    with pytest.raises(RecipeError, match="was clipped, to a norm of") as raised:
        train("scenes_unet", CLIPPED, run=tmp_path / "run")
    assert raised.value.cause == "optim.always_clipped"
    assert "--no-check" in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_run_that_is_wrong_trains_where_nobody_is_to_check(tmp_path, monkeypatch):
    made = looks(monkeypatch)
    train("scenes_unet", CLIPPED, check=False, run=tmp_path / "run")
    assert made == []


def test_pass_is_remembered_by_recipe_and_data(tmp_path, monkeypatch):
    made = looks(monkeypatch)
    train("scenes_unet", SMALL, run=tmp_path / "a")
    train("scenes_unet", SMALL, run=tmp_path / "b")
    assert len(made) == 1
    train("scenes_unet", SMALL | {"train.lr": 0.003}, run=tmp_path / "c")
    train("scenes_unet", SMALL | {"data.count": 20}, run=tmp_path / "d")
    assert len(made) == 3


class Groups(Callback):
    """Notes what the groups of the optimiser have at the end, and whether its step was wrapped."""

    def end(self, job):
        self.keys = [sorted(group) for group in job.optimizer.param_groups]
        self.is_wrapped = "step" in vars(job.optimizer)


def test_checks_change_no_bit_of_the_run(tmp_path, monkeypatch):
    settings = SMALL | {"train.epochs": 6, "train.optimizer": "sgd", "train.lr": 0.01}
    first, second = Groups(), Groups()
    train("scenes_unet", settings, check=False, callbacks=[first], run=tmp_path / "without")
    monkeypatch.setattr(guarding, "SHARE", 1e9)
    made = looks(monkeypatch)
    train("scenes_unet", settings, callbacks=[second], run=tmp_path / "with")
    assert (first.keys, first.is_wrapped) == (second.keys, second.is_wrapped)
    assert len(made) == 1 + 6
    for name in ("model.safetensors", "best.safetensors"):
        without, checked = (load_file(tmp_path / run / name) for run in ("without", "with"))
        assert all(torch.equal(without[key], checked[key]) for key in without)
    (a,), (b,) = ([*(tmp_path / run / "last").glob("*/*.safetensors")] for run in ("without", "with"))
    assert a.read_bytes() == b.read_bytes()


def test_watcher_warns_of_each_sign_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(guarding, "SHARE", 1e9)
    monkeypatch.setattr(guarding, "check_first", lambda run: None)
    with caplog.at_level(logging.WARNING, logger="unpool"):
        train("scenes_unet", CLIPPED, run=tmp_path / "run")
    assert sum("was clipped" in text for text in caplog.messages) == 1
    assert next(text for text in caplog.messages if "was clipped" in text).startswith("after epoch 1: ")


def test_watcher_looks_once_it_costs_little(tmp_path, monkeypatch):
    made = looks(monkeypatch)
    train("scenes_unet", SMALL, run=tmp_path / "run")
    assert len(made) == 1  # before the first step: a fiftieth of this run is no time to look on


def test_resumed_run_is_not_checked_again(tmp_path, monkeypatch):
    train("scenes_unet", SMALL, run=tmp_path / "run")
    made = looks(monkeypatch)
    resume(tmp_path / "run", {"train.epochs": 6})
    assert made == []


def test_data_set_of_the_callers_own_is_not_read_when_the_clock_says(tmp_path, monkeypatch):
    monkeypatch.setattr(guarding, "SHARE", 1e9)
    made = looks(monkeypatch)
    images = torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pairs = [(image, int(i % 2)) for i, image in enumerate(images)]
    overrides = {"train.epochs": 5, "train.batch": 4, "train.precision": "float32", "train.memory_format": "contiguous"}
    parts = {"model": "cifar_resnet20", "classes": ["a", "b"], "train": pairs[:16], "val": pairs[16:]}
    monkeypatch.setattr(guarding, "texts_of", lambda failed: str([one.cause for one in failed]))
    monkeypatch.setattr(guarding, "WATCHED", ())
    train(task="classification", overrides=overrides, run=tmp_path / "run", **parts)
    assert len(made) == 1


def test_pass_is_not_remembered_where_there_was_no_time_for_all(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(guarding, "LONGEST_S", 1e-6)
    made = looks(monkeypatch)
    with caplog.at_level(logging.INFO, logger="unpool"):
        train("scenes_unet", SMALL, run=tmp_path / "a")
    assert any(text.startswith("no time was left for: ") for text in caplog.messages)
    train("scenes_unet", SMALL, run=tmp_path / "b")
    assert len(made) == 2


def test_warnings_are_repeated_where_a_run_was_checked_before(tmp_path, monkeypatch, caplog):
    made = []
    warning = Finding("warn", "pictures are dark", None, "data.value_range", "light them")
    report = Report("run", (Result(guarding.WATCHED[0], (warning,), 0.1),), (), 0.1)
    monkeypatch.setattr(guarding, "look", lambda *args, **kwargs: made.append(args) or report)
    for name in "ab":
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="unpool"):
            train("scenes_unet", SMALL, run=tmp_path / name)
        assert caplog.messages.count("pictures are dark (do: light them)") == 1
        assert any("warn of 1 things" in text for text in caplog.messages) == (name == "a")
    assert len(made) == 1


def test_pass_on_other_data_is_not_remembered():
    def file_of(record):
        part = SimpleNamespace(record=lambda: record)
        data = SimpleNamespace(train=part, val=part)
        return guarding._remembered(SimpleNamespace(recipe=load_recipe("scenes_unet"), data=data))

    assert file_of({"sha256": "a"}) == file_of({"sha256": "a"})
    assert file_of({"sha256": "a"}) != file_of({"sha256": "b"})


def test_short_run_is_not_checked_and_that_is_said(tmp_path, monkeypatch, caplog):
    made = looks(monkeypatch)
    with caplog.at_level(logging.INFO, logger="unpool"):
        train("scenes_unet", CLIPPED | {"train.epochs": 4}, run=tmp_path / "run")
    assert made == []
    assert "nothing of this run is checked before its first step: it has fewer than 20 steps" in caplog.messages


class Sampler(torch.utils.data.Sampler):
    """Counts how often its order is asked for."""

    asked = 0

    def __len__(self):
        return 16

    def __iter__(self):
        self.asked += 1
        return iter(torch.randperm(16, generator=torch.Generator().manual_seed(self.asked)).tolist())


def test_sampler_of_the_callers_own_is_not_asked_more_often(tmp_path, monkeypatch):
    made = looks(monkeypatch)
    images = torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pairs = [(image, int(i % 2)) for i, image in enumerate(images)]
    loader = torch.utils.data.DataLoader(pairs[:16], batch_size=4, sampler=Sampler())
    overrides = {"train.epochs": 5, "train.precision": "float32", "train.memory_format": "contiguous"}
    train(
        task="classification",
        model="cifar_resnet20",
        classes=["a", "b"],
        overrides=overrides,
        train=loader,
        val=pairs[16:],
        run=tmp_path / "run",
    )
    assert made == []
