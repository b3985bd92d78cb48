"""Runs a network once and records the calls of its modules, the multiply-adds and the receptive field of each.

Of several inputs the receptive field counts pixels of the first; maps that depend on an input of another size have
none, and an input without pixels, such as a vector, is not followed.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from unpool.inspection.field import CannotFollow, Field, field_of_image
from unpool.inspection.field_rules import Operation, field_after
from unpool.inspection.inputs import Inputs, InputShape
from unpool.inspection.operations import SHAPE_ONLY, is_pointwise, multiply_adds, name_of, only_passes_on
from unpool.inspection.shapes import Watch, run_operation
from unpool.inspection.uncounted import Uncounted, uncounted_of
from unpool.tracing.recorder import Call, Recorder, evaluating, tensors_of, without_values

PARTLY_WRITTEN = "a tensor that was written to through one of its views"


@dataclass(frozen=True, kw_only=True)
class Traced:
    """Record of one run of a network.

    Attributes:
        calls: every call of every module, children before their parents.
        macs: multiply-adds that each call did itself, without its children, for one image.
        fields: receptive field of each call's first output; text says why there is none.
        stores: whether each call computed values that need memory, which pointwise operations done in place do not.
        unused: parameters of the network that no operation read.
        uncounted: operations whose multiply-adds `macs` leaves out.
        inputs: shapes of the inputs, without the batch.
    """

    calls: list[Call]
    macs: list[int]
    fields: list[Field | str]
    stores: list[bool]
    unused: int
    uncounted: tuple[Uncounted, ...]
    inputs: tuple[tuple[int, ...], ...]


def trace(model: nn.Module, input_shape: InputShape) -> Traced:
    """Runs one sample through the network, as in evaluation, without values where the network allows it.

    Args:
        model: any network; left as it was.
        input_shape: of one sample, see `inputs`.

    Raises:
        ValueError: the network takes another number of inputs, or `input_shape` is no shape.
        RuntimeError: the network itself does not take such an input.
    """
    inputs = Inputs.of(model, input_shape)
    try:
        return _run(without_values(model), inputs.without_values())
    except RuntimeError:
        # a network that reads values in its forward cannot run without them; any other fault shows again here
        weights = next(model.parameters(), None)
        device, dtype = (weights.device, weights.dtype) if weights is not None else (torch.device("cpu"), torch.float32)
        return _run(model, inputs.on(device, dtype))


def no_such_layer(layer: str, ran: Iterable[str]) -> str:
    """Message for a layer that did not run, with the nearest names of those that ran."""
    names = list(dict.fromkeys(name for name in ran if name))
    nearest = get_close_matches(layer, names, n=3, cutoff=0.3) or names[:3]
    return f"no layer {layer!r} ran, of {len(names)}; did you mean {' or '.join(nearest)}?"


def _run(model: nn.Module, images: Sequence[Tensor]) -> Traced:
    watch = _Watch(images)
    modes = evaluating(model), torch.no_grad(), attention_by_operations()
    with modes[0], modes[1], modes[2], Recorder(model, watch=watch.finish) as recorder, watch:
        watch.recorder = recorder
        model(*images)
    return Traced(
        calls=recorder.calls,
        macs=watch.macs,
        fields=watch.fields,
        stores=watch.stores,
        unused=sum(p.numel() for p in model.parameters() if id(p) not in watch.read),
        uncounted=tuple(watch.uncounted.values()),
        inputs=tuple(tuple(image.shape[1:]) for image in images),
    )


@contextmanager
def attention_by_operations() -> Iterator[None]:
    """Makes torch compute attention by operations that can be seen, not by one for a whole layer."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)


class _Watch(Watch):
    """Sees every tensor operation of the run, together with the module that does it."""

    def __init__(self, images: Sequence[Tensor]) -> None:
        super().__init__()
        self.recorder: Recorder | None = None
        self.macs: list[int] = []
        self.fields: list[Field | str] = []
        self.stores: list[bool] = []
        self.read: set[int] = set()
        self._open_macs: dict[str, int] = {}
        self._open_stores: set[str] = set()
        self.uncounted: dict[str, Uncounted] = {}
        self._known: dict[int, Field | str] = _fields_of(images)
        self._sharing: dict[int, set[int]] = {}  # storage -> tensors on it
        self._spoiled: set[int] = set()  # storages that were written to through a view
        self._alive: list[Tensor] = list(images)  # or their ids would be given to others

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = run_operation(func, args, kwargs or {})
        running = self.recorder.running if self.recorder is not None else ""
        self.read.update(id(tensor) for tensor in tensors_of(args))
        macs = multiply_adds(func, args, output, is_map=self._is_map)
        if not macs and (left_out := uncounted_of(func, args, output)) is not None:
            self.uncounted[left_out.operation] = left_out.joined(self.uncounted.get(left_out.operation))
        self._open_macs[running] = self._open_macs.get(running, 0) + macs
        if not only_passes_on(func, args, output):
            self._open_stores.add(running)
        self._follow(func, (*args, *(kwargs or {}).values()), output)
        return output

    def finish(self, call: Call, output: Any) -> None:
        first = next(tensors_of(output), None)
        self.macs.append(self._open_macs.pop(call.name, 0))
        self.stores.append(call.name in self._open_stores)
        self._open_stores.discard(call.name)
        missing = "the output does not depend on the image"
        self.fields.append(self._known.get(id(first), missing) if first is not None else "the output is no tensor")

    def _follow(self, func: Any, args: tuple[Any, ...], output: Any) -> None:
        inputs = [tensor for tensor in tensors_of(args) if self._look_up(tensor) is not None]
        if (
            not inputs
            or name_of(func) in SHAPE_ONLY
            or (output is inputs[0] and len(inputs) == 1 and is_pointwise(func))
        ):
            return
        outputs = list(tensors_of(output))
        for index, tensor in enumerate(outputs):
            if index and not isinstance(output, list) and tensor.shape != outputs[0].shape:
                continue
            field = self._field(func, args, inputs, shape=tuple(tensor.shape), index=index)
            self._learn(tensor, field, is_write=any(tensor is argument for argument in tensors_of(args)))

    def _field(
        self, func: Any, args: tuple[Any, ...], inputs: list[Tensor], *, shape: tuple[int, ...], index: int
    ) -> Field | str:
        known = [self._look_up(tensor) for tensor in inputs]
        unknown = next((field for field in known if isinstance(field, str)), None)
        if unknown is not None:
            return unknown
        fields = [field for field in known if field is not None and not isinstance(field, str)]
        shapes = [tuple(tensor.shape) for tensor in inputs]
        operation = Operation(name_of(func), args, fields, shapes, shape, index)
        try:
            return field_after(operation, is_pointwise=is_pointwise(func))
        except CannotFollow as error:
            running = self.recorder.running if self.recorder is not None else ""
            return f"{error} (in {running or 'the network itself'})"

    def _is_map(self, tensor: Tensor) -> bool:
        return self._look_up(tensor) is not None

    def _look_up(self, tensor: Tensor) -> Field | str | None:
        if id(tensor) in self._known:
            return self._known[id(tensor)]
        return PARTLY_WRITTEN if _storage(tensor) in self._spoiled else None

    def _learn(self, tensor: Tensor, field: Field | str, *, is_write: bool) -> None:
        key, storage = id(tensor), _storage(tensor)
        sharing = self._sharing.setdefault(storage, set())
        if is_write:
            self._known.update(dict.fromkeys(sharing - {key}, PARTLY_WRITTEN))
            if tensor.numel() * tensor.element_size() < tensor.untyped_storage().nbytes():
                self._spoiled.add(storage)
        sharing.add(key)
        self._alive.append(tensor)
        self._known[key] = field


def _fields_of(images: Sequence[Tensor]) -> dict[int, Field | str]:
    """Fields of the inputs by id; of those behind the first only where they have pixels."""
    first, *others = images
    fields: dict[int, Field | str] = {id(first): field_of_image(first.shape)}
    for number, image in enumerate(others, 2):
        if image.shape[2:] == first.shape[2:]:
            fields[id(image)] = field_of_image(image.shape)
        elif image.ndim > 2:
            fields[id(image)] = f"it depends on input {number}, which has another size than the first"
    return fields


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
