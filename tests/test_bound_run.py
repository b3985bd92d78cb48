"""A run's files are bound to one another: what was edited, damaged or mixed up is named, never used."""

import json
import logging
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import unpool
from tests.test_run import StopAfter
from unpool import conduct
from unpool import run as verbs
from unpool.errors import ModelFileError, RecipeError, Stopped, UnpoolError
from unpool.models.weights import save_weights
from unpool.recipe import RESUMABLE, load_recipe
from unpool.run_directory import RunDirectory
from unpool.training.evaluation import Evaluate

SMALL = {
    "data.count": 8,
    "data.workers": 0,
    **{"model.width": 4, "model.depth": 1},
    "train.epochs": 2,
    "train.evaluate_every": 1,
    "train.batch": 2,
    "train.schedule": "cosine",
    "train.warmup_epochs": 0,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
}
FILES = (
    *("model.safetensors", "best.safetensors", "config.json", "recipe.yaml", "data.json", "metrics.json"),
    *("manifest.json", "log.jsonl", "state.safetensors", "state.json", "last/manifest.json"),
)
PHOTO = torch.randint(0, 256, (3, 32, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bound")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        verbs.train("scenes_unet", SMALL, run=folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A run of another seed."""
    folder = tmp_path_factory.mktemp("other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        verbs.train("scenes_unet", {**SMALL, "train.seed": 1}, run=folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def expected(finished):
    """The answers of the finished run as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(finished.parent / "cache"))
        return answers_of(finished)


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """A copy at another path."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(finished.parent / "cache"))
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def edit(run, old, new):
    text = (run / "recipe.yaml").read_text()
    assert text.count(old) == 1
    (run / "recipe.yaml").write_text(text.replace(old, new))


def bits(run):
    return {name: (run / name).read_bytes() for name in ("model.safetensors", "best.safetensors")}


def test_copied_run_predicts_evaluates_and_resumes(run, finished):
    whole = unpool.load(finished)(PHOTO)[0]["mask"]
    assert torch.equal(unpool.load(run)(PHOTO)[0]["mask"], whole)
    known = json.loads((finished / "metrics.json").read_text())
    assert verbs.evaluate(run)["mean_iou"] == pytest.approx(known["mean_iou"])
    assert verbs.resume(run)["already_complete"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("  lr: ", "  lr: 1", r"train\.lr is 1[0-9.]+ and was [0-9.]+"),
        ("  batch: 2", "  batch: 4", r"train\.batch is 4 and was 2"),
        ("  seed: 0\n  device", "  seed: 3\n  device", r"train\.seed is 3 and was 0"),
        ("optimizer: adamw", "optimizer: sgd", r"train\.optimizer is sgd and was adamw"),
        ("  epochs: 2", "  epochs: 3", r"train\.epochs is 3 and was 2.*may be changed when a run is resumed"),
        ("width: 4", "width: 8", r"model\.width is 8 and was 4"),
        ("train:", "trian:", r"recipe\.yaml was changed since the run wrote it, and cannot be read"),
    ],
)
def test_edited_recipe_is_refused_with_the_keys_that_differ(run, tmp_path, old, new, says):
    edit(run, old, new)
    verb = [lambda: unpool.load(run), lambda: verbs.evaluate(run), lambda: verbs.resume(run, {"train.epochs": 4})]
    for one in verb:
        with pytest.raises(ModelFileError, match=says):
            one()


def test_recipe_that_differs_in_spelling_only_is_the_same(run):
    (run / "recipe.yaml").write_text("# mine\n" + (run / "recipe.yaml").read_text())
    assert verbs.resume(run)["already_complete"]
    unpool.load(run)


@pytest.mark.parametrize("key", ["train.lr=1", "train.seed=2", "data.size=[8,8]", "model.width=8"])
def test_override_of_another_key_says_which_may_be_changed(run, key):
    with pytest.raises(RecipeError) as error:
        verbs.resume(run, [key])
    assert all(name in str(error.value) for name in RESUMABLE)


def test_changes_on_resume_are_told_with_the_rate_that_more_epochs_stretch(run, caplog, monkeypatch):
    choose = conduct.speed.choose
    monkeypatch.setattr(
        conduct.speed, "choose", lambda *args, **kwargs: choose(*args, **kwargs)._replace(seconds_per_step=5.0)
    )
    caplog.set_level(logging.INFO)
    verbs.resume(run, {"train.epochs": 4, "train.device": "cpu"})
    assert "about 40 s, evaluation not counted" in caplog.text
    assert "train.epochs: 2 -> 4" in caplog.text
    assert "train.device: auto -> cpu" in caplog.text
    assert "data.root" not in caplog.text
    half = load_recipe(run / "recipe.yaml").train.lr / 2  # of the cosine, half-way through four epochs
    assert f"stretch the schedule cosine: the learning rate at step 8 is {half:.6g} and was " in caplog.text
    caplog.clear()
    assert verbs.resume(run)["already_complete"]
    assert "->" not in caplog.text


def test_run_goes_on_with_the_same_bits_held_or_streamed_by_any_workers(tmp_path):
    with pytest.raises(Stopped):
        verbs.train("scenes_unet", SMALL, run=tmp_path / "a", callbacks=[StopAfter(3)])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    verbs.resume(tmp_path / "a")
    verbs.resume(tmp_path / "b", {"data.workers": 1, "data.memory": False, "train.time_limit_s": 1000})
    assert bits(tmp_path / "a") == bits(tmp_path / "b")


def damage(path, generator):
    data = bytearray(path.read_bytes())
    data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    path.write_bytes(data)


def path_of(run, name):
    newest = max((run / "last").iterdir())
    if name == "last/manifest.json":
        return newest / "manifest.json"
    return newest / name if name.startswith("state") else run / name


def answers_of(run):
    """What the three verbs give, or why they refuse."""
    answers = []
    for verb in (
        lambda: unpool.load(run)(PHOTO)[0]["mask"].tolist(),
        lambda: unpool.load(run, "best")(PHOTO)[0]["mask"].tolist(),
        lambda: verbs.evaluate(run)["mean_iou"],
        lambda: {key: value for key, value in verbs.resume(run).items() if key != "run"},
    ):
        try:
            answers.append(verb())
        except UnpoolError as error:
            answers.append(f"{error} (exit {error.exit_code})")
    return answers


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("flips", [pytest.param(48, marks=pytest.mark.slow), 3])
def test_flipped_bit_gives_the_same_answer_or_a_named_error(run, expected, name, flips):
    generator = random.Random(name)
    path = path_of(run, name)
    whole = path.read_bytes()
    for _ in range(flips):
        damage(path, generator)
        for answer, right in zip(answers_of(run), expected, strict=True):
            assert answer == right or (path.name in str(answer) and "(exit 3)" in str(answer)), answer
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "metrics.json", "best.safetensors"])
def test_file_of_another_run_is_refused(run, other, name):
    (run / name).write_bytes((other / name).read_bytes() + b" ")
    with pytest.raises(ModelFileError, match=rf"{name} is not the file that the run wrote"):
        verbs.resume(run)


def test_damaged_weights_are_no_start_of_another_run(run, tmp_path):
    damage(run / "model.safetensors", random.Random(2))
    start = {**SMALL, "model.weights": str(run / "model.safetensors")}
    with pytest.raises(ModelFileError, match=r"model\.safetensors is not the file that the run wrote"):
        verbs.train("scenes_unet", start, run=tmp_path / "next")


def test_what_a_resumed_run_makes_anew_may_be_removed(run, finished):
    for name in ("model.safetensors", "metrics.json", "report.html"):
        (run / name).unlink()
    verbs.resume(run)
    assert bits(run) == bits(finished)


def test_report_of_fewer_epochs_is_no_end_of_the_run(run, monkeypatch):
    """Killed between metrics.json and the report, a run of more epochs is finished by the next resume."""

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unpool.finishing.write_report", killed)
        with pytest.raises(KeyboardInterrupt):
            verbs.resume(run, {"train.epochs": 3})
    assert json.loads((run / "metrics.json").read_text())["history"][-1]["epoch"] == 3
    assert "already_complete" not in verbs.resume(run)
    assert (run / "report.html").is_file()


def test_lost_best_weights_are_told_and_the_best_of_what_follows_is_kept(run, caplog, monkeypatch):
    """Also where nothing that follows is as good as what is lost."""
    load = Evaluate.load_state_dict
    monkeypatch.setattr(Evaluate, "load_state_dict", lambda self, state: load(self, {**state, "best_value": 2.0}))
    (run / "best.safetensors").unlink()
    verbs.resume(run, {"train.epochs": 3})
    assert "best.safetensors is gone" in caplog.text
    assert json.loads((run / "metrics.json").read_text())["training"]["best_step"] == 12
    assert (run / "best.safetensors").is_file()


def test_weights_that_are_not_there_yet_are_named_with_those_that_are(tmp_path):
    with pytest.raises(Stopped):
        verbs.train("scenes_unet", SMALL, run=tmp_path / "cut", callbacks=[StopAfter(6)])
    with pytest.raises(ModelFileError, match=r"no such weights yet; .*or take the best so far: --weights best"):
        unpool.load(tmp_path / "cut")
    assert unpool.load(tmp_path / "cut", "best")(PHOTO)[0]["mask"].shape == (32, 48)


def test_run_of_before_the_manifest_says_so(run):
    (run / "manifest.json").unlink()
    for verb in (lambda: unpool.load(run), lambda: verbs.evaluate(run), lambda: verbs.resume(run)):
        with pytest.raises(ModelFileError, match=r"holds no manifest\.json.*earlier version of Unpool"):
            verb()


def test_run_that_ended_before_its_first_step_is_begun_anew(run, tmp_path):
    left = tmp_path / "left"
    left.mkdir()
    for name in ("lock", "manifest.json", "config.json", ".writing-1-0-recipe.yaml"):
        (left / name).write_bytes(b"")
    with pytest.raises(ModelFileError, match="ended before its first step"):
        verbs.resume(left)
    (left / "manifest.json").unlink()
    verbs.train("scenes_unet", {**SMALL, "train.epochs": 1}, run=left)
    assert not list(left.glob(".writing-*"))


def test_network_on_the_memory_of_a_file_that_it_replaces_keeps_its_values(run, tmp_path):
    """The parameters are views of best.safetensors, which the run replaces while it trains."""
    tensors = load_file(run / "best.safetensors")
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    RunDirectory(run).write_tensors("best.safetensors", {name: tensor + 1 for name, tensor in tensors.items()})
    assert all(torch.equal(tensors[name], tensor) for name, tensor in kept.items())
    save_weights(run / "best.safetensors", load_file(run / "best.safetensors"))
    written = load_file(run / "best.safetensors")
    assert all(torch.equal(written[name], tensor + 1) for name, tensor in kept.items())


TRAINER = """
import sys
from unpool.run_directory import RunDirectory
from safetensors.torch import load_file
directory = RunDirectory(sys.argv[1])
tensors = load_file(directory / "best.safetensors")
sys.stdout.write("ready\\n"); sys.stdout.flush()
for number in range(int(sys.argv[2])):
    directory.write_tensors("best.safetensors", {name: tensor.clone() for name, tensor in tensors.items()})
    directory.write_tensors("best.safetensors", {name: tensor + 0 * number for name, tensor in tensors.items()})
    tensors = {name: tensor + (1e-3 if tensor.is_floating_point() else 0) for name, tensor in tensors.items()}
"""


def test_reading_beside_a_trainer_that_replaces_the_weights_never_fails(run, tmp_path):
    command = [sys.executable, "-c", TRAINER, str(run), "20"]  # 40 files
    read = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        trainer.stdout.readline()
        while trainer.poll() is None:
            unpool.load(run, "best", device="cpu")
            read += 1
    assert trainer.returncode == 0
    assert read > 3
    Image.new("RGB", (48, 32)).save(tmp_path / "a.png")
    verbs.predict(run, [tmp_path / "a.png"], tmp_path / "out", weights="best")
