"""The processes that train one run together: which one this is, what they add up, and what they agree on.

`torchrun` starts them and says so in the environment (torch.distributed's `env://`); this file alone asks it. A process
by itself has nobody to ask: every function then returns what it was given, without a call of torch.distributed.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import FileStore, GradBucket, PrefixStore, Store, TCPStore

from unpool.errors import EnvironmentFault, RecipeError, Stopped, UnpoolError
from unpool.launched import STORE, Environment, environment
from unpool.training.heartbeat import STILL, Heartbeat
from unpool.training.one_voice import said_once

MEETING = timedelta(minutes=15)  # in which all must have been started
LONGEST = timedelta(hours=24)  # of one exchange; `Heartbeat` finds out sooner who does not answer
_log = logging.getLogger(__name__)
_HEARTBEATS: list[Heartbeat] = []  # of this process, while it is joined with others
_SERVED: dict[tuple[str, int], Store] = {}  # by address and port, for as long as this process lives
_T = TypeVar("_T")


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def is_leader() -> bool:
    """Whether this is the process that writes, shows and decides."""
    return rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Inside, this process is one of those that `torchrun` started, where it has started several.

    They exchange tensors by Gloo, and those of GPUs by NCCL.

    Raises:
        EnvironmentFault: the processes do not find one another, or one of them ends or stands still.
    """
    here = environment()
    if here.world_size == 1 or dist.is_initialized():
        yield
        return
    try:
        attempt = meet(store_of(here), rank=here.rank, world_size=here.world_size)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        store = PrefixStore(attempt, store_of(here))
        dist.init_process_group(backend, store=store, rank=here.rank, world_size=here.world_size, timeout=LONGEST)
    except (RuntimeError, ValueError) as error:
        raise EnvironmentFault(
            f"process {here.rank} of {here.world_size} does not reach the others: {error}"
        ) from error
    heartbeat = Heartbeat(PrefixStore(attempt, store_of(here)), rank=here.rank, world_size=here.world_size)
    _HEARTBEATS.append(heartbeat)
    try:
        with _others_watched(heartbeat, store, here.rank):
            yield
            wait()
    finally:
        _HEARTBEATS.clear()
        dist.destroy_process_group()
        if heartbeat.is_orphan and here.rank == 0:
            shutil.rmtree(Path(os.environ[STORE]).parent, ignore_errors=True)  # as its starter would have done


@contextmanager
def _others_watched(heartbeat: Heartbeat, store: Store, rank: int) -> Iterator[None]:
    """Inside, a process that is gone or stands still raises EnvironmentFault, or ends this one."""
    try:
        with heartbeat, said_once(store, rank):
            try:
                yield
            except RuntimeError as error:
                if not _is_of_exchange(error):
                    raise
                what = "another process of this run was lost: its own message says why it ended"
                raise EnvironmentFault(what) from error
    except (Stopped, KeyboardInterrupt) as error:
        if heartbeat.fault is None:
            raise
        raise heartbeat.fault from error


def watch_closely() -> None:
    """From now on the others must answer within seconds: all have read the data."""
    for heartbeat in _HEARTBEATS:
        heartbeat.patience = STILL


def store_of(here: Environment) -> Store:
    """A new connection to what the processes meet in: a file, or the store that `torchrun` or the leader serves."""
    if STORE in os.environ:
        return FileStore(os.environ[STORE], -1)
    address, port = os.environ.get("MASTER_ADDR", "localhost"), int(os.environ.get("MASTER_PORT", "29500"))
    is_served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" or (address, port) in _SERVED
    serves = here.rank == 0 and not is_served
    store = TCPStore(address, port, here.world_size, is_master=serves, wait_for_workers=False, timeout=MEETING)
    if serves:
        _SERVED[address, port] = store
    return store


def meet(store: Store, *, rank: int, world_size: int) -> str:
    """A name that these processes share, and no process of an earlier attempt in the same store does.

    `torchrun` counts its restarts on each machine by itself, so that no count tells one attempt from another. Each
    process says hello by a name of its own, and the leader welcomes the newest of each, until all have confirmed.
    """
    me = uuid4().hex
    if rank:
        store.set(f"hello/{rank}", me)
        store.wait([f"welcome/{rank}/{me}"], MEETING)
        attempt = store.get(f"welcome/{rank}/{me}").decode()
        store.set(f"{attempt}/confirmed/{rank}", me)
        return attempt
    ends_s, missing = time.monotonic() + MEETING.total_seconds(), set(range(1, world_size))
    while missing:
        for other in tuple(missing):
            if store.check([f"hello/{other}"]):
                store.set(f"welcome/{other}/{store.get(f'hello/{other}').decode()}", me)
            if store.check([f"{me}/confirmed/{other}"]):
                missing.discard(other)
        if time.monotonic() > ends_s:
            raise EnvironmentFault(f"processes {sorted(missing)} of {world_size} have not started")
        time.sleep(0.02)
    return me


def check_count(asked: int) -> None:
    """Raises RecipeError where a recipe asks for several processes and one runs: a function starts none."""
    count = world_size()
    if asked > 1 and count == 1:
        raise RecipeError(
            f"train.processes is {asked}, which `unpool train` starts and a function does not: leave it out, and start "
            f"your program by torchrun --nproc-per-node {asked}"
        )
    if asked not in (1, count):
        _log.warning("train.processes is %d, and %d processes were started, which train", asked, count)


def is_restarted() -> bool:
    """Whether any of the processes was started anew after one of them had ended."""
    return any(gathered(environment().restarts))


def _is_of_exchange(error: RuntimeError) -> bool:
    """Whether an exchange failed since another process is gone; Gloo raises a plain RuntimeError."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()


def add_up(values: Tensor) -> Tensor:
    """The sum over all processes, in place; the tensor as it is of a process by itself."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def add_up_later(_: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """The sum of a bucket's gradients, in the background: DistributedDataParallel takes the mean by itself."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])  # pyright: ignore[reportOptionalMemberAccess]


def add_up_gradients(weights: Sequence[nn.Parameter]) -> None:
    """Sums of the gradients over all processes, in place; of weights that have one in any of them."""
    if world_size() == 1 or not weights:
        return
    has_gradient = add_up(torch.tensor([weight.grad is not None for weight in weights], dtype=torch.int64))
    for weight, count in zip(weights, has_gradient.tolist(), strict=True):
        if count and weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    flat = add_up(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, values in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(values.view_as(gradient))


def gathered(value: _T) -> list[_T]:
    """The value of each process, by rank."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def gathered_where_any(value: _T) -> list[_T]:
    """The value of each process, by rank; where all are empty or None, this one's alone, after one sum."""
    if world_size() == 1 or not add_up(torch.tensor(int(bool(value)))):
        return [value]
    return gathered(value)


def by_leader(make: Callable[[], _T]) -> _T:
    """What `make` returns to the leader, in every process; an UnpoolError is raised by every process."""
    if world_size() == 1:
        return make()
    outcome: list[Any] = [None, None]
    if is_leader():
        try:
            outcome[0] = make()
        except UnpoolError as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        outcome[1].is_of_all = True
        raise outcome[1]
    return outcome[0]


def share(tensors: list[Tensor]) -> None:
    """Puts the leader's values into the tensors of every process."""
    if world_size() > 1:
        for tensor in tensors:
            values = tensor.detach().flatten().view(torch.uint8)  # Gloo does not know every kind of number
            dist.broadcast(values, 0)
            tensor.detach().copy_(values.view(tensor.dtype).view_as(tensor))


def wait() -> None:
    """Returns once every process has called it."""
    if world_size() > 1:
        dist.barrier()
