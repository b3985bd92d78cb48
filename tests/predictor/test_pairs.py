"""Questions about pairs: files named in turn, tuples in Python, and what is no pair."""

import json

import pytest
import torch
from PIL import Image

from unpool import models, tasks
from unpool.data.dense_files import read_pfm
from unpool.data.pair_scenes import StereoScenes
from unpool.errors import DataError, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.files import write_predictions
from unpool.predictor.predictor import Predictor
from unpool.types import DataInfo

PAIR = Preprocessing(channels=6, mean=6 * (0.5,), std=6 * (0.25,))


@pytest.fixture
def predictor():
    torch.manual_seed(0)
    network = models.build("mc_cnn_fast", width=8, in_channels=6, num_classes=8)
    task = tasks.build("stereo", DataInfo(), options={"disparities": 8}, preprocessing=PAIR)
    return Predictor(network, PAIR, DataInfo(), task)


@pytest.fixture
def files(tmp_path):
    """Two pairs of 40x32 pixels on disk, and their stacked images."""
    images = [StereoScenes(None, "val", side=40, most=6.0)[i]["image"][:, :32] for i in range(2)]
    paths = []
    for number, image in enumerate(images):
        for side, part in zip(("left", "right"), image.chunk(2), strict=True):
            paths.append(tmp_path / f"{side}{number}.png")
            Image.fromarray(part.permute(1, 2, 0).contiguous().numpy()).save(paths[-1])
    return paths, images


def test_files_named_in_turn_are_pairs(predictor, files, tmp_path):
    paths, images = files
    records = write_predictions(predictor, paths, tmp_path / "out")
    assert [(r["image"], r["second"]) for r in records] == [
        (str(a), str(b)) for a, b in zip(*[iter(paths)] * 2, strict=True)
    ]
    for record, image in zip(records, images, strict=True):
        expected = predictor.predict(image)["disparity"]
        assert read_pfm(tmp_path / "out" / record["disparity"]).equal(expected)
        assert Image.open(tmp_path / "out" / record["view"]).size == (80, 32)
    listed = json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"]
    assert listed[1]["second"] == str(paths[3])
    assert 0 <= listed[1]["checked_share"] <= 1


def test_order_of_a_pair_matters(predictor, files):
    _, images = files
    left, right = images[0].chunk(2)
    assert not predictor.predict(torch.cat([right, left]))["disparity"].equal(predictor.predict(images[0])["disparity"])


def test_pair_or_pairs_in_python_are_answered_alike(predictor, files):
    paths, images = files
    expected = predictor.predict(images[0])["disparity"]
    tensors = tuple(images[0].chunk(2))
    for asked in ((paths[0], paths[1]), [(paths[0], paths[1])], tensors, [tensors, (str(paths[2]), str(paths[3]))]):
        assert predictor(asked)[0]["disparity"].equal(expected)
    answers = predictor([tensors])
    assert "<figure" in answers._repr_html_()
    for wrong in (paths[0], [paths[0]], paths, [tensors, paths[0]], [paths[:3]]):
        with pytest.raises(ValueError, match="answers about 2 images at a time"):
            predictor(wrong)


def test_what_is_no_pair_of_files_is_refused(predictor, files, tmp_path):
    paths, _ = files
    for asked, says in (
        (paths[:3], "answers about 2 images at a time, and 3 are named"),
        ([tmp_path, paths[0]], "is a folder, and Stereo answers about pairs"),
        ([tmp_path / "*.png", paths[0]], "is a pattern, and Stereo answers about pairs"),
    ):
        with pytest.raises(RecipeError, match=says):
            write_predictions(predictor, asked, tmp_path / "out")


def test_pair_of_two_sizes_or_without_a_file_is_named_and_the_other_answered(predictor, files, tmp_path):
    paths, _ = files
    Image.new("RGB", (40, 30)).save(tmp_path / "small.png")
    records = write_predictions(
        predictor, [paths[0], tmp_path / "small.png", paths[0], tmp_path / "none.png", *paths[:2]], tmp_path / "out"
    )
    assert "images of 40x32 and 40x30 pixels are asked about as a pair" in records[0]["error"]
    assert "no such file" in records[1]["error"]
    assert "disparity" in records[2]
    with pytest.raises(DataError, match="no image can be answered"):
        write_predictions(predictor, [paths[0], tmp_path / "small.png"], tmp_path / "other")
