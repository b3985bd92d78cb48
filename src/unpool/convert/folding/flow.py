"""Records which operations read the outputs of convolutions while a network runs; it needs no graph of the network.

Every call into torch is seen, inside of layers, functions and hooks alike; compiled code is not, nor what Python keeps
beside the output.
"""

import inspect
from collections import defaultdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from unpool.convert.folding.norm_modules import NormModules
from unpool.errors import NotConvertible
from unpool.tracing.recorder import Recorder, tensors_of

F = nn.functional
CONVOLUTIONS = {
    *(F.conv1d, F.conv2d, F.conv3d),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    F.linear,
}
OUTPUT = "the output"
UNSEEN = "something that cannot be seen"
SHAPES_ONLY = {"reshape_as", "view_as", "expand_as"}  # of their second argument
# calls and attributes that read no values
SHAPE_READERS = {
    *("size", "dim", "ndimension", "numel", "nelement", "stride", "element_size", "__len__", "get_device"),
    *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "shape", "ndim", "dtype", "device", "layout"),
    *("itemsize", "nbytes", "names", "requires_grad", "grad_fn", "is_leaf", "is_cuda", "is_cpu", "is_meta", "is_mps"),
    *(
        "is_xpu",
        "is_mkldnn",
        "is_quantized",
        "is_sparse",
        "is_sparse_csr",
        "is_nested",
        "is_inference",
        "is_conj",
        "_version",
    ),
}


class Norm(NamedTuple):
    """One way in which a batch norm is called: names of its tensors in the network, None where it has none.

    Attributes:
        is_fixed: it normalises by running statistics, not by those of the batch.
        is_known: all its tensors are parameters or buffers of the network.
    """

    mean: str | None
    variance: str | None
    weight: str | None
    bias: str | None
    eps: float
    is_fixed: bool
    is_known: bool


class Result(NamedTuple):
    """The output of a convolution, or a view of it: the layer's name and the number of the call."""

    x: Tensor  # a tensor that lives keeps its id
    conv: str
    call: int


class Flow(TorchFunctionMode):
    """Records, inside of a `with`, what reads each convolution and what each batch norm reads.

    A layer has the name of the module that owns its weights or statistics, even where another module runs it. A view of
    an output counts as the output; an operation that reads only its shape is no reader.

    Attributes:
        readers: of each convolution's outputs: names of norms, and operations in words.
        sources: of each norm's inputs: names of convolutions, and operations in words.
        norms: the ways in which each norm was called.
        inside: what their modules do beside normalising.
        tensors: parameters and buffers of the network by name.
    """

    def __init__(self, network: nn.Module, recorder: Recorder, inside: NormModules) -> None:
        super().__init__()
        self.readers: dict[str, set[str]] = defaultdict(set)
        self.sources: dict[str, set[str]] = defaultdict(set)
        self.norms: dict[str, set[Norm]] = defaultdict(set)
        self.inside, self._recorder = inside, recorder
        self.tensors = tensors_by_name(network)
        self._names: dict[int, list[str]] = defaultdict(list)
        for name, x in self.tensors.items():
            self._names[id(x)].append(name)
        self._owners: dict[int, list[str]] = defaultdict(list)
        for name, module in network.named_modules():
            if isinstance(module, _ConvNd | nn.Linear):
                self._owners[id(dict(module.named_parameters(recurse=False)).get("weight"))].append(name)
        self._results: dict[int, Result] = {}
        self._normed: set[tuple[str, int]] = set()
        self._makers = WeakTensorKeyDictionary()

    @property
    def ran(self) -> set[str]:
        """Names of the modules that ran."""
        return {call.name for call in self._recorder.calls}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = list({id(x): x for x in tensors_of((args, kwargs)) if id(x) in self._results}.values())
        versions = [x._version for x in read]
        result = func(*args, **kwargs)
        norm = self._norm(result, *args, **kwargs) if func is F.batch_norm else ""
        for x, version in zip(read, versions, strict=True):
            _, conv, call = self._results[id(x)]
            if norm:
                self.readers[conv].add(f"a second call of {norm}" if (norm, call) in self._normed else norm)
                self._normed.add((norm, call))
            elif x._version != version:
                self.readers[conv].add(self._describe(func))
            elif _is_view(x, result):
                self._results[id(result)] = Result(result, conv, call)
            elif not _reads_shape_only(func, x, args):
                self.readers[conv].add(self._describe(func))
        for x in tensors_of(result):
            self._makers[x] = self._describe(func)
        if func in CONVOLUTIONS and (conv := self._convolution(args, kwargs)):
            self._results[id(result)] = Result(result, conv, len(self._results))
        return result

    def run(self, network: nn.Module, image: Tensor) -> None:
        """Runs one image, and notes in the end which outputs of convolutions are part of the network's output."""
        self._makers[image] = "the image"
        for x in tensors_of(network(image)):
            if id(x) in self._results:
                self.readers[self._results[id(x)].conv].add(OUTPUT)
        self._results.clear()
        self._normed.clear()

    def _convolution(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Name of the layer that owns the weights; empty where they are computed, or several layers own them."""
        owners = self._owners.get(id(args[1] if len(args) > 1 else kwargs["weight"]), [])
        running = self._recorder.running
        return running if running in owners else owners[0] if len(owners) == 1 else ""

    def _norm(self, result: Tensor, *args: Any, **kwargs: Any) -> str:
        bound = inspect.signature(F.batch_norm).bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = bound.arguments
        keys = ("running_mean", "running_var", "weight", "bias")
        names = [self._name(arguments[key]) for key in keys]
        is_known = all((arguments[key] is None) == (name is None) for key, name in zip(keys, names, strict=True))
        is_fixed = not arguments["training"] and arguments["running_mean"] is not None
        name = names[0].rpartition(".")[0] if names[0] else self._recorder.running
        self.norms[name].add(Norm(*names, eps=arguments["eps"], is_fixed=is_fixed, is_known=is_known))
        x = arguments["input"]
        self.inside.start(name, x, result)
        source = self._results.get(id(x))
        self.sources[name].add(source.conv if source else str(self._makers.get(x, UNSEEN)))
        return name

    def _name(self, x: Tensor | None) -> str | None:
        """Name of a parameter or buffer; of several names the one in the module that runs."""
        names = self._names.get(id(x), [])
        local = (name for name in names if name.rpartition(".")[0] == self._recorder.running)
        return next(local, names[0] if names else None)

    def _describe(self, func: Any) -> str:
        name = getattr(func, "__name__", str(func))
        module = self._recorder.running
        return f"{name} in {module}" if module else name


class OriginalGuard(TorchFunctionMode):
    """Raises, inside of a `with`, if the running copy reads a tensor of the original network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._name = type(network).__name__
        self._originals = {id(x) for x in tensors_by_name(network).values()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(id(x) in self._originals for x in tensors_of((args, kwargs))):
            raise NotConvertible(
                f"{self._name} cannot be copied: a function inside of it keeps the weights of the original "
                "network; make it a method, as with types.MethodType"
            )
        return func(*args, **(kwargs or {}))


def tensors_by_name(network: nn.Module) -> dict[str, Tensor]:
    """Returns parameters and buffers by name, shared ones under each of their names."""
    named = (network.named_parameters(remove_duplicate=False), network.named_buffers(remove_duplicate=False))
    return {name: x for tensors in named for name, x in tensors}


def _is_view(x: Tensor, result: Any) -> bool:
    if not isinstance(result, Tensor) or result.numel() != x.numel() or result.dtype != x.dtype:
        return False
    return result.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def _reads_shape_only(func: Any, x: Tensor, args: tuple[Any, ...]) -> bool:
    name = getattr(func, "__name__", "")
    if name == "__get__":
        name = getattr(func.__self__, "__name__", "")
    return name in SHAPE_READERS or (name in SHAPES_ONLY and args[0] is not x)


def observe(network: nn.Module, images: list[Tensor]) -> Flow:
    """Runs a network on each image and returns what was recorded."""
    with (
        torch.no_grad(),
        Recorder(network) as recorder,
        NormModules(network) as inside,
        Flow(network, recorder, inside) as flow,
    ):
        for image in images:
            flow.run(network, image.clone())  # a network may write into what it is given
    return flow
