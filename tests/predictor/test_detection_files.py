"""What `predict` writes of a detector's answers."""

import json
import logging

import pytest
import torch
from PIL import Image

from tests.tasks.tiny_detectors import detector
from unpool.errors import ModelFileError, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.files import write_predictions
from unpool.predictor.loading import load_published
from unpool.predictor.predictor import Predictor
from unpool.tasks.detection import Detection
from unpool.types import DataInfo

INFO = DataInfo(classes=("red", "green", "blue"), class_ids=(3, 1, 90))


@pytest.fixture
def predictor():
    return Predictor(detector("focal"), Preprocessing(size_hw=(64, 64)), INFO, Detection(INFO))


def photographs(folder):
    folder.mkdir()
    for number in (4, 7):
        pixels = torch.randint(0, 255, (64, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        Image.fromarray(pixels.numpy()).save(folder / f"{number:012d}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_predictions_are_results_of_coco_and_images_say_which_is_which(predictor, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    records = write_predictions(predictor, [photographs(tmp_path / "in")], tmp_path / "out")
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert set(results[0]) == {"image_id", "category_id", "bbox", "score"}
    assert {one["category_id"] for one in results} <= {3, 1, 90}
    images = json.loads((tmp_path / "out" / "images.json").read_text())
    assert images["classes"] == list(INFO.classes)
    assert [one["image_id"] for one in images["predictions"]] == [1, 2, 3]  # one name is no number
    said = [message for message in caplog.messages if "image_id of each image is" in message]
    assert len(said) == 1
    assert "its position among the images, from 1" in said[0]
    assert "error" in images["predictions"][2]
    first = [one for one in results if one["image_id"] == 1]
    (left, top, right, bottom), *_ = records[0]["boxes"]
    assert first[0]["bbox"] == [left, top, right - left, bottom - top]
    assert len(first) == len(records[0]["boxes"]) > 0


def test_second_stage_that_is_not_finite_is_an_error_and_not_nothing():
    network = detector("two")
    predictor = Predictor(network, Preprocessing(size_hw=(64, 64)), INFO, Detection(INFO))
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    assert predictor.predict(image)["boxes"]
    network.last.bias.data[0] = torch.nan
    with pytest.raises(ModelFileError, match="not finite"):
        predictor.predict(image)
    assert "classify" not in vars(network)


def test_pictures_that_predict_wrote_are_not_predicted_on_again(predictor, tmp_path):
    folder = photographs(tmp_path / "in")
    write_predictions(predictor, [folder], folder)
    again = write_predictions(predictor, [folder], tmp_path / "out")
    assert len(again) == 3


def test_list_of_images_is_not_replaced(predictor, tmp_path):
    (tmp_path / "images.json").write_text("mine")
    with pytest.raises(RecipeError, match=r"images\.json exists already"):
        write_predictions(predictor, [photographs(tmp_path / "in")], tmp_path)


@pytest.mark.parametrize(
    ("name", "sides", "first"),
    [
        ("retinanet_resnet50_fpn", {"shorter": 800, "longest": 1333, "size_hw": None}, 0),
        ("ssd300_vgg16", {"shorter": None, "size_hw": (300, 300), "rule": "stretch"}, 1),
    ],
)
def test_published_detector_sees_all_of_an_image_and_answers_with_the_numbers_of_coco(name, sides, first, monkeypatch):
    monkeypatch.setattr("unpool.models.build", lambda *given, **more: detector("focal"))
    predictor = load_published(name, "coco")
    assert {key: getattr(predictor.preprocessing, key) for key in sides} == sides
    box = {"boxes": [[0.0, 0.0, 4.0, 4.0]], "labels": [1 - first], "score": [0.5]}  # of a person, COCO's 1
    (one,) = predictor.task.results([{"image": "a.jpg", **box}]).content
    assert one["category_id"] == 1
    assert predictor.info.classes[1 - first] == "person"
