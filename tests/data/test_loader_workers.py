"""Worker processes: the same batches as without them, and nothing that hangs."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.data.loading import Numbers, augmented, plain, wait_until_gone
from unpool.data import workers
from unpool.data.loader import Loader
from unpool.data.order import Shuffled
from unpool.errors import STOP_SIGNALS, DataError, EnvironmentFault

LOADERS: list[Loader] = []


@pytest.fixture(autouse=True)
def _close_loaders() -> Iterator[None]:
    yield
    while LOADERS:
        LOADERS.pop().close()


def make(samples: Numbers, **changes: object) -> Loader:
    options: dict = {"order": Shuffled(len(samples), batch=4, seed=0), "workers": 1} | changes
    LOADERS.append(Loader(samples, options.pop("transform", plain), **options))
    return LOADERS[-1]


def drain(loader: Loader) -> list[dict]:
    return list(loader.stream(0, 0, 1))


def test_batches_pass_a_pipe_unchanged() -> None:
    ours, theirs = multiprocessing.Pipe()
    batch = {
        "image": torch.arange(24, dtype=torch.uint8).view(1, 2, 3, 4).transpose(2, 3),
        "boxes": [torch.rand(2, 4), torch.zeros(0, 4)],
        "polygons": [[torch.rand(3, 2), torch.rand(5, 2)], []],
        "visible": torch.tensor([[True, False]]),
        "index": torch.tensor([2**40]),
    }
    workers._send_batch(ours, *workers._pack(batch))
    kind, header = theirs.recv()
    received = workers._receive_batch(theirs, header)
    assert kind == "batch"
    assert list(received) == list(batch)
    assert all(torch.equal(received[key], batch[key]) for key in ("image", "visible", "index"))
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(received["boxes"], batch["boxes"], strict=True))
    assert [len(polygons) for polygons in received["polygons"]] == [2, 0]
    assert all(torch.equal(a, b) for a, b in zip(received["polygons"][0], batch["polygons"][0], strict=True))


def test_batch_value_that_is_no_tensor_is_refused_by_its_key() -> None:
    with pytest.raises(TypeError, match="captions of a batch is or holds a str; a transform gives tensors and lists"):
        workers._pack({"captions": [torch.zeros(2), "a cat"]})


def test_clock_names_the_sample_in_work() -> None:
    now = time.monotonic()
    workers.check_clock([5, now - 2], Numbers(), 3.0)
    with pytest.raises(EnvironmentFault, match=r"reading number/5.png has taken more than 3 s"):
        workers.check_clock([5, now - 4], Numbers(), 3.0)
    with pytest.raises(EnvironmentFault, match="augmenting a batch has taken"):
        workers.check_clock([-1, now - 4], Numbers(), 3.0)
    workers.check_clock([-2, now - 20], Numbers(), 3.0)  # a process that starts


def test_time_in_which_the_process_was_suspended_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(
        [0.0, 0.5, 0.5, 1.0, 1.0, 90.0, 90.0, 90.5, 90.5, *(value for n in range(9) for value in [91 + n] * 2)]
    )
    monkeypatch.setattr(workers.time, "monotonic", lambda: next(seconds))
    watch = workers.Watch([5, 0.0], Numbers(), 3.0)
    for _ in range(7):  # suspended for 89 seconds in the third
        watch.check()
    with pytest.raises(EnvironmentFault, match=r"reading number/5.png has taken more than 3 s"):
        watch.check()


def test_what_cannot_be_sent_is_named() -> None:
    numbers = Numbers()
    numbers.decode = lambda path: path  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(EnvironmentFault, match=r"samples.decode cannot be sent to a worker process.*top level"):
        drain(make(numbers))
    with pytest.raises(EnvironmentFault, match="transform cannot be sent"):
        drain(make(Numbers(), transform=lambda samples, epoch: plain(samples, epoch)))


@pytest.mark.slow
def test_number_of_workers_changes_no_bit() -> None:
    numbers = Numbers(40, side=40)
    streams = [list(make(numbers, transform=augmented(24), workers=w).stream(0, 3, 3)) for w in (0, 1, 2, 4)]
    assert len({len(stream) for stream in streams}) == 1
    for batches in zip(*streams, strict=True):
        assert all(list(b) == list(batches[0]) for b in batches)
        assert all(torch.equal(b[key], batches[0][key]) for b in batches for key in b)


@pytest.mark.slow
def test_workers_outlive_a_stream_and_end_with_the_loader() -> None:
    loader = make(Numbers())
    first = drain(loader)
    before = {child.pid for child in multiprocessing.active_children()}
    second = drain(loader)
    assert {child.pid for child in multiprocessing.active_children()} == before
    assert all(torch.equal(a["index"], b["index"]) for a, b in zip(first, second, strict=True))
    loader.close()
    assert not before & {child.pid for child in multiprocessing.active_children()}


@pytest.mark.slow
def test_a_stream_left_half_way_can_be_started_again() -> None:
    loader = make(Numbers(400))
    stream = loader.stream(0, 0, 1)
    next(iter(stream))
    stream.close()
    assert len(drain(loader)) == 100


@pytest.mark.slow
def test_killed_worker_is_told_with_its_signal() -> None:
    began = time.monotonic()
    words = r"loader worker \d+ died by signal 9 \(likely memory\) while reading number/5.png: lower data.workers"
    with pytest.raises(EnvironmentFault, match=words):
        drain(make(Numbers(trouble="killed"), workers=2))
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_worker_killed_from_outside_is_noticed_within_ten_seconds() -> None:
    loader = make(Numbers(4000, seconds=0.01))
    stream = iter(loader.stream(0, 0, 1))
    next(stream)
    (child,) = multiprocessing.active_children()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(EnvironmentFault, match="died by signal 9"):
        list(stream)
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_hanging_worker_is_told_with_its_sample() -> None:
    with pytest.raises(EnvironmentFault, match=r"reading number/5.png has taken more than 2 s"):
        drain(make(Numbers(trouble="stuck"), timeout_s=2.0))


@pytest.mark.slow
def test_errors_of_the_set_come_through_a_worker() -> None:
    with pytest.raises(DataError, match=r"number/5\.png: broken"):
        drain(make(Numbers(trouble="broken")))
    with pytest.raises(RuntimeError, match="a mistake in a reader"):
        drain(make(Numbers(trouble="faulty")))


SCRIPT = """
    import multiprocessing, sys, time
    from tests.data.loading import Numbers, plain
    from unpool.data.loader import Loader
    from unpool.data.order import Shuffled

    if __name__ == "__main__":
        numbers = Numbers(4000, seconds=0.01)
        loader = Loader(numbers, plain, order=Shuffled(4000, batch=4, seed=0), workers=2)
        stream = iter(loader.stream(0, 0, 9))
        next(stream)
        print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        if sys.argv[1] == "stay":
            time.sleep(600)
"""


def start_script(folder: Path, *words: str) -> tuple[subprocess.Popen, list[int]]:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, path, *words], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, [int(pid) for pid in process.stdout.readline().split()]


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    process, children = start_script(tmp_path, "stay")
    assert len(children) == 2
    process.kill()
    process.wait()
    assert all(wait_until_gone(pid, seconds=10) for pid in children)


@pytest.mark.slow
def test_workers_end_when_a_script_ends_with_an_open_loader(tmp_path: Path) -> None:
    process, children = start_script(tmp_path, "leave")
    assert process.wait(timeout=30) == 0
    assert all(wait_until_gone(pid, seconds=10) for pid in children)


@pytest.mark.slow
def test_signals_to_the_group_are_left_to_the_parent() -> None:
    loader = make(Numbers(400))
    stream = iter(loader.stream(0, 0, 1))
    next(stream)
    (child,) = multiprocessing.active_children()
    assert child.pid is not None
    for number in STOP_SIGNALS:
        os.kill(child.pid, number)
    assert len(list(stream)) == 99


def test_more_workers_than_fit_into_memory_are_refused_before_any_starts(monkeypatch):
    for free in (3 * workers._WORKER_BYTES, 4 * workers._WORKER_BYTES - 1):
        monkeypatch.setattr(workers, "free_bytes", lambda free=free: free)
        for count, needed in ((4, "1.2"), (200, "58.6")):
            message = rf"{count} loader workers need {needed} GiB .* set data.workers=3 or fewer"
            with pytest.raises(EnvironmentFault, match=message):
                workers.Pool(Numbers(4), plain, workers=count, timeout_s=5)
