"""Weights survive the disk; what does not fit is named and nothing changes."""

import os
from types import SimpleNamespace

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save, save_file
from torch import nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.vgg import VGG, make_layers

from tests.dilated_once import dilated_once  # noqa: F401, an autouse fixture
from unpool import models
from unpool.errors import EnvironmentFault, ModelFileError
from unpool.models.of_run import _differing
from unpool.models.segmentation.deeplab import torchvision_head
from unpool.models.torchvision_names import our_names
from unpool.models.weights import (
    assign_weights,
    from_torchvision,
    load_weights,
    parse_weights,
    read_weights,
    save_weights,
)


def network(seed=0):
    torch.manual_seed(seed)
    return models.build("cifar_resnet20", width=2)


def randomise(module):
    """Norms and their statistics all different, so that any two exchanged are seen."""
    torch.manual_seed(1)
    for tensor in module.state_dict().values():
        if tensor.dim() == 1:
            tensor.mul_(1 + 0.2 * torch.rand_like(tensor)).add_(0.05 * torch.rand_like(tensor))
    return module.eval()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_saved_weights_come_back_bit_by_bit(tmp_path, memory_format):
    first, second = network(0).to(memory_format=memory_format), network(1)
    load_weights(save_weights(tmp_path / "deep" / "model.safetensors", first), second)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert os.listdir(tmp_path / "deep") == ["model.safetensors"]  # noqa: PTH208


def test_saving_over_the_file_the_values_come_from_keeps_them(tmp_path):
    path = save_weights(tmp_path / "model.safetensors", network())
    before = {name: tensor.clone() for name, tensor in read_weights(path).items()}
    save_weights(path, read_weights(path))
    assert all(torch.equal(read_weights(path)[name], tensor) for name, tensor in before.items())


def test_tensors_that_share_memory_are_saved(tmp_path):
    tensor = torch.arange(6.0).view(2, 3)
    path = save_weights(tmp_path / "shared.safetensors", {"a": tensor, "b": tensor, "row": tensor[1], "t": tensor.t()})
    got = load_file(path)
    assert torch.equal(got["a"], got["b"])
    assert torch.equal(got["row"], tensor[1])
    assert torch.equal(got["t"], tensor.t())


def test_weights_of_another_network_are_named_and_change_nothing(tmp_path):
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors = dict(before)
    tensors["head.linear.weight"] = torch.zeros(3, 4)
    tensors["neck.weight"] = tensors.pop("backbone.stem.conv.weight")
    path = save_weights(tmp_path / "other.safetensors", tensors)
    with pytest.raises(ModelFileError) as caught:
        load_weights(path, model)
    told = str(caught.value)
    assert f"{path} does not fit" in told
    assert "1 missing: backbone.stem.conv.weight" in told
    assert "1 not in this network: neck.weight" in told
    assert "1 of another shape: head.linear.weight (3, 4) for (10, 8)" in told
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_whole_numbers_for_real_ones_are_refused():
    layer = nn.Linear(2, 2)
    with pytest.raises(ModelFileError, match=r"1 of another kind: weight torch.int64 for torch.float32"):
        assign_weights(layer, {"weight": torch.ones(2, 2, dtype=torch.int64), "bias": torch.ones(2)}, source="test")


def test_many_names_are_shortened():
    with pytest.raises(ModelFileError, match=r"116 missing: backbone\.stem\.conv\.weight, .* and 111 more"):
        assign_weights(network(), {}, source="nothing")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(tmp_path, value):
    tensors = network().state_dict()
    tensors["head.linear.bias"][3] = value
    path = tmp_path / "nan.safetensors"
    save_file(tensors, path)
    with pytest.raises(ModelFileError, match=r"not finite in head\.linear\.bias"):
        load_weights(path, network())


def test_infinity_that_the_network_has_itself_is_read_and_any_other_is_named():
    mask = torch.tensor([0.0, -torch.inf])
    data = save({"mask": mask, "weight": torch.ones(2)})
    assert parse_weights(data, source="a", known={"mask": mask.clone()})["mask"].tolist() == [0.0, -torch.inf]
    for known in ({}, {"mask": -mask}, {"mask": mask[:1]}):
        with pytest.raises(ModelFileError, match="not finite in mask"):
            parse_weights(data, source="a", known=known)


@pytest.mark.parametrize("length", [0, 5, 200, -1])
def test_damaged_file_is_named(tmp_path, length):
    path = save_weights(tmp_path / "model.safetensors", network())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelFileError, match=r"model\.safetensors is not a whole safetensors file"):
        read_weights(path)


def test_pickle_is_refused_unread(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(network().state_dict(), path)
    with pytest.raises(ModelFileError, match="not a whole safetensors file"):
        read_weights(path)


def test_missing_file_folder_and_pipe_are_named(tmp_path):
    with pytest.raises(ModelFileError, match="is missing"):
        read_weights(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_weights(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_weights(tmp_path / "pipe")


def test_place_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        save_weights(tmp_path / "taken" / "model.safetensors", network())
    folder = tmp_path / "model.safetensors"
    folder.mkdir()
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        save_weights(folder, network())
    assert {p.name for p in tmp_path.iterdir()} == {"taken", "model.safetensors"}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvisions_resnet_gives_the_same_answers(name):
    theirs = randomise(getattr(torchvision.models, name)())
    ours = models.build(name).eval()
    assign_weights(ours, from_torchvision(theirs.state_dict()), source="torchvision")
    image = torch.rand(1, 3, 65, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "norm"), [("vgg16", False), ("vgg16_bn", True)])
def test_torchvisions_vgg_gives_the_same_answers(name, norm):
    """An eighth as wide, so that it takes a moment; its layers and names are torchvision's own."""
    plan = [8, 8, "M", 16, 16, "M", *[32] * 3, "M", *[64] * 3, "M", *[64] * 3, "M"]
    theirs = VGG(make_layers(plan, batch_norm=norm), num_classes=1000, init_weights=False)
    theirs.classifier = nn.Sequential(
        nn.Linear(64 * 49, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(),
        nn.Linear(512, 1000),
    )  # fmt: skip
    ours = models.build(name, width=8).eval()
    assign_weights(ours, from_torchvision(randomise(theirs).state_dict()), source="torchvision")
    image = torch.rand(1, 3, 70, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_torchvisions_vgg16_bn_loads_at_full_width():
    theirs = randomise(torchvision.models.vgg16_bn(init_weights=False))
    ours = models.build("vgg16_bn").eval()
    assign_weights(ours, from_torchvision(theirs.state_dict()), source="torchvision")
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        expected = theirs(image)
        torch.testing.assert_close(ours(image), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_torchvisions_alexnet_gives_the_same_answers():
    theirs = torchvision.models.alexnet(num_classes=10)
    theirs.classifier[1], theirs.classifier[4] = nn.Linear(256 * 36, 64), nn.Linear(64, 64)
    theirs.classifier[6] = nn.Linear(64, 10)
    ours = models.build("alexnet_torchvision", num_classes=10)
    ours.head.fc6, ours.head.fc7, ours.head.fc8 = nn.Linear(256 * 36, 64), nn.Linear(64, 64), nn.Linear(64, 10)
    assign_weights(ours.eval(), from_torchvision(randomise(theirs).state_dict()), source="torchvision")
    image = torch.rand(1, 3, 97, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("heads", [False, True])
def test_torchvisions_googlenet_gives_the_same_answers(heads):
    theirs = randomise(torchvision.models.googlenet(weights=None, aux_logits=heads, init_weights=False))
    ours = models.build("googlenet_torchvision_aux" if heads else "googlenet_torchvision").eval()
    assign_weights(ours, from_torchvision(theirs.state_dict()), source="torchvision")
    image = torch.rand(1, 3, 97, 150)
    theirs.training = heads  # it gives the heads' answers while training only; its parts stay in evaluation
    with torch.no_grad():
        found, expected = ours(image), theirs(image)
    pairs = [(found, expected)]
    if heads:
        pairs = [(found.logits, expected.logits), (found.auxiliary[0], expected.aux_logits1)]
        pairs.append((found.auxiliary[1], expected.aux_logits2))
    for mine, torchvisions in pairs:
        torch.testing.assert_close(mine, torchvisions, rtol=1e-5, atol=1e-5 * torchvisions.abs().max().item())


def test_torchvisions_fcn_gives_the_same_answers():
    theirs = randomise(torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True))
    ours = models.build("fcn_resnet50_aux", align="sizes").eval()
    assign_weights(ours, from_torchvision(theirs.state_dict()), source="torchvision")
    image = torch.rand(1, 3, 33, 49)
    with torch.no_grad():
        found, expected = ours(image), theirs(image)
    for mine, torchvisions in ((found.logits, expected["out"]), (found.auxiliary[0], expected["aux"])):
        torch.testing.assert_close(mine, torchvisions, rtol=1e-5, atol=1e-5 * torchvisions.abs().max().item())


def test_torchvisions_head_of_deeplabv3_gives_the_same_answers():
    """The backbone has the names that it has below FCN, shown above."""
    theirs = randomise(DeepLabHead(8, 21, (12, 24, 36)))
    named = {f"classifier.{name}": tensor for name, tensor in theirs.state_dict().items()}
    ours = torchvision_head(8, 21, rates=(12, 24, 36), width=256).eval()
    renamed = from_torchvision({"backbone.conv1.weight": torch.zeros(1), **named})
    assert renamed.pop("backbone.stem.conv.weight").shape == (1,)
    head = {name.removeprefix("head."): tensor for name, tensor in renamed.items()}
    assign_weights(ours, head, source="torchvision")
    features = torch.rand(1, 8, 9, 11)
    with torch.no_grad():
        torch.testing.assert_close(ours(features), theirs(features), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", ["fcn", "deeplabv3"])
def test_every_name_of_torchvisions_segmentation_networks_is_one_of_ours(head):
    with torch.device("meta"):
        build = getattr(torchvision.models.segmentation, f"{head}_resnet101")
        theirs = build(weights=None, weights_backbone=None, aux_loss=True)
        ours = models.build(f"{head}_resnet101_aux", output_stride=32)  # names are the same at each
    assign_weights(ours, from_torchvision(theirs.state_dict()), source="torchvision")


@pytest.mark.parametrize("name", ["fc2.weight", "layer1.0.se.weight"])
def test_unknown_name_of_torchvision_is_refused(name):
    with pytest.raises(ModelFileError, match=rf"{name} is no name of torchvision's ResNets"):
        from_torchvision({name: torch.zeros(1)})


def test_names_of_which_half_are_known_are_kept_for_the_network_to_refuse():
    tensors = {"layer1.0.conv1.weight": torch.zeros(1), "layer1.0.se.weight": torch.zeros(1)}
    assert "layer1.0.se.weight" in our_names(tensors, strict=False).values()
    with pytest.raises(ModelFileError, match=r"layer1\.0\.se\.weight is no name"):
        our_names({**tensors, "layer1.0.se.bias": torch.zeros(1)}, strict=False)


@pytest.mark.parametrize(
    ("known", "family"),
    [
        ("features.0", "VGGs"),
        ("classifier.1", "AlexNet"),
        ("inception3a.branch1.conv", "GoogLeNet"),
        ("backbone.conv1", "FCN"),
        ("classifier.0.project.0", "DeepLabv3"),
    ],
)
def test_unknown_name_beside_those_of_a_family_is_refused(known, family):
    tensors = {"features.0.weight": torch.zeros(1, 1, 3, 3), f"{known}.weight": torch.zeros(1, 1, 3, 3)}
    if family in ("GoogLeNet", "FCN", "DeepLabv3"):
        del tensors["features.0.weight"]
    if family == "DeepLabv3":
        tensors["backbone.conv1.weight"] = torch.zeros(1, 1, 3, 3)
    with pytest.raises(ModelFileError, match=rf"extra\.weight is no name of torchvision's {family}"):
        from_torchvision({**tensors, "extra.weight": torch.zeros(1)})


@pytest.mark.parametrize("form", ["original", "connect"])
def test_share_dropped_counts_where_every_answer_is_scaled_by_it(form):
    network = {"name": "alexnet", "options": {"dropout": 0.5, "dropout_form": form}}
    ours = SimpleNamespace(defaults={}, backbone_name=None, settings={"dropout": 0.3, "dropout_form": form})
    assert _differing(network, ours) == {"dropout": (0.5, 0.3)}
    inverted = {"name": "alexnet", "options": {"dropout": 0.5}}
    assert _differing(inverted, SimpleNamespace(**vars(ours) | {"settings": {"dropout": 0.3}})) == {}
