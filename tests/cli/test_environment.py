"""The command line starts itself anew once, for an allocator that keeps its memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unpool.cli import environment
from unpool.cli import main as command
from unpool.cli.environment import GUARD, SETTINGS, keep_memory, prepare_torch


@pytest.fixture
def started(monkeypatch) -> list:
    """What the process would have become; the environment is free of all that matters here."""
    calls: list = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(environment, "_has_glibc", lambda: True)
    for name in (*SETTINGS, GUARD):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_process_starts_anew_as_the_same_command(started):
    keep_memory()
    [(program, arguments, variables)] = started
    assert program == sys.executable
    assert arguments[1:] == sys.orig_argv[1:]
    assert variables.items() >= {**SETTINGS, GUARD: str(os.getpid())}.items()
    assert set(variables) - set(os.environ) == {*SETTINGS, GUARD}


def test_process_starts_anew_once(started, monkeypatch):
    monkeypatch.setenv(GUARD, "1")
    keep_memory()
    assert started == []


def test_settings_of_the_user_win(started, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=3")
    keep_memory()
    assert started[0][2]["GLIBC_TUNABLES"] == "glibc.malloc.check=3"
    assert started[0][2]["MALLOC_MMAP_MAX_"] == "0"


def test_nothing_is_done_where_all_is_set(started, monkeypatch):
    for name in SETTINGS:
        monkeypatch.setenv(name, "7")
    keep_memory()
    assert started == []


def test_nothing_is_done_without_glibc(started, monkeypatch):
    monkeypatch.setattr(environment, "_has_glibc", lambda: False)
    keep_memory()
    assert started == []


def test_system_that_refuses_leaves_the_process_as_it_is(started, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "execve", refuse)
    keep_memory()


def test_call_from_python_does_not_replace_the_process(started, fake):
    assert command.main(["evaluate", "r"]) == 0
    assert started == []


@pytest.mark.parametrize("verb", ["recipes", "models"])
def test_verbs_that_compute_nothing_stay_in_their_process(started, monkeypatch, verb):
    monkeypatch.setattr(sys, "argv", ["unpool", verb])
    assert command.main() == 0
    assert started == []


def test_verb_that_computes_starts_anew_from_the_shell(started, fake, monkeypatch):
    Path("r").mkdir()
    monkeypatch.setattr(sys, "argv", ["unpool", "evaluate", "r"])
    assert command.main() == 0
    assert len(started) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_restarted_process_has_the_settings_and_its_arguments():
    code = (
        "import os, sys; from unpool.cli.environment import keep_memory; keep_memory(); "
        "print(os.environ['MALLOC_MMAP_MAX_'], sys.argv)"
    )
    clean = {name: value for name, value in os.environ.items() if name not in (*SETTINGS, GUARD)}
    done = subprocess.run(
        [sys.executable, "-c", code, "a b", "é"], capture_output=True, text=True, env=clean, check=True
    )
    assert done.stdout == "0 ['-c', 'a b', 'é']\n"


def test_subnormal_numbers_become_zero():
    tiny = torch.tensor([1e-310], dtype=torch.float64)
    try:
        prepare_torch()
        assert (tiny * 0.5).item() == 0.0
    finally:
        torch.set_flush_denormal(False)
    assert (tiny * 0.5).item() > 0.0
