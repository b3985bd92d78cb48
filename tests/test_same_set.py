"""Names of joints stand for places in a network's answer: another order is another answer."""

from dataclasses import replace

import pytest

from tests.small_figures import HOURGLASS
from unpool import run
from unpool.assemble.data import read_data
from unpool.data.figures import Figures
from unpool.errors import DataError
from unpool.recipe import load_recipe
from unpool.run_directory import RunDirectory
from unpool.same_set import check_same_set

ONE = HOURGLASS | {"train.epochs": 1}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run.train("figures_hourglass", ONE, run=tmp_path / "run")
    return tmp_path / "run"


def turned(split):
    """The same figures, their joints called in the reverse order."""
    reader = Figures(None, split, count=6, side=40)
    reader.info = replace(reader.info, keypoints=reader.info.keypoints[::-1])
    return reader


def test_evaluation_of_joints_in_another_order_is_refused(trained):
    with pytest.raises(DataError, match=r"the reader differs in its names: the joints are \['head_top', 'neck'"):
        run.evaluate(trained, reader=turned("val"))


def test_training_on_joints_in_two_orders_is_refused(tmp_path):
    with pytest.raises(DataError, match="the validation reader differs in its names: the joints are"):
        run.train("figures_hourglass", ONE, run=tmp_path / "run", val=turned("val"))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"keypoints": tuple(f"joint {i}" for i in range(14))}, "the joints are"),
        ({"flip_pairs": ((0, 5),)}, "the joints that trade places in a mirror are"),
        ({"limbs": ((0, 1),)}, "the limbs are"),
        ({"classes": ("person",)}, "the classes are"),
    ],
)
def test_resume_meets_the_joints_that_it_began_with(trained, changed, told):
    readers = Figures(None, "train", count=6, side=40), Figures(None, "val", count=6, side=40)
    recipe, directory = load_recipe(trained / "recipe.yaml"), RunDirectory(trained)
    check_same_set(directory, read_data(recipe, train=readers[0], val=readers[1]))
    for reader in readers:
        reader.info = replace(reader.info, **changed)
    with pytest.raises(DataError, match=f"not that of this run: {told}"):
        check_same_set(directory, read_data(recipe, train=readers[0], val=readers[1]))


@pytest.mark.parametrize(("count", "told"), [(7, "train has besides"), (5, "train lacks")])
def test_resume_meets_as_many_images_as_it_began_with(trained, count, told):
    readers = Figures(None, "train", count=count, side=40), Figures(None, "val", count=6, side=40)
    recipe, directory = load_recipe(trained / "recipe.yaml"), RunDirectory(trained)
    with pytest.raises(DataError, match=f"not that of this run: {told}"):
        check_same_set(directory, read_data(recipe, train=readers[0], val=readers[1]))
