"""Real processes for tests, forked from this one: they join by the environment, as those of torchrun do."""

import multiprocessing
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unpool.training import processes

CONTEXT = multiprocessing.get_context("fork")  # torch is imported already


def by_ranks(world_size: int, work: Callable[[int], Any], *, timeout_s: float = 60.0) -> list[Any]:
    """What `work(rank)` returns in each of the processes, joined with one another; an error fails the test."""
    queue, children = start(world_size, work)
    results = dict(pickle.loads(queue.get(timeout=timeout_s)) for _ in range(world_size))
    for child in children:
        child.join(timeout_s)
    broken = [text for is_good, text in results.values() if not is_good]
    assert not broken, "\n".join(broken)
    return [results[rank][1] for rank in range(world_size)]


def start(world_size: int, work: Callable[[int], Any]) -> tuple[Any, list[Any]]:
    """A queue of (rank, (whether it went well, result or traceback)), and the processes."""
    queue, store = CONTEXT.Queue(), str(Path(tempfile.mkdtemp(), "store"))
    children = [CONTEXT.Process(target=_be, args=(r, world_size, store, work, queue)) for r in range(world_size)]
    for child in children:
        child.start()
    return queue, children


def _be(rank: int, world_size: int, store: str, work: Callable[[int], Any], queue: Any) -> None:
    values = {"RANK": rank, "WORLD_SIZE": world_size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world_size}
    os.environ.update({name: str(value) for name, value in values.items()})
    os.environ.update({"UNPOOL_STORE": store, "GLOO_SOCKET_IFNAME": "lo"})
    try:
        with processes.joined():
            result = work(rank)
        queue.put(pickle.dumps((rank, (True, result))))  # torch would send tensors as files of a process that is gone
    except BaseException as error:
        queue.put(pickle.dumps((rank, (False, f"{traceback.format_exc()}{vars(error)}"))))
