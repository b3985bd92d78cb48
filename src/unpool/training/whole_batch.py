"""Makes the processes of one step draw and normalise as one process with the whole batch does."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from unpool.errors import RecipeError
from unpool.ops.whole_batch import rows_of_all
from unpool.types import Part

_DROPOUTS = {
    *(functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d),
    *(functional.alpha_dropout, functional.feature_alpha_dropout),
}


_ONE_NUMBER = (
    "the network draws one number in a process that has one sample of the batch: it is taken for one of the sample, as "
    "in stochastic depth by sample; if it is one of the whole batch, give each process two samples: raise train.batch, "
    "set train.drop_last=true, or start fewer processes"
)
_DOUBTS: ContextVar[set[str] | None] = ContextVar("_DOUBTS", default=None)


@contextmanager
def noted_doubts() -> Iterator[set[str]]:
    """Inside, what `AsOne` cannot know of a draw is noted, a sentence each."""
    doubts: set[str] = set()
    token = _DOUBTS.set(doubts)
    try:
        yield doubts
    finally:
        _DOUBTS.reset(token)


def as_one(part: Part | None, *, norms: bool) -> AbstractContextManager[Any]:
    """`AsOne`, or nothing for a process by itself."""
    return nullcontext() if part is None else AsOne(part, norms=norms)


class AsOne(TorchFunctionMode):
    """A context for the losses of one process's part of a batch, in training mode.

    Dropout, and masks of one value a sample as stochastic depth draws them, are drawn for the whole batch in every
    process, each of which takes its rows: so N processes drop what one drops. It goes by the first axis, that of
    samples. Numbers drawn in another way, such as inside fused attention, are equal in all processes. A single number
    of a part of one sample is taken for that sample's, though it may be the whole batch's: see `noted_doubts`.

    `ops.whole_batch` gives the rows of all processes, whose gradients come back from all of them.

    Args:
        part: of the batch.
        norms: whether batch norm takes its statistics from the whole batch.
    """

    def __init__(self, part: Part, *, norms: bool) -> None:
        super().__init__()
        self._part = part
        self._rows = max(part.count, 1)  # those of a stand-in are not counted
        self._norms = norms

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DROPOUTS:
            return self._dropped(func, _named(func, args, kwargs))
        if func is functional.batch_norm and self._norms:
            return self._normalized(_named(func, args, kwargs))
        if func is rows_of_all:
            return self._rows_of_all(*args), min(self._part.first, self._part.total - self._rows)
        if func is Tensor.bernoulli_ and self._is_mask(args[0]):
            value, *rest = args
            if self._rows == 1 < self._part.total and (doubts := _DOUBTS.get()) is not None:
                doubts.add(_ONE_NUMBER)
            whole = value.new_empty(self._part.total, *value.shape[1:])
            first = min(self._part.first, self._part.total - self._rows)
            return value.copy_(func(whole, *rest, **kwargs)[first : first + self._rows])
        return func(*args, **kwargs)

    def _rows_of_all(self, rows: Tensor) -> Tensor:
        """(total, ...); a sample that stands in is another process's row, which gives it."""
        return _Gather.apply(rows, self._part) if rows.is_floating_point() else _gathered(rows, self._part)

    def _is_of_samples(self, value: Tensor) -> bool:
        is_weight = value.is_leaf and value.requires_grad
        return value.dim() > 0 and len(value) > 0 and len(value) % self._rows == 0 and not is_weight

    def _is_mask(self, value: Tensor) -> bool:
        return value.dim() > 1 and value.numel() == len(value) == self._rows

    def _dropped(self, func: Any, values: dict[str, Any]) -> Tensor:
        """What `func` gives for these rows among those of the whole batch; the others do not matter to it."""
        rows: Tensor = values["input"]
        if not values["training"] or not self._is_of_samples(rows):
            return func(**values)
        each = len(rows) // self._rows
        before = each * min(self._part.first, self._part.total - self._rows)
        after = each * self._part.total - before - len(rows)
        zeros = [rows.new_zeros(count, *rows.shape[1:]) for count in (before, after)]
        whole = torch.cat([zeros[0], rows, zeros[1]]).contiguous(memory_format=_layout(rows))
        return func(whole, values["p"], training=True)[before : before + len(rows)]

    def _normalized(self, values: dict[str, Any]) -> Tensor:
        rows: Tensor = values["input"]
        if not values["training"]:
            return functional.batch_norm(**values)
        if self._part.total * rows[0, 0].numel() < 2:
            raise RecipeError(
                "a batch of one sample gives batch norm one value a channel, which has no variance: set "
                "train.drop_last=true, train.batch, or larger images"
            )
        is_counted = self._part.count > 0
        statistics = _statistics_of_all(rows.detach(), is_counted=is_counted)
        if values["running_mean"] is not None:
            count, mean, var = statistics
            _follow(values["running_mean"], mean, values["momentum"])
            _follow(values["running_var"], var * (count / (count - 1)), values["momentum"])
        return _Normalize.apply(rows, values["weight"], values["bias"], (*statistics, is_counted), values["eps"])


def _gathered(rows: Tensor, part: Part) -> Tensor:
    whole = rows.new_zeros(part.total, *rows.shape[1:])
    whole[part.first : part.first + part.count] = rows[: part.count]
    dist.all_reduce(whole)
    return whole


class _Gather(torch.autograd.Function):
    """The rows of all processes; the gradient of a row is the sum of what each process makes of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, part: Part) -> Tensor:
        ctx.part, ctx.rows = part, len(rows)
        return _gathered(rows.detach(), part)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        whole, part = gradients[0].clone(), ctx.part
        dist.all_reduce(whole)
        mine = whole.new_zeros(ctx.rows, *whole.shape[1:])
        mine[: part.count] = whole[part.first : part.first + part.count]
        return mine, None


def _follow(running: Tensor, value: Tensor, momentum: float) -> None:
    running.lerp_(value.to(running.dtype), momentum)


def _named(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by name."""
    bound = signature(func).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _layout(value: Tensor) -> torch.memory_format:
    """The memory format of a tensor, in whose order numbers are drawn."""
    is_last = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


Statistics = tuple[Tensor, Tensor, Tensor]


def _statistics_of_all(value: Tensor, *, is_counted: bool) -> Statistics:
    """Values a channel, their mean and variance, over all processes: (), (C,), (C,) in float64.

    The square of the mean is taken from that of the values in float64, which loses nothing of float32.
    """
    axes = [axis for axis in range(value.dim()) if axis != 1]
    count = value.numel() // value.shape[1] if is_counted else 0
    var, mean = torch.var_mean(value.float() if value.dtype.itemsize < 4 else value, axes, correction=0)
    var, mean = var.double(), mean.double()
    sums = torch.cat([mean.new_tensor([float(count)]), count * mean, count * (var + mean.square())])
    dist.all_reduce(sums)
    total, channels = sums[0], value.shape[1]
    mean = sums[1 : channels + 1] / total
    return total, mean, (sums[channels + 1 :] / total - mean.square()).clamp_min(0)


class _Normalize(torch.autograd.Function):
    """(value - mean) / sqrt(var + eps) * weight + bias, whose mean and variance depend on the values of all."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, weight: Tensor | None, bias: Tensor | None, statistics: tuple[Any, ...], eps: float
    ) -> Tensor:
        total, mean, var, ctx.is_counted = statistics
        shape = [1, -1] + [1] * (value.dim() - 2)
        dtype = torch.float32 if value.dtype.itemsize < 4 else value.dtype
        scale = (var + eps).rsqrt().to(dtype).view(shape)
        normalized = (value.to(dtype) - mean.to(dtype).view(shape)) * scale
        ctx.save_for_backward(normalized, scale, weight, total)
        result = normalized if weight is None else normalized * weight.view(shape)
        return (result if bias is None else result + bias.view(shape)).to(value.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        normalized, scale, weight, total = ctx.saved_tensors
        axes = [axis for axis in range(normalized.dim()) if axis != 1]
        shape, channels = scale.shape, normalized.shape[1]
        asked = gradient.to(normalized.dtype)
        of_bias, of_weight = asked.sum(axes), (asked * normalized).sum(axes)
        sums = torch.cat([of_bias, of_weight]).double()
        dist.all_reduce(sums)
        means = (sums / total).to(normalized.dtype)
        result = asked  # 0 of a sample that stands in, on which the statistics do not depend
        if ctx.is_counted:
            result = result - means[:channels].view(shape) - normalized * means[channels:].view(shape)
        result = result * scale if weight is None else result * (scale * weight.view(shape))
        has_weight = weight is not None
        return result.to(gradient.dtype), of_weight if has_weight else None, of_bias if has_weight else None, None, None
