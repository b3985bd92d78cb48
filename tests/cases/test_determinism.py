"""The same bits again: from one process to another, resumed, and whatever must not matter is changed."""

import json
import os
import random
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import unpool
from tests.test_run import StopAfter, tensors_of
from tests.tiny_trees import write_tree
from unpool import run
from unpool.assemble.data import read_data
from unpool.assemble.job import Prepare
from unpool.assemble.loaders import make_eval_loader
from unpool.errors import Stopped
from unpool.recipe import load_recipe
from unpool.training.checkpoint import load

ROOT = Path(__file__).parents[2]
WAYS = pytest.mark.parametrize("memory", [True, False], ids=["held", "streamed"])
SMALL = {
    "train.epochs": 2,
    "train.batch": 2,
    "train.eval_batch": 3,
    "train.warmup_epochs": 0,
    "train.evaluate_every": 1,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "train.threads": 1,
    "data.workers": 0,
    "data.size": [32, 32],
    "data.train_size": None,
}
LENET = {**SMALL, "model.name": "lenet5"}
UNET = {"model.name": "unet_same_bn", "model.backbone": None, "model.width": 4, "model.depth": 2}
PATCHES = {"data.repeat": 1, "data.size": None, "data.train_size": [24, 24]}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tree("folder", tmp_path_factory.mktemp("data") / "set")


def train(folder, root, recipe="folder_resnet18", settings=LENET, **more):
    parts = {name: more.pop(name) for name in ("callbacks", "model") if name in more}
    return run.train(recipe, {**settings, "data.root": str(root), **more}, run=folder, **parts)


def stopped(folder, root, steps, **more):
    with pytest.raises(Stopped):
        train(folder, root, callbacks=[StopAfter(steps)], **more)
    return folder


def log_of(folder):
    """The log without what the clock says."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert {"loss", "lr", "step"} <= lines[0].keys()
    return [{key: value for key, value in line.items() if not is_of_the_clock(key)} for line in lines]


def is_of_the_clock(key):
    return key.endswith(("_s", "_per_s", "_mib")) or key == "time"


@WAYS
def test_same_seed_gives_weights_and_log_again_and_another_seed_others(tmp_path, root, memory):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(tmp_path / name, root, **{"train.seed": seed, "data.memory": memory})
    assert tensors_of(tmp_path / "a") == tensors_of(tmp_path / "b") != tensors_of(tmp_path / "c")
    assert log_of(tmp_path / "a") == log_of(tmp_path / "b") != log_of(tmp_path / "c")


def test_held_and_streamed_sets_give_the_same_bits(tmp_path, root):
    for memory in (True, False):
        train(tmp_path / str(memory), root, **{"data.memory": memory})
    assert tensors_of(tmp_path / "True") == tensors_of(tmp_path / "False")
    assert log_of(tmp_path / "True") == log_of(tmp_path / "False")


@WAYS
def test_resume_takes_another_way_of_reading(tmp_path, root, memory):
    """As the advice says where memory was used up."""
    train(tmp_path / "peace", root, **{"data.memory": memory})
    stopped(tmp_path / "cut", root, 5, **{"data.memory": memory})
    run.resume(tmp_path / "cut", {"data.memory": not memory})
    assert tensors_of(tmp_path / "cut") == tensors_of(tmp_path / "peace")
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "peace")


@WAYS
def test_order_in_which_the_file_system_lists_changes_nothing(tmp_path, root, memory, monkeypatch):
    train(tmp_path / "plain", root, **{"data.memory": memory})
    scandir, listdir = os.scandir, os.listdir
    shuffled = random.Random(3)

    class Shuffled:
        def __init__(self, *path):
            with scandir(*path) as entries:
                self.entries = list(entries)
            shuffled.shuffle(self.entries)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            self.entries = []

        def __iter__(self):
            return iter(self.entries)

        def close(self):
            self.entries = []

    monkeypatch.setattr(os, "scandir", Shuffled)
    monkeypatch.setattr(os, "listdir", lambda *path: shuffled.sample(names := listdir(*path), len(names)))
    train(tmp_path / "mixed", root, **{"data.memory": memory})
    assert tensors_of(tmp_path / "mixed") == tensors_of(tmp_path / "plain")
    records = [json.loads((tmp_path / name / "data.json").read_text()) for name in ("plain", "mixed")]
    assert records[0]["train"]["names"] == records[1]["train"]["names"]


def test_statistics_of_batch_norm_and_their_counts_are_restored(tmp_path, root):
    network = {"settings": SMALL, "model.width": 4, "train.ema": None}
    train(tmp_path / "peace", root, **network)
    stopped(tmp_path / "cut", root, 3, **network)
    saved = load(tmp_path / "cut" / "last")[0]
    counts = {int(value) for name, value in saved.items() if name.endswith("num_batches_tracked")}
    assert counts == {3}
    assert any(name.endswith("running_var") and not bool((value == 1).all()) for name, value in saved.items())
    run.resume(tmp_path / "cut")
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("peace", "cut"))
    assert {int(value) for name, value in resumed.items() if name.endswith("num_batches_tracked")} == {10}
    assert all(torch.equal(whole[name], value) for name, value in resumed.items())


EVALUATED = {
    "classification": ("folder_resnet18", {**SMALL, "model.width": 4, "train.epochs": 1}),
    "segmentation": ("folder_unet", {**SMALL, **UNET, "train.epochs": 1}),
}


@pytest.mark.parametrize(("kind", "memory"), [("classification", True), ("segmentation", False)])
def test_number_of_images_at_a_time_changes_no_metric_and_hardly_an_answer(tmp_path, memory, kind):
    recipe, settings = EVALUATED[kind]
    root = write_tree("folder" if kind == "classification" else "folder_masks", tmp_path / "set")
    settings = {**settings, "data.root": str(root), "data.memory": memory, "data.val_share": 0.7, "train.lr": 1e-4}
    trained = run.train(recipe, settings, run=tmp_path / "run")
    loaded = unpool.load(tmp_path / "run")
    outputs, metrics = [], []
    for batch in (1, 7, 64):
        metrics.append(run.evaluate(tmp_path / "run", {"train.eval_batch": batch, "data.memory": memory}))
        known = load_recipe(recipe, {**settings, "train.eval_batch": batch})
        loader = make_eval_loader(known, read_data(known).val.samples, loaded.preprocessing)
        prepare = Prepare(loaded.preprocessing, torch.device("cpu"))
        loaded.model.eval()
        with torch.inference_mode():
            outputs.append(torch.cat([loaded.task.forward(loaded.model, prepare(b)) for b in loader.stream(0, 0, 1)]))
    assert len(outputs[0]) == trained["images"] > 4
    for other, answer in zip(metrics[1:], outputs[1:], strict=True):
        assert other["loss"] == pytest.approx(metrics[0]["loss"], abs=1e-6)
        assert other[loaded.task.best] == pytest.approx(metrics[0][loaded.task.best], abs=1e-6)
        torch.testing.assert_close(answer.softmax(1), outputs[0].softmax(1), atol=1e-5, rtol=0)


@pytest.fixture
def only_deterministic():
    torch.use_deterministic_algorithms(True)  # noqa: FBT003
    yield
    torch.use_deterministic_algorithms(False)  # noqa: FBT003


ALL_KINDS = {
    "classification": ("folder_resnet18", "folder", {"model.width": 4}),
    "segmentation": (
        "folder_unet", "folder_masks", {"model.name": "segnet_basic", "model.backbone": None, "model.width": 4}
    ),
    "denoising": ("folder_dncnn", "images", {"model.width": 4, **PATCHES}),
    "pose": ("figures_hourglass", None, {"model.width": 8, "model.depth": 2, "data.count": 6, "data.side": 40}),
    "people": ("figures_openpose", None, {"model.width": 8, "data.count": 6, "data.side": 40}),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_task_trains_evaluates_and_predicts_with_deterministic_operations(only_deterministic, tmp_path, kind):
    recipe, tree, more = ALL_KINDS[kind]
    settings = {**SMALL, "train.epochs": 1, **more}
    settings |= {"data.root": str(write_tree(tree, tmp_path / "set"))} if tree else {}
    run.train(recipe, settings, run=tmp_path / "run")
    run.evaluate(tmp_path / "run")
    unpool.load(tmp_path / "run")(torch.zeros(3, 40, 40, dtype=torch.uint8))


PROGRAM = """if True:
    import hashlib, json, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    from tests.cases.test_determinism import LENET, MATRIX, SMALL, log_of
    from tests.test_run import tensors_of
    from unpool import run
    folder, data = Path(sys.argv[1]), Path(sys.argv[2])
    result = {}
    for number, (tree, recipe, settings) in enumerate(MATRIX):
        for memory in (True, False):
            place = folder / f"{number}{memory}"
            root = {} if tree is None else {"data.root": str(data / tree)}
            memory = {"data.memory": memory}
            run.train(recipe, {**SMALL, "train.epochs": 1, **settings, **root, **memory}, run=place)
            log = hashlib.sha256(json.dumps(log_of(place)).encode()).hexdigest()
            result[str(place.name)] = [tensors_of(place), log]
    print(json.dumps(result))
"""
MATRIX = [
    *(("folder", "folder_resnet18", options) for options in (
        {"model.name": "lenet5"}, {"model.width": 4}, {"model.name": "cifar_resnet20", "model.width": 4},
        {"model.name": "vgg11", "model.width": 4},
    )),
    *(("folder_masks", "folder_unet", options) for options in (
        {"model.width": 4, "model.widths": [8] * 5},
        {"model.name": "segnet_basic", "model.backbone": None, "model.width": 4},
        {"model.name": "unet_same_bn", "model.backbone": None, "model.width": 4, "model.dropout": 0.2},
        {"model.name": "fpn", "model.width": 4, "model.neck_width": 8, "model.head_width": 8},
    )),
    *(("images", "folder_dncnn", {**PATCHES, **options}) for options in (
        {"model.name": "dncnn_b", "model.width": 4}, {"model.name": "dncnn_s", "model.width": 4},
        {"model.name": "unet_regression", "model.width": 4},
        {"model.name": "conv_autoencoder", "model.width": 4},
    )),
]  # fmt: skip


@pytest.mark.slow
def test_fresh_processes_of_other_hash_seeds_give_the_same_weights_and_logs(tmp_path):
    """Three tasks, four networks each, held and streamed."""
    for tree in ("folder", "folder_masks", "images"):
        write_tree(tree, tmp_path / tree)
    answers = []
    for seed in ("0", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / seed), str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        answers.append(json.loads(done.stdout.splitlines()[-1]))
    assert answers[0] == answers[1]
    assert len(answers[0]) == 24
    assert len({tuple(answer) for answer in answers[0].values()}) == 12  # held and streamed alike, networks not


@pytest.mark.slow
@WAYS
def test_number_of_workers_changes_no_weight(tmp_path, root, memory):
    for workers in (0, 1, 2, 4):
        train(tmp_path / str(workers), root, **{"data.workers": workers, "data.memory": memory})
    assert len({tensors_of(tmp_path / str(workers)) for workers in (0, 1, 2, 4)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 2), (1, 2)])
def test_resume_with_another_number_of_workers_gives_the_same_bits(tmp_path, root, before, after):
    train(tmp_path / "peace", root)
    stopped(tmp_path / "cut", root, 3, **{"data.workers": before, "data.memory": False})
    run.resume(tmp_path / "cut", {"data.workers": after})
    assert tensors_of(tmp_path / "cut") == tensors_of(tmp_path / "peace")


@pytest.mark.slow
def test_resume_after_each_of_sixty_steps_gives_the_same_bits(tmp_path, root):
    """Held after even steps, streamed after odd ones."""
    settings = {"train.epochs": 12, "train.evaluate_every": 4, "train.ema": 0.9}
    train(tmp_path / "peace", root, **settings)
    assert log_of(tmp_path / "peace")[-2]["step"] == 60
    for steps in range(1, 60):
        folder = stopped(tmp_path / f"cut{steps}", root, steps, **settings, **{"data.memory": steps % 2 == 0})
        assert load(folder / "last")[1]["step"] == steps
        run.resume(folder)
        assert tensors_of(folder) == tensors_of(tmp_path / "peace"), steps
        assert log_of(folder) == log_of(tmp_path / "peace"), steps


CHOICES = {
    "train.optimizer": ["sgd", "adam", "adamw"],
    "train.schedule": ["constant", "step", "cosine", "poly", "onecycle"],
    "train.ema": [None, 0.9],
    "train.clip_norm": [None, 0.5],
    "train.accumulate": [1, 2],
    "train.precision": ["float32", "bfloat16"],
    "train.memory_format": ["contiguous", "channels_last"],
    "train.drop_last": [True, False],
    "train.warmup_epochs": [0, 0.5],
    "model.name": ["alexnet", "resnet18", "googlenet_aux"],
    "data.memory": [True, False],
    "data.order": ["shuffled", "weighted"],
    "data.augment": [[], [{"resized_crop": {}}, {"flip": {}}, {"color_jitter": {"brightness": 0.3}}]],
}


def all_pairs(choices, seed=0):
    """Rows of choices in which every value of each key stands beside every value of each other key."""
    generator, keys = random.Random(seed), list(choices)
    left = {(a, x, b, y) for a, b in combinations(range(len(keys)), 2)
            for x in range(len(choices[keys[a]])) for y in range(len(choices[keys[b]]))}  # fmt: skip
    rows = []
    while left:
        tries = [[generator.randrange(len(choices[key])) for key in keys] for _ in range(200)]
        row = max(tries, key=lambda row: len(left & pairs_of(row)))
        left -= pairs_of(row)
        rows.append({key: choices[key][value] for key, value in zip(keys, row, strict=True)})
    return rows


def pairs_of(row):
    return {(a, row[a], b, row[b]) for a, b in combinations(range(len(row)), 2)}


@pytest.mark.slow
def test_resume_gives_the_same_bits_under_all_pairs_of_options(tmp_path, root):
    """Dropout is in two of the networks."""
    rows = all_pairs(CHOICES)
    assert len(rows) < 40
    for number, row in enumerate(rows):
        more = {**row, "model.width": 8, "train.allow_emulated": True, "train.lr": 0.01}
        more |= {"train.milestones": [1]} if row["train.schedule"] == "step" else {}
        more |= {"data.size": [67, 67]}  # the least that AlexNet takes
        train(tmp_path / f"peace{number}", root, settings=SMALL, **more)
        steps = 1 + number % 4
        stopped(tmp_path / f"cut{number}", root, steps, settings=SMALL, **more)
        run.resume(tmp_path / f"cut{number}")
        assert tensors_of(tmp_path / f"cut{number}") == tensors_of(tmp_path / f"peace{number}"), row
        assert log_of(tmp_path / f"cut{number}") == log_of(tmp_path / f"peace{number}"), row
