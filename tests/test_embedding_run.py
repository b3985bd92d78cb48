"""Embeddings as runs: trained, resumed, measured, and used to enroll, identify and verify people."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import unpool
from tests.data.readers.trees import person_folders
from unpool import run
from unpool.cli.main import main
from unpool.errors import DataError, ModelFileError, RecipeError, Stopped
from unpool.predictor import people
from unpool.training.callbacks import Callback

SMALL = {
    "data.size": [24, 20],
    "data.repeat": 2,
    "data.strangers": 0.6,
    "data.augment": [],
    "data.order": {"p_times_k": {"per_class": 4}},
    "data.workers": 0,
    "model.width": 3,
    "task.dim": 8,
    "train.epochs": 2,
    "train.batch": 8,
    "train.warmup_epochs": 0,
    "train.evaluate_every": 1,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
}


class StopAt(Callback):
    def after_step(self, job, record):
        if record.step == 3:
            job.stop.number = 15


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("faces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        person_folders(place / "people")
        train(place, "run")
        unpool.enroll(place / "run", place / "people", place / "gallery")
        yield place


def train(place, name, **options):
    settings = {**SMALL, "data.root": str(place / "people")}
    return run.train("orl_siamese", settings, run=place / name, **options)


def digest(path):
    return hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()


def test_run_that_stopped_and_went_on_ends_with_the_bits_of_one_that_did_not(folder):
    with pytest.raises(Stopped):
        train(folder, "stopped", callbacks=[StopAt()])
    run.resume(folder / "stopped")
    assert digest(folder / "stopped") == digest(folder / "run")
    assert float(load_file(folder / "run" / "model.safetensors")["task/threshold"]) > 0


def test_evaluate_gives_what_train_left_and_images_of_the_gallery_are_no_copies(folder):
    left, measured = json.loads((folder / "run" / "metrics.json").read_text()), run.evaluate(folder / "run")
    for name in ("rank1", "pair_auc", "strangers_auc", "pair_threshold"):
        assert measured[name] == pytest.approx(left[name], abs=1e-6), name
    assert left["pair_auc"] is not None
    assert measured["search_counts"] == {"images": 4, "people": 2, "strangers": 4}
    assert json.loads((folder / "run" / "data.json").read_text())["copies"]["across"] == []


def test_weights_carry_the_threshold_to_sets_that_choose_none(folder):
    strangers_apart = run.evaluate(folder / "run", {"data.strangers": 0.0})
    left = json.loads((folder / "run" / "metrics.json").read_text())
    assert strangers_apart["pair_threshold"] == pytest.approx(left["pair_threshold"], abs=1e-6)


def test_enrolled_photograph_is_its_person_at_no_distance_and_others_are_unknown_above_the_threshold(folder, tmp_path):
    photo = folder / "people" / "s1" / "3.png"
    (answer,) = unpool.identify(folder / "run", folder / "gallery", [photo], out=tmp_path, people=folder / "people")
    assert (answer["person"], answer["matches"][0]["file"]) == ("s1", "s1/3.png")
    assert answer["distance"] == pytest.approx(0, abs=1e-3)
    assert [match["distance"] for match in answer["matches"]] == sorted(m["distance"] for m in answer["matches"])
    assert len({match["person"] for match in answer["matches"]}) == 5
    assert (tmp_path / "3_view.jpg").stat().st_size > 0
    other = tmp_path / "other.png"
    shutil.copy(folder / "people" / "s1" / "3.png", other)
    unpool.identify(folder / "run", folder / "gallery", [other])
    few = tmp_path / "few"
    for person in ("s2", "s3"):
        shutil.copytree(folder / "people" / person, few / person)
    unpool.enroll(folder / "run", few, tmp_path / "few_gallery")
    (answer,) = unpool.identify(folder / "run", tmp_path / "few_gallery", [other], threshold=0.0)
    assert answer["person"] == "unknown"


def test_two_photographs_are_one_person_up_to_the_threshold(folder, tmp_path):
    photos = [folder / "people" / person / "1.png" for person in ("s0", "s1")]
    distance = unpool.verify(folder / "run", *photos)["distance"]
    assert unpool.verify(folder / "run", *photos, threshold=distance)["same"]
    assert not unpool.verify(folder / "run", *photos, threshold=distance - 1e-3)["same"]
    assert unpool.verify(folder / "run", photos[0], photos[0], out=tmp_path / "x.jpg")["distance"] == 0
    with pytest.raises(RecipeError, match=r"expected a name that ends in \.jpg"):
        unpool.verify(folder / "run", *photos, out=tmp_path / "x.gif")


def test_gallery_of_other_weights_is_refused(folder, tmp_path):
    other = tmp_path / "run"
    settings = {**SMALL, "data.root": str(folder / "people"), "train.seed": 1, "train.epochs": 1}
    run.train("orl_siamese", settings, run=other)
    with pytest.raises(ModelFileError, match="was enrolled by another network, or by other weights of this one"):
        unpool.identify(other, folder / "gallery", [folder / "people" / "s0" / "1.png"])


@pytest.mark.parametrize("damage", ["vectors", "names", "number", "threshold"])
def test_damaged_gallery_is_refused(damage, folder, tmp_path):
    gallery = tmp_path / "gallery"
    shutil.copytree(folder / "gallery", gallery)
    names = json.loads((gallery / "gallery.json").read_text())
    if damage == "vectors":
        save_file({"embedding": torch.eye(8)[:3].contiguous()}, gallery / "gallery.safetensors")
    elif damage == "names":
        (gallery / "gallery.json").write_text("{")
    elif damage == "threshold":
        (gallery / "gallery.json").write_text(json.dumps({**names, "threshold": float("nan")}))
    else:
        (gallery / "gallery.json").write_text(json.dumps({**names, "people": names["people"][:-1]}))
    with pytest.raises(ModelFileError, match="enroll"):
        unpool.identify(folder / "run", gallery, [folder / "people" / "s0" / "1.png"])


def test_network_that_answers_with_zeros_is_refused(folder, tmp_path):
    run_of_zeros = tmp_path / "run"
    shutil.copytree(folder / "run", run_of_zeros)
    photo = folder / "people" / "s0" / "1.png"
    asked = people._Asked(run_of_zeros, "last")
    for weight in asked.predictor.model.parameters():
        weight.data.zero_()
    with pytest.raises(ModelFileError, match="are all 0, which is near nobody"):
        asked.vector(photo)


def test_person_called_unknown_is_refused_and_one_person_is_enough_to_enroll(folder, tmp_path, caplog):
    shutil.copytree(folder / "people" / "s2", tmp_path / "people" / "s2")
    shutil.copy(folder / "people" / "s2" / "1.png", tmp_path / "people" / "stray.png")
    assert unpool.enroll(folder / "run", tmp_path / "people", tmp_path / "one")["people"] == 1
    assert "1 images lie outside of the folders of people, such as stray.png: left out" in caplog.text
    (tmp_path / "people" / "s2").rename(tmp_path / "people" / "unknown")
    with pytest.raises(DataError, match="a person is called unknown"):
        unpool.enroll(folder / "run", tmp_path / "people", tmp_path / "gallery")


def test_evaluation_on_images_that_were_learned_from_is_said(folder, caplog):
    run.evaluate(folder / "run", {"data.train_images": 3})
    assert "was trained on 4 of the 30 images that are measured, such as" in caplog.text


def test_image_that_cannot_be_read_is_named_and_nothing_is_enrolled(folder, tmp_path):
    people = tmp_path / "people"
    shutil.copytree(folder / "people", people)
    (people / "s2" / "4.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 42 images cannot be enrolled:\n.*s2/4\.png"):
        unpool.enroll(folder / "run", people, tmp_path / "gallery")
    assert not (tmp_path / "gallery").exists()
    with pytest.raises(RecipeError, match="exists already and is not replaced"):
        unpool.enroll(folder / "run", folder / "people", folder / "gallery")


def test_without_a_threshold_nobody_is_called_known(folder, tmp_path):
    settings = {**SMALL, "data.root": str(folder / "people"), "data.strangers": 0.0, "train.epochs": 1}
    run.train("orl_siamese", settings, run=tmp_path / "run")
    photo = folder / "people" / "s0" / "1.png"
    with pytest.raises(RecipeError, match="no threshold was chosen in training"):
        unpool.verify(tmp_path / "run", photo, photo)
    with pytest.raises(RecipeError, match="the threshold is 3; expected a distance from 0 to 2"):
        unpool.verify(tmp_path / "run", photo, photo, threshold=3)


def test_command_line_prints_who_it_is(folder, tmp_path, capsys):
    photo = str(folder / "people" / "s4" / "2.png")
    assert main(["enroll", str(folder / "run"), str(folder / "people"), "-o", str(tmp_path / "g"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["people"] == 6
    assert main(["identify", str(folder / "run"), str(tmp_path / "g"), photo]) == 0
    assert capsys.readouterr().out.startswith(f"{photo}  s4  (threshold ")
    assert main(["verify", str(folder / "run"), photo, photo]) == 0
    assert capsys.readouterr().out.startswith("one person  distance 0.000, threshold ")
