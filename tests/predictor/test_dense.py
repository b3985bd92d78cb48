"""`show_dense`: which classifier, which photograph, which class, and what is said of them."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

from tests.bound import bind
from unpool import models
from unpool.errors import DataError, RecipeError
from unpool.models.weights import save_weights
from unpool.ops import mean_image
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import dense
from unpool.predictor.dense import show_dense
from unpool.predictor.files import picture_path, write_picture

CLASSES = ("one", "two", "three")


def photo(height=44, width=52, channels=1):
    return torch.randint(0, 256, (channels, height, width), generator=torch.Generator().manual_seed(1)).byte()


def write_run(path, *, size_hw=(32, 32), task="classification", options=(), seed=0, **preprocessing):
    torch.manual_seed(seed)
    path.mkdir(exist_ok=True)
    save_weights(path / "model.safetensors", models.build("lenet5", num_classes=3))
    network = {"name": "lenet5", "backbone": None, "num_classes": 3, "in_channels": 1, "options": {}}
    config = {
        "format": 1,
        "network": network,
        "task": {"name": task, "options": dict(options)},
        "preprocessing": Preprocessing(
            size_hw=size_hw, channels=1, mean=(0.5,), std=(0.25,), **preprocessing
        ).to_json(),
        "info": {"classes": list(CLASSES), "palette": [], "ignore": None, "keypoints": [], "flip_pairs": []},
        "custom": [],
    }
    (path / "config.json").write_text(json.dumps(config))
    return bind(path)


def test_run_slides_at_its_own_size_with_its_preprocessing_and_names(tmp_path):
    shown = show_dense(write_run(tmp_path), photo(), output_stride=2)
    torch.manual_seed(0)
    network = models.build("lenet5", num_classes=3).eval()
    crop = Preprocessing(channels=1, mean=(0.5,), std=(0.25,)).normalize(photo()[None, :, 4:36, 8:40])
    with torch.no_grad():
        torch.testing.assert_close(shown.scores.coarse[:, 1, 2], network(crop)[0], rtol=1e-4, atol=1e-5)
    assert shown.scores.coarse.shape == (3, 4, 6)
    assert shown.classes == CLASSES
    assert shown.notes == ()


@pytest.mark.parametrize(("loss", "by"), [("focal", "softmax"), ("binary_cross_entropy", "sigmoid")])
def test_heat_has_the_probabilities_of_the_answers(tmp_path, monkeypatch, loss, by):
    asked, draw = [], dense.draw
    monkeypatch.setattr(dense, "draw", lambda *a, **how: asked.append(how["activation"]) or draw(*a, **how))
    show_dense(write_run(tmp_path, options={"loss": loss}), photo(), output_stride=2)
    assert asked == [by]


def test_run_whose_inputs_are_padded_slides_without_padding(tmp_path):
    padded, plain = (write_run(tmp_path / str(multiple), multiple=multiple) for multiple in (32, 1))
    shown, expected = (show_dense(run, photo(), output_stride=2) for run in (padded, plain))
    assert torch.equal(shown.scores.coarse, expected.scores.coarse)


def test_mean_image_of_another_size_is_refused_with_what_to_do(tmp_path):
    run = write_run(tmp_path, normalization="location", mean_image=mean_image.pack(torch.zeros(1, 32, 32)))
    with pytest.raises(RecipeError, match=r"mean image of 32 x 32 .*: set --size 32 32 and a smaller --window"):
        show_dense(run, photo())
    shown = show_dense(run, photo(), size_hw=(32, 32), output_stride=4)
    assert shown.scores.coarse.shape == (3, 1, 1)


def test_class_is_the_likeliest_or_the_one_that_was_named(tmp_path):
    run = write_run(tmp_path)
    likely = show_dense(run, photo(), output_stride=2)
    assert likely.label == int(likely.scores.coarse.softmax(0).mean((1, 2)).argmax())
    assert show_dense(run, photo(), label="two", output_stride=2).label == 1
    assert show_dense(run, photo(), label="2", output_stride=2).label == 2
    with pytest.raises(RecipeError, match=r"no class 'four'; give an index below 3 or one of one, two, three"):
        show_dense(run, photo(), label="four", output_stride=2)


def test_lines_tell_what_is_equal_and_the_object_holds_the_figures(tmp_path):
    shown = show_dense(write_run(tmp_path), photo(), output_stride=2)
    text = shown.to_text()
    assert "24 windows of 32x32, 4 pixels apart" in text
    assert "same class at 24 of 24: nothing is padded" in text
    assert "stride 2, 7x11 scores" in text
    values = json.loads(json.dumps(shown.to_json(), allow_nan=False))
    assert (values["positions"], values["fine_positions"], values["output_stride"]) == ([4, 6], [7, 11], 2)
    assert values["class"] == CLASSES[shown.label]


def test_padded_network_says_why_crops_differ_and_what_is_equal():
    shown = show_dense("mnist_convnet", photo(), output_stride=2)
    text = shown.to_text()
    assert "each crop is padded by zeros of its own" in text
    assert "reads up to 9 pixels beyond its window" in text
    assert "head on windows of the maps of the whole image" in text


def test_random_weights_are_told():
    (note,) = show_dense("lenet5", photo(), output_stride=4).notes
    assert "the weights are random" in note


def test_weights_of_a_file_are_taken(tmp_path):
    torch.manual_seed(9)
    network = models.build("lenet5").eval()
    save_weights(tmp_path / "own.safetensors", network)
    shown = show_dense("lenet5", photo(), weights=tmp_path / "own.safetensors", output_stride=4)
    with torch.no_grad():
        wanted = network((photo()[None, :, :32, :32].float() / 255 - 0.5) / 0.5)[0]
    torch.testing.assert_close(shown.scores.coarse[:, 0, 0], wanted, rtol=1e-4, atol=1e-5)
    assert shown.notes == ()


def test_size_is_height_then_width_and_large_photographs_are_made_smaller(monkeypatch):
    shown = show_dense("lenet5", photo(), size_hw=(36, 60), output_stride=4)
    assert (shown.scores.size_hw, shown.notes[1:]) == ((36, 60), ())
    monkeypatch.setattr(dense, "LONGEST", 50)
    shown = show_dense("lenet5", photo(80, 100), output_stride=4)
    assert shown.scores.size_hw == (40, 50)
    assert "made smaller, from 100x80 to 50x40" in shown.notes[1]


def test_run_that_does_not_say_its_size_asks_for_it(tmp_path):
    run = write_run(tmp_path, size_hw=None)
    with pytest.raises(RecipeError, match="its input size is unknown: set --window H W"):
        show_dense(run, photo())
    assert show_dense(run, photo(), window_hw=(32, 32), output_stride=4).scores.window_hw == (32, 32)


def test_what_is_no_classifier_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="is no run of a classifier: only a classifier can slide"):
        show_dense(write_run(tmp_path, task="segmentation"), photo())
    with pytest.raises(RecipeError, match="unet is no classifier with one output"):
        show_dense("unet", photo())


def test_weights_that_do_not_belong_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="weights of a run are last or best, not 'imagenet'"):
        show_dense(write_run(tmp_path), photo(), weights="imagenet")
    with pytest.raises(RecipeError, match="weights 'best' belong to a run, and there is no run directory lenet5"):
        show_dense("lenet5", photo(), weights="best")


def test_weights_without_names_of_classes_do_not_slide(monkeypatch):
    monkeypatch.setattr(models, "build", lambda name, **options: nn.Identity())
    with pytest.raises(RecipeError, match="weights 'hed_vgg16' of vgg16 have no names of classes: choose others"):
        show_dense("vgg16", photo(channels=3), weights="hed_vgg16")


def test_missing_photograph_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.jpg"):
        show_dense("lenet5", tmp_path / "gone.jpg")


def test_picture_goes_to_a_file_or_a_folder_and_replaces_nothing(tmp_path):
    assert picture_path(tmp_path / "a.png", "x") == tmp_path / "a.png"
    path = picture_path(tmp_path / "new", "x")
    write_picture(photo(5, 7, channels=3), path)
    assert Image.open(tmp_path / "new" / "x.png").size == (7, 5)
    with pytest.raises(RecipeError, match=r"x\.png exists already"):
        picture_path(tmp_path / "new", "x")
