"""What a run decides before its first step is decided alike by all that reads its recipe."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import unpool
from unpool import probing
from unpool.assemble.augmented import show_augment
from unpool.assemble.batch import DRAWS, _accepted, _largest_input, with_fitting_batch
from unpool.assemble.data import read_data
from unpool.assemble.loaders import make_train_order
from unpool.assemble.rate_range import find_lr
from unpool.assemble.settling import settled
from unpool.assemble.signals import show_init
from unpool.errors import DataError, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import load_recipe

SIZES_HW = [(20, 30), (30, 20)] * 3 + [(24, 24)] * 2  # of two classes, four images each
OPEN = {
    **{"train.batch": "auto", "train.epochs": 1, "train.warmup_epochs": 2, "data.workers": 0},
    **{"data.augment": [{"pca_color": {"axes": "training"}}]},
}


SQUARE = {"data.size": [32, 32], "model.width": 4}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for number, (height, width) in enumerate(SIZES_HW):
        values = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
        folder = tmp_path / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.numpy()).save(folder / f"{number}.png")
    return tmp_path / "photos"


def recipe_of(photos, **more):
    small = {"data.root": str(photos), "model.name": "cifar_resnet20", "data.val_share": 0.25}
    values = {"data.workers": 0, "data.size": None, "data.augment": [], "train.batch": "auto", "model.weights": None}
    return load_recipe("folder_resnet18", {**small, **values, "data.allow_duplicates": True, **more})


VERBS = {
    "find-lr": lambda values, photos: find_lr("scenes_unet", values),
    "show augment": lambda values, photos: show_augment("scenes_unet", values),
    "show init": lambda values, photos: show_init("scenes_unet", values, inits=["he"]),
    "probe": lambda values, photos: unpool.probe(recipe_of(photos, **OPEN, **SQUARE), run=photos.parent / "run"),
    "features": lambda values, photos: probing.features(recipe_of(photos, **OPEN, **SQUARE)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_settle_what_a_recipe_leaves_open_as_a_run_does(verb, photos, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr("unpool.assemble.rate_range.range_test", lambda job, steps: job)
    VERBS[verb](OPEN | {"data.count": 8, "model.width": 4}, photos)
    for said in ("the warm-up is shortened", "pca_color.axes, counted in", "train.batch is "):
        assert caplog.text.count(said) == 1


def test_settled_recipe_stays_as_it_is():
    recipe = load_recipe("scenes_unet", OPEN | {"data.count": 8, "model.width": 4})
    data = read_data(recipe)
    done = settled(recipe, data)
    assert done.train.batch == 8
    assert done.train.warmup_epochs == 0.2
    (step,) = done.data.augment
    assert len(step["pca_color"]["axes"]) == 3
    assert settled(done, data) is done


def test_batch_of_a_grouped_order_is_found_though_sizes_differ(photos, caplog):
    grouped = {"data.order": {"grouped": {"by": "size"}}, "train.drop_last": True}
    recipe = recipe_of(photos, **grouped)
    data = read_data(recipe)
    assert with_fitting_batch(recipe, data).train.batch == 2  # no group has four training images
    assert with_fitting_batch(recipe_of(photos, **grouped, **{"data.repeat": 2}), data).train.batch == 4
    with pytest.raises(DataError, match="and others of its batch are"):
        with_fitting_batch(recipe_of(photos), data)


@pytest.mark.parametrize(
    ("per_class", "count", "sizes"), [(1, 1, [2]), (1, 2, [1]), (3, 1, [3, 6]), (3, 2, [3]), (2, 1, [2, 4])]
)
def test_batches_to_try_are_those_that_the_order_accepts(photos, per_class, count, sizes):
    recipe = recipe_of(photos, **{"data.order": {"p_times_k": {"per_class": per_class}}})
    samples = read_data(recipe).train.samples
    assert len(samples) == 6
    assert _accepted(recipe, samples, count) == sizes


@pytest.mark.parametrize(("asked", "per_class", "batch"), [(64, 4, 4), (64, 3, 6), (4, 4, 4)])
def test_set_smaller_than_a_batch_is_taken_in_whole_shares_of_classes(photos, asked, per_class, batch):
    order = {"data.order": {"p_times_k": {"per_class": per_class}}}
    recipe = recipe_of(photos, **{"train.batch": asked}, **order)
    samples = read_data(recipe).train.samples
    assert len(samples) == 6
    assert make_train_order(recipe, samples).batch == batch


def test_order_that_accepts_no_batch_is_refused_in_its_own_words(photos):
    recipe = recipe_of(photos, **{"data.order": {"p_times_k": {"per_class": 9}}})
    with pytest.raises(RecipeError, match="p_times_k takes 9 of each class"):
        _accepted(recipe, read_data(recipe).train.samples, 1)


@pytest.mark.parametrize(("groups", "expected"), [([[0, 1, 2, 3, 4]], [1, 4]), ([[2, 4], [0, 1], [3]], [1, 0])])
def test_input_that_is_tried_is_as_high_and_as_wide_as_a_padded_batch_can_be(groups, expected):
    # resized to a shorter side of 20 and at most 50: (20, 40), (40, 20), (25, 20), (20, 20) and (20, 50)
    sizes = [(200, 400), (40, 20), (50, 40), (900, 900), (40, 100)]
    drawn = []

    def batch_of(indices, epoch):
        drawn.append(indices)
        return {"image": torch.zeros(2, 1, 8, 8 + (epoch == DRAWS - 1)), "epoch": epoch}

    loader = SimpleNamespace(samples=SimpleNamespace(sizes_hw=sizes), batch_of=batch_of)
    data = SimpleNamespace(preprocessing=Preprocessing(shorter=20, longest=50))
    recipe = SimpleNamespace(data=SimpleNamespace(size=None, train_size=None))
    batch = _largest_input(recipe, data, loader, groups)
    assert drawn == [expected] * DRAWS
    assert batch["epoch"] == DRAWS - 1
