"""Runs killed with signal 9, or by a failing disk, and resumed until they end."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unpool.training.checkpoint import load

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
RESULTS = ("model.safetensors", "best.safetensors")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads of two runs at once would wait for one another


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def start(folder: Path, *before: str) -> subprocess.Popen[bytes]:
    command = [*before, sys.executable, "-m", "tests.training.killed_run", str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def finish(folder: Path) -> dict[str, bytes]:
    assert start(folder).wait(120) == 0
    return {name: (folder / name).read_bytes() for name in RESULTS}


def traced(call: str, fault: str) -> list[str]:
    """Runs what follows with a fault injected into one of its system calls.

    Not with `--seccomp-bpf`, which is faster: strace 6.1 loses injected signals there on some kernels.
    """
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{fault}"]


@pytest.fixture(scope="module")
def peace(tmp_path_factory) -> dict[str, bytes]:
    """Files of a run that nobody killed."""
    return finish(tmp_path_factory.mktemp("peace"))


def test_run_killed_again_and_again_ends_with_the_same_bits(tmp_path, peace):
    generator = random.Random(0)
    for _ in range(8):
        process = start(tmp_path)
        process.stdout.readline()
        time.sleep(generator.uniform(0, 0.4))
        process.kill()
        process.wait()
    assert finish(tmp_path) == peace


@needs_strace
@pytest.mark.parametrize("call", ["rename", "fsync", "unlink", "unlinkat"])
def test_run_killed_in_a_system_call_of_a_save_ends_with_the_same_bits(tmp_path, peace, call):
    for number in (2, 9):
        process = start(tmp_path, *traced(call, f"signal=KILL:when={number}"))
        assert process.wait(120) != 0
    assert finish(tmp_path) == peace


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_failing_disk_ends_the_run_and_leaves_a_state_to_resume_from(tmp_path, peace, error):
    process = start(tmp_path, *traced("fsync", f"error={error}:when=40+"))
    assert process.wait(120) == 1
    assert load(tmp_path / "last")[1]["step"] > 2
    assert finish(tmp_path) == peace


def test_suspended_run_goes_on(tmp_path, peace):
    process = start(tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    assert process.wait(120) == 0
    assert {name: (tmp_path / name).read_bytes() for name in RESULTS} == peace


def test_sigterm_ends_the_run_within_seconds_and_it_can_be_resumed(tmp_path, peace):
    process = start(tmp_path)
    process.stdout.readline()
    time.sleep(0.2)
    process.terminate()
    process.wait(10)
    assert finish(tmp_path) == peace
