"""Promises about a graph that is rewritten while it runs."""

import pytest
import torch
from torch import fx, nn

from unpool.errors import NotConvertible
from unpool.tracing.rewriter import GraphInputs, Rewriter


def follow(*, old, new):
    """Copies the graph of a convolution of 3 channels, run on zeros of `old` and `new` channels."""
    network = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3)))
    rewriter = Rewriter(
        network.graph,
        old=GraphInputs(network, [torch.zeros(1, old, 8, 8)], "on the image", "give another"),
        new=GraphInputs(network, [torch.zeros(1, new, 8, 8)], "on the finer grid", "choose another stride"),
        goal="dilated",
    )
    rewriter.follow(lambda node: rewriter.put(node, rewriter.emit_copy(node)))


def test_error_of_the_original_network_is_not_blamed_on_the_conversion():
    with pytest.raises(NotConvertible, match=r"^0 of the original .* does not run on the image \(.*chann.*\): give an"):
        follow(old=2, new=3)


def test_error_of_the_new_network_names_the_goal_and_what_to_do():
    with pytest.raises(NotConvertible, match=r"^0 cannot be dilated: .* the finer grid \(.*chann.*\): choose another"):
        follow(old=3, new=2)


def test_graph_of_which_every_node_runs_is_followed():
    follow(old=3, new=3)
