"""The first training batches go through the network once: which layers run, and how large their outputs are."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.overrides import TorchFunctionMode

from unpool.checks.source import Batch, picked
from unpool.layers.fans import fans_of
from unpool.tracing.recorder import Recorder, tensors_of

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

LAST = 3  # calls of activation functions among which that of the output is
SHARE = 0.06  # of the time that is left, after which no further batch is run
BATCHES, SAMPLES = 4, 64  # that are enough to tell a dead unit from a rare one; samples of one batch at most
NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)
RECTIFIERS = {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6}
SQUASHERS = {
    torch.sigmoid: "sigmoid",
    Tensor.sigmoid: "sigmoid",
    F.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    Tensor.tanh: "tanh",
    F.tanh: "tanh",
}


class Ran(NamedTuple):
    """One layer with weights, at its first call.

    Attributes:
        name, layer: the module.
        deviation: of its outputs between samples, the root mean square over channels and positions.
        size: root mean square of its outputs.
        per_channel: values of one channel in the batch, which a batch norm would average.
        next_norm: name of the norm that reads its output directly; empty where none does.
    """

    name: str
    layer: nn.Module
    deviation: float
    size: float
    per_channel: int
    next_norm: str


@dataclass
class Units:
    """The outputs of one call of an activation function.

    Attributes:
        function: "relu", "sigmoid" or "tanh".
        layer: the module inside of which it was called.
        is_alive: by channel, whether it was above 0 for any sample and position; of "relu" only.
        flat: share of the values where the slope is below a hundredth of the steepest; of the others only.
        is_output: whether the network's output is this tensor.
    """

    function: str
    layer: str
    is_alive: Tensor | None = None
    flat: float = 0.0
    is_output: bool = False

    @property
    def dead(self) -> float:
        """Share of the units that are 0 for every sample."""
        return 0.0 if self.is_alive is None else float((~self.is_alive).float().mean())


@dataclass
class Pass:
    """What ran.

    Attributes:
        outputs: of the first batch.
        batch: the first batch, at most `SAMPLES` of it.
        layers: with weights, in the order in which they ran.
        norms: name and module of each norm that ran, with the values that it averages for one channel.
        units: calls of activation functions.
        modules: names of all modules that ran.
        samples: that were seen.
        seconds: that they took.
    """

    outputs: Any
    batch: Batch
    layers: list[Ran] = field(default_factory=list)
    norms: dict[str, tuple[nn.Module, int]] = field(default_factory=dict)
    units: list[Units] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    samples: int = 0
    seconds: float = 0.0


def run_once(setup: "Setup") -> Pass:
    """Runs the first batches in training mode, without gradients; everything is put back afterwards."""
    result: Pass | None = None
    start = time.perf_counter()
    allowed = setup.budget.share_s(SHARE)
    for batch in setup.batches(BATCHES):
        part = picked(batch, slice(0, SAMPLES))
        with setup.trying(training=True), torch.no_grad():
            one = _watched(setup, part)
        result = one if result is None else _joined(result, one)
        if time.perf_counter() - start > allowed:
            break
    if result is None:
        raise ValueError("there is no batch")
    result.seconds = time.perf_counter() - start
    return result


def _watched(setup: "Setup", batch: Batch) -> Pass:
    result = Pass(None, batch)
    with (
        Recorder(setup.model) as recorder,
        _layers_watched(setup.model, result),
        _Activations(result, recorder) as seen,
    ):
        result.outputs = setup.outputs(batch)
    outputs = list(tensors_of(result.outputs))
    for units, values in zip(reversed(result.units), reversed(seen.last), strict=False):
        units.is_output = any(one.data_ptr() == values.data_ptr() and one.numel() > 0 for one in outputs)
    result.modules = {call.name for call in recorder.calls}
    result.samples = max((len(one) for one in outputs if one.ndim), default=0)
    return result


def _joined(first: Pass, other: Pass) -> Pass:
    """The first pass, its units alive where they were in either."""
    if [units.function for units in first.units] == [units.function for units in other.units]:
        for one, more in zip(first.units, other.units, strict=True):
            if one.is_alive is not None and more.is_alive is not None and one.is_alive.shape == more.is_alive.shape:
                one.is_alive = one.is_alive | more.is_alive
    first.samples += other.samples
    return first


class _Layers:
    """Notes size and deviation of each layer's output, and the norm that reads it directly."""

    def __init__(self, result: Pass) -> None:
        self._result = result
        self._last: tuple[str, Tensor, int] | None = None  # layer, its output, the version of its memory

    def leave(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        self._last = (name, output, output._version)
        layers = self._result.layers
        if fans_of(module) is not None and all(ran.name != name for ran in layers):
            layers.append(Ran(name, module, *_sizes(output), ""))

    def enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        value = next(tensors_of(inputs), None)
        if value is None:
            return
        channels = value.shape[1] if value.ndim > 1 else 1
        self._result.norms.setdefault(name, (module, value.numel() // max(1, channels)))
        if self._last is not None and value is self._last[1] and value._version == self._last[2]:
            layers = self._result.layers
            layers[:] = [ran._replace(next_norm=name) if ran.name == self._last[0] else ran for ran in layers]


@contextmanager
def _layers_watched(model: nn.Module, result: Pass) -> Iterator[None]:
    watch = _Layers(result)
    handles = []
    for name, module in model.named_modules():
        if next(module.children(), None) is None:
            handles.append(module.register_forward_hook(partial(watch.leave, name)))
        if isinstance(module, NORMS):
            handles.append(module.register_forward_pre_hook(partial(watch.enter, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _sizes(output: Tensor) -> tuple[float, float, int]:
    values = output.detach().float()
    deviation = values.std(0, correction=0).square().mean().sqrt() if len(values) > 1 else values.std(correction=0)
    return float(deviation), float(values.square().mean().sqrt()), values.numel() // max(1, values.shape[1])


class _Activations(TorchFunctionMode):
    """Notes what activation functions return, of modules and of plain calls."""

    def __init__(self, result: Pass, recorder: Recorder) -> None:
        super().__init__()
        self._result = result
        self._recorder = recorder
        self.last: deque[Tensor] = deque(maxlen=LAST)  # kept, so that no other tensor gets their memory

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and output.ndim > 1:
            if func in RECTIFIERS:
                self._note(Units("relu", self._recorder.running, is_alive=_alive(output)), output)
            elif func in SQUASHERS:
                name = SQUASHERS[func]
                self._note(Units(name, self._recorder.running, flat=_flat_share(output, name)), output)
        return output

    def _note(self, units: Units, output: Tensor) -> None:
        self._result.units.append(units)
        self.last.append(output)


def _alive(output: Tensor) -> Tensor:
    """(C,): whether a channel is above 0 anywhere; channels are the second axis of maps and vectors, else the last."""
    axis = 1 if output.ndim in (2, 4, 5) else output.ndim - 1
    return (output > 0).movedim(axis, 0).flatten(1).any(1)


def _flat_share(output: Tensor, name: str) -> float:
    values = output.float()
    slope = 4 * values * (1 - values) if name == "sigmoid" else 1 - values.square()
    return float((slope < 0.01).float().mean())
