import pytest
import torch
from torch import nn

from benchmarks.dilation import NETWORKS, Answer, Line, difference, error_of, row_of, strides_of
from benchmarks.dilation_networks import Trunk
from unpool.convert import dilate


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.body = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 2)


def trunk():
    torch.manual_seed(0)
    return Trunk(Classifier().eval())


def test_trunk_gives_the_last_map_of_each_size_before_the_head():
    network = trunk()
    assert network.kept == (1, 2)
    assert strides_of(network) == [2, 4]


def test_exact_network_is_off_by_rounding_alone_in_both_precisions():
    pair = (trunk(), dilate(trunk(), output_stride=2))
    assert error_of(pair, 2, torch.float32).error < 1e-5
    assert error_of(pair, 2, torch.float64).error < 1e-13


def test_network_that_keeps_its_padding_is_off():
    wrong = trunk()
    wrong.parts[2].stride, wrong.parts[2].dilation, wrong.parts[2].padding = (1, 1), (2, 2), (2, 2)
    answer = error_of((trunk(), wrong), 2, torch.float64)
    assert answer.error > 0.1
    assert not answer.is_exact


def test_network_whose_stride_stays_is_told():
    assert str(error_of((trunk(), trunk()), 2, torch.float64)) == "left at stride 4"


def test_difference_of_other_sizes_is_infinite_and_of_empty_maps_refused():
    a = torch.ones(1, 2, 8, 8)
    assert difference(a, a[:, :, :7]) == 0
    assert difference(a, a[:, :, :6]) == float("inf")
    assert difference(a, a * float("nan")) == float("inf")
    with pytest.raises(ZeroDivisionError, match="zero throughout"):
        difference(0 * a, a)


def test_row_tells_every_library_that_has_the_network():
    peers = {"timm": Answer(error=0.25), "smp": Answer(note="-"), "torchvision": Answer(note="refused: no")}
    ours = Answer(error=3e-16)
    line = Line(
        network=NETWORKS[0], output_stride=8, ours=ours, ours_float32=Answer(error=5e-7), peers=peers, build_s=1.0
    )
    row = row_of(line)
    assert row.figure == "3e-16 (float32: 5e-07)"
    assert row.reference == "timm: 2e-01; torchvision: refused: no"


def test_table_holds_thirty_networks_of_twelve_families_and_three_at_stride_1():
    assert len({(network.library, network.name) for network in NETWORKS}) == len(NETWORKS) >= 30
    assert len({network.family for network in NETWORKS}) >= 12
    assert sum(1 in network.strides for network in NETWORKS) == 3
