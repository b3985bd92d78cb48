"""Runs on deep images and on bands: what was found in training is kept, applied to new images, and said."""

import json

import cv2
import numpy as np
import pytest
import torch

import unpool
from unpool.assemble.data import read_data
from unpool.cli.main import main
from unpool.errors import RecipeError
from unpool.recipe import load_recipe

DOUBT = "values stay below 255.938, where white is 4095: if these files have fewer bits than the others, convert them"
SMALL = {
    "data.allow_duplicates": True,  # ramps, all alike
    "model.name": "mnist_convnet",
    "data.size": [28, 28],
    "data.augment": [{"flip": {}}, {"color_jitter": {"brightness": 0.1}}],
    "data.workers": 0,
    "train.epochs": 1,
    "train.warmup_epochs": 0,
    "train.batch": 4,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
}


def ramps(root, write, *, count=4):
    """Two classes, ramps from left to right and from top to bottom, 0 to 1; `write(path without suffix, ramp)`."""
    ramp = np.tile(np.linspace(0, 1, 28), (28, 1))
    for split in ("train", "val"):
        for label, values in (("across", ramp), ("down", ramp.T)):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                write(root / split / label / str(number), values)
    return root


def twelve_bits(path, ramp):
    cv2.imwrite(f"{path}.png", np.rint(ramp * 4095).astype(np.uint16))


def five_bands(path, ramp):
    np.save(f"{path}.npy", np.stack([ramp * 0.1 * (band + 1) for band in range(5)], axis=2).astype(np.float32))


@pytest.fixture(scope="module")
def deep_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep")
    ramps(folder / "set", twelve_bits)
    values = {"data.root": str(folder / "set"), "data.channels": 1, **SMALL}
    unpool.train("folder_resnet18", values, run=folder / "run")
    return folder


def test_range_of_the_training_images_is_kept_with_the_network(deep_run):
    preprocessing = json.loads((deep_run / "run" / "config.json").read_text())["preprocessing"]
    assert preprocessing["set_range"] == [0, 4095]
    assert "read as 0 to 4095" in (deep_run / "run" / "data.json").read_text()


def test_validation_is_read_by_the_range_of_training(tmp_path):
    ramps(tmp_path, twelve_bits, count=1)
    for label in ("across", "down"):
        cv2.imwrite(str(tmp_path / "val" / label / "0.png"), np.full((28, 28), 800, np.uint16))
    values = {"data.root": str(tmp_path), "data.channels": 1, **SMALL}
    data = read_data(load_recipe("folder_resnet18", values))
    assert data.val.samples[0]["image"].unique().tolist() == [round(800 / 4095 * 255)]


def test_predict_reads_by_the_range_of_training_and_says_so(deep_run, tmp_path):
    cv2.imwrite(str(tmp_path / "dark.png"), np.full((28, 28), 800, np.uint16))
    cv2.imwrite(str(tmp_path / "beyond.png"), np.full((28, 28), 5000, np.uint16))
    cv2.imwrite(str(tmp_path / "plain.png"), np.full((28, 28), 80, np.uint8))
    files = [tmp_path / f"{name}.png" for name in ("dark", "beyond", "plain")]
    unpool.predict(deep_run / "run", files, tmp_path / "out")
    dark, beyond, plain = json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"]
    assert dark["notes"] == ["16-bit values read as 0 to 4095, the range found in the set"]
    assert "it has values 5000 to 5000, cut off there" in beyond["notes"][0]
    assert "notes" not in plain
    view = cv2.imread(str(tmp_path / "out" / "dark_view.jpg"))
    assert abs(int(view[-1, -1, 0]) - round(800 / 4095 * 255)) <= 2


def test_predict_doubts_values_far_below_the_range_of_training_and_evaluate_says_the_same(deep_run, tmp_path, caplog):
    ramps(tmp_path, lambda path, ramp: cv2.imwrite(f"{path}.png", np.rint(ramp * 255).astype(np.uint16)), count=1)
    (record,) = unpool.predict(deep_run / "run", [tmp_path / "val" / "down" / "0.png"], tmp_path / "out")
    assert record["notes"] == ["16-bit values read as 0 to 4095, the range found in the set", DOUBT]
    unpool.evaluate(deep_run / "run", {"data.root": str(tmp_path)})
    assert f"{DOUBT}: 2 files" in caplog.text
    (plain,) = unpool.predict(
        deep_run / "run", [tmp_path / "val" / "down" / "0.png"], tmp_path / "other", black_white=(0, 4095)
    )
    assert plain["notes"] == ["16-bit values read as 0 to 4095, as data.range says"]


def test_evaluate_of_a_deeper_set_says_that_the_range_is_that_of_training(deep_run, tmp_path, caplog):
    ramps(tmp_path, lambda path, ramp: cv2.imwrite(f"{path}.png", np.rint(ramp * 64999).astype(np.uint16)), count=1)
    unpool.evaluate(deep_run / "run", {"data.root": str(tmp_path)})
    assert "read as 0 to 4095, the range of the training set, and the values here go to 64999; set" in caplog.text
    assert "smallest 2^n" not in caplog.text


def test_predict_takes_another_range_on_request(deep_run, tmp_path, capfd):
    cv2.imwrite(str(tmp_path / "x.png"), np.full((28, 28), 800, np.uint16))
    asked = ["predict", str(deep_run / "run"), str(tmp_path / "x.png"), "-o", str(tmp_path / "out")]
    assert main([*asked, "--range", "0", "1000"]) == 0
    assert "16-bit values read as 0 to 1000, as data.range says" in capfd.readouterr().err
    assert main([*asked, "--range", "9", "9"]) == RecipeError.exit_code


def test_network_of_8_bits_reads_deep_files_by_one_range_and_warns(tmp_path, caplog):
    ramps(tmp_path / "set", lambda path, ramp: cv2.imwrite(f"{path}.png", np.rint(ramp * 255).astype(np.uint8)))
    ramps(tmp_path / "deep", twelve_bits)
    values = {"data.root": str(tmp_path / "set"), "data.channels": 1, **SMALL}
    unpool.train("folder_resnet18", values, run=tmp_path / "run")
    cv2.imwrite(str(tmp_path / "dark.png"), np.full((28, 28), 200, np.uint16))
    deep = tmp_path / "deep" / "val" / "across" / "0.png"
    light, dark = unpool.predict(tmp_path / "run", [deep, tmp_path / "dark.png"], tmp_path / "out")
    assert light["notes"] == ["16-bit values read as 0 to 4095, the range found in the set"]
    assert dark["notes"] == [*light["notes"], DOUBT]
    assert "2 files do not say which of their values is white" in caplog.text
    plain, other = (unpool.evaluate(tmp_path / "run", {"data.root": str(tmp_path / n)}) for n in ("set", "deep"))
    assert plain["loss"] == pytest.approx(other["loss"], rel=1e-3)


def test_any_number_of_bands_trains_predicts_and_is_drawn(tmp_path):
    ramps(tmp_path / "set", five_bands)
    values = {"data.root": str(tmp_path / "set"), "data.channels": 5, "data.range": [0, 0.5], **SMALL}
    unpool.train("folder_resnet18", values, run=tmp_path / "run")
    preprocessing = json.loads((tmp_path / "run" / "config.json").read_text())["preprocessing"]
    bands = [np.rint(np.linspace(0, 1, 28) * 0.2 * (band + 1) * 255) / 255 for band in range(5)]
    assert preprocessing["mean"] == pytest.approx([band.mean() for band in bands], abs=2e-4)
    assert preprocessing["std"] == pytest.approx([band.std() for band in bands], abs=2e-4)
    assert load_recipe(tmp_path / "run" / "recipe.yaml").data.mean == tuple(preprocessing["mean"])
    predictor = unpool.load(tmp_path / "run")
    path = tmp_path / "set" / "val" / "across" / "0.npy"
    array = np.rint(np.load(path) / 0.5 * 255).astype(np.uint8)
    answers = predictor([path, array, torch.from_numpy(array).permute(2, 0, 1)])
    assert len({answer["score"] for answer in answers}) == 1
    with pytest.raises(ValueError, match=r"\(28, 28, 3\): expected one image, \(H, W, 5\)"):
        predictor(array[..., :3])
    assert unpool.predict(tmp_path / "run", [path], tmp_path / "out")[0]["view"] == "0_view.jpg"
    assert cv2.imread(str(tmp_path / "out" / "0_view.jpg")).shape[2] == 3


def test_steps_and_orders_of_rgb_are_refused_for_bands():
    for override, reason in (
        ('data.augment=[{"color_jitter": {"hue": 0.1}}]', "color_jitter with saturation or hue"),
        ("data.color_order=bgr", "order them by bands"),
        ("data.mean=[0.5, 0.5]", "std has 0 numbers and channels is 2"),
    ):
        with pytest.raises(RecipeError, match=reason):
            load_recipe("folder_resnet18", ["data.root=x", "data.channels=2", "data.augment=[]", override])
    with pytest.raises(RecipeError, match="denoising writes pictures: set it to 1 or 3"):
        unpool.tasks.build("denoising", unpool.types.DataInfo(), options={}, preprocessing=five_channels())


def five_channels():
    return unpool.ops.preprocessing.Preprocessing(channels=5, mean=5 * (0.5,), std=5 * (0.5,))
