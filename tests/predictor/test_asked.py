"""Folders and patterns become files; a line and a row for each answer."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.tasks.every_task import EVERY_TASK
from unpool.errors import DataError
from unpool.predictor.asked import free_folder, list_images, stems
from unpool.predictor.table import as_csv
from unpool.tasks import TASKS
from unpool.types import DataInfo

INFO = DataInfo(words=("a", "dog"), classes=("ant", "bee", "wasp", "fly"), keypoints=("nose", "tail"), limbs=((0, 1),))


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    for name in ("b/2.png", "b/1.png", "b/deep/3.jpg", "a/1.png", "c.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(path)
    (tmp_path / "b" / "notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "files"),
    [
        (["b"], ["b/1.png", "b/2.png", "b/deep/3.jpg"]),
        (["b/*"], ["b/1.png", "b/2.png", "b/deep/3.jpg"]),
        (["*/1.png"], ["a/1.png", "b/1.png"]),
        (["**/*.jpg"], ["b/deep/3.jpg"]),
        (["c.png", "[ab]/1.png"], ["c.png", "a/1.png", "b/1.png"]),
        (["b/2.png", "b/2.png"], ["b/2.png", "b/2.png"]),
        (["b/**"], ["b/1.png", "b/2.png", "b/deep/3.jpg"]),
        (["b", "./b/deep", "b/../b/1.png"], ["b/1.png", "b/2.png", "b/deep/3.jpg"]),
        (["b/2.png", "b/*.png", "b/2.png"], ["b/2.png", "b/1.png", "b/2.png"]),
    ],
)
def test_folders_and_patterns_are_replaced_by_the_images_in_order(tree, asked, files):
    images, problems = list_images(asked)
    assert [path.as_posix() for path in images] == files
    assert problems == {}


def test_name_with_signs_of_a_pattern_is_a_file_where_it_exists(tree):
    for name in ("[ab].png", "a.png"):
        Image.new("RGB", (4, 3)).save(name)
    assert list_images(["[ab].png"])[0] == [Path("[ab].png")]


def test_pattern_without_a_match_is_named(tree):
    images, problems = list_images(["c.png", "x*.png"])
    assert (images, problems) == ([Path("c.png"), Path("x*.png")], {Path("x*.png"): "no such file"})
    with pytest.raises(DataError, match=r"x\*\.png: no such file"):
        list_images(["x*.png"])


@pytest.mark.parametrize("asked", ["b", "b/**", "b/*"])
def test_what_predict_wrote_is_left_out_of_folders_and_patterns_and_said(tree, caplog, asked):
    Image.new("RGB", (4, 3)).save("b/1_view.jpg")
    Image.new("RGB", (4, 3)).save("b/1_mask.png")
    (tree / "b" / "deep" / "empty").mkdir()
    record = {"image": "b/1.png", "class": "1.png", "mask": "1_mask.png", "view": "1_view.jpg"}
    Path("b/predictions.json").write_text(json.dumps({"format": 1, "predictions": [record, {"error": "x"}]}))
    images, problems = list_images([asked, "b/1_mask.png"])
    assert ([path.as_posix() for path in images], problems) == (
        ["b/1.png", "b/2.png", "b/deep/3.jpg", "b/1_mask.png"],
        {},
    )
    assert caplog.messages == ["2 images are left out, which predict wrote into b"]
    with pytest.raises(DataError, match="no image below it but those that predict wrote; name one itself"):
        list_images(["b/*_view.jpg"])


@pytest.mark.parametrize("text", ["", "[]", '{"predictions": 3}', '{"predictions": [3, {"view": 3}]}', "[" * 10_000])
def test_list_of_another_program_leaves_nothing_out(tree, text):
    Path("b/predictions.json").write_text(text)
    assert len(list_images(["b"])[0]) == 3


def test_equal_names_in_different_folders_get_numbers():
    assert stems([Path("a/x.jpg"), Path("b/X.png"), Path("x-2.jpg")]) == ["x", "X-2", "x-2-2"]


def test_folder_that_exists_is_never_chosen(tmp_path):
    assert free_folder(tmp_path / "out") == tmp_path / "out"
    (tmp_path / "out").mkdir()
    (tmp_path / "out-2").mkdir()
    assert free_folder(tmp_path / "out") == tmp_path / "out-3"


@pytest.mark.parametrize("name", TASKS)
def test_answer_in_a_few_words(name):
    row = EVERY_TASK[name]
    assert TASKS[name](INFO).brief(row.written) == row.brief


def test_table_has_a_row_for_each_image_with_numbers_and_texts_but_no_lists():
    records = [
        {"image": "a, b.jpg", "size_hw": [2, 3], "shares": {"road": 0.5}, "top": [1, 2], "notes": ["x", "y"]},
        {"image": "c.jpg", "error": "c.jpg: file is empty"},
    ]
    rows = list(csv.DictReader(io.StringIO(as_csv(records, ["road 50%", ""]))))
    assert [row["image"] for row in rows] == ["a, b.jpg", "c.jpg"]
    assert {key: rows[0][key] for key in ("width", "height", "answer", "shares.road", "notes")} == {
        "width": "3",
        "height": "2",
        "answer": "road 50%",
        "shares.road": "0.5",
        "notes": "x; y",
    }
    assert rows[1]["error"] == "c.jpg: file is empty"
    assert "top" not in rows[0]


def test_table_has_place_and_score_of_every_joint():
    record = {"image": "a.jpg", "joints": ["nose", "tail"], "keypoints": [[1.5, 2.0], [3.0, 4.0]], "score": [0.5, 0.75]}
    (row,) = csv.DictReader(io.StringIO(as_csv([record], ["2 joints 0.62"])))
    assert [row[f"{name}.{what}"] for name in ("nose", "tail") for what in ("x", "y", "score")] == [
        *("1.5", "2.0", "0.5"),
        *("3.0", "4.0", "0.75"),
    ]


def test_predictor_prints_what_it_is():
    from unpool.ops.preprocessing import Preprocessing
    from unpool.predictor import Predictor

    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 4, 1)
    predictor = Predictor(network, Preprocessing(size_hw=(32, 48)), INFO, TASKS["classification"](INFO), name="small")
    assert str(predictor).splitlines() == [
        "predictor  Classification, probabilities by softmax, on cpu",
        "network    small, 16 parameters",
        "classes    4: ant, bee, wasp, fly",
        "sees       images of 32x48, stretch, 3 channels",
    ]
