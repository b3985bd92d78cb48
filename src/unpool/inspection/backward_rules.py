"""Signals from one unit of a layer back to the image, by three rules that differ at each ReLU alone.

"gradient" passes a signal where the input of the ReLU was above 0 (Simonyan et al. 2014, arXiv:1312.6034);
"deconvnet" where the signal itself is above 0 (Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1); "guided" where both
are (Springenberg et al. 2015, arXiv:1412.6806, section 3.4). All other layers pass it on by their gradient: a
convolution by its transposed filters, a max pooling to the positions of its maxima (the switches). A ReLU6 counts as a
ReLU: its gradient is also 0 from 6 on. Differs: a local response norm has a gradient too, where the paper leaves it out.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from unpool.errors import RecipeError, quoted
from unpool.inspection.layer_output import layer_output, unit_count
from unpool.tracing.recorder import Recorder

Rule = Literal["deconvnet", "guided", "gradient"]
RULES: tuple[Rule, ...] = get_args(Rule)


class _Clip(NamedTuple):
    """Values of x kept from low to high."""

    x: Tensor
    low: Any = 0.0
    high: Any = math.inf
    in_place: bool = False


# functions that may be a ReLU, each with one that reads its arguments
CLIPS: dict[Any, Callable[..., _Clip]] = {
    F.relu: lambda input, inplace=False: _Clip(input, in_place=inplace),
    F.relu6: lambda input, inplace=False: _Clip(input, high=6.0, in_place=inplace),
    F.hardtanh: lambda input, min_val=-1.0, max_val=1.0, inplace=False: _Clip(input, min_val, max_val, inplace),
    **dict.fromkeys((torch.relu, Tensor.relu), lambda input: _Clip(input)),
    **dict.fromkeys((torch.relu_, Tensor.relu_), lambda input: _Clip(input, in_place=True)),
    **dict.fromkeys((torch.clamp, Tensor.clamp), lambda input, min=None, max=None: _Clip(input, min, _or_inf(max))),
    **dict.fromkeys(
        (torch.clamp_, Tensor.clamp_), lambda input, min=None, max=None: _Clip(input, min, _or_inf(max), in_place=True)
    ),
    **dict.fromkeys((torch.clamp_min, Tensor.clamp_min), lambda input, min: _Clip(input, min)),
    **dict.fromkeys((torch.clamp_min_, Tensor.clamp_min_), lambda input, min: _Clip(input, min, in_place=True)),
}
OTHERS = {
    *(F.gelu, F.silu, F.mish, F.elu, F.celu, F.selu, F.leaky_relu, F.prelu, F.rrelu, F.glu, F.softplus, F.softsign),
    *(F.hardswish, F.hardsigmoid, F.hardtanh, F.hardtanh_, F.hardshrink, F.softshrink, F.tanhshrink, F.threshold, F.logsigmoid),
    *(F.tanh, F.sigmoid, F.softmax, torch.tanh, torch.sigmoid, torch.softmax),
    *(Tensor.tanh, Tensor.sigmoid, Tensor.softmax, Tensor.tanh_, Tensor.sigmoid_),
    F.scaled_dot_product_attention,
}


class Reconstruction(NamedTuple):
    """What one unit at one position sends back to the image.

    Attributes:
        signal: (C, H, W) on the network's input.
        activation: of the unit there.
        position: (row, column) in the layer's map; empty of a layer without positions.
        relus: calls of a ReLU that the signal may have passed; without any, all rules give the same.
    """

    signal: Tensor
    activation: float
    position: tuple[int, ...]
    relus: int


def reconstruct(
    model: nn.Module,
    image: Tensor,
    *,
    layer: str,
    unit: int,
    rule: Rule = "deconvnet",
    position: tuple[int, ...] | None = None,
) -> Reconstruction:
    """Sends the activation of one unit back to the image: all others of its layer are set to 0.

    So the rule "gradient" gives the activation times its gradient, and without a ReLU the other two give the same.

    Args:
        model: any network of one input; modes, hooks and the gradients of its weights are left as they were.
        image: (1, C, H, W) as the network takes it.
        layer: dotted name of a module; its first call counts.
        unit: channel of its output.
        rule: what a ReLU does with the signal.
        position: in its map; None takes that of the largest activation.

    Raises:
        RecipeError: there is no such layer or unit, or a rule other than "gradient" meets an activation that is no
            ReLU, which is named.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU())
        >>> _ = nn.init.constant_(network[0].weight, 2.0)
        >>> reconstruct(network, torch.tensor([[[[1.0, 3.0]]]]), layer="1", unit=0).signal
        tensor([[[ 0., 12.]]])
    """
    image = image.detach().requires_grad_()
    with torch.enable_grad(), backward_rule(model, rule) as count:
        output = layer_output(model, image, layer)
    unit_count(output, layer, [unit])
    values = output[0, unit]
    at = _largest(values) if position is None else position
    start = torch.zeros_like(output)
    start[(0, unit, *at)] = values[at].detach()
    (signal,) = torch.autograd.grad(output, image, start)
    return Reconstruction(signal[0].detach(), float(values[at].detach()), at, count())


def _largest(values: Tensor) -> tuple[int, ...]:
    flat = int(values.argmax())
    return tuple(int(one) for one in torch.unravel_index(torch.tensor(flat), values.shape)) if values.dim() else ()


@contextmanager
def backward_rule(model: nn.Module, rule: Rule) -> Iterator[Callable[[], int]]:
    """Inside, each ReLU of a network, module or function, sends signals back by a rule; forwards nothing changes.

    Yields a function that counts the ReLUs that ran.

    Raises:
        RecipeError: the rule is none; or, by a rule other than "gradient", the network is compiled, or calls an
            activation that is no ReLU.
    """
    if rule not in RULES:
        raise RecipeError(f"the rule is {quoted(rule)}; it must be one of {', '.join(RULES)}")
    if rule != "gradient":
        _check_python(model)
    with Recorder(model) as recorder, _AtRelus(rule, recorder) as mode:
        yield lambda: mode.relus


def _check_python(model: nn.Module) -> None:
    """Raises where functions run that Python does not see."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) or "_orig_mod" in module._modules:
            raise RecipeError(
                f"{name or type(model).__name__} is compiled, so that its ReLUs cannot be reached: give the network "
                "that was compiled, or take the rule gradient"
            )


class _AtRelus(TorchFunctionMode):
    def __init__(self, rule: Rule, recorder: Recorder) -> None:
        super().__init__()
        self.rule: Rule = rule
        self.recorder = recorder
        self.relus = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        clip = CLIPS[func](*args, **kwargs) if func in CLIPS else None
        is_relu = clip is not None and isinstance(clip.low, int | float) and clip.low == 0
        self.relus += is_relu
        if self.rule == "gradient":
            return func(*args, **kwargs)
        if clip is not None and is_relu:
            rectified: Any = _Rectified.apply(clip.x, clip.high, self.rule)
            return clip.x.copy_(rectified) if clip.in_place else rectified
        if func in OTHERS:
            raise RecipeError(
                f"the rule {self.rule} is defined for networks whose activations are ReLUs, and layer "
                f"{quoted(self.recorder.running)} calls {func.__name__}: choose a layer in front of it, or the rule "
                "gradient"
            )
        return func(*args, **kwargs)


class _Rectified(Function):
    """A ReLU with an upper end, whose backward pass rectifies the signal."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: Any, rule: Rule) -> Tensor:
        if rule == "guided":
            ctx.save_for_backward((x > 0) & (x < high))
        return x.clamp(0.0, high)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        signal = grad_outputs[0].clamp(min=0)
        for passes in ctx.saved_tensors:
            signal = signal * passes
        return signal, None, None


def _or_inf(high: Any) -> Any:
    return math.inf if high is None else high
