"""Batch shapes and numbers that spoil a training, over whole small runs on sets that are held and streamed."""

import json
import math

import numpy as np
import pytest
import torch

import unpool
from tests.data.encoding import picture
from tests.data.mask_files import grey_tiff
from tests.tiny_trees import write_tree
from unpool import models, run
from unpool.errors import DataError, Diverged, ModelFileError, RecipeError
from unpool.models.weights import save_weights
from unpool.training import speed
from unpool.training.callbacks import Callback
from unpool.training.checkpoint import load
from unpool.types import DataInfo

CPU = torch.device("cpu")
WAYS = pytest.mark.parametrize("memory", [True, False], ids=["held", "streamed"])
SMALL = {
    "train.epochs": 1,
    "train.batch": 3,
    "train.warmup_epochs": 0,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "data.workers": 0,
    "data.size": [32, 32],
    "data.train_size": None,
    "model.width": 4,
}

UNET = {"model.name": "unet_same_bn", "model.backbone": None, "model.depth": 2}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def train(tmp_path):
    """Trains on two classes of 5 and 5 images (1 and 1 of 6 each are set aside), or on images with masks."""

    def train(recipe="folder_resnet18", settings=(), *, root=None, **parts):
        tree = "folder_masks" if recipe == "folder_unet" else "folder"
        root = root or (tmp_path / "set" if (tmp_path / "set").exists() else write_tree(tree, tmp_path / "set"))
        narrow = UNET if recipe == "folder_unet" else {}
        chosen = {**SMALL, **narrow, "data.root": str(root), **dict(settings)}
        return run.train(recipe, chosen, run=tmp_path / "run", **parts)

    return train


def test_last_batch_of_one_image_is_refused_where_batch_norm_sees_one_value(train, tmp_path):
    """Ten images in threes leave one, and stride 32 leaves one pixel of 32."""
    wrong = {"train.drop_last": False}
    with pytest.raises(RecipeError, match=r"a batch of 1 sample gives batch norm at layer \S+ one value a channel"):
        train(settings=wrong)
    assert not (tmp_path / "run").exists()
    assert train()["training"]["images_seen"] == 9
    with pytest.raises(RecipeError, match=r"set train\.drop_last=true, train\.batch, or larger images"):
        run.train("folder_resnet18", {**SMALL, **wrong, "train.batch": 1, "data.root": str(tmp_path / "set")})


def test_last_batch_of_one_image_of_many_pixels_is_warned_of(train, caplog):
    metrics = train(settings={"train.drop_last": False, "data.size": [64, 64]})
    assert metrics["training"]["images_seen"] == 10
    assert "the smallest batch of an epoch has 1 sample, so batch norm (" in caplog.text


@pytest.mark.parametrize(("memory", "drop_last"), [(True, False), (False, True)])
def test_set_smaller_than_a_batch_is_one_batch_and_told(train, memory, drop_last, caplog):
    metrics = train(settings={"train.batch": 64, "train.drop_last": drop_last, "data.memory": memory})
    assert metrics["training"]["images_seen"] == 10
    assert "train.batch is 64 and the training set has 10 images: a step takes all" in caplog.text


@WAYS
def test_groups_that_fill_no_batch_are_refused(train, memory):
    """Every image of a class has a size of its own."""
    settings = {"data.order": "grouped", "data.memory": memory}
    with pytest.raises(
        RecipeError, match=r"groups of at most 1 images, a batch has 3, and train\.drop_last leaves out"
    ):
        train(settings=settings)


@WAYS
@pytest.mark.parametrize("recipe", ["folder_resnet18", "folder_unet"])
def test_validation_set_without_an_image_is_refused(train, tmp_path, recipe, memory):
    root = write_tree("folder_masks" if recipe == "folder_unet" else "folder", tmp_path / "set")
    for path in (path for path in root.rglob("*") if path.is_file() and path.suffix != ".txt"):
        if int(path.stem) > (0 if recipe == "folder_resnet18" else 1):
            path.unlink()
    with pytest.raises(DataError, match="leaves no image for val"):
        train(recipe, {"data.memory": memory})
    assert not (tmp_path / "run").exists()


class Spoiling(torch.nn.Module):
    """A network whose gradients are infinite in some backward passes, its losses being finite."""

    def __init__(self, passes, outputs=2):
        super().__init__()
        self.conv, self.passes, self.done = torch.nn.Conv2d(3, outputs, 3), passes, 0
        self.conv.weight.register_hook(self.spoil)

    def spoil(self, gradient):
        self.done += 1
        return gradient * float("inf") if self.done in self.passes else gradient

    def __deepcopy__(self, memo):
        return Spoiling(set())

    def forward(self, image):
        return self.conv(image).mean((2, 3))


def test_infinite_gradient_is_left_out_counted_and_told(train, tmp_path, caplog):
    metrics = train(settings={"train.epochs": 2}, model=Spoiling({2, 3, 4}))
    assert metrics["training"]["skipped_steps"] == 3
    assert "step 2 is left out: its gradient is not finite; log.jsonl counts such" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["skipped"] for line in lines if line["kind"] == "step"] == [0, 1, 2, 3, 3, 3]


def test_more_than_three_infinite_gradients_in_a_row_end_the_run(train, tmp_path):
    with pytest.raises(Diverged, match="the gradient was not finite in 4 steps in a row, the last being step 5"):
        train(settings={"train.epochs": 2}, model=Spoiling({2, 3, 4, 5}))
    tensors, meta = load(tmp_path / "run" / "last")
    assert meta["step"] < 5
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_exploding_learning_rate_ends_the_run_and_the_state_before_is_whole(train, tmp_path):
    settings = {"train.lr": 1e6, "train.epochs": 9, "train.save_every_s": 0}
    with pytest.raises(Diverged, match="not finite"):
        train("folder_unet", {**settings, "train.optimizer": "sgd", "model.name": "unet_same"})
    tensors, _ = load(tmp_path / "run" / "last")
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


@WAYS
@pytest.mark.parametrize("verify", ["decode", "headers"])
def test_value_in_an_image_that_is_no_number_names_the_file(train, tmp_path, memory, verify):
    root = tmp_path / "set"
    for folder in ("ant", "bee"):
        (root / folder).mkdir(parents=True)
        for number in range(6):
            values = np.random.default_rng(number).random((40, 40), np.float32)
            values[3, 3] = np.nan if (folder, number) == ("ant", 2) else values[3, 3]
            (root / folder / f"{number}.tif").write_bytes(grey_tiff(values))
    settings = {"data.range": [0, 1], "data.memory": memory, "data.verify": verify, "data.val_share": 0.1}
    with pytest.raises(DataError, match=r"ant/2\.tif: image holds NaN or infinite values"):
        train(settings={**settings, "data.seed": 1})


class Labels:
    """Twelve pictures with labels of three classes; `spoil` makes one of them no class."""

    gives, faults = ("image", "label"), ()
    info = DataInfo(classes=("ant", "bee", "cat"))
    names = [f"picture {number}" for number in range(12)]  # noqa: RUF012

    def __init__(self):
        self.labels = [number % 3 for number in range(12)]

    def __len__(self):
        return 12

    def __getitem__(self, index):
        image = torch.from_numpy(picture(40, 40, seed=index)).permute(2, 0, 1).contiguous()
        return {"image": image, "label": torch.tensor(self.labels[index])}


@WAYS
def test_label_that_is_no_class_is_refused_before_training(tmp_path, memory):
    wrong = Labels()
    wrong.labels[7] = 3
    settings = {**SMALL, "data.root": str(tmp_path), "data.memory": memory}
    with pytest.raises(DataError, match=r"picture 7: label \[3\], allowed are 0 to 2"):
        run.train("folder_resnet18", settings, run=tmp_path / "run", train=wrong, val=Labels())
    assert not (tmp_path / "run").exists()


def test_label_that_is_no_class_any_more_is_refused_by_the_batch(tmp_path):
    """A set in memory of the caller's, whose labels change after they were looked at."""
    changing = Labels()

    class Change(Callback):
        def after_step(self, job, record):
            changing.labels[:] = [-1] * 12

    settings = {**SMALL, "data.root": str(tmp_path), "data.memory": False, "train.epochs": 9}
    settings |= {"data.allow_duplicates": True}
    with pytest.raises(DataError, match=r"picture \d+: label \[-1\], allowed are 0 to 2"):
        run.train("folder_resnet18", settings, run=tmp_path / "run", train=changing, val=Labels(), callbacks=[Change()])


@pytest.mark.parametrize(
    ("memory", "weights"), [(True, "median"), (False, "sqrt_median"), (True, [1.0, 2.0, 0.0])], ids=str
)
def test_class_in_no_mask_has_a_finite_weight(train, tmp_path, memory, weights):
    root = write_tree("folder_masks", tmp_path / "set")
    (root / "classes.txt").write_text("ground\nplant\nnever seen\n")
    metrics = train("folder_unet", {"task.class_weights": weights, "data.memory": memory})
    assert math.isfinite(metrics["loss"])
    assert metrics["data"]["never_learned"] == ["never seen"]


@pytest.mark.parametrize(
    ("recipe", "memory", "size"),
    [
        ("folder_resnet18", True, [33, 47]),
        ("folder_resnet18", False, [1, 5]),
        ("folder_unet", True, [1, 5]),
        ("folder_unet", False, [33, 47]),
    ],
)
def test_size_that_no_stride_divides_trains_and_is_answered(train, tmp_path, recipe, memory, size):
    settings = {"data.size": size, "data.memory": memory, "train.batch": 4, "data.augment": []}
    assert math.isfinite(train(recipe, settings)["loss"])
    answer = unpool.load(tmp_path / "run")(torch.zeros(3, 47, 33, dtype=torch.uint8))[0]
    assert "mask" not in answer or tuple(answer["mask"].shape) == (47, 33)


def test_weights_of_another_number_of_classes_are_refused_unless_the_head_is_new(train, tmp_path):
    start = save_weights(tmp_path / "start.safetensors", models.build("resnet18", width=4, num_classes=5))
    settings = {"model.weights": str(start)}
    with pytest.raises(ModelFileError, match=r"head\.linear\.weight \(5, 32\) for \(2, 32\)"):
        train(settings=settings)
    assert not (tmp_path / "run").exists()
    assert train(settings={**settings, "model.new_head": True})["training"]["images_seen"] == 9


def test_bfloat16_is_refused_where_it_is_emulated_and_never_chosen_there(train, tmp_path, monkeypatch):
    monkeypatch.setattr(speed.machine, "flags", lambda: ["avx2"])
    settings = {"train.precision": "bfloat16", "train.device": "cpu"}
    with pytest.raises(RecipeError, match=r"13 times slower than float32.*or train\.allow_emulated=true"):
        train(settings=settings)
    assert not (tmp_path / "run").exists()
    allowed = {**settings, "train.allow_emulated": True}
    assert train(settings=allowed)["training"]["precision"] == "bfloat16"
    auto = {**SMALL, "train.precision": "auto", "data.root": str(tmp_path / "set")}
    assert run.train("folder_resnet18", auto, run=tmp_path / "auto")["training"]["precision"] == "float32"
