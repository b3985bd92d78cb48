"""What a recipe says is what the objects do."""

import shutil
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

from tests.tiny_trees import write_tree
from unpool import tasks
from unpool.assemble import batch, loaders
from unpool.assemble.batch import with_fitting_batch
from unpool.assemble.data import (
    make_preprocessing,
    make_reader,
    read_data,
    training_setup,
)
from unpool.assemble.job import Prepare, make_device, make_job
from unpool.assemble.loaders import make_eval_loader, make_train_loader, require_one_size
from unpool.assemble.model import make_model, make_task
from unpool.assemble.processes import num_workers
from unpool.data.augment import Augment, Collate
from unpool.data.order import Grouped, Sequential, WholeBatches
from unpool.data.replacing import Replacing
from unpool.errors import DataError, EnvironmentFault, RecipeError
from unpool.model_file import describe
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import load_recipe
from unpool.task import TrainingSetup
from unpool.tasks.detection import Detection
from unpool.tasks.pose import Pose
from unpool.tasks.segmentation import Segmentation
from unpool.training.averaging import EqualAveraging
from unpool.training.stopping import StopRequest
from unpool.types import DataInfo


@pytest.fixture(scope="module")
def camvid(tmp_path_factory):
    return write_tree("camvid", tmp_path_factory.mktemp("camvid"))


def recipe_of(root, **more):
    small = {"data.root": str(root), "data.workers": 0, "model.width": 4, "train.batch": 2, "train.epochs": 4}
    return load_recipe("camvid_unet", {**small, "train.warmup_epochs": 1, **more})


def data_of(recipe):
    return read_data(recipe)


def job_of(recipe):
    data = data_of(recipe)
    return make_job(recipe, data, make_train_loader(recipe, data), model=None, stop=StopRequest())


def warnings_of(recipe):
    data = data_of(recipe)
    return make_task(recipe, data).warnings(training_setup(recipe, data))


def segmentation(task):
    assert isinstance(task, Segmentation)
    return task


def test_preprocessing_is_what_the_data_section_says(camvid):
    chosen = {"data.size": [24, 32], "data.mean": [0.1, 0.2, 0.3], "data.std": [0.4, 0.5, 0.6]}
    preprocessing = make_preprocessing(recipe_of(camvid, **chosen))
    assert preprocessing.size_hw == (24, 32)
    assert preprocessing.mean == (0.1, 0.2, 0.3)
    assert preprocessing.std == (0.4, 0.5, 0.6)
    plain = make_preprocessing(recipe_of(camvid))
    assert (plain.rule, plain.order, plain.value_range, plain.normalization) == ("stretch", "rgb", (0, 1), "channel")
    assert (plain.multiple, plain.mean_image) == (1, None)


def test_preprocessing_is_that_of_foreign_weights_where_the_data_section_says_so(camvid, tmp_path):
    chosen = {"rule": "fit", "color_order": "bgr", "value_range": [0, 255], "multiple": 32, "size": [4, 6]}
    mean = np.full((3, 4, 6), 99.0)
    np.save(tmp_path / "mean.npy", mean)
    chosen |= {"normalize": "location", "mean_image": str(tmp_path / "mean.npy")}
    recipe = recipe_of(camvid, **{f"data.{key}": value for key, value in chosen.items()}, **{"data.train_size": None})
    preprocessing = make_preprocessing(recipe)
    assert (preprocessing.rule, preprocessing.order, preprocessing.multiple) == ("fit", "bgr", 32)
    assert preprocessing.mean == pytest.approx([255 * value for value in (0.406, 0.456, 0.485)])
    assert preprocessing.std == pytest.approx([255 * value for value in (0.225, 0.224, 0.229)])
    seen = preprocessing.normalize(torch.full((3, 4, 6), 120, dtype=torch.uint8))
    assert seen[:, :4, :6].unique().tolist() == pytest.approx([21 / (255 * std) for std in (0.229, 0.225, 0.224)])


def test_rate_rises_over_the_warm_up_counted_in_optimiser_steps(camvid):
    job = job_of(recipe_of(camvid, **{"train.accumulate": 3}))  # 3 batches, so 1 step an epoch
    assert job.total_steps == 4
    assert job.schedule(0) < job.schedule(1)
    assert job.schedule(1) == pytest.approx(2e-3)


def test_weights_are_averaged_where_the_recipe_says_so(camvid):
    averaging = job_of(recipe_of(camvid, **{"train.ema": 0.9})).averaging
    assert averaging is not None
    assert averaging.decay == 0.9
    assert job_of(recipe_of(camvid, **{"train.ema": None})).averaging is None


def test_weights_of_the_last_epochs_are_averaged_where_the_recipe_says_so(camvid):
    swa = {"train.ema": None, "train.swa": 0.5, "train.swa_lr": 1e-3, "train.schedule": "constant"}
    job = job_of(recipe_of(camvid, **swa))  # 4 epochs of 3 steps
    assert isinstance(job.averaging, EqualAveraging)
    assert list(job.averaging.steps) == [6, 9, 12]
    assert [job.schedule(step) for step in (5, 6, 11)] == pytest.approx([2e-3, 1e-3, 1e-3])
    cycles = job_of(recipe_of(camvid, **swa, **{"train.swa_cycle": 2}))
    assert [cycles.schedule(step) for step in (6, 11)] == pytest.approx([1e-3 * (1 - 0.8 / 6), 2e-4])


@pytest.mark.parametrize(("asked", "momentum"), [(None, 0.1), (0.01, 0.01), ("average", None)])
def test_running_statistics_follow_as_the_recipe_says(camvid, asked, momentum):
    job = job_of(recipe_of(camvid, **{"train.norm_momentum": asked}))
    assert {module.momentum for module in job.model.modules() if isinstance(module, _BatchNorm)} == {momentum}


@pytest.mark.parametrize("key", ["precise_norms", "norm_momentum"])
def test_statistics_of_frozen_norms_are_not_to_be_set_also_of_a_network_of_the_callers(camvid, key):
    recipe = recipe_of(camvid, **{f"train.{key}": "average" if key == "norm_momentum" else True})
    data = data_of(recipe)
    loader = make_train_loader(recipe, data)
    model = make_model(recipe, make_task(recipe, data), data.info).eval()
    make_job(recipe, data, loader, model=model, stop=StopRequest())
    frozen = load_recipe(recipe, {"model.frozen": [name for name, _ in model.named_children()]})
    with pytest.raises(RecipeError, match=rf"train\.{key} is set and every batch norm of the network is frozen"):
        make_job(frozen, data, loader, model=model, stop=StopRequest())


def test_batch_is_the_largest_power_of_two_that_fits_and_no_larger_than_the_set(camvid, monkeypatch, caplog):
    recipe = recipe_of(camvid, **{"train.batch": "auto"})  # of 5 training images
    caplog.set_level("INFO")
    assert with_fitting_batch(recipe, data_of(recipe)).train.batch == 4
    assert "train.batch is 4, the most that fits here; train.lr stays 0.002" in caplog.text
    monkeypatch.setattr(batch, "MOST", 3)
    assert with_fitting_batch(recipe, data_of(recipe)).train.batch == 2
    with pytest.raises(RecipeError, match=r"train\.batch is auto, and batches of this data set must be known"):
        _ = recipe.train.images


def test_training_batches_are_shuffled_and_evaluation_batches_are_not(camvid):
    recipe = recipe_of(camvid)
    data = data_of(recipe)
    train = torch.cat([batch["index"] for batch in make_train_loader(recipe, data).stream(0, 0, 2)]).tolist()
    val = make_eval_loader(recipe, data.val.samples, data.preprocessing)
    assert train[:6] != train[6:]
    assert sorted(train[:6]) == list(range(6))
    assert torch.cat([batch["index"] for batch in val.stream(0, 0, 1)]).tolist() == [0, 1, 2]


def test_only_a_run_shares_its_evaluation_among_processes(camvid, monkeypatch):
    recipe = recipe_of(camvid)
    data = data_of(recipe)
    monkeypatch.setattr(loaders, "world_size", lambda: 2)
    alone = make_eval_loader(recipe, data.val.samples, data.preprocessing)
    shared = make_eval_loader(recipe, data.val.samples, data.preprocessing, is_shared=True)
    assert isinstance(alone.order, Sequential)
    assert isinstance(shared.order, WholeBatches)


def test_order_is_the_recipes_and_shuffled_where_it_says_none(camvid):
    assert recipe_of(camvid).data.order == {"shuffled": {}}
    recipe = recipe_of(camvid, **{"data.order": "grouped", "data.repeat": 2})
    assert recipe.data.order == {"grouped": {"by": "size"}}
    loader = make_train_loader(recipe, data_of(recipe))
    assert isinstance(loader.order, Grouped)
    assert loader.order.num_samples == 12


def test_image_of_another_size_is_named_before_it_meets_others_in_a_batch(camvid):
    recipe = recipe_of(camvid, **{"data.train_size": None, "data.augment": []})
    data = data_of(recipe)
    loader = make_train_loader(recipe, data)
    require_one_size(recipe, loader)
    loader.samples.sizes_hw = [(48, 64)] * (len(loader.samples) - 1) + [(40, 64)]
    with pytest.raises(DataError, match=r"is 64x\d+ and others of its batch are 64x\d+: set data.size"):
        make_job(recipe, data, loader, model=None, stop=StopRequest())
    require_one_size(recipe_of(camvid, **{"data.train_size": [16, 16]}), loader)
    require_one_size(recipe, make_train_loader(recipe_of(camvid, **{"data.order": "grouped"}), data))


def test_images_of_several_sizes_meet_in_a_batch_where_they_are_shortened(camvid):
    chosen = {"data.size": None, "data.train_size": None, "data.shorter": 24, "data.longest": 40, "data.multiple": 16}
    recipe = recipe_of(camvid, **chosen, **{"data.augment": [{"translate": {"pixels": 20}}]})
    data = data_of(recipe)
    assert (data.preprocessing.shorter, data.preprocessing.longest, data.preprocessing.size_hw) == (24, 40, None)
    loader = make_train_loader(recipe, data)
    loader.samples.sizes_hw = [(48, 64)] * (len(loader.samples) - 1) + [(40, 64)]
    require_one_size(recipe, loader)
    (height, width), *_ = data.train.samples.sizes_hw
    batch = next(iter(loader.stream(0, 0, 1)))
    assert batch["size_hw"][0].tolist() == [24, 24 * width // height]
    assert batch["image"].shape[-2:] == (32, 32)
    assert training_setup(recipe, data).keeps_scale is False
    shifting = recipe_of(camvid, **chosen, **{"data.augment": [{"translate": {"pixels": 24}}]})
    with pytest.raises(RecipeError, match="by up to 24 pixels and the smallest has a side of 24"):
        make_train_loader(shifting, data)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("iou_crop", "iou_crop, which chooses windows by boxes, and samples give image, label: take resized_crop"),
        ("mosaic", "mosaic, which makes one picture of several, and samples give label, of which a picture has one"),
    ],
)
def test_augmentations_of_boxes_are_refused_where_there_are_labels(name, words, tmp_path):
    root = {"data.root": str(write_tree("folder", tmp_path)), "data.workers": 0}
    recipe = load_recipe("folder_resnet18", root | {"data.augment": [name]})
    with pytest.raises(RecipeError, match=words):
        make_train_loader(recipe, data_of(recipe))


def test_anchors_that_are_shares_of_a_padded_input_are_refused():
    chosen = {"data.count": 8, "data.shorter": 48, "data.longest": 64, "model.width": 8, "model.extra_width": 8}
    chosen["model.anchors"] = []
    data = data_of(load_recipe("scenes_ssd", chosen))
    make = partial(make_model, task=Detection(data.info), info=data.info)
    with pytest.raises(RecipeError, match=r"anchors of ssd are shares .* data\.shorter .* set data\.size"):
        make(load_recipe("scenes_ssd", chosen))
    make(load_recipe("scenes_ssd", chosen | {"model.anchors": [8, 8] * 5}))
    make(load_recipe("scenes_ssd", chosen | {"data.shorter": None, "data.longest": None, "data.size": [48, 64]}))


@pytest.mark.parametrize("name", ["iou_crop", "resized_crop"])
def test_steps_that_stretch_are_refused_where_evaluation_does_not(name):
    chosen = {"data.count": 8, "data.size": [48, 64], "data.workers": 0, "data.augment": [name]}
    data = data_of(recipe := load_recipe("scenes_ssd", chosen))
    make_train_loader(recipe, data)
    with pytest.raises(RecipeError, match=rf"{name}, which stretches a window .* data\.rule is fit"):
        make_train_loader(load_recipe("scenes_ssd", chosen | {"data.rule": "fit"}), data)
    if name == "iou_crop":
        with pytest.raises(RecipeError, match=r"data\.size is not set"):
            make_train_loader(load_recipe("scenes_ssd", chosen | {"data.size": None}), data)


def test_joining_images_of_a_batch_is_refused_where_processes_share_it(camvid, monkeypatch):
    recipe = recipe_of(camvid, **{"data.augment": ["mosaic"]})
    data = data_of(recipe)
    assert len(next(iter(make_train_loader(recipe, data).stream(0, 0, 1)))["image"]) > 1
    monkeypatch.setattr(loaders, "world_size", lambda: 2)
    with pytest.raises(
        RecipeError, match="mosaic, which joins images of one batch, and each of 2 processes has a part"
    ):
        make_train_loader(recipe, data)


def test_order_by_class_needs_labels(camvid):
    recipe = recipe_of(camvid, **{"data.order": "weighted"})
    with pytest.raises(RecipeError, match="goes by the label of each image, and the set gives image, mask only"):
        make_train_loader(recipe, data_of(recipe))


def test_training_normalises_an_image_between_bars_as_evaluation_does():
    fit = Preprocessing(size_hw=(32, 32), rule="fit", normalization="image")
    image = torch.randint(0, 256, (3, 16, 32), generator=torch.Generator().manual_seed(0)).byte()
    item = {"image": image, "index": torch.tensor(0)}
    training = Augment([], size_hw=(32, 32), preprocessing=fit, info=DataInfo(), seed=0)
    prepare = Prepare(fit, torch.device("cpu"))
    trained, evaluated = (prepare(transform([item], 0))["image"] for transform in (training, Collate(fit)))
    assert torch.equal(trained, evaluated)
    assert abs(float(trained[0, :, 8:24].mean())) < 1e-5


def test_prepare_carries_lists_and_refuses_what_is_no_tensor():
    prepare = Prepare(Preprocessing(channels=1, mean=(0.5,), std=(0.5,)), torch.device("cpu"))
    images = [torch.full((1, 2, 2), 255, dtype=torch.uint8), torch.zeros(1, 3, 2, dtype=torch.uint8)]
    prepared = prepare({"image": images, "boxes": [torch.zeros(0, 4), torch.ones(2, 4)]})
    assert [image.unique().tolist() for image in prepared["image"]] == [[1.0], [-1.0]]
    assert [tuple(image.shape) for image in prepared["image"]] == [(1, 2, 2), (1, 3, 2)]
    assert [len(boxes) for boxes in prepared["boxes"]] == [0, 2]
    with pytest.raises(TypeError, match="captions of a batch is or holds a str"):
        prepare({"image": images, "captions": ["a", "b"]})


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_shared_between_processes_only_where_there_are_workers(camvid, workers):
    data = data_of(recipe_of(camvid, **{"data.workers": workers, "data.memory": True}))
    assert data.train.samples[0]["image"].is_shared() == (workers > 0)


def test_class_weights_are_read_from_the_training_masks(camvid):
    recipe = recipe_of(camvid, **{"task.class_weights": "median"})
    data = data_of(recipe)
    pixels = torch.zeros(11)
    for i in range(len(data.train.samples)):
        mask = data.train.samples[i]["mask"].flatten().long()
        pixels += torch.bincount(mask[mask != 255], minlength=11)
    weights = segmentation(make_task(recipe, data)).class_weights
    assert weights is not None
    rare, common = pixels.argmin(), pixels.argmax()
    assert weights[rare] > weights[common]


def test_config_keeps_the_class_weights_of_training(camvid):
    recipe = recipe_of(camvid, **{"task.class_weights": "median"})
    data = data_of(recipe)
    task = segmentation(make_task(recipe, data))
    network = {"name": "unet", "backbone": None, "options": {}}
    parts = {"options": recipe.task.options, "preprocessing": data.preprocessing, "info": data.info, "custom": []}
    kept = describe(network, ("segmentation", task), **parts)["task"]
    again = segmentation(
        tasks.build(kept["name"], data.info, options=kept["options"], preprocessing=data.preprocessing)
    )
    assert task.class_weights is not None
    assert again.class_weights is not None
    assert torch.equal(again.class_weights, task.class_weights)


def test_reader_without_a_root_is_refused(camvid):
    recipe = load_recipe("camvid_unet")
    with pytest.raises(RecipeError, match=r"reader camvid needs a folder; say which: data\.root=DIR"):
        make_reader(recipe, "train")


def test_task_that_needs_more_than_the_reader_gives_is_named(camvid):
    recipe = load_recipe("folder_resnet18", {"data.root": str(camvid), "data.reader": "camvid"})
    with pytest.raises(RecipeError, match=r"task classification needs label, but reader camvid gives image, mask"):
        make_reader(recipe, "train")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_an_environment_fault(camvid):
    with pytest.raises(EnvironmentFault, match="no GPU here"):
        make_device(recipe_of(camvid, **{"train.device": "cuda"}))


def test_one_core_still_gets_a_worker(camvid, monkeypatch):
    monkeypatch.setattr("unpool.launched.cores", lambda: 1)
    samples = data_of(recipe_of(camvid, **{"data.workers": 0})).train.samples
    assert num_workers(recipe_of(camvid, **{"data.workers": "auto", "train.epochs": 10_000}), samples) == 1


def test_a_small_run_starts_no_process(camvid):
    samples = data_of(recipe_of(camvid, **{"data.workers": 0})).train.samples
    assert num_workers(recipe_of(camvid, **{"data.workers": "auto"}), samples) == 0
    assert num_workers(recipe_of(camvid, **{"data.workers": 2}), samples) == 2


@pytest.mark.parametrize(("step", "options"), [("rotate", {"degrees": 5}), ("scale", {}), ("resized_crop", {})])
def test_steps_that_mix_pixels_are_refused_for_files_that_are_noisy(tmp_path, step, options):
    root = {"data.root": str(write_tree("image_pairs", tmp_path)), "data.workers": 0}
    recipe = load_recipe("pairs_unet", root | {"data.augment": [{"crop": {}}, {step: options}]})
    with pytest.raises(RecipeError, match=rf"data\.augment has {step}, which mixes neighbouring pixels"):
        warnings_of(recipe)
    kept = [{"crop": {}}, {"flip": {}}, {"turn": {}}, {"translate": {"fraction": 0.1}}]
    recipe = load_recipe("pairs_unet", root | {"data.augment": kept})
    assert not any("mixes" in warning for warning in warnings_of(recipe))


def test_shift_that_may_move_all_of_an_image_out_of_view_is_refused(camvid):
    side = min(map(min, data_of(recipe_of(camvid)).train.samples.sizes_hw))
    for pixels in (side, 10_000):
        recipe = recipe_of(camvid, **{"data.augment": [{"translate": {"pixels": pixels}}]})
        with pytest.raises(RecipeError, match=rf"up to {pixels} pixels .* a side of {side}.* translate.pixels below"):
            make_train_loader(recipe, data_of(recipe))
    recipe = recipe_of(camvid, **{"data.augment": [{"translate": {"pixels": side - 1}}]})
    make_train_loader(recipe, data_of(recipe))


@pytest.mark.parametrize("window", [(16, 16), (16, 300)])
def test_images_smaller_than_the_window_are_told_where_clean_images_are_learned(tmp_path, window):
    root = {"data.root": str(write_tree("image_pairs", tmp_path)), "data.workers": 0}
    recipe = load_recipe("pairs_unet", root | {"data.train_size": list(window)})
    count = len(data_of(recipe).train.samples)
    expected = [] if window == (16, 16) else [f"{count} of {count} training images are smaller than data.train_size"]
    assert [warning[: len(expected[0])] for warning in warnings_of(recipe)] == expected


def test_images_smaller_than_the_window_are_not_told_where_masks_are_learned(camvid):
    recipe = recipe_of(camvid, **{"data.train_size": [16, 3000]})
    assert warnings_of(recipe) == []


UNPAIRED = DataInfo(keypoints=("nose", "eye_1", "eye_2"))
NONE = "no joint trades places in a mirror: nose, eye_1, eye_2; name the two sides left_ and right_ (left_eye"


@pytest.mark.parametrize(
    ("steps", "flip_test", "expected"),
    [
        (("flip",), True, [f"data.augment has flip and task.flip_test is set, but {NONE}"]),
        (("flip",), False, [f"data.augment has flip, but {NONE}"]),
        (("turn",), True, [f"task.flip_test is set, but {NONE}"]),
        (("turn",), False, []),
    ],
)
def test_joints_without_sides_are_told_where_images_are_mirrored(steps, flip_test, expected):
    setup = TrainingSetup(("image",), steps, (), None, keeps_scale=True, sizes_hw=[])

    def warned(info):
        return Pose(info, flip_test=flip_test).warnings(setup)

    assert [warning[: len(expected[0])] for warning in warned(UNPAIRED)] == expected
    assert warned(DataInfo(keypoints=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),))) == []
    assert warned(DataInfo(keypoints=("nose",))) == []


@pytest.mark.parametrize(
    ("order", "size", "group"),
    [
        ("grouped", None, "side"),
        ("shuffled", [8, 8], "set"),
        ("weighted", [8, 8], "class"),
        ({"p_times_k": {"per_class": 2}}, None, "both"),
    ],
    ids=["grouped", "shuffled", "weighted", "p_times_k"],
)
def test_image_that_cannot_be_read_is_replaced_by_one_that_fits_its_batch(order, size, group, tmp_path, monkeypatch):
    """The same size where images are not resized, the same class where batches are made by class; else any."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for i in range(24):
        path = tmp_path / "set" / "train" / ("ant", "bee")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = (40, 48)[i // 2 % 2]
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (side, side, 3), np.uint8)).save(path)
    shutil.copytree(tmp_path / "set" / "train", tmp_path / "set" / "val")
    damaged = tmp_path / "set" / "train" / "bee" / "1.png"
    damaged.write_bytes(damaged.read_bytes()[:900])
    chosen = {"data.size": size, "data.train_size": None, "data.order": order, "data.verify": "headers"}
    chosen |= {"data.root": str(tmp_path / "set"), "data.memory": False, "data.allow_duplicates": True}
    recipe = load_recipe("folder_resnet18", {**chosen, "data.augment": [], "data.workers": 0, "train.batch": 4})
    samples = make_train_loader(recipe, data_of(recipe)).samples
    assert isinstance(samples, Replacing)
    drawn = [samples.read(list(samples.names).index("train/bee/1.png"), epoch) for epoch in range(60)]
    sides, classes = {len(one["image"][0]) for one in drawn}, {int(one["label"]) for one in drawn}
    assert sides == ({40} if group in ("side", "both") else {40, 48})
    assert classes == ({1} if group in ("class", "both") else {0, 1})
