"""Loader processes that die, hang or cannot start, held in memory and streamed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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
