"""What the program that starts several processes of one run, such as `torchrun`, says of this one."""

import os
from typing import NamedTuple

from unpool.errors import RecipeError

STORE = "UNPOOL_STORE"  # in the environment of processes that this program started itself: the file they meet in
STARTER = "UNPOOL_STARTER"  # the same: the number of the process that started them


class Environment(NamedTuple):
    """What the program that starts the processes says of this one.

    Attributes:
        rank: number of this process among all, from 0.
        world_size: how many there are.
        local_rank: number among those of this machine.
        local_world_size: how many this machine has.
        restarts: how often all of them have been started anew.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    restarts: int = 0


def environment() -> Environment:
    """What `torchrun` says in the environment; one process by itself where it says nothing.

    Raises:
        RecipeError: a value is no number, or the rank is none of those there are.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        return Environment()
    texts = [os.environ.get(name, default) for name, default in zip(names, ("0", "1", "0", "1", "0"), strict=True)]
    if not all(text.isdigit() for text in texts):
        raise RecipeError(f"{', '.join(names)} are {', '.join(texts)} in the environment: expected numbers")
    here = Environment(*map(int, texts))
    if not 0 <= here.rank < here.world_size:
        raise RecipeError(f"RANK is {here.rank} and WORLD_SIZE {here.world_size}: expected 0 <= RANK < WORLD_SIZE")
    return here


def is_first_here() -> bool:
    """Whether this process is the first of this machine, which says what all of them hear, such as a signal."""
    try:
        return environment().local_rank == 0
    except RecipeError:
        return True


def is_starter_gone() -> bool:
    """Whether the process of this program that started this one has ended; False where there was none."""
    return os.name == "posix" and STARTER in os.environ and os.environ[STARTER] != str(os.getppid())


def cores() -> int:
    """Processors that this process may use; of several processes of one run its share, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed // environment().local_world_size)
