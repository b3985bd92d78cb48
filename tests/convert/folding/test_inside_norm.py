"""A norm goes only where its module does nothing before it, and nothing behind it but to call modules of its own."""

import pytest
from torch import nn

from tests.convert.folding.folded import sequential
from unpool.convert import fold_batch_norm
from unpool.convert.folding.norm_modules import NormModules

F = nn.functional


class Behind(nn.BatchNorm2d):
    """A norm whose own code goes on with its result."""

    def __init__(self, behind):
        super().__init__(4)
        self.behind, self.act, self.acts = behind, nn.ReLU(), nn.ModuleList([nn.ReLU(inplace=True)])

    def forward(self, x):
        return self.behind(self, super().forward(x))


@pytest.mark.parametrize(
    "behind",
    [
        lambda m, y: F.relu(y),
        lambda m, y: F.relu_(y),
        lambda m, y: F.hardtanh(y, -1e3, 1e3),
        lambda m, y: y * y.shape[0],
        lambda m, y: m.act(F.relu_(y)),
        lambda m, y: m.acts[0](y),
        lambda m, y: (m.act(y), y)[1],
        lambda m, y: m.act(m.act(y)),
        lambda m, y: m.act(input=y),
    ],
)
def test_norm_whose_module_does_more_stays_though_nothing_shows_it(behind):
    network = sequential(nn.Conv2d(3, 4, 3), Behind(behind))
    network[1].bias.data.fill_(99)  # so that no value is negative
    told = str(fold_batch_norm(network))
    assert told == "no batch norm was folded; 1 stays: the code of its module does more than to normalise"


class Ahead(nn.BatchNorm2d):
    """A norm whose own code changes what it is given."""

    def __init__(self, ahead):
        super().__init__(4)
        self.ahead = ahead

    def forward(self, x):
        return super().forward(self.ahead(x))


@pytest.mark.parametrize("ahead", [lambda x: x[..., :200], lambda x: x.view_as(x)])
def test_norm_whose_module_reads_something_else_than_it_is_given_stays(ahead):
    told = str(fold_batch_norm(sequential(nn.Conv2d(3, 4, 3), Ahead(ahead))))
    assert told == "no batch norm was folded; 1 stays: the code of its module does more than to normalise"


@pytest.mark.parametrize(
    "register",
    [
        nn.Module.register_forward_hook,
        nn.Module.register_forward_pre_hook,
        nn.Module.register_full_backward_hook,
        nn.Module.register_full_backward_pre_hook,
    ],
)
def test_norm_with_a_hook_stays(register):
    network = sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    register(network[1], lambda *given: None)
    assert str(fold_batch_norm(network)).endswith("; 1 stays: it has hooks, which would be lost")


def test_network_that_was_followed_has_no_hooks_left():
    network = sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    with NormModules(network):
        assert all(module._forward_hooks and module._forward_pre_hooks for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
