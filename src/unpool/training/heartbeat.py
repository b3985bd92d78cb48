"""Ends a process of a run soon after another one stands still, and stops it where the program that started it is gone.

A process that dies closes its connections, and the others' next exchange fails. One that is stopped, or whose machine
has gone, keeps them open, and the others would wait for good. So a thread of each process counts in a store that all
reach, and another looks whether the others count: the leader looks at each, each at the leader.

The threads need the interpreter: a process inside one call that keeps it, as json.loads of a large file, does not
count. Until all have read the data, which has such calls, they get more time.
"""

import _thread
import os
import signal
import threading
from typing import Self

from torch._C._distributed_c10d import Store

from unpool.errors import EnvironmentFault
from unpool.launched import is_starter_gone
from unpool.streams import write_message

BEAT_S = 3.0
STILL = 6  # beats without a change, after which a process counts as gone
READING = 40  # the same until all have read the data
ANSWER_S = 5.0  # in which a process that is interrupted leaves by itself


class Heartbeat:
    """Context manager: inside, the process shows that it lives, and is ended where another does not.

    The main thread is interrupted as by SIGTERM, and what it then leaves by is to be replaced by `fault`. Inside an
    exchange, which no signal reaches, the process ends without a word of it; what was saved is whole at every moment.

    Args:
        store: a connection of its own, since a thread that waits keeps it.
        rank: of this process.
        world_size: number of processes.

    Attributes:
        patience: beats that another process may miss; READING at first.
        fault: why this process was interrupted; None where it was not.
        is_orphan: whether the program that started the processes is gone.
    """

    def __init__(self, store: Store, *, rank: int, world_size: int) -> None:
        self.patience = READING
        self.fault: EnvironmentFault | None = None
        self.is_orphan = False
        self._store = store
        self._rank = rank
        self._watched = range(1, world_size) if rank == 0 else (0,)
        self._over = threading.Event()
        self._counts = dict.fromkeys(self._watched, b"")
        self._threads = [
            threading.Thread(target=run, daemon=True, name="heartbeat") for run in (self._beat, self._watch)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(BEAT_S)

    def _beat(self) -> None:
        """Counts, and notes what the others count."""
        while not self._over.wait(BEAT_S):
            self._stop_orphan()
            try:
                self._store.add(f"beats/{self._rank}", 1)
                self._counts = {rank: self._count(rank) for rank in self._watched}
            except RuntimeError as error:
                self._end(f"what the processes meet in does not answer ({error})")
                return

    def _watch(self) -> None:
        """Looks whether what the others count changes; apart from the store, which one that stands still may serve."""
        counts, still = self._counts, dict.fromkeys(self._watched, 0)
        while not self._over.wait(BEAT_S):
            before, counts = counts, self._counts
            for rank in self._watched:
                still[rank] = 0 if counts[rank] != before[rank] else still[rank] + 1
                if still[rank] >= self.patience:
                    self._end(f"process {rank} has ended or stands still for {still[rank] * BEAT_S:.0f} s")
                    return

    def _count(self, rank: int) -> bytes:
        """What a process has counted; `add` of nothing would let a store that is a file grow."""
        return self._store.get(f"beats/{rank}") if self._store.check([f"beats/{rank}"]) else b""

    def _stop_orphan(self) -> None:
        """Stops the process as by SIGTERM, so that the run is saved: nobody can stop it from outside as a whole."""
        if self.is_orphan or not is_starter_gone():
            return
        self.is_orphan = True
        if self._rank == 0:
            write_message("the program that started the processes is gone, so they stop")
        _thread.interrupt_main(signal.SIGTERM)

    def _end(self, reason: str) -> None:
        self.fault = EnvironmentFault(f"{reason}: resume from the last save, if the run was saved")
        _thread.interrupt_main(signal.SIGTERM)  # nothing where no handler of Python's would raise it
        if not self._over.wait(ANSWER_S):
            write_message(f"error: process {self._rank} ends, since {self.fault}")
            os._exit(EnvironmentFault.exit_code)
