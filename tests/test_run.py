"""The verbs together, on tiny sets: what train leaves is what evaluate, predict and resume take up."""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import ExifTags, Image
from safetensors.torch import load_file

from tests.tiny_trees import write_tree
from unpool import measuring, models, run
from unpool.assemble.data import make_reader
from unpool.errors import DataError, ModelFileError, RecipeError, Stopped
from unpool.models.weights import save_weights
from unpool.recipe import load_recipe
from unpool.report_pictures import Examples
from unpool.training.callbacks import Callback
from unpool.types import Fault, Reader, Sample

SMALL = {
    "train.epochs": 2,
    "train.batch": 2,
    "train.eval_batch": 2,
    "train.warmup_epochs": 0,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "data.workers": 0,
    "data.train_size": [32, 32],
    **{"model.name": "unet_same_bn", "model.backbone": None, "model.width": 4, "model.depth": 2},
}
AVERAGED = {"train.ema": 0.9}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def camvid(tmp_path):
    return write_tree("camvid", tmp_path / "camvid")


def settings(root, **more):
    return {**SMALL, "data.root": str(root), **more}


def tensors_of(path):
    return hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()


def digest(root):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in root.rglob("*") if path.is_file()}


class Finished(NamedTuple):
    """A run with averaged weights that has ended, its set, that set's bytes before, and the metrics it gave."""

    run: Path
    camvid: Path
    before: dict[Path, bytes]
    metrics: dict[str, Any]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    root = write_tree("camvid", folder / "camvid")
    before = digest(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return Finished(
            folder / "run", root, before, run.train("camvid_unet", settings(root, **AVERAGED), run=folder / "run")
        )


@pytest.fixture
def finished(trained_once, tmp_path):
    """The finished run as a copy of the test's own, with the times of its files."""
    return trained_once._replace(run=Path(shutil.copytree(trained_once.run, tmp_path / "run")))


class StopAfter(Callback):
    """Asks to stop after so many steps, as a signal would."""

    def __init__(self, steps, number=15):
        self.steps, self.number = steps, number

    def after_step(self, job, record):
        if record.step == self.steps:
            job.stop.number = self.number


def test_evaluate_gives_what_train_left(finished):
    trained, measured = finished.metrics, run.evaluate(finished.run)
    for name in ("mean_iou", "pixel_accuracy", "class_accuracy", "loss"):
        assert measured[name] == pytest.approx(trained[name], abs=1e-6), name
    assert measured["iou"] == pytest.approx(trained["iou"], abs=1e-6)
    assert measured["images"] == 3


def test_metrics_of_an_evaluation_are_json_where_the_loss_is_not_finite(finished, monkeypatch):
    measure = measuring.measure
    monkeypatch.setattr(
        measuring, "measure", lambda *parts, **options: {**measure(*parts, **options), "loss": float("inf")}
    )
    metrics = run.evaluate(finished.run)
    assert metrics["loss"] is None
    json.dumps(metrics, allow_nan=False)


def test_metrics_are_flat_json_under_plain_names(finished):
    metrics = json.loads((finished.run / "metrics.json").read_text())
    assert {"mean_iou", "pixel_accuracy", "class_accuracy", "iou", "loss", "images"} <= metrics.keys()
    assert set(metrics["iou"]) > {"Sky", "Road"}


@pytest.mark.parametrize("steps", [3, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (1, 4))])
def test_resumed_run_has_the_bits_of_one_that_never_stopped(finished, tmp_path, steps):
    with pytest.raises(Stopped):
        run.train(
            "camvid_unet", settings(finished.camvid, **AVERAGED), run=tmp_path / "cut", callbacks=[StopAfter(steps)]
        )
    run.resume(tmp_path / "cut")
    assert tensors_of(tmp_path / "cut") == tensors_of(finished.run)


def test_resumed_run_goes_on_from_the_step_that_was_saved(camvid, tmp_path):
    with pytest.raises(Stopped):
        run.train("camvid_unet", settings(camvid), run=tmp_path / "cut", callbacks=[StopAfter(3)])
    before = (tmp_path / "cut" / "log.jsonl").read_text().splitlines()
    run.resume(tmp_path / "cut")
    after = (tmp_path / "cut" / "log.jsonl").read_text().splitlines()
    assert after[: len(before)] == before  # with the times that the steps took
    assert len(after) > len(before)


def test_run_starts_from_the_weights_it_was_given_and_asks_for_them_once(camvid, tmp_path):
    known = load_recipe("camvid_unet", settings(camvid)).model
    torch.manual_seed(7)
    network = models.build(known.name, in_channels=3, num_classes=5, **known.options)
    path = save_weights(tmp_path / "start.safetensors", network)
    start = {"model.weights": str(path), "model.new_head": True}
    chosen = settings(camvid, **start, **{"train.lr": 1e-9})
    run.train("camvid_unet", chosen, run=tmp_path / "whole")
    with pytest.raises(Stopped):
        run.train("camvid_unet", chosen, run=tmp_path / "cut", callbacks=[StopAfter(1)])
    path.unlink()
    run.resume(tmp_path / "cut")
    assert tensors_of(tmp_path / "cut") == tensors_of(tmp_path / "whole")
    left = load_file(tmp_path / "whole" / "model.safetensors")
    first, given = next(iter(network.state_dict().items()))
    assert torch.allclose(left[first], given, atol=1e-5)
    assert load_recipe(tmp_path / "whole" / "recipe.yaml").model.weights == str(path)
    run.evaluate(tmp_path / "whole")


def test_same_seed_gives_the_same_bits_and_another_seed_others(finished, tmp_path):
    for name, seed in (("again", 0), ("other", 1)):
        chosen = settings(finished.camvid, **AVERAGED, **{"train.seed": seed})
        run.train("camvid_unet", chosen, run=tmp_path / name)
    assert tensors_of(tmp_path / "again") == tensors_of(finished.run)
    assert tensors_of(tmp_path / "other") != tensors_of(finished.run)


def test_finished_run_is_left_alone_by_resume(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.run.rglob("*") if path.is_file()}
    assert run.resume(finished.run)["already_complete"]
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_more_epochs_go_on_from_the_finished_run(finished):
    metrics = run.resume(finished.run, {"train.epochs": 3})
    assert [line["epoch"] for line in metrics["history"]][-1] == 3


def test_training_changes_no_file_of_the_user(finished, tmp_path):
    run.evaluate(finished.run)
    run.predict(finished.run, [finished.camvid / "CamVid" / "val"], tmp_path / "out")
    assert digest(finished.camvid) == finished.before


def test_existing_run_is_refused_with_the_command_that_resumes(finished):
    with pytest.raises(RecipeError, match=r"exists already.*unpool train --resume"):
        run.train("camvid_unet", settings(finished.camvid, **AVERAGED), run=finished.run)


def test_run_that_never_began_leaves_no_folder(camvid, tmp_path):
    (camvid / "CamVid" / "train" / "0.jpg").write_bytes(b"")
    (camvid / "CamVid" / "train" / "1.jpg").unlink()
    Image.new("L", (3, 3)).save(camvid / "CamVid" / "trainannot" / "2.png")
    with pytest.raises(DataError):
        run.train("camvid_unet", settings(camvid), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_evaluation_of_another_folder_matches_classes_by_name(tmp_path):
    ours = write_tree("folder", tmp_path / "ours")
    overrides = settings(ours, **{"data.size": [32, 32], "data.train_size": None, "model.name": "lenet5"})
    del overrides["model.width"], overrides["model.depth"]
    run.train("folder_resnet18", overrides, run=tmp_path / "run")
    theirs = tmp_path / "theirs" / "val"
    for name in ("bee", "cat"):
        (theirs / name).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(theirs / name / "x.jpg")
    with pytest.raises(DataError, match="unknown class"):
        run.evaluate(tmp_path / "run", {"data.root": str(theirs.parent)})
    (theirs / "cat" / "x.jpg").unlink()
    (theirs / "cat").rmdir()
    assert run.evaluate(tmp_path / "run", {"data.root": str(theirs.parent)})["images"] == 1


def test_set_aside_fifth_is_recorded_and_apart_from_training(tmp_path):
    root = write_tree("folder_masks", tmp_path / "data")
    run.train("folder_unet", settings(root), run=tmp_path / "run")
    record = json.loads((tmp_path / "run" / "data.json").read_text())
    train, val = set(record["train"]["names"]), set(record["val"]["names"])
    assert len(val) == 2
    assert not train & val
    assert len(train | val) == 8


def test_predictions_lie_in_the_run_where_no_folder_is_named(camvid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run.train("camvid_unet_small", settings(camvid, **{"train.epochs": 1}), run=tmp_path / "run")
    images, seen = [camvid / "CamVid" / "val", "no*.png"], []
    for name in ("predictions", "predictions-2"):
        records = run.predict(tmp_path / "run", images, csv=True, on_answer=lambda *one: seen.append(one))
        rows = (tmp_path / "run" / name / "predictions.csv").read_text().splitlines()
        assert len(rows) == 1 + len(records)
        assert [record for record, _ in seen] == records
        assert seen[-1][1] == ""  # of the pattern that nothing fits
        assert "%" in seen[0][1]
        seen.clear()
    assert run.default_output("resnet50", "imagenet").as_posix() == "predictions"


def test_predictions_have_the_size_of_their_images(finished, tmp_path):
    Image.new("RGB", (101, 67), (90, 120, 30)).save(tmp_path / "street.png")
    run.predict(finished.run, [tmp_path / "street.png"], tmp_path / "out")
    mask = Image.open(tmp_path / "out" / "street_mask.png")
    assert mask.size == (101, 67)
    assert mask.mode == "P"
    assert (tmp_path / "out" / "predictions.json").is_file()


def test_folder_without_a_recipe_is_no_run(tmp_path):
    with pytest.raises(ModelFileError, match=r"holds no recipe\.yaml"):
        run.evaluate(tmp_path)


def test_own_network_readers_and_callback_are_used(camvid, tmp_path):
    seen = []

    class Count(Callback):
        def after_step(self, job, record):
            seen.append(record.step)

    model = torch.nn.Conv2d(3, 11, 3, padding=1)
    run.train("camvid_unet", settings(camvid), run=tmp_path / "run", model=model, callbacks=[Count()])
    assert seen == list(range(1, 7))
    assert not torch.equal(model.weight, torch.nn.Conv2d(3, 11, 3).weight)


def test_report_shows_the_weights_that_are_kept(camvid, tmp_path, monkeypatch):
    shown = []

    def note(step, samples, collate, **options):
        shown.append({name: value.clone() for name, value in step.model.state_dict().items()})
        return Examples([], [], [])

    monkeypatch.setattr("unpool.finishing.draw_examples", note)
    run.train("camvid_unet", settings(camvid, **AVERAGED), run=tmp_path / "run")
    kept = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(shown[0][name], value) for name, value in kept.items())


def stopped_run(root, place, **parts):
    """A run of two epochs that was asked to stop after its first step."""
    callbacks = [*parts.pop("callbacks", []), StopAfter(1)]
    with pytest.raises(Stopped):
        run.train("camvid_unet", settings(root, **parts.pop("more", {})), run=place, callbacks=callbacks, **parts)


def test_resume_refuses_fewer_epochs(camvid, tmp_path):
    stopped_run(camvid, tmp_path / "run")
    before = (tmp_path / "run" / "recipe.yaml").read_bytes()
    with pytest.raises(RecipeError, match=r"train\.epochs is 1 and the run was planned for 2"):
        run.resume(tmp_path / "run", {"train.epochs": 1})
    assert (tmp_path / "run" / "recipe.yaml").read_bytes() == before


def test_resume_refuses_a_set_that_changed(tmp_path):
    root = write_tree("folder_masks", tmp_path / "data")
    with pytest.raises(Stopped):
        run.train("folder_unet", settings(root), run=tmp_path / "run", callbacks=[StopAfter(1)])
    before = (tmp_path / "run" / "data.json").read_bytes()
    for folder, suffix in (("images", ".jpg"), ("masks", ".png")):
        first = min((root / folder).glob(f"*{suffix}"), default=min((root / folder).iterdir()))
        first.with_stem("new").write_bytes(first.read_bytes())
    with pytest.raises(DataError, match=r"the data is not that of this run: .* has besides images/new"):
        run.resume(tmp_path / "run")
    assert (tmp_path / "run" / "data.json").read_bytes() == before


def test_parts_of_the_callers_own_are_asked_for_again(camvid, tmp_path):
    def network():
        torch.manual_seed(7)
        return torch.nn.Conv2d(3, 11, 3, padding=1)

    stopped_run(camvid, tmp_path / "run", model=network())
    with pytest.raises(RecipeError, match=r"began with model of your own.*resume\(run, model=\.\.\.\)"):
        run.resume(tmp_path / "run")
    trained = run.resume(tmp_path / "run", model=network())
    with pytest.raises(RecipeError, match="trained a network of your own"):
        run.evaluate(tmp_path / "run")
    assert run.evaluate(tmp_path / "run", model=network())["mean_iou"] == pytest.approx(trained["mean_iou"])
    reader = make_reader(load_recipe("camvid_unet", settings(camvid)), "val")
    stopped_run(camvid, tmp_path / "other", val=reader)
    with pytest.raises(RecipeError, match="began with val of your own"):
        run.resume(tmp_path / "other")
    run.resume(tmp_path / "other", val=reader)
    with pytest.raises(RecipeError, match="readers of your own"):
        run.evaluate(tmp_path / "other")
    assert run.evaluate(tmp_path / "other", reader=reader)["images"] == 3


def test_own_readers_must_fit_the_task_and_one_another(camvid, tmp_path):
    labels = make_reader(load_recipe("folder_resnet18", {"data.root": write_tree("folder", tmp_path / "f")}), "train")
    with pytest.raises(RecipeError, match=r"needs mask, but the training reader gives image, label"):
        run.train("camvid_unet", settings(camvid), run=tmp_path / "run", train=labels)
    recipe = load_recipe("camvid_unet", settings(camvid))
    ordered = make_reader(recipe, "train").info.classes
    turned = make_reader(recipe, "val", classes=ordered[::-1])
    with pytest.raises(DataError, match=r"the classes are .* and were .*must be the same, in order"):
        run.train("camvid_unet", settings(camvid), run=tmp_path / "run", val=turned)


class Empty:
    """A reader of no sample."""

    names: Sequence[str] = ()
    faults: list[Fault] = []  # noqa: RUF012

    def __init__(self, like: Reader) -> None:
        self.gives, self.info = like.gives, like.info

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Sample:
        raise IndexError(index)


def test_an_empty_reader_is_not_replaced_by_that_of_the_recipe(camvid, tmp_path):
    empty = Empty(make_reader(load_recipe("camvid_unet", settings(camvid)), "train"))
    with pytest.raises(DataError):
        run.train("camvid_unet", settings(camvid), run=tmp_path / "run", train=empty)


@pytest.mark.parametrize(
    "override", ["data.size=[64,64]", "model.width=8", "task.class_weights=null", "data.channels=1"]
)
def test_evaluation_refuses_what_a_trained_network_cannot_change(finished, override):
    with pytest.raises(RecipeError, match="cannot be overridden here"):
        run.evaluate(finished.run, [override])


def test_all_of_another_folder_without_splits_is_measured(tmp_path):
    root = write_tree("folder_masks", tmp_path / "data")
    run.train("folder_unet", settings(root), run=tmp_path / "run")
    assert run.evaluate(tmp_path / "run")["images"] == 2
    moved = root.rename(tmp_path / "moved")
    assert run.evaluate(tmp_path / "run", {"data.root": str(moved)})["images"] == 2
    other = write_tree("folder_masks", tmp_path / "other")
    for folder in ("images", "masks"):
        first = min((other / folder).iterdir())
        first.rename(first.with_stem("new"))
    for split in ("val", "test"):
        assert run.evaluate(tmp_path / "run", {"data.root": str(other)}, split=split)["images"] == 8
    assert run.evaluate(tmp_path / "run", {"data.root": str(other), "data.val_share": 0.5})["images"] == 4


def test_file_that_training_left_out_is_left_out_of_evaluation(camvid, tmp_path):
    path = camvid / "CamVid" / "val" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    trained = run.train("camvid_unet", settings(camvid), run=tmp_path / "run")
    measured = run.evaluate(tmp_path / "run")
    assert trained["images"] == measured["images"] == 2
    assert len(measured["skipped"]) == 1


def test_warm_up_as_long_as_the_run_is_shortened_and_said(camvid, tmp_path, caplog):
    run.train("camvid_unet", settings(camvid, **{"train.warmup_epochs": 2}), run=tmp_path / "run")
    assert "train.warmup_epochs is 2 and train.epochs 2: the warm-up is shortened to 0.4 epochs" in caplog.text
    assert load_recipe(tmp_path / "run" / "recipe.yaml").train.warmup_epochs == 0.4
    run.train("camvid_unet", settings(camvid, **{"train.warmup_epochs": 0.4}), run=tmp_path / "same")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "same"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_milestones_that_a_run_does_not_reach_are_named(camvid, tmp_path, caplog):
    steps = {"train.schedule": "step", "train.milestones": [1, 2, 30]}
    run.train("camvid_unet", settings(camvid, **steps), run=tmp_path / "run")
    assert "train.epochs is 2, and train.milestones [1, 2, 30] has 2, 30, never reached: " in caplog.text


def test_batch_larger_than_the_set_is_told(camvid, tmp_path, caplog):
    run.train("camvid_unet", settings(camvid, **{"train.batch": 64}), run=tmp_path / "run")
    assert "train.batch is 64 and the training set has 6 images" in caplog.text


def test_images_that_grouped_batches_never_use_are_counted(camvid, tmp_path, caplog):
    for path in (camvid / "CamVid" / "train" / "0.jpg", camvid / "CamVid" / "trainannot" / "0.png"):
        Image.open(path).resize((32, 40), Image.Resampling.NEAREST).save(path)
    run.train("camvid_unet", settings(camvid, **{"data.order": "grouped", "train.batch": 2}), run=tmp_path / "run")
    assert "data.order grouped never uses 1 of 6 images: their groups are smaller than a batch of 2" in caplog.text


def test_signal_while_files_are_read_stops_at_the_next_one_and_leaves_no_folder(camvid, tmp_path):
    seen = []

    def stop(done, total):
        seen.append((done, total))
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="SIGTERM"):
        run.train("camvid_unet", settings(camvid), run=tmp_path / "run", progress=stop)
    assert seen == [(1, 6)]
    assert not (tmp_path / "run").exists()


def test_orientation_ignored_in_training_is_ignored_in_prediction(tmp_path):
    root = write_tree("folder_masks", tmp_path / "data")
    run.train("folder_unet", settings(root, **{"data.exif": "ignore"}), run=tmp_path / "run")
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (48, 32)).save(tmp_path / "lying.jpg", exif=turned)
    run.predict(tmp_path / "run", [tmp_path / "lying.jpg"], tmp_path / "out")
    assert Image.open(tmp_path / "out" / "lying_mask.png").size == (48, 32)


def test_resume_refuses_to_change_the_recipe(finished):
    with pytest.raises(RecipeError, match=r"train\.lr cannot be overridden here"):
        run.resume(finished.run, {"train.lr": 1.0})
