"""Memory of a network in use and in training, by what its tensors hold: counted on shapes, nothing is computed.

Counted: parameters and buffers; for inference the most bytes of maps that are alive at once; for training gradients,
the optimiser's state, and what autograd keeps of the forward pass for the backward pass, each piece of memory once. Not
counted: loss and targets, gradients of maps during the backward pass, workspace of convolutions, and what the allocator
holds in reserve.
"""

import copy
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.inspection.inputs import Inputs, InputShape
from unpool.inspection.shapes import Watch, run_operation
from unpool.tracing.foreign import foreign_code, isolated
from unpool.tracing.recorder import evaluating, tensors_of, without_values
from unpool.training.optim import OPTIMIZERS, build_optimizer

MIB = 1024**2


class Memory(NamedTuple):
    """Bytes that a network needs, in the precision of its weights.

    Attributes:
        batch: images.
        optimizer: its name.
        weights: parameters and buffers.
        maps: inputs and maps that are alive at once in inference, at most.
        gradients: of the parameters that are trained.
        state: of the optimiser after a step.
        kept: what autograd keeps of a forward pass in training; None where it cannot be counted.
        reason: why not; empty where it is.
    """

    batch: int
    optimizer: str
    weights: int
    maps: int
    gradients: int
    state: int
    kept: int | None
    reason: str = ""

    @property
    def inference(self) -> int:
        """Bytes of inference."""
        return self.weights + self.maps

    @property
    def training(self) -> int | None:
        """Bytes of training; None where what autograd keeps is not known."""
        return None if self.kept is None else self.weights + self.gradients + self.state + self.kept

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "inference": self.inference, "training": self.training}

    def to_lines(self) -> list[str]:
        """Returns a line for inference and one for training, in MiB."""
        parts = {"parameters and buffers": self.weights, "maps at once": self.maps}
        lines = [f"inference, batch {self.batch}: {_sum(parts)}"]
        if self.kept is None:
            return [*lines, f"training, batch {self.batch}: not counted: {self.reason}"]
        parts = {
            "parameters and buffers": self.weights,
            "gradients": self.gradients,
            f"state of {self.optimizer}": self.state,
            "maps kept for the backward pass": self.kept,
        }
        return [*lines, f"training, batch {self.batch}: {_sum(parts)}"]


def _sum(parts: dict[str, int]) -> str:
    terms = " + ".join(f"{size / MIB:,.1f} {name}" for name, size in parts.items())
    return f"{sum(parts.values()) / MIB:,.1f} MiB = {terms}"


def count_memory(model: nn.Module, input_shape: InputShape, *, batch: int = 1, optimizer: str = "sgd") -> Memory:
    """Counts the memory of inference and of training.

    Args:
        model: any network; left as it was.
        input_shape: of one sample, see `inputs`.
        batch: samples; more than one where a batch norm sees one position only.
        optimizer: one of `training.optim.OPTIMIZERS`.

    Raises:
        ValueError: there is no such optimiser, or `input_shape` does not fit.
        RuntimeError: the network itself does not take such an input.

    Example:
        >>> count_memory(nn.Linear(10, 10), (10,), batch=4, optimizer="adam")[2:7]
        (440, 320, 440, 880, 160)
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer is {optimizer!r}; it must be one of {', '.join(OPTIMIZERS)}")
    inputs = Inputs.of(model, input_shape)
    tensors = [*model.parameters(), *model.buffers()]
    trained = [p for p in model.parameters() if p.requires_grad]
    maps = _most_at_once(model, inputs, batch)
    with foreign_code() as failure:  # a network may refuse to train without targets, or on one image
        kept = _kept(model, inputs, batch)
    return Memory(
        batch=batch,
        optimizer=optimizer,
        weights=sum(map(_bytes, tensors)),
        maps=maps,
        gradients=sum(map(_bytes, trained)),
        state=_states_of(optimizer) * sum(map(_bytes, trained)),
        kept=None if failure else kept,
        reason=str(failure),
    )


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _states_of(optimizer: str) -> int:
    """Numbers that an optimiser keeps for each weight, by one step of it on a few weights."""
    with torch.random.fork_rng(devices=[]):
        few = nn.Linear(3, 2, bias=False)
    few.weight.grad = torch.ones_like(few.weight)
    stepping = build_optimizer(few, name=optimizer, lr=0.1)
    stepping.step()
    return sum(value.shape == few.weight.shape for value in tensors_of(list(stepping.state.values())))


def _most_at_once(model: nn.Module, inputs: Inputs, batch: int) -> int:
    try:
        shell, images = without_values(model), inputs.without_values(batch)
        return _run_watched(shell, images)
    except RuntimeError:  # a network that reads values in its forward
        return _run_watched(model, _with_values(model, inputs, batch))


def _run_watched(model: nn.Module, images: tuple[Tensor, ...]) -> int:
    with evaluating(model), isolated(), _Alive(images, ignored=_storages(model)) as alive:
        model(*images)
    return alive.most


def _kept(model: nn.Module, inputs: Inputs, batch: int) -> int:
    try:
        return _saved(without_values(model), inputs.without_values(batch))
    except RuntimeError:
        with torch.random.fork_rng(devices=[]):  # of dropout
            return _saved(copy.deepcopy(model), _with_values(model, inputs, batch))


def _saved(network: nn.Module, images: tuple[Tensor, ...]) -> int:
    network.train()
    ignored, saved = _storages(network), {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in ignored:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), _ShapesOnly():
        output = network(*images)  # held, and with it what is saved, until all is counted
    del output
    return sum(saved.values())


def _with_values(model: nn.Module, inputs: Inputs, batch: int) -> tuple[Tensor, ...]:
    weight = next(model.parameters(), torch.zeros(()))
    return inputs.on(weight.device, weight.dtype, batch)


def _storages(model: nn.Module) -> set[int]:
    return {value.untyped_storage()._cdata for value in (*model.parameters(), *model.buffers())}


class _ShapesOnly(Watch):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run_operation(func, args, kwargs or {})


class _Alive(Watch):
    """Sums the bytes of the tensors that are alive, views once, and keeps the largest sum."""

    def __init__(self, images: tuple[Tensor, ...], *, ignored: set[int]) -> None:
        super().__init__()
        self.most = self._now = 0
        self._ignored = ignored
        self._holders: dict[int, int] = {}  # storage -> tensors on it that are alive
        self._seen: set[int] = set()
        for image in images:
            self._hold(image)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = run_operation(func, args, kwargs or {})
        for tensor in tensors_of(output):
            self._hold(tensor)
        return output

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._ignored or id(tensor) in self._seen:
            return
        if not self._holders.get(key):
            self._now += size
            self.most = max(self.most, self._now)
        self._holders[key] = self._holders.get(key, 0) + 1
        self._seen.add(id(tensor))
        weakref.finalize(tensor, self._release, key, size, id(tensor)).atexit = False

    def _release(self, key: int, size: int, name: int) -> None:
        self._seen.discard(name)
        self._holders[key] -= 1
        if not self._holders[key]:
            self._now -= size
