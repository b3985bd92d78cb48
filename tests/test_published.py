"""A published network is measured on a folder whose classes are matched with its own by name."""

import pytest
import torch
from PIL import Image

import unpool
from unpool.errors import DataError, RecipeError
from unpool.models import pretrained
from unpool.models.pretrained import Origin
from unpool.published import classes_by_name, only_counted

SOURCE = Origin(
    ("tench, Tinca tinca", "crane", "crane", "maillot", "maillot, tank suit", "European fire salamander"),
    (0.5,) * 3,
    (0.5,) * 3,
    "test",
    synsets=("n01440764", "n02012849", "n03126707", "n03710637", "n03710721", "n01629819"),
)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        *(("n01440764", 0), ("n01440764_tench", 0), ("n02012849-crane", 1), ("n03126707", 2), ("tench", 0)),
        *(("Tinca tinca", 0), ("tench, Tinca tinca", 0), ("TENCH", 0), ("maillot", 3), ("tank suit", 4)),
        *(("European_fire_salamander", 5), ("european fire salamander", 5)),
    ],
)
def test_folder_is_called_as_a_class_in_any_of_its_forms(name, index):
    assert classes_by_name([name], SOURCE).index(name) == index


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["crane"], "'crane' may be 2 classes: call it n02012849 or n03126707"),
        (["tensh"], r"unknown classes 'tensh'"),
        (["n01440765"], "unknown classes 'n01440765'"),
        (["n014407641"], "unknown classes"),
        (["tench", "n01440764"], "'tench' and 'n01440764' are one class"),
    ],
)
def test_folder_that_is_none_or_several_or_doubled_is_refused(names, says):
    with pytest.raises(DataError, match=says):
        classes_by_name(names, SOURCE)


def test_every_class_has_a_name_of_its_own():
    names = classes_by_name(["tench"], SOURCE)
    assert names == ("tench", "crane (1)", "crane (2)", *SOURCE.classes[3:])


def test_classes_without_images_are_left_out_of_the_metrics():
    metrics = {"top1": None, "recall": {"a": 0.0, "b": None}}
    assert only_counted(metrics) == {"top1": None, "recall": {"a": 0.0}}


@pytest.fixture
def folder(tmp_path):
    for name in ("tench", "goldfish"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (40, 30), (i, 9, 9)).save(tmp_path / name / f"{i}.png")
    return tmp_path


@pytest.fixture
def published(monkeypatch):
    import torchvision

    network = torchvision.models.resnet18()
    torch.nn.init.zeros_(network.fc.weight)
    network.fc.bias.data = torch.nn.functional.one_hot(torch.tensor(1), 1000).float()  # always goldfish
    monkeypatch.setattr(pretrained, "fetch", lambda _: network.state_dict())


def test_published_network_is_measured_on_all_of_a_folder(published, folder, caplog):
    metrics = unpool.evaluate("resnet18", {"data.root": str(folder)}, weights="imagenet")
    assert metrics["top1"] == 0.5
    assert metrics["recall"] == {"tench": 0.0, "goldfish": 1.0}
    assert metrics["precision"] == {"goldfish": 0.5}
    assert "no val split: all of its 4 images are measured" in caplog.text


def test_what_the_weights_prescribe_may_not_be_overridden(published, folder):
    with pytest.raises(RecipeError, match=r"data\.mean"):
        unpool.evaluate("resnet18", {"data.root": str(folder), "data.mean": [0, 0, 0]}, weights="imagenet")
    with pytest.raises(RecipeError, match="leave model and reader out"):
        unpool.evaluate("resnet18", {"data.root": str(folder)}, weights="imagenet", model=torch.nn.Identity())
    with pytest.raises(RecipeError, match="no weights 'imagenet' are published for runs/one"):
        unpool.evaluate("runs/one", {"data.root": str(folder)}, weights="imagenet")
