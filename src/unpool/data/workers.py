"""Worker processes of one thread each that turn lists of indices into batches, in the order asked for.

They are spawned, never forked: a fork copies locks that other threads hold. Batches come back through pipes as plain
bytes, which needs no shared memory and notices a killed worker at once.
"""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from multiprocessing.reduction import ForkingPickler
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import torch
import torch.multiprocessing
from torch import Tensor

from unpool.data.replacing import Replacing
from unpool.data.seeding import seed_generators
from unpool.data.streamed import draws_itself
from unpool.errors import (
    STOP_SIGNALS,
    DataError,
    EnvironmentFault,
    ModelFileError,
    RecipeError,
    UnpoolError,
    require_files,
)
from unpool.machine import free_bytes
from unpool.streams import lasting
from unpool.types import Batch, Samples, Transform

_EACH = 2  # batches asked of each worker ahead of time
_WORKER_BYTES = 300 << 20  # of its own, once torch is imported and before a sample is read
_LATE_S = 2.0  # a check that is later than this after the one before: the process was suspended, or nobody waited
_START_S = 300.0  # importing torch, from a cold disk or on busy cores
_STARTING, _TRANSFORMING = -2, -1
_ERRORS = {e.__name__: e for e in (DataError, RecipeError, ModelFileError, EnvironmentFault, UnpoolError)}


class Task(NamedTuple):
    """One batch to be made."""

    epoch: int
    indices: list[int]


def read_batch(
    samples: Samples,
    transform: Transform,
    task: Task,
    *,
    clock: MutableSequence[float],
    before: Callable[[int, int], None] | None = None,
) -> Batch:
    """The batch of `task`; `clock` gets what is in work, the monotonic time when that began, and the last sample.

    `before` is called with epoch and position before each sample is read.
    """
    read = []
    for index in task.indices:
        clock[:] = [index, time.monotonic(), index]
        if before is not None:
            before(task.epoch, index)
        read.append(samples.read(index, task.epoch) if isinstance(samples, Replacing) else samples[index])
    clock[:2] = [_TRANSFORMING, time.monotonic()]
    batch = transform(read, task.epoch)
    asked = [i if i != int(sample.get("index", i)) else -1 for i, sample in zip(task.indices, read, strict=True)]
    if max(asked, default=-1) >= 0:
        batch["replaced"] = torch.tensor(asked)
    clock[:2] = [_TRANSFORMING, time.monotonic()]
    return batch


def check_clock(clock: MutableSequence[float], samples: Samples, timeout_s: float) -> None:
    """Raises EnvironmentFault if one sample has been in work for longer than `timeout_s`."""
    index, since = int(clock[0]), clock[1]
    limit_s = max(timeout_s, _START_S) if index == _STARTING else timeout_s
    if time.monotonic() - since > limit_s:
        what = {_STARTING: "starting a loader worker", _TRANSFORMING: "augmenting a batch"}.get(index)
        raise EnvironmentFault(
            f"{what or 'reading ' + str(samples.names[index])} has taken more than {limit_s:g} s: "
            "a disk or network may be stalled, or a transform waits for ever; mend that and resume"
        )


class Watch:
    """Refuses a sample that is too long in work. Time in which this process was suspended (Ctrl-Z) does not count.

    Args:
        clock: as `read_batch` sets it.
        samples: name what is in work.
        timeout_s: longest time for one sample.
    """

    def __init__(self, clock: MutableSequence[float], samples: Samples, timeout_s: float) -> None:
        self._clock, self._samples, self._timeout_s = clock, samples, timeout_s
        self._checked_s = time.monotonic()

    def check(self) -> None:
        """To be called every half a second while a batch is waited for; raises as `check_clock` does."""
        now_s = time.monotonic()
        if now_s - self._checked_s > _LATE_S:
            self._clock[1] = now_s
        self._checked_s = now_s
        check_clock(self._clock, self._samples, self._timeout_s)


class Pool:
    """Processes that stay alive until `close`.

    Args:
        samples, transform: sent to each worker once; sets in shared memory are not copied.
        workers: number of processes.
        timeout_s: longest time for one sample.
        seed: of the numbers that a data set of the caller's own draws.
    """

    def __init__(
        self, samples: Samples, transform: Transform, *, workers: int, timeout_s: float, seed: int = 0
    ) -> None:
        if workers * _WORKER_BYTES > (free := free_bytes()):
            problem = f"{workers} loader workers need {workers * _WORKER_BYTES / 2**30:.1f} GiB of memory at least"
            fitting = free // _WORKER_BYTES
            raise EnvironmentFault(
                f"{problem} and {free / 2**30:.1f} GiB are free: set data.workers={fitting} or fewer"
            )
        self._workers: list[_Worker] = []
        # before multiprocessing asks them to end, which they do not hear
        self._ending = Finalize(self, _end_all, args=(self._workers,), exitpriority=10)
        try:
            for _ in range(workers):
                self._workers.append(_Worker(samples, transform, timeout_s=timeout_s, seed=seed))
        except BaseException:
            self.close()
            raise

    def batches(self, tasks: Iterable[Task]) -> Iterator[Batch]:
        """The batches of `tasks`, in their order."""
        asked: deque[_Worker] = deque()
        for step, task in enumerate(tasks):
            worker = self._workers[step % len(self._workers)]
            worker.ask(task)
            asked.append(worker)
            if len(asked) >= _EACH * len(self._workers):
                yield self._receive(asked.popleft())
        while asked:
            yield self._receive(asked.popleft())

    def close(self) -> None:
        """Ends the processes."""
        self._ending()

    def _receive(self, worker: "_Worker") -> Batch:
        while not worker.has_answer(timeout_s=0.5):
            worker.watch.check()
        for other in self._workers:
            other.check_alive()
        return worker.answer()


def _end_all(workers: "list[_Worker]") -> None:
    while workers:
        workers.pop().end()


class _Worker:
    def __init__(self, samples: Samples, transform: Transform, *, timeout_s: float, seed: int) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self._names = samples.names
        self.clock = context.RawArray("d", [_STARTING, time.monotonic(), _STARTING])
        self.watch = Watch(self.clock, samples, timeout_s)
        self._channel, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(samples, transform, theirs, self.clock, seed), name="unpool-worker", daemon=True
        )
        try:
            with _signals_held_back():
                self._process.start()
        except (OSError, RuntimeError) as error:
            require_files(error)
            raise EnvironmentFault(
                f"a loader worker cannot be started ({error}): free memory, enlarge /dev/shm, or set data.workers=0"
            ) from error
        except BaseException as error:  # whatever a user's set raises while it is packed
            part = _unsendable(samples, "samples") or _unsendable(transform, "transform")
            if part is None:
                raise
            raise EnvironmentFault(
                f"{part} cannot be sent to a worker process ({error}): "
                "make it from functions and classes at the top level of a module, or set data.workers=0"
            ) from error
        finally:
            theirs.close()

    def ask(self, task: Task) -> None:
        try:
            self._channel.send(task)
        except OSError:
            raise self._death() from None

    def has_answer(self, *, timeout_s: float) -> bool:
        """Whether there is an answer, or the process has ended."""
        return bool(wait([self._channel, self._process.sentinel], timeout_s))

    def answer(self) -> Batch:
        try:
            kind, content = self._channel.recv()
            if kind == "batch":
                return _receive_batch(self._channel, content)
        except (EOFError, OSError):
            raise self._death() from None
        if kind == "error":
            names, message = content
            raise next(_ERRORS[name] for name in names if name in _ERRORS)(message)
        raise RuntimeError(f"a loader worker failed:\n{content}")

    def check_alive(self) -> None:
        code = self._process.exitcode
        if code is not None and code != 0:
            raise self._death()

    def end(self) -> None:
        self._channel.close()
        self._process.kill()
        self._process.join()

    def _death(self) -> EnvironmentFault:
        self._process.join(timeout=5)
        code = self._process.exitcode
        if code is None or code >= 0:
            return EnvironmentFault(
                f"loader worker {self._process.pid} ended with exit code {code}{self._last()}, see its message above; "
                'in a script of your own, start the training under `if __name__ == "__main__":`, or set data.workers=0'
            )
        likely = {"SIGKILL": "memory", "SIGBUS": "/dev/shm is full"}.get(signal.Signals(-code).name, "a faulty library")
        cause = f"died by signal {-code} (likely {likely}){self._last()}"
        return EnvironmentFault(f"loader worker {self._process.pid} {cause}: lower data.workers")

    def _last(self) -> str:
        """What the process did last, by the name of the sample."""
        index, last = int(self.clock[0]), int(self.clock[2])
        if last == _STARTING:
            return " while it started"
        return f" {'while reading' if index == last else 'after reading'} {self._names[last]}"


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process started inside the block ignores signals from its first moment on, until `_work` does."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # its start would let them through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    samples: Samples, transform: Transform, channel: Connection, clock: MutableSequence[float], seed: int
) -> None:
    torch.set_num_threads(1)
    for number in STOP_SIGNALS:  # they reach the whole group; the parent decides, and saves first
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    sys.stdout, sys.stderr = lasting(sys.stdout), lasting(sys.stderr)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    before = partial(seed_generators, seed) if draws_itself(samples) else None
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            task = channel.recv()
            _answer(channel, partial(read_batch, samples, transform, task, clock=clock, before=before))


def _answer(channel: Connection, make: Callable[[], Batch]) -> None:
    try:
        header, tensors = _pack(make())
    except UnpoolError as error:
        channel.send(("error", ([c.__name__ for c in type(error).__mro__], str(error))))
    except BaseException:  # sent to the parent, which raises it
        channel.send(("fault", traceback.format_exc()))
    else:
        _send_batch(channel, header, tensors)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _pack(batch: Batch) -> tuple[dict[str, Any], list[Tensor]]:
    """The kinds and shapes under each key, and all tensors in order.

    Raises:
        TypeError: a value is neither a tensor nor a list of such.
    """
    tensors: list[Tensor] = []
    return {key: _header_of(value, tensors, key=key) for key, value in batch.items()}, tensors


def _send_batch(channel: Connection, header: dict[str, Any], tensors: list[Tensor]) -> None:
    """First the header, then the values of one tensor after another."""
    channel.send(("batch", header))
    for tensor in tensors:
        if tensor.numel():
            channel.send_bytes(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)


def _header_of(value: Any, tensors: list[Tensor], *, key: str) -> Any:
    """Kind and shape of a tensor, or those of a list to any depth; its tensors are added to `tensors` in order."""
    if isinstance(value, list):
        return [_header_of(item, tensors, key=key) for item in value]
    if not isinstance(value, Tensor):
        raise TypeError(f"{key} of a batch is or holds a {type(value).__name__}; a transform gives tensors and lists")
    tensors.append(value)
    return value.dtype, tuple(value.shape)


def _receive_batch(channel: Connection, header: dict[str, Any]) -> Batch:
    return {key: _receive(channel, entry) for key, entry in header.items()}


def _receive(channel: Connection, entry: Any) -> Any:
    if isinstance(entry, list):
        return [_receive(channel, item) for item in entry]
    dtype, shape = entry
    tensor = torch.empty(shape, dtype=dtype)
    if tensor.numel():
        channel.recv_bytes_into(tensor.view(-1).view(torch.uint8).numpy())
    return tensor


def _unsendable(value: object, name: str) -> str | None:
    """The innermost attribute that cannot be sent, None where all can."""
    try:
        ForkingPickler.dumps(value)
    except BaseException:  # what it raises was reported already; here only where
        inner = getattr(value, "__dict__", {}).items()
        return next((part for key, v in inner if (part := _unsendable(v, f"{name}.{key}"))), name)
    return None
