"""One tower and two, and the three networks of that name."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError

GROUPED = ("conv2", "conv4", "conv5")


def counts(model):
    return [n for m in model.modules() if not list(m.children()) and (n := sum(p.numel() for p in m.parameters()))]


def loud(model):
    """Weights large enough that the image reaches the answer, without dropout."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter)
    return model.eval()


def test_layers_of_one_tower_have_the_papers_counts():
    with torch.device("meta"):
        found = counts(models.build("alexnet"))
    assert found == [34_944, 614_656, 885_120, 1_327_488, 884_992, 37_752_832, 16_781_312, 4_097_000]


def test_groups_halve_three_convolutions():
    with torch.device("meta"):
        found = counts(models.build("alexnet_grouped"))
    assert (found[1], found[3], found[4]) == (307_456, 663_936, 442_624)


def test_maps_of_227_have_the_papers_sizes():
    sizes = {}
    with torch.device("meta"):
        model = models.build("alexnet")
        x = torch.empty(1, 3, 227, 227)
        for name, layer in model.features.named_children():
            x = layer(x)
            sizes[name] = tuple(x.shape[1:])
    assert [sizes[name] for name in ("conv1", "reduce1", "conv2", "reduce2", "conv3", "conv4", "conv5", "pool5")] == [
        (96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13), (384, 13, 13), (384, 13, 13), (256, 13, 13),
        (256, 6, 6)
    ]  # fmt: skip


def test_groups_are_one_tower_without_the_weights_between_them():
    torch.manual_seed(0)
    grouped = loud(models.build("alexnet_grouped", width=12, num_classes=5))
    whole = models.build("alexnet", width=12, num_classes=5).eval()
    weights = grouped.state_dict()
    for name in GROUPED:
        first, second = weights[f"features.{name}.weight"].chunk(2)
        weights[f"features.{name}.weight"] = torch.cat(
            [torch.cat([first, torch.zeros_like(first)], 1), torch.cat([torch.zeros_like(second), second], 1)]
        )
    whole.load_state_dict(weights)
    image = torch.rand(1, 3, 227, 227)
    with torch.no_grad():
        expected = grouped(image)
        torch.testing.assert_close(whole(image), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_paper_normalises_before_the_pooling_and_caffenet_after():
    x = torch.rand(1, 7, 9, 9) * 100
    paper, caffe = (models.build(name, width=4).features.reduce1 for name in ("alexnet", "caffenet"))

    def normalised(x, k, alpha):  # torch divides alpha by the size, as Caffe does
        return nn.functional.local_response_norm(x, 5, alpha=alpha, beta=0.75, k=k)

    torch.testing.assert_close(paper(x), nn.functional.max_pool2d(normalised(x, 2.0, 5e-4), 3, 2))
    torch.testing.assert_close(caffe(x), normalised(nn.functional.max_pool2d(x, 3, 2), 1.0, 1e-4))


def by_hand(weights, image, *, groups, norm):
    """The paper's figure 2, or CaffeNet's order, by torch's functions; torch's alpha is divided by the size."""

    def layer(x, name, apply=nn.functional.conv2d, **options):
        part = "head" if name.startswith("fc") else "features"
        return apply(x, weights[f"{part}.{name}.weight"], weights[f"{part}.{name}.bias"], **options)

    def pool(x):
        return nn.functional.max_pool2d(x, 3, 2)

    def reduce(x):
        return pool(norm(x)) if norm(torch.ones(1, 1, 1, 1)) < 0.9 else norm(pool(x))

    x = reduce(layer(image, "conv1", stride=4).relu())
    x = reduce(layer(x, "conv2", padding=2, groups=groups).relu())
    x = layer(x, "conv3", padding=1).relu()
    x = layer(x, "conv4", padding=1, groups=groups).relu()
    x = pool(layer(x, "conv5", padding=1, groups=groups).relu()).flatten(1)
    for name in ("fc6", "fc7"):
        x = layer(x, name, nn.functional.linear).relu()
    return layer(x, "fc8", nn.functional.linear)


@pytest.mark.parametrize(
    ("name", "groups", "alpha", "k"),
    [("alexnet", 1, 5e-4, 2.0), ("alexnet_grouped", 2, 5e-4, 2.0), ("caffenet", 2, 1e-4, 1.0)],
)
def test_layers_stand_in_the_order_of_the_figure(name, groups, alpha, k):
    torch.manual_seed(0)
    model = loud(models.build(name, width=12, num_classes=5)).double()
    image = 100 * torch.rand(2, 3, 227, 227, dtype=torch.float64)

    def norm(x):
        return nn.functional.local_response_norm(x, 5, alpha=alpha, beta=0.75, k=k)

    with torch.no_grad():
        expected = by_hand(model.state_dict(), image, groups=groups, norm=norm)
        torch.testing.assert_close(model(image), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_grouped", "caffenet"])
def test_biases_start_at_one_where_the_paper_says(name):
    torch.manual_seed(0)
    model = models.build(name, width=12)
    ones = {key for key, p in model.named_parameters() if key.endswith("bias") and bool((p == 1).all())}
    zeros = {key for key, p in model.named_parameters() if key.endswith("bias") and not p.any()}
    assert ones == {*(f"features.{conv}.bias" for conv in GROUPED), "head.fc6.bias", "head.fc7.bias"}
    assert zeros == {"features.conv1.bias", "features.conv3.bias", "head.fc8.bias"}
    assert model.head.fc6.weight.std().item() == pytest.approx(0.01, rel=0.02)


def test_dropout_stands_at_the_two_hidden_layers():
    papers, torchvisions = (
        [type(m).__name__ for m in models.build(name, width=4).head][2:] for name in ("alexnet", "alexnet_torchvision")
    )
    assert papers == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert torchvisions == ["Dropout", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]


@pytest.mark.parametrize(("name", "least"), [("alexnet", 67), ("caffenet", 67), ("alexnet_torchvision", 63)])
def test_smallest_image_works_and_a_smaller_one_is_refused(name, least):
    model = models.build(name, width=4, num_classes=3).eval()
    assert model(torch.rand(1, 3, least, least + 9)).shape == (1, 3)
    told = rf"\({least + 9}, {least - 1}\) \(H, W\); AlexNet .* give {least} or more"
    with pytest.raises(ValueError, match=told):
        model(torch.rand(1, 3, least + 9, least - 1))


def test_width_that_the_groups_do_not_divide_is_refused():
    with pytest.raises(RecipeError, match="width is 9 and the network has 2 groups: give a multiple of that"):
        models.build("alexnet_grouped", width=9)
