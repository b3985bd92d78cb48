"""Views of features and attributions: what they show, what they leave as it was, what they refuse."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

import unpool
from unpool import models
from unpool.cli import environment
from unpool.cli.main import main
from unpool.errors import DataError, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Predictor
from unpool.tasks.classification import Classification
from unpool.tasks.denoising import Denoising
from unpool.types import DataInfo

INFO = DataInfo(classes=("dark", "bright"))


class Corner(nn.Module):
    """Bright where the upper left quarter of the image is."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, stride=2, padding=1)
        nn.init.constant_(self.conv.weight, 0.1)
        nn.init.zeros_(self.conv.bias)

    def forward(self, image):
        maps = self.conv(image).relu()
        quarter = maps[:, 0, : maps.shape[2] // 2, : maps.shape[3] // 2].mean((1, 2))
        return torch.stack([-quarter, quarter], dim=1)


def corner_predictor(**sees):
    return Predictor(
        Corner().train(), Preprocessing(**({"size_hw": (32, 32)} | sees)), INFO, Classification(INFO).train()
    )


def bright_corner():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[:, 2:14, 2:14] = 255
    return image


def noise(side=32, seed=0):
    return torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "prepare_torch", lambda: None)
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        Image.fromarray(noise(seed=number).permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    (tmp_path / "4.png").write_bytes(b"no image")
    return tmp_path


def test_every_method_is_brightest_where_the_score_is_from():
    predictor = corner_predictor()
    view = unpool.show_attribution(predictor, bright_corner(), "bright", window=8)
    assert view.values["explained"] == "bright"
    assert view.values["score"] > 0
    assert [one["method"] for one in view.values["methods"]] == ["gradcam", "occlusion", "integrated"]
    for one in view.values["methods"]:
        assert one["largest"] > 0
        assert all(0 <= side < 16 for side in one["brightest_xy"])
    total = view.values["methods"][2]["sum"]
    assert total == pytest.approx(view.values["score"] - view.values["score_of_mean_colour"], rel=0.02)


def test_predictor_stays_as_it_was():
    predictor = corner_predictor()
    before = predictor.preprocessing
    unpool.show_attribution(predictor, bright_corner(), size_hw=(16, 16), window=4)
    unpool.show_features(predictor, bright_corner(), layer="conv")
    assert predictor.preprocessing is before
    assert predictor.model.training
    assert predictor.model.conv.training
    assert predictor.task.training
    assert not predictor.model.conv._forward_hooks
    assert predictor.model.conv.weight.grad is None


@pytest.mark.parametrize(("name", "layer"), [("vgg11", "backbone.stages.4"), ("resnet18", "backbone.stages.3")])
def test_grad_cam_takes_the_last_of_the_coarsest_maps(name, layer):
    torch.manual_seed(0)
    network = models.build(name, width=4, num_classes=3)
    view = unpool.show_attribution(network, torch.randn(3, 64, 64), 0, methods=["gradcam"])
    assert view.values["methods"][0]["settings"] == f"layer {layer}"


def test_grad_cam_leaves_heads_out_where_there_is_a_backbone():
    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
            self.head = nn.Conv2d(4, 2, 3)

        def forward(self, image):
            return self.head(self.backbone(image))

    view = unpool.show_attribution(Headed(), torch.randn(3, 20, 20), 0, methods=["gradcam"])
    assert view.values["methods"][0]["settings"] == "layer backbone"


def test_grad_cam_of_any_module_passes_over_maps_that_the_score_does_not_depend_on():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.coarse = nn.Conv2d(3, 2, 3, stride=2), nn.Conv2d(2, 2, 3, stride=2)

        def forward(self, image):
            fine = self.fine(image)
            return {"fine": fine, "coarse": self.coarse(fine)}

    view = unpool.show_attribution(
        Pyramid(), torch.randn(3, 20, 20), lambda output: output["fine"].mean((1, 2, 3)), methods=["gradcam"]
    )
    assert view.values["methods"][0]["settings"] == "layer fine"


def test_target_of_a_module_is_an_output_or_a_function():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    image = torch.randn(3, 12, 12)
    view = unpool.show_attribution(network, image, 2, methods=["occlusion"], window=4)
    assert view.values["score"] == pytest.approx(network(image[None])[0, 2].mean().item(), rel=1e-5)
    for target in (4, None, "tree"):
        with pytest.raises(RecipeError, match="give the number of an output below 4"):
            unpool.show_attribution(network, image, target)


def test_tasks_and_methods_without_a_score_are_refused():
    task = Denoising(DataInfo())
    predictor = Predictor(nn.Conv2d(3, 3, 1), Preprocessing(), DataInfo(), task, name="cleaner")
    with pytest.raises(RecipeError, match="cleaner answers as Denoising, which has no score"):
        unpool.show_attribution(predictor, noise())
    for methods in ([], ["guess"]):
        with pytest.raises(RecipeError, match="they must be of gradcam, occlusion, integrated"):
            unpool.show_attribution(corner_predictor(), noise(), methods=methods)


def test_largest_maps_come_first_and_named_ones_as_they_are_named():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU())
    image = torch.randn(3, 20, 20)
    maps = network(image[None])[0]
    view = unpool.show_features(network, image, layer="1", most=5)
    rows = view.values["maps"]
    order = maps.flatten(1).amax(1).argsort(descending=True).tolist()
    assert [row["unit"] for row in rows] == order[:5]
    assert rows[0]["largest"] == pytest.approx(maps.max().item(), abs=1e-6)
    assert [row["unit"] for row in unpool.show_features(network, image, layer="1", units=[7, 2]).values["maps"]] == [
        7,
        2,
    ]


def test_patches_are_of_different_images_and_files_that_are_none_are_named(folder):
    view = unpool.show_deconvnet("lenet5", [folder], layer="features.conv1", units=[1], count=3, rules=["gradient"])
    (unit,) = view.values["units"]
    assert len({one["image"] for one in unit["patches"]}) == len(unit["patches"]) == 3
    activations = [one["activation"] for one in unit["patches"]]
    assert activations == sorted(activations, reverse=True)
    assert view.values["images"] == 4
    assert any("4.png" in note for note in view.values["notes"])
    with pytest.raises(DataError, match=r"4\.png"):
        unpool.show_deconvnet("lenet5", [folder / "4.png"], layer="features.conv1")


def test_units_are_drawn_by_the_seed(folder):
    def drawn(seed):
        network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU())
        view = unpool.show_deconvnet(network, [folder / "0.png"], layer="1", seed=seed)
        return [one["unit"] for one in view.values["units"]]

    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(3)}) == 3
    assert len(drawn(0)) == 4


def test_unit_that_nothing_excites_and_layers_without_relu_are_noted(folder):
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    nn.init.constant_(network[0].bias, -100.0)
    view = unpool.show_deconvnet(network, [folder / "0.png"], layer="1", units=[1])
    assert "no image excites unit 1 above 0" in view.values["notes"]
    view = unpool.show_deconvnet(network, [folder / "0.png"], layer="0", units=[1])
    assert any("no ReLU stands in front" in note for note in view.values["notes"])


def test_views_are_saved_as_pictures_and_pages(folder):
    view = unpool.show_features("lenet5", folder / "0.png", layer="features.conv1")
    assert "<img" in view.save(folder / "view.html").read_text()
    assert Image.open(view.save(folder / "view.png")).mode == "RGB"
    assert "the weights are random" in view.to_page()


@pytest.mark.parametrize(
    ("arguments", "written", "key"),
    [
        (["features", "lenet5", "0.png", "--layer", "features.conv1"], "0_features.png", "maps"),
        (["deconvnet", "lenet5", "0.png", "1.png", "--layer", "features.conv1", "--by", "gradient"], None, "units"),
        (["attribution", "lenet5", "0.png", "--by", "gradcam", "--target", "3"], "0_attribution.png", "methods"),
    ],
)
def test_commands_write_a_picture_and_print_its_path(folder, capsys, arguments, written, key):
    assert main(["show", *arguments]) == 0
    printed, messages = capsys.readouterr()
    path = folder / printed.splitlines()[-1]
    assert path.name == (written or "features.conv1_deconvnet.png")
    assert Image.open(path).mode == "RGB"
    assert "warning: the weights are random" in messages
    assert main(["show", *arguments]) == 2
    assert "is not replaced" in capsys.readouterr().err
    assert main(["show", *arguments, "--json", "-o", "page.html"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values[key]
    assert values["picture"] == "page.html"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["features", "lenet5", "0.png", "--layer", "conv9"], "did you mean"),
        (
            ["features", "lenet5", "0.png", "--layer", "features.conv1", "--unit", "6"],
            "has units 0 to 5, and 6 is none",
        ),
        (["deconvnet", "lenet5", "0.png", "--layer", "features.conv2"], "calls tanh"),
        (["attribution", "lenet5", "0.png", "--window", "40"], "a window of 40 pixels"),
        (
            ["attribution", "lenet5", "0.png", "--weights", "best"],
            "belong to a run, and there is no run directory lenet5",
        ),
        (["attribution", "lenet6", "0.png"], "no network is called"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(folder, capsys, arguments, message):
    assert main(["show", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_methods_and_rules_of_the_command_line_are_those_of_the_functions():
    from unpool.cli.show import SHOWN
    from unpool.inspection.backward_rules import RULES
    from unpool.predictor.attributions import METHODS

    for name, values in (("deconvnet", RULES), ("attribution", METHODS)):
        (option,) = [one for one in SHOWN[name].parser()._actions if "--by" in one.option_strings]
        assert tuple(option.choices) == values
