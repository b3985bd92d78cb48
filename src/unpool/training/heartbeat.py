"""Ends a process of a run soon after another one stands still.

A process that dies closes its connections, and the others' next exchange fails. One that is stopped, or whose machine
has gone, keeps them open, and the others would wait for good. So a thread of each process counts in a store that all
reach, and looks whether the others count: the leader looks at each, each at the leader.
"""

import os
import threading
from typing import Self

from torch._C._distributed_c10d import Store

from unpool.streams import write_message

BEAT_S = 1.0
STILL = 12  # beats without a change, after which a process counts as gone
EXIT_CODE = 4  # as EnvironmentFault


class Heartbeat:
    """Context manager: inside, the process shows that it lives, and is ended where another does not.

    The main thread may be inside an exchange that no exception reaches, so the process ends without a word of it; what
    was saved is whole at every moment.

    Args:
        store: a connection of its own, since a thread that waits keeps it.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, store: Store, *, rank: int, world_size: int) -> None:
        self._store = store
        self._rank = rank
        self._watched = range(1, world_size) if rank == 0 else (0,)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(BEAT_S)

    def _run(self) -> None:
        counts, still = dict.fromkeys(self._watched, 0), dict.fromkeys(self._watched, 0)
        while not self._over.wait(BEAT_S):
            try:
                self._store.add(f"beats/{self._rank}", 1)
                latest = {rank: self._store.add(f"beats/{rank}", 0) for rank in self._watched}
            except RuntimeError:
                self._end("what the processes met in does not answer")
                return
            for rank, count in latest.items():
                still[rank] = 0 if count != counts[rank] else still[rank] + 1
                counts[rank] = count
                if still[rank] >= STILL:
                    self._end(f"process {rank} stands still for {STILL * BEAT_S:.0f} s")

    def _end(self, reason: str) -> None:
        if self._over.is_set():
            return
        write_message(f"error: process {self._rank} ends, since {reason}: resume from the last save")
        os._exit(EXIT_CODE)
