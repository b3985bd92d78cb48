"""A pose through every verb: train, resume, evaluate, predict."""

import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import ExifTags, Image

from tests.data.readers.trees import lsp
from tests.small_figures import HOURGLASS, SMALL
from unpool import run
from unpool.data.figures import Figures
from unpool.ops.skeleton import LSP
from unpool.predictor import load


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_pose_is_trained_evaluated_and_predicted_at_the_size_of_the_file(tmp_path):
    made = run.train("figures_hourglass", HOURGLASS | {"train.epochs": 1, "task.flip_test": True}, run=tmp_path / "run")
    again = run.evaluate(tmp_path / "run")
    for name in ("pck@0.2", "pck_person@0.2", "pcp", "mean_error", "loss", "oks_ap"):
        assert again[name] == pytest.approx(made[name], rel=1e-4)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["network"]["num_classes"], config["network"]["in_channels"]) == (14, 3)
    assert len(config["info"]["limbs"]) == 13

    picture = Figures(side=50)[0]["image"].permute(1, 2, 0).numpy()
    Image.fromarray(picture).save(tmp_path / "person.png")
    (record,) = run.predict(tmp_path / "run", [tmp_path / "person.png"], tmp_path / "out")
    joints = torch.tensor(record["keypoints"])
    assert joints.shape == (14, 2)
    assert ((joints >= -0.5) & (joints <= 49.5)).all()
    assert record["joints"][-1] == "head_top"
    assert len(record["score"]) == 14
    assert (tmp_path / "out" / record["view"]).is_file()
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"] == [record]


def lie_down(path):
    """Writes into a JPEG that its picture is to be turned by 90 degrees; its pixels stay."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    tag, content = turned.tobytes(), path.read_bytes()
    path.write_bytes(content[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + content[2:])


def test_photograph_is_seen_upright_though_the_annotated_images_are_read_as_stored(tmp_path):
    root = lsp(tmp_path / "lsp")
    own = {key: value for key, value in HOURGLASS.items() if key not in ("data.count", "data.side")}
    made = run.train("lsp_hourglass", own | {"data.root": str(root), "train.epochs": 1}, run=tmp_path / "run")
    Image.effect_noise((40, 24), 90).convert("RGB").save(tmp_path / "phone.jpg")
    upright = Image.open(tmp_path / "phone.jpg").transpose(Image.Transpose.ROTATE_270)
    upright.save(tmp_path / "upright.png")
    lie_down(tmp_path / "phone.jpg")
    phone, held = run.predict(tmp_path / "run", [tmp_path / "phone.jpg", tmp_path / "upright.png"], tmp_path / "out")
    assert phone["keypoints"] == held["keypoints"]
    for path in (root / "images").iterdir():
        lie_down(path)
    again = run.evaluate(tmp_path / "run")
    for name in ("pck_person@0.2", "mean_error", "loss"):
        assert again[name] == pytest.approx(made[name], rel=1e-4)


def test_centre_map_and_background_reach_the_network_and_the_model_file(tmp_path):
    overrides = HOURGLASS | {"train.epochs": 1, "task.centre": 4.0, "task.background": True, "task.loss": "mse"}
    made = run.train("figures_hourglass", overrides, run=tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["network"]["num_classes"], config["network"]["in_channels"]) == (15, 4)
    again = run.evaluate(tmp_path / "run")
    for name in ("mean_error", "loss"):
        assert again[name] == pytest.approx(made[name], rel=1e-4)
    predictor, seen = load(tmp_path / "run"), []
    predictor.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    (answer,) = predictor(Figures(side=40)[0]["image"])
    assert len(answer["keypoints"]) == 14  # the background is no joint
    centre = seen[0][0, 3]
    assert centre[15:17, 15:17].min() == centre.max() == pytest.approx(math.exp(-0.5 / 32))
    assert centre[0, 0] == pytest.approx(math.exp(-2 * 15.5**2 / 32))


def test_resumed_pose_run_equals_one_that_never_stopped(tmp_path):
    steady = HOURGLASS | {"train.schedule": "constant"}
    two = run.train("figures_hourglass", steady | {"train.epochs": 2}, run=tmp_path / "a")
    run.train("figures_hourglass", steady | {"train.epochs": 1}, run=tmp_path / "b")
    resumed = run.resume(tmp_path / "b", {"train.epochs": 2})
    assert resumed["loss"] == two["loss"]
    assert resumed["mean_error"] == two["mean_error"]


def test_people_are_trained_evaluated_and_predicted(tmp_path):
    # with its weights as they were drawn the network sees people where nobody is, after an epoch it sees nobody
    small = SMALL | {"model.width": 4, "data.side": 96, "data.size": [96, 96], "train.lr": 1e-9}
    made = run.train("figures_openpose", small | {"train.epochs": 1}, run=tmp_path / "run")
    again = run.evaluate(tmp_path / "run")
    assert made["people_ratio"] > 0
    for name in ("people_ratio", "limbs", "limbs_precision", "oks_ap", "loss"):
        assert again[name] == pytest.approx(made[name], rel=1e-4), name
    picture = Figures(side=50, people=3)[0]["image"][:, :30].permute(1, 2, 0).numpy()
    Image.fromarray(picture).save(tmp_path / "people.png")
    (record,) = run.predict(tmp_path / "run", [tmp_path / "people.png"], tmp_path / "out")
    assert len(record["people"]) == len(record["score"]) > 0
    assert record["joints"] == list(LSP)
    assert all(len(person) == 14 for person in record["people"])
    places = torch.tensor([at for person in record["people"] for at in person if at is not None])
    assert ((places >= torch.tensor([-0.5, -10.5])) & (places <= torch.tensor([49.5, 39.5]))).all()  # on the square
    assert (tmp_path / "out" / record["view"]).is_file()


def test_run_tells_of_joints_that_a_mirror_does_not_exchange(tmp_path, caplog):
    train, val = (Figures(None, split, count=6, side=40) for split in ("train", "val"))
    for reader in (train, val):
        reader.info = replace(reader.info, flip_pairs=(), keypoints=tuple(f"joint {i}" for i in range(14)))
    own = HOURGLASS | {"train.epochs": 1, "task.flip_test": True}
    run.train("figures_hourglass", own, run=tmp_path / "run", train=train, val=val)
    assert "task.flip_test is set, but no joint trades places in a mirror" in caplog.text
