"""Networks side by side: their counts, their published scores and the bubbles."""

import json
import re

import pytest
from torch import nn

import unpool
from unpool.cli.main import main
from unpool.models.published_figures import published_figure
from unpool.pages.bubbles import LARGEST, Bubble, bubble_drawing, radius


@pytest.fixture(scope="module")
def view():
    return unpool.compare("alexnet_torchvision", "resnet18", "resnet50", "lenet5", seconds=0)


def test_counts_are_those_of_the_summary(view):
    for one in view.values["networks"]:
        table = unpool.summary(one["name"])
        assert (one["params"], one["macs"], one["activations"]) == (table.params, table.macs, table.activations)
        assert one["images_per_s"] is None


def test_published_score_is_that_of_torchvisions_metadata_and_has_its_source(view):
    figures = {one["name"]: one["published"] for one in view.values["networks"]}
    assert figures["resnet50"] == {
        **{"dataset": "ImageNet-1K", "metric": "acc@1", "value": 76.13},
        "source": "torchvision ResNet50_Weights.IMAGENET1K_V1",
    }
    assert figures["lenet5"] is None
    assert "No score is stated for lenet5." in view.to_page()
    assert published_figure("timm/resnet18") is None


def test_bubbles_stand_at_their_operations_and_have_areas_by_parameters(view):
    circles = re.findall(r'<circle [^>]*cx="([\d.]+)"[^>]*r="([\d.]+)"[^>]*><title>(\w+):', view.drawing)
    found = {name: (float(x), float(r)) for x, r, name in circles}
    assert set(found) == {"alexnet_torchvision", "resnet18", "resnet50"}
    counts = {one["name"]: one for one in view.values["networks"]}
    alexnet, resnet = counts["alexnet_torchvision"], counts["resnet50"]
    areas = (found["resnet50"][1] / found["alexnet_torchvision"][1]) ** 2
    assert areas == pytest.approx(resnet["params"] / alexnet["params"], rel=0.01)
    assert found["alexnet_torchvision"][1] == LARGEST
    assert found["alexnet_torchvision"][0] < found["resnet18"][0] < found["resnet50"][0]


def test_drawing_escapes_names_and_small_bubbles_stay_visible():
    drawing = bubble_drawing("a < b", [Bubble("<x>", 1, 50, 1e9), Bubble("y", 2, 60, 1)], x="1", y="2")
    assert "<x>" not in drawing
    assert 'xmlns="http://www.w3.org/2000/svg"' in drawing
    assert radius(1, 1e9) == 3


def test_modules_are_compared_by_their_classes_and_timed():
    view = unpool.compare(nn.Conv2d(3, 4, 3), nn.Conv2d(3, 8, 3), input_shape=(3, 12, 12), seconds=0.001)
    assert [one["name"] for one in view.values["networks"]] == ["Conv2d", "Conv2d"]
    assert all(one["images_per_s"] > 0 for one in view.values["networks"])
    assert not view.drawing


def test_command_prints_a_line_a_network_and_saves_the_bubbles(tmp_path, capsys):
    file = tmp_path / "bubbles.svg"
    assert main(["compare", "resnet18", "alexnet_torchvision", "--seconds", "0", "-o", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["resnet18", "11,689,512", "1.814"]
    assert "69.76 % acc@1, ImageNet-1K" in lines[1]
    assert file.read_text().startswith("<svg")
    assert main(["compare", "resnet18", "lenet5", "--seconds", "0", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["networks"]] == ["resnet18", "lenet5"]
