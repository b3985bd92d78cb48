import hashlib
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from tests.data.mask_files import rgb_png, with_late_exif
from unpool.errors import DataError, EnvironmentFault, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Predictor, write_predictions
from unpool.tasks import Classification, Segmentation
from unpool.types import DataInfo

INFO = DataInfo(classes=("dark", "bright"), palette=((10, 20, 30), (200, 0, 100)))


class Brightness(nn.Module):
    """Scores by the brightness of each pixel."""

    def forward(self, image):
        grey = image.mean(1, keepdim=True)
        return torch.cat((0.5 - grey, grey - 0.5), 1) * 10


class MeanBrightness(Brightness):
    def forward(self, image):
        return super().forward(image).mean((2, 3))


PLAIN = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture
def masks():
    return Predictor(Brightness(), PLAIN, INFO, Segmentation(INFO))


@pytest.fixture
def labels():
    return Predictor(MeanBrightness(), PLAIN, INFO, Classification(INFO))


def save(path, value, size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value,) * 3).save(path)
    return path


def test_mask_file_holds_class_indices_in_the_palette_of_the_data(masks, tmp_path):
    values = np.zeros((6, 8, 3), np.uint8)
    values[:, 4:] = 250
    Image.fromarray(values).save(tmp_path / "half.png")
    (record,) = write_predictions(masks, [tmp_path / "half.png"], tmp_path / "out")
    with Image.open(tmp_path / "out" / record["mask"]) as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.array(picture), (values[..., 0] > 0).astype(np.uint8))
        assert picture.getpalette()[:6] == [10, 20, 30, 200, 0, 100]
    with Image.open(tmp_path / "out" / record["view"]) as view:
        assert view.size == (8, 6)
    assert record["shares"] == {"dark": 0.5, "bright": 0.5}
    assert record["size_hw"] == [6, 8]


def test_share_of_a_class_that_an_image_lacks_is_zero_and_classes_keep_their_order(masks, tmp_path):
    records = write_predictions(masks, [save(tmp_path / f"{v}.png", v) for v in (250, 0)], tmp_path / "out", csv=True)
    assert [list(record["shares"].items()) for record in records] == [
        [("dark", 0.0), ("bright", 1.0)],
        [("dark", 1.0), ("bright", 0.0)],
    ]
    heads, *rows = (line.split(",") for line in (tmp_path / "out" / "predictions.csv").read_text().splitlines())
    at = heads.index("shares.dark")
    assert (heads[at + 1], [row[at : at + 2] for row in rows]) == ("shares.bright", [["0.0", "1.0"], ["1.0", "0.0"]])


def test_list_of_predictions_is_that_which_is_returned(labels, tmp_path):
    paths = [save(tmp_path / "a.png", 250), save(tmp_path / "b.png", 5)]
    records = write_predictions(labels, paths, tmp_path / "out")
    listed = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert listed["predictions"] == records
    assert listed["classes"] == ["dark", "bright"]
    assert [record["class"] for record in records] == ["bright", "dark"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_view.jpg", "b_view.jpg", "predictions.json"}


def test_equal_stems_never_overwrite_one_another(masks, tmp_path):
    paths = [
        save(tmp_path / "one" / "x.png", 0),
        save(tmp_path / "two" / "x.png", 250),
        save(tmp_path / "one" / "X.jpg", 0),
        save(tmp_path / "two" / "x-2.png", 250),
    ]
    records = write_predictions(masks, paths, tmp_path / "out")
    names = [record["mask"] for record in records]
    assert len({name.casefold() for name in names}) == 4
    for name, share in zip(names, ("dark", "bright", "dark", "bright"), strict=True):
        with Image.open(tmp_path / "out" / name) as picture:
            assert np.unique(np.array(picture)).tolist() == [INFO.classes.index(share)]


def test_a_file_that_is_there_is_never_replaced(masks, tmp_path):
    image = save(tmp_path / "x.png", 0)
    own = save(tmp_path / "x_mask.png", 77)
    before = own.read_bytes()
    with pytest.raises(RecipeError, match=r"x_mask\.png exists already"):
        write_predictions(masks, [image], tmp_path)
    assert own.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x_mask.png"]


def test_one_bad_image_is_recorded_and_the_others_answered(labels, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    paths = [save(tmp_path / "a.png", 250), tmp_path / "bad.png", save(tmp_path / "c.png", 5)]
    seen = []
    records = write_predictions(
        labels, paths, tmp_path / "out", progress=lambda done, total: seen.append((done, total))
    )
    assert [record.get("class") for record in records] == ["bright", None, "dark"]
    assert "empty" in records[1]["error"]
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_no_readable_image_is_an_error_that_lists_reasons(labels, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)no image can be answered.*bad\.png.*empty"):
        write_predictions(labels, [tmp_path / "bad.png"], tmp_path / "out")


def test_folder_stands_for_its_images_and_a_missing_path_is_named(labels, tmp_path):
    save(tmp_path / "in" / "b.png", 0)
    save(tmp_path / "in" / "deep" / "a.JPG", 0)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    records = write_predictions(labels, [tmp_path / "in"], tmp_path / "out")
    assert [record["view"] for record in records] == ["b_view.jpg", "a_view.jpg"]
    with pytest.raises(DataError, match=r"missing\.png: no such file"):
        write_predictions(labels, [tmp_path / "missing.png"], tmp_path / "out2")


def test_user_files_are_the_same_after(masks, tmp_path):
    paths = [save(tmp_path / "in" / f"{i}.jpg", 40 * i) for i in range(4)]
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    write_predictions(masks, paths, tmp_path / "out")
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == before


def test_view_of_a_large_image_is_thinned_out_and_its_mask_is_not(masks, tmp_path):
    path = save(tmp_path / "wide.png", 0, size=(5000, 3))
    (record,) = write_predictions(masks, [path], tmp_path / "out")
    with Image.open(tmp_path / "out" / record["view"]) as view, Image.open(tmp_path / "out" / record["mask"]) as mask:
        assert max(view.size) <= 2048
        assert mask.size == (5000, 3)


def test_names_that_are_long_or_no_text_are_written(labels, tmp_path):
    long = save(tmp_path / ("\u00e9" * 120 + ".png"), 0)
    odd = tmp_path / "odd\udcff.png"
    odd.write_bytes(long.read_bytes())
    records = write_predictions(labels, [long, odd], tmp_path / "out")
    text = (tmp_path / "out" / "predictions.json").read_text(encoding="utf-8")
    assert len(json.loads(text)["predictions"]) == 2
    assert records[1]["view"] == "odd\\xff_view.jpg"
    assert len(list((tmp_path / "out").iterdir())) == 3


class Picky(Brightness):
    """Fails on some images, by their brightness, as networks and machines do."""

    def forward(self, image):
        scores = super().forward(image)
        if image.mean() > 0.9:
            raise RuntimeError(f"Kernel size can't be greater than actual input size {tuple(image.shape)}")
        if image.mean() > 0.8:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 78 bytes")
        if image.mean() > 0.7:
            raise MemoryError
        if image.mean() > 0.6:
            return scores * float("nan")
        if image.mean() > 0.5:
            raise KeyboardInterrupt
        return scores


def test_each_image_that_fails_is_named_and_the_others_are_answered(tmp_path, caplog):
    values = {"a": 20, "size": 255, "host": 215, "python": 190, "nan": 165, "z": 30}
    paths = [save(tmp_path / f"{name}.png", value) for name, value in values.items()]
    predictor = Predictor(Picky(), PLAIN, INFO, Segmentation(INFO))
    records = write_predictions(predictor, paths, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"] == records
    assert [record.get("mask") for record in records] == ["a_mask.png", None, None, None, None, "z_mask.png"]
    reasons = {path.stem: record.get("error", "") for path, record in zip(paths, records, strict=True)}
    assert "Kernel size can't be greater than actual input size (1, 3, 6, 8)" in reasons["size"]
    assert "the network cannot answer an image of 8x6 pixels" in reasons["size"]
    for name in ("host", "python"):
        assert "the memory is not enough for an image of 8x6 pixels; make it smaller, or cut it" in reasons[name]
    assert "answers are not finite" in reasons["nan"]
    for name in ("size", "host", "python", "nan"):
        assert reasons[name].startswith(f"{tmp_path}/{name}.png: ")
        assert f"not answered: {reasons[name]}" in caplog.messages


HIDDEN = (
    "image with transparent pixels, of which the hidden colour is read and not what a viewer shows: set "
    "data.background=255 (white), another grey or [red, green, blue]"
)


@pytest.mark.parametrize("task", [Classification, Segmentation])
def test_every_task_tells_what_the_network_did_not_see_of_a_file(task, tmp_path):
    pixels = np.full((6, 8, 4), 250, np.uint8)
    cv2.imwrite(str(tmp_path / "alpha.png"), pixels)
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([pixels[..., :3]] * 4), photometric="rgb")
    (tmp_path / "other.jpg").write_bytes(rgb_png(pixels[..., :3]))
    (tmp_path / "turned.png").write_bytes(with_late_exif(rgb_png(pixels[..., :3]), 6))
    cv2.imwrite(str(tmp_path / "grey.png"), pixels[..., 0])
    cv2.imwrite(str(tmp_path / "plain.jpg"), pixels[..., :3])
    network = Brightness() if task is Segmentation else MeanBrightness()
    write_predictions(Predictor(network, PLAIN, INFO, task(INFO)), [tmp_path], tmp_path / "out")
    listed = json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"]
    assert {record["image"].split("/")[-1]: record.get("notes") for record in listed} == {
        "alpha.png": ["image with an alpha channel, which is dropped", HIDDEN],
        "grey.png": ["grey image, its one channel used for all 3"],
        "other.jpg": ["PNG data in a file named as JPEG, read as PNG"],
        "pages.tif": ["TIFF of 4 frames, only the first is used"],
        "plain.jpg": None,
        "turned.png": ["EXIF orientation applied"],
    }


def test_interrupted_prediction_lists_what_was_answered(tmp_path):
    paths = [save(tmp_path / "a.png", 20), save(tmp_path / "b.png", 140), save(tmp_path / "c.png", 20)]
    predictor = Predictor(Picky(), PLAIN, INFO, Segmentation(INFO))
    with pytest.raises(KeyboardInterrupt) as caught:
        write_predictions(predictor, paths, tmp_path / "out")
    (record,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"]
    assert record["mask"] == "a_mask.png"
    assert caught.value.__notes__ == [
        f"1 of 3 images were done; they are listed in {tmp_path / 'out' / 'predictions.json'}"
    ]


def test_link_that_leads_nowhere_below_a_folder_is_a_failed_record(labels, tmp_path, caplog):
    save(tmp_path / "in" / "a.png", 0)
    gone = tmp_path / "in" / "gone.png"
    gone.symlink_to(tmp_path / "nowhere.png")
    records = write_predictions(labels, [tmp_path / "in"], tmp_path / "out")
    assert [record.get("error") for record in records] == [None, f"{gone}: dangling symbolic link"]
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"] == records
    assert caplog.messages == [f"not answered: {gone}: dangling symbolic link"]


def test_one_bad_path_does_not_end_the_prediction_of_the_others(labels, tmp_path):
    good = [save(tmp_path / f"{i}.png", 40 * i) for i in range(2)]
    (tmp_path / "empty").mkdir()
    asked = [good[0], tmp_path / "missing.png", tmp_path / "empty", good[1]]
    records = write_predictions(labels, asked, tmp_path / "out")
    assert [record["image"] for record in records] == [str(path) for path in asked]
    assert [record.get("view") for record in records] == ["0_view.jpg", None, None, "1_view.jpg"]
    assert records[1]["error"] == f"{asked[1]}: no such file"
    assert records[2]["error"] == f"{asked[2]}: no image below it"


def test_bad_paths_alone_are_an_error_that_names_each(labels, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"missing\.png: no such file\n.*empty: no image below it"):
        write_predictions(labels, [tmp_path / "missing.png", tmp_path / "empty"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Padding(nn.Module):
    """Two scores of each pixel; the network pads its image to a multiple of its stride, which costs memory."""

    stride = 32
    largest = 0

    def forward(self, image):
        height, width = (-(-side // self.stride) * self.stride for side in image.shape[-2:])
        self.largest = max(self.largest, height * width)
        return torch.cat([image.mean(1, keepdim=True), 1 - image.mean(1, keepdim=True)], dim=1)


@pytest.mark.parametrize("size", [(100_000, 1), (1, 100_000)])
@pytest.mark.parametrize("size_hw", [None, (64, 64)])
def test_strip_is_answered_at_its_size_in_tiles_of_bounded_memory(size_hw, size, tmp_path):
    network = Padding()
    preprocessing = Preprocessing(size_hw=size_hw, mean=(0.0,) * 3, std=(1.0,) * 3)
    predictor = Predictor(network, preprocessing, INFO, Segmentation(INFO))
    (record,) = write_predictions(predictor, [save(tmp_path / "strip.png", 250, size)], tmp_path / "out")
    assert record["shares"] == {"dark": 1.0, "bright": 0.0}
    assert record["size_hw"] == [size[1], size[0]]
    assert network.largest <= predictor.limit
    with Image.open(tmp_path / "out" / "strip_mask.png") as mask:
        assert mask.size == size


def test_image_that_the_machine_cannot_open_ends_the_prediction(tmp_path, masks, monkeypatch):
    path = save(tmp_path / "a.png", 20)

    def refuse(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(EnvironmentFault, match=r"raise `ulimit -n`"):
        write_predictions(masks, [path], tmp_path / "out")


def test_images_of_which_none_can_be_answered_are_all_listed_in_a_file(tmp_path, masks, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    paths = [tmp_path / f"{i}.png" for i in range(12)]
    with pytest.raises(DataError, match="no image can be read") as missing:
        write_predictions(masks, paths, tmp_path / "out")
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no image can be answered") as empty:
        write_predictions(masks, paths, tmp_path / "out")
    for error, reason in ((missing, "no such file"), (empty, "file is empty")):
        listed = Path(str(error.value).rpartition(" are listed in ")[2]).read_text().splitlines()
        assert [line.startswith(f"{path}: {reason}") for path, line in zip(paths, listed, strict=True)] == [True] * 12
