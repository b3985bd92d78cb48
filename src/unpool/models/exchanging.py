"""Options that every network takes: its modules of a kind are exchanged for others, whichever way it was built.

The parameters and their names stay, so that weights of a file fit as far as the network keeps what they belong to.
"""

from typing import Annotated, Literal

from annotated_types import Interval
from torch import nn

from unpool.errors import RecipeError, quoted
from unpool.layers.dropout import DropConnectLinear, OriginalDropout, StochasticDepth
from unpool.layers.few_blocks import kept_blocks as drops_of_kept
from unpool.layers.group import use_group_norm
from unpool.layers.preactivation import Preactivated, SharedPreactivated
from unpool.layers.residual import Residual
from unpool.limits import MANY, SHARE, check_number

Norms = Literal["group"]
DropoutForm = Literal["inverted", "original", "connect"]
DEPTH = Interval(ge=0, lt=1)


def exchange(
    network: nn.Module,
    *,
    norms: Norms | None = None,
    dropout: Annotated[float, SHARE] | None = None,
    dropout_form: DropoutForm | None = None,
    stochastic_depth: Annotated[float, DEPTH] | None = None,
    kept_blocks: Annotated[int, MANY] | None = None,
) -> None:
    """Exchanges modules of a network, in place; what is None stays as it is.

    Args:
        network: its modules are exchanged.
        norms: "group" makes each batch norm a group norm, which small batches do not harm.
        dropout: share dropped by every dropout of the network.
        dropout_form: "inverted" divides what is kept in training; "original" multiplies by the share kept in
            evaluation; "connect" drops the weights of the linear layer behind in place of its inputs (DropConnect).
        stochastic_depth: share of samples for which the last residual block is left out in training; it rises linearly
            over the blocks from the first on.
        kept_blocks: residual blocks that take part in a training step, drawn anew in each; all do in evaluation. Paths
            are then as long as those of a network of so many blocks (Veit et al. 2016, arXiv:1605.06431, section 4.3).

    Raises:
        RecipeError: a value is not valid, or the network has no module of the kind.
    """
    if norms is not None:
        if norms != "group":
            raise RecipeError(f"norms is {norms!r}; it must be group, or left out")
        use_group_norm(network)
    if dropout is not None:
        for drop in _dropouts(network, f"dropout is {dropout}"):
            drop.p = check_number("dropout", dropout, SHARE)
    if dropout_form is not None:
        _change_form(network, dropout_form)
    _leave_out_blocks(network, stochastic_depth, kept_blocks)


def _dropouts(network: nn.Module, asked: str) -> list[nn.Dropout]:
    drops = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    if not drops:
        raise RecipeError(f"model.{asked}, and the network has no dropout: leave it out")
    return drops


def _change_form(network: nn.Module, form: DropoutForm) -> None:
    _dropouts(network, f"dropout_form is {form}")
    if form not in ("inverted", "original", "connect"):
        raise RecipeError(f"dropout_form is {form!r}; it must be inverted, original or connect")
    if form == "inverted":  # as networks have it
        return
    for parent in list(network.modules()):
        children = list(parent.named_children())
        behind = dict(zip((name for name, _ in children), children[1:], strict=False))
        for name, child in children:
            if type(child) is not nn.Dropout:
                continue
            if form == "original":
                setattr(parent, name, OriginalDropout(child.p))
                continue
            next_name, linear = behind.get(name, ("", None))
            if not isinstance(parent, nn.Sequential) or type(linear) is not nn.Linear:
                raise RecipeError(
                    f"model.dropout_form is connect, which drops weights of a linear layer, and none follows dropout "
                    f"{name!r} of the network: choose original or inverted"
                )
            setattr(parent, name, nn.Identity())
            setattr(parent, next_name, _connected(linear, child.p))


def _connected(linear: nn.Linear, p: float) -> DropConnectLinear:
    layer = DropConnectLinear(linear.in_features, linear.out_features, bias=linear.bias is not None, p=p)
    layer.weight = linear.weight
    if linear.bias is not None:
        layer.bias = linear.bias
    return layer


def _leave_out_blocks(network: nn.Module, rate: float | None, count: int | None) -> None:
    if rate is not None and count is not None:
        raise RecipeError("model.kept_blocks and model.stochastic_depth both leave out blocks: choose one of them")
    if rate is not None:
        _drop_blocks(network, check_number("stochastic_depth", rate, DEPTH))
    if count is not None:
        _keep_blocks(network, count)


def _drop_blocks(network: nn.Module, rate: float) -> None:
    """Drops block l of L for a share of l / L times the rate (Huang et al. 2016, equation 4)."""
    blocks = _residual_blocks(network, f"stochastic_depth is {rate}")
    for number, block in enumerate(blocks, 1):
        block.drop = StochasticDepth(rate * number / len(blocks))


def _keep_blocks(network: nn.Module, count: int) -> None:
    blocks = _residual_blocks(network, f"kept_blocks is {count}")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= len(blocks):
        raise RecipeError(
            f"model.kept_blocks is {quoted(count)}, and the network has {len(blocks)} residual blocks: give a whole "
            "number from 1 to that"
        )
    for block, drop in zip(blocks, drops_of_kept(len(blocks), count), strict=True):
        block.drop = drop


def _residual_blocks(network: nn.Module, asked: str) -> list[Residual | Preactivated | SharedPreactivated]:
    kinds = (Residual, Preactivated, SharedPreactivated)
    blocks = [module for module in network.modules() if isinstance(module, kinds)]
    if not blocks:
        raise RecipeError(f"model.{asked}, and the network has no residual block of ours: leave it out")
    return blocks
