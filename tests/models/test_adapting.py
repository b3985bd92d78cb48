"""First and last layers that are derived from trained ones answer as promised."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import ModelFileError
from unpool.models import pretrained
from unpool.models.adapting import adapted, for_channels, for_classes
from unpool.models.weights import save_weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network of three channels and ten classes, and its file."""
    torch.manual_seed(0)
    network = models.build("cifar_resnet20", width=4).eval()
    return network, save_weights(tmp_path_factory.mktemp("weights") / "net.safetensors", network)


def built(path, **counts):
    torch.manual_seed(1)
    return models.build("cifar_resnet20", weights=path, width=4, **counts).eval()


def test_file_of_weights_gives_the_network_it_was_saved_from(trained):
    network, path = trained
    image = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        assert torch.equal(built(path)(image), network(image))
        assert torch.equal(built(str(path), num_classes=10, in_channels=3)(image), network(image))


def test_grey_image_gets_the_answer_of_itself_repeated_three_times(trained):
    network, path = trained
    grey = torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        torch.testing.assert_close(built(path, in_channels=1)(grey), network(grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("times", [2, 3])
def test_image_that_repeats_rgb_gets_the_answer_of_rgb(trained, times):
    network, path = trained
    image = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        torch.testing.assert_close(
            built(path, in_channels=3 * times)(image.repeat(1, times, 1, 1)), network(image), rtol=1e-4, atol=1e-5
        )


def test_four_channels_take_red_again_and_keep_the_sum():
    weight = torch.tensor([1.0, 2, 4]).view(1, 3, 1, 1)
    assert for_channels(weight, 4).flatten().tolist() == [0.75, 1.5, 3, 0.75]
    assert for_channels(weight, 2).flatten().tolist() == [1.5, 3]
    assert for_channels(weight[:, :1], 3).flatten().tolist() == pytest.approx([1 / 3] * 3)


def test_new_rows_have_the_mean_and_deviation_of_the_trained_ones():
    torch.manual_seed(0)
    rows = torch.randn(50, 3) * torch.tensor([0.1, 1, 3]) + torch.tensor([5.0, 0, -5])
    new = for_classes(rows, 20_000)
    torch.testing.assert_close(new.mean(0), rows.mean(0), rtol=0.01, atol=0.05)
    torch.testing.assert_close(new.std(0), rows.std(0, correction=0), rtol=0.03, atol=0.0)
    assert for_classes(torch.tensor([1.0, 2, 6]), 2).tolist() == [3, 3]


def test_another_count_of_classes_keeps_all_but_the_last_layer_and_the_seed_decides_that(trained):
    network, path = trained
    first, second = (built(path, num_classes=4, new_head=True).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    same = {name for name, tensor in network.state_dict().items() if torch.equal(first[name], tensor)}
    assert set(first) - same == {"head.linear.weight", "head.linear.bias"}
    assert first["head.linear.weight"].shape == (4, 16)


def test_transposed_convolutions_between_scores_stay_new(tmp_path):
    torch.manual_seed(0)
    trained = models.build("fcn8s", num_classes=5, width=4)
    nn.init.normal_(trained.upsample[0].weight)
    path = save_weights(tmp_path / "fcn.safetensors", trained)
    network = models.build("fcn8s", num_classes=3, width=4, weights=path, new_head=True)
    new = models.build("fcn8s", num_classes=3, width=4)
    assert torch.equal(network.upsample[0].weight, new.upsample[0].weight)
    assert torch.equal(network.fc[0].weight, trained.fc[0].weight)
    derived = adapted(trained.state_dict(), new.state_dict(), num_classes=3, in_channels=None)
    assert torch.equal(derived["upsample.0.weight"], new.upsample[0].weight)


@pytest.mark.parametrize(
    ("row", "counts", "says"),
    [
        ("cifar_resnet20", {"width": 4, "num_classes": 10, "in_channels": 3}, None),
        ("cifar_resnet20", {"width": 8, "num_classes": 3}, r"of another shape: backbone\.stem\.conv\.weight"),
        ("cifar_resnet20", {"width": 8, "in_channels": 3}, r"of another shape: backbone\.stem\.conv\.weight"),
        ("cifar_resnet32", {"width": 4, "num_classes": 3}, r"missing: backbone\.stages"),
    ],
)
def test_file_of_another_network_is_refused(trained, row, counts, says):
    if says is None:
        models.build(row, weights=trained[1], **counts)
        return
    with pytest.raises(ModelFileError, match=says):
        models.build(row, weights=trained[1], **counts)


def test_file_of_other_counts_is_refused_where_nobody_asked_for_these(tmp_path):
    path = save_weights(tmp_path / "five.safetensors", models.build("cifar_resnet20", width=4, num_classes=5))
    for counts in ({}, {"num_classes": 10}):
        with pytest.raises(
            ModelFileError, match=r"head\.linear\.weight \(5, 16\) for \(10, 16\).*model\.new_head=true"
        ):
            models.build("cifar_resnet20", width=4, weights=path, **counts)
    assert models.build("cifar_resnet20", width=4, weights=path, new_head=True).head.linear.out_features == 10
    path = save_weights(tmp_path / "grey.safetensors", models.build("cifar_resnet20", width=4, in_channels=1))
    with pytest.raises(ModelFileError, match=r"1 of another shape: backbone\.stem\.conv\.weight"):
        models.build("cifar_resnet20", width=4, weights=path)


def test_what_is_derived_is_told_and_nothing_else(trained, caplog):
    _, path = trained
    caplog.set_level("INFO", logger="unpool")
    built(path)
    built(path, in_channels=6, num_classes=4, new_head=True)
    head = "head.linear.bias, head.linear.weight"
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", f"{path}: loaded 116 tensors"),
        (
            "WARNING",
            f"{path}: loaded 114 tensors; derived from another number of channels: backbone.stem.conv.weight; "
            f"new, with initial weights: {head}; not used: {head}",
        ),
    ]


def test_what_is_derived_from_published_weights_is_logged(monkeypatch, caplog):
    published = {name: tensor.clone() for name, tensor in models.build("resnet18").state_dict().items()}
    monkeypatch.setattr(pretrained, "_published", lambda *_: (published, "URL"))
    caplog.set_level("INFO", logger="unpool")
    models.build("resnet18", weights="imagenet")
    assert caplog.messages == []
    models.build("resnet18", weights="imagenet", in_channels=6, num_classes=4)
    assert caplog.messages == [
        "URL: backbone.stem.conv.weight (64, 6, 7, 7) is derived from the trained (64, 3, 7, 7)",
        "URL: head.linear.weight (4, 512) is derived from the trained (1000, 512)",
        "URL: head.linear.bias (4,) is derived from the trained (1000,)",
    ]
