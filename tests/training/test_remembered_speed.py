import errno
import json
import math
import os
from pathlib import Path

import pytest

from tests.training.toy_run import Loader, Task, network, prepare
from unpool.machine import cache_folder
from unpool.training import speed
from unpool.training.speed import choose


@pytest.fixture
def batch():
    return next(Loader().stream(0, 0, 1))


def chosen(model, batch, *, cache):
    formats = ("contiguous", "channels_last")
    return choose(model, Task(), batch, prepare=prepare, precisions=("float32",), memory_formats=formats, cache=cache)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))


def test_choice_of_a_busy_machine_is_for_its_run_alone(tmp_path, batch, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (2.0 * (os.cpu_count() or 1) + 0.1, 0.0, 0.0))
    chosen(network(), batch, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_choice_is_remembered_by_network_and_shapes(tmp_path, batch, monkeypatch):
    first = chosen(network(), batch, cache=tmp_path)
    monkeypatch.setattr(speed.Timer, "warm_up", lambda _: pytest.fail("measured again"))
    assert chosen(network(seed=5), batch, cache=tmp_path) == first
    monkeypatch.setattr(speed.Timer, "warm_up", lambda _: 3.0)
    monkeypatch.setattr(speed.Timer, "sample", lambda _: 2.0)
    smaller = {key: value[:2] for key, value in batch.items()}
    assert chosen(network(), smaller, cache=tmp_path).seconds_per_step == 2.0


def test_choice_is_remembered_by_what_the_network_sees(tmp_path, batch, monkeypatch):
    chosen(network(), batch, cache=tmp_path)
    monkeypatch.setattr(speed.Timer, "warm_up", lambda _: 3.0)
    monkeypatch.setattr(speed.Timer, "sample", lambda _: 2.0)
    settings = {"precisions": ("float32",), "memory_formats": ("contiguous", "channels_last"), "cache": tmp_path}
    fewer = choose(
        network(), Task(), batch, prepare=lambda one: {k: v[:2] for k, v in prepare(one).items()}, **settings
    )
    assert fewer.seconds_per_step == 2.0


def test_choice_by_one_step_of_each_is_for_its_run_alone(tmp_path, batch, monkeypatch):
    monkeypatch.setattr(speed.Timer, "warm_up", lambda _: 11.0)
    assert chosen(network(), batch, cache=tmp_path).seconds_per_step == 11.0
    assert not list(tmp_path.iterdir())


GOOD = {"format": 1, "precision": "float32", "memory_format": "contiguous", "seconds_per_step": 0.5, "measured": {}}
DAMAGED = [
    *("", "{", "[]", "null", '{"precision": "x"}', "\x00", "[" * 70_000, " " * 200_000),
    *(json.dumps(GOOD | change) for change in ({"format": 2}, {"precision": "int8"}, {"new": 1}, {"measured": [1]})),
    *(json.dumps(GOOD | {"seconds_per_step": value}) for value in (None, "1", -1.0, math.nan, math.inf, 1e300, True)),
    json.dumps(GOOD | {"measured": {"float32 contiguous": "fast"}}),
    json.dumps({key: value for key, value in GOOD.items() if key != "format"}),
]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda text: repr(text[:60]))
def test_damaged_or_newer_memory_is_measured_again_and_said(tmp_path, batch, content, caplog):
    chosen(network(), batch, cache=tmp_path)
    file = next(tmp_path.iterdir())
    good = file.read_text()
    file.write_text(content)
    assert chosen(network(), batch, cache=tmp_path).precision == "float32"
    assert f"the speed remembered in {file}" in caplog.text
    assert "measured anew" in caplog.text
    assert json.loads(file.read_text()).keys() == json.loads(good).keys()


def test_folder_in_the_file_of_a_memory_is_no_trouble(tmp_path, batch, caplog):
    chosen(network(), batch, cache=tmp_path)
    file = next(tmp_path.iterdir())
    file.unlink()
    file.mkdir()
    assert chosen(network(), batch, cache=tmp_path).precision == "float32"
    assert "cannot be read (Is a directory): it is measured anew" in caplog.text


def test_memory_that_may_not_be_read_is_no_trouble(tmp_path, batch, caplog, monkeypatch):
    def refuse(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    chosen(network(), batch, cache=tmp_path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert chosen(network(), batch, cache=tmp_path).precision == "float32"
    assert "cannot be read (Permission denied): it is measured anew" in caplog.text


def test_memory_that_does_not_exist_yet_is_nothing_to_say(tmp_path, batch, caplog):
    chosen(network(), batch, cache=tmp_path)
    assert caplog.text == ""


def test_cache_that_cannot_be_written_costs_nothing_else(tmp_path, batch):
    (tmp_path / "file").write_text("in the way")
    assert chosen(network(), batch, cache=tmp_path / "file").precision == "float32"


def test_cache_folder_follows_the_users_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("speed") == tmp_path / "unpool" / "speed"


def test_cache_is_never_relative_to_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("speed") == tmp_path / ".cache" / "unpool" / "speed"
    monkeypatch.setenv("HOME", "somewhere")
    assert cache_folder("speed") is None
