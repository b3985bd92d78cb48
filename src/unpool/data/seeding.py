"""Generators that code of a caller's own draws random numbers from: those that all code shares, and its own."""

import gc
import random
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpool.data.equality import content_of

_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)
_OPAQUE = (type, ModuleType, Tensor, np.ndarray, str, bytes, int, float, type(None))
_DEEPEST, _WIDEST = 10_000, 100  # objects looked through, in all and in one: no long list of files


def seed_generators(seed: int, epoch: int, index: int) -> None:
    """Makes what torch (on the CPU), NumPy and `random` draw next a function of the arguments."""
    mixed = np.random.SeedSequence([seed, epoch, index]).generate_state(2)
    torch.default_generator.manual_seed(int(mixed[0]) << 32 | int(mixed[1]))
    np.random.seed(mixed)  # noqa: NPY002, that which others draw from
    random.seed(int(mixed[0]) << 32 | int(mixed[1]))


@contextmanager
def shared_restored() -> Iterator[None]:
    """Puts the shared generators back afterwards, as they were."""
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        random.setstate(kept[2])


def shared_states() -> list[Any]:
    """Of the shared generators: torch's, NumPy's and that of `random`."""
    return [content_of(torch.get_rng_state()), content_of(np.random.get_state()), hash(random.getstate())]  # noqa: NPY002


def private_states(value: object) -> list[Any]:
    """Of the generators that an object holds, itself or in what it holds, or that lie in the modules of these."""
    shared = {id(torch.default_generator), id(getattr(np.random.get_state, "__self__", None))}
    seen = shared | {id(getattr(random.getstate, "__self__", None))}
    modules: set[str] = set()
    states, waiting = [], deque([value])
    while waiting and len(seen) < _DEEPEST:
        one = waiting.popleft()
        if id(one) in seen or isinstance(one, _OPAQUE):
            continue
        seen.add(id(one))
        if isinstance(one, _GENERATORS):
            states.append(_state(one))
            continue
        waiting.extend(_held(one)[:_WIDEST])
        name = (one if isinstance(one, FunctionType) else type(one)).__module__
        if name not in modules:
            modules.add(name)
            waiting.extend(x for x in vars(sys.modules.get(name, sys)).values() if isinstance(x, _GENERATORS))
    return states


def _held(value: Any) -> list[Any]:
    if isinstance(value, FunctionType):  # else all that its module has
        return [value.__closure__, value.__defaults__, value.__kwdefaults__]
    return gc.get_referents(value)


def _state(generator: Any) -> Any:
    if isinstance(generator, random.SystemRandom):
        return None
    if isinstance(generator, np.random.Generator):
        return content_of(generator.bit_generator.state)
    return hash(generator.getstate()) if isinstance(generator, random.Random) else content_of(generator.get_state())
