"""Where the results of convolutions go while a network runs, operation by operation; no graph of it is needed.

Every call into torch is seen, those inside of layers, of functions and of hooks alike. What is not: code that was
compiled before, and what Python keeps beside the answer.
"""

import inspect
from collections import defaultdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from unpool.convert.behind_norm import BehindNorm
from unpool.convert.recorder import Recorder, tensors_of

F = nn.functional
CONVOLUTIONS = {
    *(F.conv1d, F.conv2d, F.conv3d),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    F.linear,
}
ANSWER = "the answer"
SHAPES_ONLY = {"reshape_as", "view_as", "expand_as"}  # of their second argument


class Norm(NamedTuple):
    """One way in which a batch norm is called: names of its tensors in the network, None where it has none.

    Attributes:
        is_fixed: it normalises by remembered statistics, not by those of the batch.
        is_known: every tensor that it was given is a parameter or buffer of the network.
    """

    mean: str | None
    variance: str | None
    weight: str | None
    bias: str | None
    eps: float
    is_fixed: bool
    is_known: bool


class Flow(TorchFunctionMode):
    """Notes, inside of a `with`, what reads each convolution and what each batch norm reads.

    A layer is named after the module that owns its weights or statistics, which need not be the one that runs. A view
    of a result is the result itself; whoever asks for its shape alone does not read it.

    Attributes:
        readers: of each convolution's results: names of norms, and operations in words.
        sources: of each norm's inputs: names of convolutions, and operations in words.
        norms: the ways in which each norm was called.
    """

    def __init__(self, network: nn.Module, recorder: Recorder, behind: BehindNorm) -> None:
        super().__init__()
        self.readers: dict[str, set[str]] = defaultdict(set)
        self.sources: dict[str, set[str]] = defaultdict(set)
        self.norms: dict[str, set[Norm]] = defaultdict(set)
        self._recorder, self._behind = recorder, behind
        self._names = {id(x): name for name, x in (*network.named_parameters(), *network.named_buffers())}
        self._owners: dict[int, list[str]] = defaultdict(list)
        for name, module in network.named_modules():
            if isinstance(module, _ConvNd | nn.Linear):
                self._owners[id(dict(module.named_parameters(recurse=False)).get("weight"))].append(name)
        self._results: dict[int, tuple[Tensor, str]] = {}  # a tensor that lives keeps its id
        self._makers: dict[int, str] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = list({id(x): x for x in tensors_of((args, kwargs)) if id(x) in self._results}.values())
        versions = [x._version for x in read]
        result = func(*args, **kwargs)
        norm = self._norm(result, *args, **kwargs) if func is F.batch_norm else ""
        for x, version in zip(read, versions, strict=True):
            conv = self._results[id(x)][1]
            if norm:
                self.readers[conv].add(norm)
            elif x._version != version:
                self.readers[conv].add(self._told(func))
            elif _is_view(x, result):
                self._results[id(result)] = (result, conv)
            elif not _reads_shape_only(func, x, args, result):
                self.readers[conv].add(self._told(func))
        for x in tensors_of(result):
            self._makers[id(x)] = self._told(func)
        if func in CONVOLUTIONS and (conv := self._convolution(args, kwargs)):
            self._results[id(result)] = (result, conv)
        return result

    def finish(self, answer: Any) -> None:
        """Notes which results are part of the answer; the next image begins."""
        for x in tensors_of(answer):
            if id(x) in self._results:
                self.readers[self._results[id(x)][1]].add(ANSWER)
        self._results.clear()
        self._makers.clear()

    def _convolution(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Name of the layer whose weights these are; empty where they are computed, or of several layers."""
        owners = self._owners.get(id(args[1] if len(args) > 1 else kwargs["weight"]), [])
        running = self._recorder.running
        return running if running in owners else owners[0] if len(owners) == 1 else ""

    def _norm(self, result: Tensor, *args: Any, **kwargs: Any) -> str:
        bound = inspect.signature(F.batch_norm).bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        keys = ("running_mean", "running_var", "weight", "bias")
        names = [self._names.get(id(given[key])) for key in keys]
        is_known = all((given[key] is None) == (name is None) for key, name in zip(keys, names, strict=True))
        is_fixed = not given["training"] and given["running_mean"] is not None
        name = names[0].rpartition(".")[0] if names[0] else self._recorder.running
        self.norms[name].add(Norm(*names, eps=given["eps"], is_fixed=is_fixed, is_known=is_known))
        self._behind.start(name, result)
        x = given["input"]
        found = self._results.get(id(x))
        self.sources[name].add(found[1] if found else self._makers.get(id(x), "the image"))
        return name

    def _told(self, func: Any) -> str:
        name = getattr(func, "__name__", str(func))
        place = self._recorder.running
        return f"{name} in {place}" if place else name


def _is_view(x: Tensor, result: Any) -> bool:
    if not isinstance(result, Tensor) or result.numel() != x.numel() or result.dtype != x.dtype:
        return False
    return result.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def _reads_shape_only(func: Any, x: Tensor, args: tuple[Any, ...], result: Any) -> bool:
    name = getattr(func, "__name__", "")
    if name in SHAPES_ONLY:
        return args[0] is not x
    if isinstance(result, torch.Size | torch.dtype | torch.device | torch.layout | int) and not isinstance(
        result, bool
    ):
        return True
    return not isinstance(result, Tensor) and (name == "__get__" or (name.startswith("is_") and name != "is_nonzero"))


def observe(network: nn.Module, images: list[Tensor]) -> tuple[Flow, BehindNorm]:
    """Runs the network on each image: where results went, and those of norms inside of their modules."""
    images = [image.clone() for image in images]  # a network may write into what it is given
    with (
        torch.no_grad(),
        Recorder(network) as recorder,
        BehindNorm(network) as behind,
        Flow(network, recorder, behind) as flow,
    ):
        for image in images:
            flow.finish(network(image))
    return flow, behind
