import pytest
import torch

from unpool import models
from unpool.errors import RecipeError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 1_000_000}, "depth is 1000000; it must be a whole number of at least 1 and at most 16"),
        ({"width": 10**9}, "width is 1000000000; it must be a whole number of at least 1 and at most 65536"),
        ({"depth": 10**30}, "at most 16"),
        ({"depth": 16, "width": 65_536}, "cannot be built with these options|GiB of memory are free"),
    ],
)
def test_counts_of_a_network_are_bounded(options, words):
    with pytest.raises(RecipeError, match=words):
        models.build("unet_same", **options)


def test_network_beyond_the_free_memory_is_refused_before_it_is_built(monkeypatch):
    monkeypatch.setattr(models, "free_bytes", lambda: 1000)
    with pytest.raises(
        RecipeError, match=r"unet_same with these options has [\d,]+ weights, .* are free: lower its width"
    ):
        models.build("unet_same", width=8)


def test_counting_the_weights_draws_no_number():
    drawn = []
    for options in ({}, {"width": 16}):  # 16 is the published width
        torch.manual_seed(0)
        models.build("cifar_resnet20", **options)
        drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("name", "options", "is_counted"),
    [
        ("unet_same", {"depth": 5, "width": 2}, True),  # each level doubles the channels
        ("unet_same", {"depth": 4, "width": 2}, False),
        ("unet", {"widths": [16, 16, 16, 16, 257]}, True),
        ("unet", {"widths": [8, 8, 8, 8, 8]}, False),
    ],
)
def test_weights_are_counted_where_an_option_is_above_its_default(monkeypatch, name, options, is_counted):
    counted = []
    monkeypatch.setattr(models, "free_bytes", lambda: 1 << 40)
    monkeypatch.setattr(models, "_require_memory", lambda *asked: counted.append(asked))
    models.build(name, num_classes=2, **options)
    assert bool(counted) is is_counted
