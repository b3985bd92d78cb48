"""The networks of embeddings are those of their papers, layer by layer."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import DataError, RecipeError
from unpool.layers.local import LocallyConnected
from unpool.models.embedding.facenet import Maxout

DEEPFACE = {  # truth: Taigman et al. 2014, Figure 2
    "c1": 11_648,
    "c3": 41_488,
    "l4": 62_774_800,
    "l5": 7_850_000,
    "l6": 2_829_456,
}


def counted(module):
    return sum(p.numel() for p in module.parameters())


def test_layers_of_deepface_have_the_counts_and_maps_of_the_paper():
    with torch.device("meta"):
        network = models.build("deepface")
        maps, x = {}, torch.empty(1, 3, 152, 152)
        for name, layer in network.body.features.named_children():
            x = layer(x)
            maps[name] = x.shape[2]
    layers = dict(network.body.features.named_children())
    assert {name: counted(layers[name]) for name in DEEPFACE} == DEEPFACE
    assert (counted(network.body.f7), counted(network.f8)) == (28_905_472, 16_510_910)
    assert [maps[name] for name in ("c1", "m2", "c3", "l4", "l5", "l6")] == [142, 71, 63, 55, 25, 21]
    convolution = nn.Conv2d(16, 16, 9)
    assert layers["l4"].weight.numel() == 3025 * convolution.weight.numel()


def test_deepface_ends_at_f7_with_numbers_that_are_not_negative_and_starts_as_the_paper_does():
    torch.manual_seed(0)
    network = models.build("deepface_f7", width=2, num_classes=32, size_hw=(75, 79))
    assert network(torch.randn(2, 3, 75, 79)).min() >= 0
    layer = network.features.l4
    assert isinstance(layer, LocallyConnected)
    assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert set(layer.bias.tolist()) == {0.5}


@pytest.mark.parametrize("size_hw", [(152,), (70, 152)])
def test_size_that_deepface_cannot_have_is_refused(size_hw):
    with pytest.raises(RecipeError, match="size_hw"):
        models.build("deepface", size_hw=size_hw)


def test_siamese_network_has_the_maps_of_the_paper_and_refuses_smaller_images():
    network = models.build("siamese")
    x, sides = torch.zeros(1, 1, 56, 46), {}
    for name, layer in network.features.named_children():
        x = layer(x)
        sides[name] = tuple(x.shape[1:])
    assert [sides[name] for name in ("c1", "s2", "c3", "s4", "c5", "f6")] == [
        (15, 50, 40),
        (15, 25, 20),
        (45, 20, 15),
        (45, 5, 5),
        (250, 1, 1),
        (50,),
    ]
    assert [counted(network.features[i]) for i in (0, 6, 9)] == [750, 281_500, 12_550]
    with pytest.raises(DataError, match=r"\(17, 40\)"):
        network(torch.zeros(1, 1, 17, 40))


def test_rows_of_facenet_have_the_counts_of_the_table():
    with torch.device("meta"):
        network = models.build("facenet_nn1")
    parts = [*network.features, network.head.fc1, network.head.fc2, network.head.fc3]
    rows = [9_408, 114_688, 700_416, 1_032_192, 655_360, 655_360, 102_760_448, 33_554_432, 524_288]
    assert [counted(part) for part in parts if counted(part)] == rows


def test_maxout_takes_the_larger_of_two_pieces():
    layer = Maxout(3, 2)
    x = torch.randn(5, 3)
    pieces = x @ layer.linear.weight.T
    torch.testing.assert_close(layer(x), torch.stack([pieces[:, :2].amax(1), pieces[:, 2:].amax(1)], 1))


def test_head_reads_every_position_of_the_map():
    torch.manual_seed(0)
    network = models.build("embedder", backbone="cifar_resnet20", width=4, num_classes=8, grid=4).eval()
    assert network.head.linear.in_features == 16 * 16
    x = torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        assert not torch.allclose(network.head(x), network.head(x.flip(3)))
