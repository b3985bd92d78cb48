"""Checkpoints, crashes and disks: what the tests of `training` do not hold yet, over a whole small run."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.tiny_trees import write_tree
from unpool import run
from unpool.errors import Stopped
from unpool.training import checkpoint, files
from unpool.training.callbacks import Callback
from unpool.training.checkpoint import load, remove_unfinished, save, states

SMALL = {
    "train.epochs": 2,
    "train.batch": 2,
    "train.eval_batch": 2,
    "train.warmup_epochs": 0,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "train.save_every_s": 0,
    "data.workers": 0,
    "data.size": [32, 32],
    "model.name": "lenet5",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def settings(tmp_path):
    return {**SMALL, "data.root": str(write_tree("folder", tmp_path / "set"))}


def content(value: float) -> dict[str, torch.Tensor]:
    return {"model/weight": torch.full((30, 20), value)}


def weights_of(directory: Path) -> str:
    return hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()


def test_two_hundred_flipped_bits_are_all_seen(tmp_path):
    for step in (1, 2):
        save(tmp_path, content(step), {"step": step})
    generator = random.Random(0)
    paths = sorted((tmp_path / "step-00000002").iterdir())
    for _ in range(200):
        path = generator.choice(paths)
        good = path.read_bytes()
        spoiled = bytearray(good)
        spoiled[generator.randrange(len(good))] ^= 1 << generator.randrange(8)
        path.write_bytes(bytes(spoiled))
        tensors, meta = load(tmp_path)
        assert torch.equal(tensors["model/weight"], content(meta["step"])["model/weight"])
        assert meta["step"] == 1 or path.name == "manifest.json"
        path.write_bytes(good)


@pytest.mark.parametrize("text", ["", "garbage\0", "step-00000099"])
def test_a_pointer_to_the_latest_state_is_neither_needed_nor_read(tmp_path, text):
    for step in (1, 2):
        save(tmp_path, content(step), {"step": step})
    (tmp_path / "latest").write_text(text)
    assert load(tmp_path)[1]["step"] == 2


def test_state_without_a_manifest_is_no_state_and_goes_at_the_next_start(tmp_path):
    for step in (1, 2):
        save(tmp_path, content(step), {"step": step})
    (tmp_path / "step-00000002" / "manifest.json").unlink()
    assert load(tmp_path)[1]["step"] == 1
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_every_file_of_a_run_is_synced_before_its_rename_and_its_folder_after(settings, tmp_path, monkeypatch):
    events = []
    sync, rename, replace = os.fsync, Path.rename, Path.replace

    def noted_sync(handle):
        events.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))  # noqa: PTH115
        sync(handle)

    def noted(move):
        def moved(path, target):
            events.append(("rename", str(path), str(target)))
            return move(path, target)

        return moved

    monkeypatch.setattr(files.os, "fsync", noted_sync)
    monkeypatch.setattr(checkpoint.Path, "rename", noted(rename))
    monkeypatch.setattr(checkpoint.Path, "replace", noted(replace))
    run.train("folder_resnet18", settings, run=tmp_path / "run")
    moved = [(at, *event[1:]) for at, event in enumerate(events) if event[0] == "rename" and "/run/" in event[1]]
    assert {"recipe.yaml", "config.json", "data.json", "model.safetensors"} <= {Path(new).name for _, _, new in moved}
    for at, old, new in moved:
        assert Path(old).parent == Path(new).parent  # never from another file system
        assert ("sync", old) in events[:at], new
        assert ("sync", str(Path(new).parent)) in events[at:], new


class StopWithin(Callback):
    """Sends a signal while the state of a step is being written."""

    def __init__(self, monkeypatch, step, times=1):
        self.monkeypatch, self.step, self.times = monkeypatch, step, times

    def after_step(self, job, record):
        if record.step != self.step:
            return
        sync = os.fsync

        def interrupted(handle):
            self.monkeypatch.setattr(files.os, "fsync", sync)
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGTERM if self.times == 1 else signal.SIGINT)
            sync(handle)

        self.monkeypatch.setattr(files.os, "fsync", interrupted)


@pytest.mark.usefixtures("heard_signals")
def test_sigterm_within_a_save_lets_it_end_and_the_run_goes_on_from_it(settings, tmp_path, monkeypatch):
    run.train("folder_resnet18", settings, run=tmp_path / "peace")
    with pytest.raises(Stopped) as stop:
        run.train("folder_resnet18", settings, run=tmp_path / "run", callbacks=[StopWithin(monkeypatch, 3)])
    assert stop.value.exit_code == 143
    assert load(tmp_path / "run" / "last")[1]["step"] == 3
    run.resume(tmp_path / "run")
    assert weights_of(tmp_path / "run") == weights_of(tmp_path / "peace")


@pytest.mark.usefixtures("heard_signals")
def test_second_interrupt_within_a_save_damages_nothing(settings, tmp_path, monkeypatch):
    run.train("folder_resnet18", settings, run=tmp_path / "peace")
    with pytest.raises(KeyboardInterrupt):
        run.train("folder_resnet18", settings, run=tmp_path / "run", callbacks=[StopWithin(monkeypatch, 3, times=2)])
    assert load(tmp_path / "run" / "last")[1]["step"] in (2, 3)
    run.resume(tmp_path / "run")
    assert weights_of(tmp_path / "run") == weights_of(tmp_path / "peace")
    assert not list((tmp_path / "run").rglob(f"{files.TEMPORARY}*"))


@pytest.mark.usefixtures("heard_signals")
def test_sigterm_in_the_first_batch_stops_before_the_first_step(settings, tmp_path, monkeypatch):
    from unpool import conduct

    first = conduct._first_batch

    def stopped(*parts):
        os.kill(os.getpid(), signal.SIGTERM)
        return first(*parts)

    monkeypatch.setattr(conduct, "_first_batch", stopped)
    with pytest.raises(Stopped):
        run.train("folder_resnet18", settings, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Set:
    """Samples, of which one is slow to read."""

    gives = ("image",)
    names = ("a", "b", "c", "d")
    sizes_hw = ((4, 4),) * 4

    def __len__(self):
        return 4

    def __getitem__(self, index):
        time.sleep(1.0 if index == 2 else 0.0)
        return {"image": torch.zeros(3, 4, 4, dtype=torch.uint8), "index": torch.tensor(index)}


def stacked(samples, epoch):
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


SUSPENDED = """
import sys
from tests.cases.test_checkpoints import Set, stacked
from unpool.data.loader import Loader
from unpool.data.order import Sequential

def main():
    loader = Loader(Set(), stacked, order=Sequential(4, batch=2), workers=int(sys.argv[1]), timeout_s=2.0)
    stream = loader.stream(0, 0, 1)
    next(stream)
    print("ready", flush=True)
    next(stream)
    print("done", flush=True)
    loader.close()

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_suspended_longer_than_a_sample_may_take_goes_on(tmp_path, workers):
    script = tmp_path / "suspended.py"
    script.write_text(SUSPENDED)
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, str(script), str(workers)],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(4.0)
    os.killpg(process.pid, signal.SIGCONT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "done\n"), said


needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize("call", ["write", "rename", "fsync", "unlink"])
def test_run_killed_in_a_system_call_on_its_files_goes_on_with_the_same_bits(settings, tmp_path, call):
    """Killed in one call after another on any file of the run directory, those beside the states too."""
    words = [sys.executable, "-m", "unpool", "train"]
    begun = [*words, "folder_resnet18", *(f"{key}={value}" for key, value in settings.items()), "--run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run([*begun, str(tmp_path / "peace")], env=environment, check=False).returncode == 0
    directory = tmp_path / "run"
    for number in (1, 3, 8, 20):
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(directory), "-e", f"trace={call}"]
        inject = ["-e", f"inject={call}:signal=KILL:when={number}"]
        is_begun = (directory / "recipe.yaml").is_file()
        if not is_begun:
            shutil.rmtree(directory, ignore_errors=True)
        command = [*words, "--resume", str(directory)] if is_begun else [*begun, str(directory)]
        subprocess.run([*trace, *inject, *command], env=environment, check=False, timeout=300)
    if not (directory / "recipe.yaml").is_file():
        shutil.rmtree(directory, ignore_errors=True)
        command = [*begun, str(directory)]
    else:
        command = [*words, "--resume", str(directory)]
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert weights_of(directory) == weights_of(tmp_path / "peace")


@pytest.mark.slow
def test_ten_thousand_saves_leak_nothing_and_cost_little_beside_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda handle: None)
    handles, started = len(os.listdir("/proc/self/fd")), time.process_time()  # noqa: PTH208
    for step in range(10_000):
        save(tmp_path, content(step), {"step": step})
    assert (time.process_time() - started) / 10_000 < 0.010
    assert len(os.listdir("/proc/self/fd")) == handles  # noqa: PTH208
    assert [path.name for path in states(tmp_path)] == ["step-00009999", "step-00009998"]
    assert len(list(tmp_path.iterdir())) == 2
