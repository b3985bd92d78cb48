"""The graph of a network is that of its image alone."""

import pytest
import torch
from torch import nn

from unpool.errors import NotConvertible
from unpool.tracing.graph import trace


class Masked(nn.Module):
    """Takes a mask too, and does without."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x, mask=None):
        x = self.conv(x)
        return x if mask is None else x * mask


class Made(nn.Module):
    """Makes a tensor of a buffer while it runs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.register_buffer("scale", torch.ones(3, 1, 1))

    def forward(self, x):
        return self.conv(x) * (self.scale * 2)


def test_argument_that_a_network_can_do_without_is_left_out():
    graph = trace(Masked().eval()).graph
    assert [node.op for node in graph.nodes] == ["placeholder", "call_module", "output"]


def test_tensor_made_while_the_graph_is_recorded_is_refused_and_not_left_in_the_network():
    network = Made().eval()
    before = set(vars(network))
    with pytest.raises(NotConvertible, match="makes a tensor while it runs, from no image"):
        trace(network)
    assert set(vars(network)) == before


def test_network_that_keeps_what_it_computes_stays_as_it_was():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.seen = nn.Conv2d(3, 3, 3), []

        def forward(self, x):
            self.seen.append(self.conv(x))
            return self.seen[-1]

    network = Keeping().train()
    assert len(trace(network).graph.nodes) == 3
    assert (network.seen, network.training) == ([], True)
