"""Loader processes that die, hang or cannot start, held in memory and streamed."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.loading import Numbers, plain, wait_until_gone
from unpool.data.loader import Loader
from unpool.data.order import Shuffled
from unpool.data.readers.folder import Folder
from unpool.data.store import scan
from unpool.errors import EnvironmentFault

pytestmark = pytest.mark.slow
LOADERS: list[Loader] = []


@pytest.fixture(autouse=True)
def _close_loaders() -> Iterator[None]:
    yield
    while LOADERS:
        LOADERS.pop().close()


@pytest.fixture(params=[True, False], ids=["held", "streamed"])
def photographs(request, tmp_path):
    """40 images of two classes, held in memory or read from their files by the workers."""
    values = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    for number, value in enumerate(values):
        path = tmp_path / ("cat" if number % 2 else "dog") / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(value).save(path)
    return scan(Folder(tmp_path, "train", val_share=0.1), memory=request.param).samples


def make(samples, *, workers: int = 2, **options) -> Loader:
    order = Shuffled(len(samples), batch=4, seed=0)
    LOADERS.append(Loader(samples, options.pop("transform", plain), order=order, workers=workers, **options))
    return LOADERS[-1]


def children() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


class Paused:
    """A transform that makes a batch last, so that a signal meets it."""

    def __call__(self, samples, epoch):
        time.sleep(0.2)
        return {"index": torch.tensor([sample["index"] for sample in samples])}


def test_killed_worker_is_named_with_signal_and_last_file_within_ten_seconds(photographs):
    stream = iter(make(photographs, transform=Paused()).stream(0, 0, 3))
    next(stream)
    os.kill(children()[0], signal.SIGKILL)
    began_s = time.monotonic()
    with pytest.raises(EnvironmentFault) as error:
        list(stream)
    assert time.monotonic() - began_s < 10
    text = str(error.value)
    assert "died by signal 9 (likely memory)" in text
    assert "lower data.workers" in text
    assert any(f" {name}: " in text for name in photographs.names)


def test_worker_that_dies_while_it_starts_says_so():
    loader = make(Numbers(400), workers=1)
    with pytest.raises(EnvironmentFault, match=r"died by signal 9 .* while it started: lower"):
        _kill_when_there(loader)


def _kill_when_there(loader: Loader) -> None:
    loader._pool = loader._new_pool()
    os.kill(children()[0], signal.SIGKILL)
    list(loader.stream(0, 0, 1))


def test_hanging_worker_is_named_with_its_sample_after_the_limit():
    with pytest.raises(EnvironmentFault, match=r"reading number/5.png has taken more than 3 s"):
        list(make(Numbers(trouble="stuck"), timeout_s=3.0).stream(0, 0, 1))


def test_each_sample_comes_once_through_the_pipe_of_a_worker(photographs):
    batches = list(make(photographs, workers=1).stream(0, 0, 1))
    assert sorted(int(i) for batch in batches for i in batch["index"]) == list(range(len(photographs)))


def test_worker_starts_beside_threads_again_and_again(photographs):
    torch.randn(400, 400) @ torch.randn(400, 400)  # threads of the processor's library are up
    for _ in range(2):
        loader = make(photographs, workers=1)
        assert len(list(loader.stream(0, 0, 1))) == loader.steps_per_epoch
        loader.close()


def test_two_hundred_workers_start_beside_threads_and_none_hangs():
    """Threads of torch, of OpenCV and of Python hold locks, which a fork would copy."""
    torch.set_num_threads(2)
    ends = threading.Event()
    others = [threading.Thread(target=_compute, args=(ends,)) for _ in range(2)]
    try:
        for other in others:
            other.start()
        for _ in range(50):
            loader = make(Numbers(32), workers=4)
            began_s = time.monotonic()
            assert len(list(loader.stream(0, 0, 1))) == loader.steps_per_epoch
            assert time.monotonic() - began_s < 120
            loader.close()
    finally:
        ends.set()
        torch.set_num_threads(1)
        for other in others:
            other.join()


def _compute(ends: threading.Event) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    while not ends.wait(0.01):
        torch.randn(64, 64) @ torch.randn(64, 64)
        cv2.resize(image, (90, 90))


MOUNTED = """
mount -t tmpfs -o size=1m tmpfs /dev/shm
exec {python} -m unpool train folder_resnet18 data.root=set {words} --run run
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs to mount a file system of its own")
@pytest.mark.parametrize(
    ("words", "code"),
    [("data.memory=true data.workers=1", 4), ("data.memory=false data.workers=1", 0), ("data.workers=0", 0)],
    ids=["held", "streamed", "without workers"],
)
def test_full_shared_memory_is_named_with_what_to_set_which_works(tmp_path, words, code):
    for number in range(24):
        values = np.random.default_rng(number).integers(0, 256, (200, 200, 3), dtype=np.uint8)
        path = tmp_path / "set" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    words += " data.size=[32,32] model.name=lenet5 train.epochs=1 train.warmup_epochs=0 train.batch=4"
    words += " train.precision=float32 train.memory_format=contiguous"
    script = MOUNTED.format(python=sys.executable, words=words)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = ["unshare", "-rm", "sh", "-ec", script]
    if subprocess.run([*command[:2], "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user may mount here")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr[-1000:]
    if code:
        assert "error: shared memory (/dev/shm) has " in done.stderr
        assert "set data.workers=0 or data.memory=false" in done.stderr
        assert not (tmp_path / "run").exists()
    else:
        assert (tmp_path / "run" / "report.html").is_file()


def test_workers_of_a_killed_parent_end_within_ten_seconds(tmp_path):
    code = """if True:
        import multiprocessing, sys, time
        from tests.data.loading import Numbers, plain
        from unpool.data.loader import Loader
        from unpool.data.order import Shuffled
        if __name__ == "__main__":
            stream = Loader(Numbers(4000), plain, order=Shuffled(4000, batch=4, seed=0), workers=2).stream(0, 0, 9)
            next(iter(stream))
            print(*[child.pid for child in multiprocessing.active_children()], flush=True)
            time.sleep(600)
    """
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    assert len(pids) == 2
    assert all(wait_until_gone(pid, seconds=10) for pid in pids)


def test_set_that_cannot_be_sent_names_the_attribute(photographs):
    photographs.own = lambda: None
    with pytest.raises(EnvironmentFault, match=r"samples\.own cannot be sent to a worker process"):
        list(make(photographs).stream(0, 0, 1))


def test_stream_does_not_depend_on_the_number_of_workers(photographs):
    alone = list(make(photographs, workers=0).stream(0, 2, 3))
    beside = list(make(photographs, workers=2).stream(0, 2, 3))
    assert len(alone) == len(beside)
    assert all(torch.equal(a[key], b[key]) for a, b in zip(alone, beside, strict=True) for key in a)


def test_resumed_epoch_asks_for_the_samples_of_one_that_never_stopped(photographs):
    whole = [batch["index"].tolist() for batch in make(photographs, workers=0).stream(0, 0, 3)]
    per_epoch = len(whole) // 3
    resumed = [batch["index"].tolist() for batch in make(photographs, workers=1).stream(1, 2, 3)]
    assert resumed == whole[per_epoch + 2 :]


def test_slow_reads_are_seen_as_waiting_for_data():
    loader = make(Numbers(40, seconds=0.05), workers=1)
    began_s = time.monotonic()
    list(loader.stream(0, 0, 1))
    assert loader.waited_s > 0.8 * (time.monotonic() - began_s)
    assert loader.ready_s < 0.5


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signals_to_the_group_reach_no_worker_that_starts():
    loader = make(Numbers(40), workers=1)
    loader._pool = loader._new_pool()
    for _ in range(40):  # of the start, most goes into imports
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(children()[0], number)
        time.sleep(0.05)
    assert len(list(loader.stream(0, 0, 1))) == 10
