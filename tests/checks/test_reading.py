"""What a network reads of its pictures is measured by its structure, whatever its weights are."""

import pytest
import torch
from torch import nn

from tests.checks.small_setups import NONE, PASS, classes, drawn, masks, seen, setup, small_map, small_net
from unpool.checks.reading import (
    look_batch_mixing,
    look_holes,
    look_input_used,
    look_receptive_field,
    width_of_things,
)


class Changed(nn.Module):
    """A small network behind, or before, a change of its input."""

    def __init__(self, change, net=None) -> None:
        super().__init__()
        self.change, self.net = change, net or small_net()

    def forward(self, x):
        return self.net(self.change(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, :1].expand(-1, 3, -1, -1),
        torch.zeros_like,
        lambda x: x[..., :8],
        lambda x: torch.rand_like(x) + 0 * x.detach(),
    ],
    ids=["one channel", "nothing", "two thirds of the columns", "noise"],
)
def test_part_of_the_picture_that_no_output_depends_on_is_named(change):
    assert seen(look_input_used, setup(Changed(change), classes())) == {("fail", "network.input_unused")}


def test_network_that_is_zero_at_the_start_or_frozen_in_no_grad_reads_all():
    net = small_net()
    nn.init.zeros_(net[-1].weight)
    assert seen(look_input_used, setup(net, classes())) == PASS

    def features(x):
        with torch.no_grad():
            return x * 2

    assert seen(look_input_used, setup(Changed(features), classes())) == PASS


def test_max_pooling_and_norms_hide_no_pixel():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(36, 3)
    )
    assert seen(look_input_used, setup(net, classes())) == PASS


def test_second_of_two_pictures_that_is_not_read_is_named():
    class Twins(nn.Module):
        def __init__(self, second) -> None:
            super().__init__()
            self.net, self.second = small_net(4), second

        def forward(self, pair):
            return self.net(pair[:, 0]) - self.net(pair[:, self.second])

    pairs = [(drawn(4, 2, 3, 12, 12), torch.zeros(4))]
    assert seen(look_input_used, setup(Twins(0), pairs)) == {("fail", "network.input_unused")}
    assert seen(look_input_used, setup(Twins(1), pairs)) == PASS


def test_stride_larger_than_the_kernel_is_named_where_pixels_are_lost():
    net = small_net()
    net[0] = nn.Conv2d(3, 8, 2, stride=3)
    assert seen(look_holes, setup(net, classes())) == {("fail", "network.stride_holes")}
    net[0] = nn.Conv2d(3, 8, 3, stride=3)
    assert seen(look_holes, setup(net, classes())) == PASS


def test_shortcut_that_jumps_is_right_where_another_branch_reads_the_rest():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.short = nn.Conv2d(3, 3, 3, 2, 1), nn.Conv2d(3, 3, 1, 2)

        def forward(self, x):
            return self.main(x) + self.short(x)

    assert seen(look_holes, setup(Changed(Block()), classes())) == PASS
    alone = nn.Sequential(nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(3, 3, 1, 2))
    assert seen(look_holes, setup(Changed(alone), classes())) == {("warn", "network.stride_holes")}


class Mixed(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv, self.head = kind, nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(144, 3)
        self.norm = nn.BatchNorm2d(4, track_running_stats=kind != "statistics")
        self.memory = nn.GRU(144, 144)

    def forward(self, x):
        maps = self.norm(self.conv(x))
        if self.kind == "permuted":
            return self.head(maps.permute(1, 2, 3, 0).reshape(len(x), -1))
        flat = maps.flatten(1)
        if self.kind == "softmax":
            flat = flat.softmax(0) * 100
        if self.kind == "time":
            flat = self.memory(flat)[0]
        return self.head(flat)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("permuted", "network.batch_mixing"),
        ("time", "network.batch_mixing"),
        ("softmax", "network.batch_mixing"),
        ("statistics", "norm.dropout_in_eval"),
    ],
)
def test_answer_that_depends_on_other_samples_is_named(kind, cause):
    torch.manual_seed(0)
    assert seen(look_batch_mixing, setup(Mixed(kind), classes())) == {("fail", cause)}


def test_samples_of_a_right_network_with_batch_norm_are_apart():
    torch.manual_seed(0)
    assert seen(look_batch_mixing, setup(Mixed("none"), classes())) == PASS


def test_single_pixels_are_too_small_a_field_for_pictures():
    net = small_net()
    net[0], net[2] = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 1)
    assert seen(look_receptive_field, setup(net, classes())) == {("fail", "network.receptive_field")}
    assert seen(look_receptive_field, setup(small_net(), classes())) == PASS


def test_field_is_compared_with_the_width_of_the_things_in_masks():
    assert width_of_things(setup(small_map(), masks())) == 8
    assert seen(look_receptive_field, setup(small_map(), masks())) == PASS
    pointwise = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    assert seen(look_receptive_field, setup(pointwise, masks())) == {("fail", "network.receptive_field")}


def test_void_is_no_thing():
    assert width_of_things(setup(small_map(), masks(void=True))) == 7  # half of the pixels in runs of 7, half of 8


def test_network_that_no_copy_can_be_made_of_is_not_judged_by_its_structure():
    class Locked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.lines = small_net(), (line for line in ())

        def forward(self, x):
            return self.net(x)

    assert seen(look_input_used, setup(Locked(), classes())) == PASS
    assert seen(look_receptive_field, setup(Locked(), masks())) == NONE


class FindsNothing(nn.Module):
    """A detector of listed pictures that is sure of nothing in the first of them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, pictures):
        rows = [self.net(one[None]).flatten()[:, None] for one in pictures]
        return [{"boxes": row[: 4 * i].reshape(-1, 4)} for i, row in enumerate(rows)]


def test_picture_in_which_nothing_is_found_is_not_called_unread():
    pictures = [torch.rand(3, 8, 8) for _ in range(4)]
    things = [{"boxes": torch.tensor([[1.0, 1.0, 5.0, 5.0]]), "labels": torch.tensor([1])} for _ in pictures]
    assert seen(look_input_used, setup(FindsNothing(), [(pictures, things)], form="things")) == {("pass", "")}
