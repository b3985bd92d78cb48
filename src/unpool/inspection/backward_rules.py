"""Signals from one unit of a layer back to the image, by three rules that differ at each ReLU alone.

"gradient" passes a signal where the input of the ReLU was above 0 (Simonyan et al. 2014, arXiv:1312.6034);
"deconvnet" where the signal itself is above 0 (Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1); "guided" where both
are (Springenberg et al. 2015, arXiv:1412.6806, section 3.4). All other layers pass it on by their gradient: a
convolution by its transposed filters, a max pooling to the positions of its maxima (the switches). A ReLU6 counts as a
ReLU: its gradient is also 0 from 6 on.

Differs: a local response norm passes signals on by its gradient, where the paper leaves it out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from unpool.errors import RecipeError, quoted
from unpool.inspection.layer_maps import layer_output, unit_count
from unpool.tracing.recorder import Recorder

Rule = Literal["deconvnet", "guided", "gradient"]
RULES: tuple[Rule, ...] = get_args(Rule)


class _Clip(NamedTuple):
    """How a function that may be a ReLU reads its arguments: their names, and the ends that are left out."""

    names: tuple[str, ...] = ("input",)
    low: float | None = 0.0
    high: float = math.inf


CLIPS: dict[Any, _Clip] = {
    F.relu: _Clip(("input", "inplace")),
    F.relu6: _Clip(("input", "inplace"), high=6.0),
    F.hardtanh: _Clip(("input", "min_val", "max_val", "inplace"), low=-1.0, high=1.0),
    **dict.fromkeys((torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _Clip()),
    **dict.fromkeys((torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_), _Clip(("input", "min", "max"), low=None)),
    **dict.fromkeys(
        (torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_), _Clip(("input", "min"), low=None)
    ),
}
OTHERS = {
    *(F.gelu, F.silu, F.mish, F.elu, F.celu, F.selu, F.leaky_relu, F.prelu, F.rrelu, F.glu, F.softplus, F.softsign),
    *(
        F.hardswish,
        F.hardsigmoid,
        F.hardtanh,
        F.hardtanh_,
        F.hardshrink,
        F.softshrink,
        F.tanhshrink,
        F.threshold,
        F.logsigmoid,
    ),
    *(F.tanh, F.sigmoid, F.softmax, torch.tanh, torch.sigmoid, torch.softmax),
    *(Tensor.tanh, Tensor.sigmoid, Tensor.softmax, Tensor.tanh_, Tensor.sigmoid_),
    F.scaled_dot_product_attention,
}


class Reconstruction(NamedTuple):
    """What one unit at one position sends back to the image.

    Attributes:
        signals: (C, H, W) on the network's input, by rule.
        activation: of the unit there.
        position: (row, column) in the layer's map; empty of a layer without positions.
        relus: calls of a ReLU in front of the layer; without any, all rules give the same.
    """

    signals: dict[Rule, Tensor]
    activation: float
    position: tuple[int, ...]
    relus: int


def reconstruct(
    model: nn.Module,
    image: Tensor,
    *,
    layer: str,
    unit: int,
    rules: Sequence[Rule] = RULES,
    position: tuple[int, ...] | None = None,
) -> Reconstruction:
    """Sends the activation of one unit back to the image: all others of its layer are set to 0.

    So the rule "gradient" gives the activation times its gradient, and without a ReLU the other two give the same.

    Args:
        model: any network of one input; modes, hooks and the gradients of its weights are left as they were.
        image: (1, C, H, W) as the network takes it.
        layer: dotted name of a module; its first call counts.
        unit: channel of its output.
        rules: what a ReLU does with the signal.
        position: in its map; None takes that of the largest activation.

    Raises:
        RecipeError: there is no such layer, unit or rule, or a rule other than "gradient" meets an activation that is
            no ReLU, which is named.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU())
        >>> _ = nn.init.constant_(network[0].weight, 2.0)
        >>> reconstruct(network, torch.tensor([[[[1.0, 3.0]]]]), layer="1", unit=0).signals["deconvnet"]
        tensor([[[ 0., 12.]]])
    """
    image = image.detach().requires_grad_()
    with torch.enable_grad(), at_relus(model, rules) as relus:
        output = layer_output(model, image, layer)
    unit_count(output, layer, [unit])
    values = output[0, unit].detach()
    at = _largest(values) if position is None else position
    start = torch.zeros_like(output)
    start[(0, unit, *at)] = values[at]
    signals: dict[Rule, Tensor] = {}
    for rule in rules:
        relus.rule = rule
        signals[rule] = torch.autograd.grad(output, image, start, retain_graph=True)[0][0]
    return Reconstruction(signals, float(values[at]), at, relus.count)


def _largest(values: Tensor) -> tuple[int, ...]:
    index = torch.unravel_index(values.argmax(), values.shape) if values.dim() else ()
    return tuple(int(one) for one in index)


@dataclass
class Relus:
    """The ReLUs of a pass: how many ran, and the rule by which they send signals back from now on."""

    rule: Rule
    count: int = 0


@contextmanager
def at_relus(model: nn.Module, rules: Sequence[Rule]) -> Iterator[Relus]:
    """Inside, each ReLU of a network, module or function, will send signals back by the rule that is set then.

    Nothing changes in the forward pass.

    Raises:
        RecipeError: one of `rules` is no rule; or, where one is not "gradient", the network is compiled or calls an
            activation that is no ReLU.
    """
    for rule in rules:
        if rule not in RULES:
            raise RecipeError(f"the rule is {quoted(rule)}; it must be one of {', '.join(RULES)}")
    if is_gradient_alone := set(rules) == {"gradient"}:
        relus = Relus("gradient")
    else:
        _check_python(model)
        relus = Relus(rules[0])
    with Recorder(model) as recorder, _AtRelus(relus, recorder, is_gradient_alone=is_gradient_alone):
        yield relus


def _check_python(model: nn.Module) -> None:
    """Raises where functions run that Python does not see."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) or "_orig_mod" in module._modules:
            raise RecipeError(
                f"{name or type(model).__name__} is compiled, so that its ReLUs cannot be reached: give the network "
                "that was compiled, or take the rule gradient alone"
            )


class _AtRelus(TorchFunctionMode):
    def __init__(self, relus: Relus, recorder: Recorder, *, is_gradient_alone: bool) -> None:
        super().__init__()
        self.relus, self.recorder, self.is_gradient_alone = relus, recorder, is_gradient_alone

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        relu = _relu(CLIPS[func], args, kwargs) if func in CLIPS else None
        self.relus.count += relu is not None
        if self.is_gradient_alone:
            return func(*args, **kwargs)
        if relu is not None:
            rectified: Any = _Rectified.apply(relu["input"], relu["high"], self.relus)
            writes_over = func.__name__.endswith("_") or relu.get("inplace", False)
            return relu["input"].copy_(rectified) if writes_over else rectified
        if func in OTHERS:
            raise RecipeError(
                f"deconvnet and guided are defined for networks whose activations are ReLUs, and layer "
                f"{quoted(self.recorder.running)} calls {func.__name__}: choose a layer in front of it, or the rule "
                "gradient alone"
            )
        return func(*args, **kwargs)


class _Rectified(Function):
    """A ReLU with an upper end, whose backward pass follows the rule that is set when it runs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: Any, relus: Relus) -> Tensor:
        ctx.relus = relus
        ctx.save_for_backward((x > 0) & (x < high))
        return x.clamp(0.0, high)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (passes,) = ctx.saved_tensors
        signal, rule = grad_outputs[0], ctx.relus.rule
        signal = signal if rule == "gradient" else signal.clamp(min=0)
        return signal if rule == "deconvnet" else signal * passes, None, None


def _relu(clip: _Clip, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments by name, and the upper end as `high`; None unless the lower end is 0."""
    values = {**dict(zip(clip.names, args, strict=False)), **kwargs}
    low = values.get("min_val", values.get("min", clip.low))
    high = values.get("max_val", values.get("max"))
    if not isinstance(low, int | float) or low != 0:
        return None
    return values | {"high": clip.high if high is None else high}
