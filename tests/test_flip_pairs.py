"""The joints that trade places in a mirror: named by the recipe, by the reader, or by their names."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.data.readers.trees import coco, lsp
from tests.small_figures import HOURGLASS
from unpool import conduct, run
from unpool.assemble.data import read_data, training_setup
from unpool.assemble.mirror import with_flip_pairs
from unpool.data.augment import Augment
from unpool.data.augment.flip import Flip
from unpool.data.figures import Figures
from unpool.data.order import Sequential
from unpool.errors import DataError, RecipeError
from unpool.predictor import load
from unpool.recipe import load_recipe
from unpool.task import TrainingSetup
from unpool.tasks.people import People
from unpool.tasks.pose import Pose
from unpool.types import DataInfo

ANIMAL = DataInfo(keypoints=("nose", "paw_1", "paw_2", "left_eye", "right_eye", "RAnkle"), limbs=((0, 1),))
CHOSEN = {"data.flip_pairs": [["left_hip", "right_hip"]]}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("recipe", "classes", "says"),
    [
        ("folder_resnet18", ("turn_left", "cat", "turn_right"), "by name turn_left and turn_right are sides"),
        ("scenes_unet", ("left_lane", "right_hand", "sky"), "by name left_lane, right_hand are sides"),
        ("folder_resnet18", ("size_S", "size_L", "size_R"), None),
        ("figures_hourglass", ("left", "right"), None),  # which learns joints
    ],
)
def test_flip_in_training_warns_of_classes_that_are_sides(recipe, classes, says):
    loader = SimpleNamespace(order=Sequential(8, batch=1))
    for flips in (True, False):
        loaded = load_recipe(recipe, {"data.augment": [{"flip": {}}] if flips else ["crop"], "train.batch": 1})
        warnings = conduct._data_warnings(loaded, DataInfo(classes=classes), loader)
        assert len(warnings) == (flips and says is not None)
        assert all("data.augment has flip, which keeps the class" in one and says in one for one in warnings)


def named(info):
    return [(info.keypoints[a], info.keypoints[b]) for a, b in info.flip_pairs]


def test_pairs_of_the_recipe_replace_those_of_the_names():
    assert named(with_flip_pairs(ANIMAL, None)) == [("left_eye", "right_eye")]
    assert named(with_flip_pairs(ANIMAL, [("paw_1", "paw_2")])) == [("paw_1", "paw_2")]
    assert named(with_flip_pairs(replace(ANIMAL, flip_pairs=((1, 2),)), None)) == [("paw_1", "paw_2")]
    assert with_flip_pairs(ANIMAL, []).flip_pairs == ()
    assert with_flip_pairs(DataInfo(classes=("a",)), None) == DataInfo(classes=("a",))


def test_log_says_who_trades_places_and_who_is_taken_as_lying_on_the_middle(caplog):
    with caplog.at_level("DEBUG"):
        with_flip_pairs(ANIMAL, None)
        with_flip_pairs(ANIMAL, [])
    first, second = caplog.messages
    assert first.startswith(
        "in a mirror trade places: left_eye and right_eye; taken as lying on the middle: nose, paw_1, paw_2, RAnkle ("
    )
    assert second.startswith("in a mirror trade places: no joints; taken as lying on the middle: nose, paw_1, paw_2, l")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([("left_eye", "rigth_eye")], "'rigth_eye', which is no joint of the data; did you mean 'right_eye'"),
        ([("left_eye", "Right_Eye")], "'Right_Eye', which is no joint of the data; did you mean 'right_eye'"),
        ([("paw_1", "paw_2"), ("paw_2", "nose")], "names 'paw_2' 2 times; expected each joint once"),
        ([("nose", "nose")], "names 'nose' 2 times"),
    ],
)
def test_wrong_pairs_of_the_recipe_are_refused(chosen, message):
    with pytest.raises(RecipeError, match=message):
        with_flip_pairs(ANIMAL, chosen)


def test_pairs_of_a_set_without_joints_are_refused():
    with pytest.raises(RecipeError, match=r"data\.flip_pairs is set and the data has no joints"):
        with_flip_pairs(DataInfo(classes=("a",)), [])


@pytest.mark.parametrize("pairs", [((0, 6),), ((0, 1), (1, 2)), ((2, 2),), ((-1, 0),)])
def test_wrong_pairs_of_a_reader_are_refused(pairs):
    with pytest.raises(DataError, match=r"the training reader's info: .* expected joints of 0 to 5, each once at most"):
        with_flip_pairs(replace(ANIMAL, flip_pairs=pairs), None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("left_hip", 'data.flip_pairs is "left_hip"; it must be a list'),
        ("[left_hip, right_hip]", "flip_pairs"),
        ("[[a, b, c]]", "flip_pairs"),
    ],
)
def test_pairs_that_are_no_pairs_are_mistakes_of_the_recipe(value, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe("figures_hourglass", [f"data.flip_pairs={value}"])


@pytest.mark.parametrize("recipe", ["coco_simple_baselines", "coco_openpose", "lsp_hourglass", "figures_hourglass"])
def test_every_reader_with_joints_takes_pairs(recipe, tmp_path):
    tree = {"coco": coco, "lsp": lsp}.get(recipe.split("_")[0])
    more = {"data.root": str(tree(tmp_path))} if tree else {"data.count": 4, "data.side": 40}
    data = read_data(load_recipe(recipe, {**CHOSEN, **more, "data.workers": 0}))
    assert named(data.info) == [("left_hip", "right_hip")]


def setup(*steps, chooses_pairs=False):
    return TrainingSetup(("image",), steps, (), None, keeps_scale=True, sizes_hw=[], chooses_pairs=chooses_pairs)


@pytest.mark.parametrize("task", [Pose, People])
def test_joints_with_a_side_and_without_a_partner_are_named_though_others_pair(task):
    info = with_flip_pairs(ANIMAL, None)
    (warning,) = task(info).warnings(setup("flip"))
    assert warning.startswith(
        "data.augment has flip, but these joints are left or right and have no partner to trade places with in a "
        "mirror: RAnkle; these are taken as lying on the middle: nose, paw_1, paw_2; name the two sides"
    )
    assert task(info).warnings(setup("turn")) == []
    plain = DataInfo(keypoints=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),), limbs=((0, 1),))
    assert task(plain).warnings(setup("flip")) == []


def test_no_pairs_by_choice_are_no_mistake_and_by_chance_are_one():
    info = DataInfo(keypoints=("nose", "paw_1", "paw_2"))
    assert Pose(info, flip_test=True).warnings(setup("flip", chooses_pairs=True)) == []
    assert len(Pose(info, flip_test=True).warnings(setup("flip"))) == 1


@pytest.mark.parametrize(("chosen", "expected"), [({}, False), (CHOSEN, True), ({"data.flip_pairs": []}, True)])
def test_setup_says_whether_the_recipe_chooses_pairs(chosen, expected):
    recipe = load_recipe("figures_hourglass", {"data.count": 4, "data.side": 40, "data.workers": 0} | chosen)
    assert training_setup(recipe, read_data(recipe)).chooses_pairs == expected


def test_chosen_pairs_are_exchanged_in_training_kept_in_the_model_and_used_in_prediction(tmp_path):
    settings = HOURGLASS | {"train.epochs": 1, "task.flip_test": True, "data.augment": [{"flip": {"p": 1.0}}], **CHOSEN}
    run.train("figures_hourglass", settings, run=tmp_path / "run")
    predictor = load(tmp_path / "run")
    assert named(predictor.info) == [("left_hip", "right_hip")]
    hips = [predictor.info.keypoints.index(name) for name in ("left_hip", "right_hip")]
    order = list(range(14))
    order[hips[0]], order[hips[1]] = hips[1], hips[0]
    assert predictor.task.order == order
    with pytest.raises(RecipeError, match=r"data\.flip_pairs"):
        run.evaluate(tmp_path / "run", {"data.flip_pairs": []})


def test_flip_exchanges_the_joints_of_the_pairs_in_effect_and_no_others():
    small = {"data.count": 4, "data.side": 40, "data.size": [40, 40], "data.workers": 0}
    data = read_data(load_recipe("figures_hourglass", small | CHOSEN))
    sample = data.train.samples[0]
    augment = Augment([Flip(p=1.0)], size_hw=None, preprocessing=data.preprocessing, info=data.info, seed=0)
    mirrored, joints = augment([sample], 0)["keypoints"][0], sample["keypoints"]
    names = data.info.keypoints
    for name, source in (("left_hip", "right_hip"), ("right_hip", "left_hip"), ("left_knee", "left_knee")):
        expected = torch.stack([39 - joints[names.index(source), 0], joints[names.index(source), 1]])
        assert torch.allclose(mirrored[names.index(name)], expected, atol=1e-4)


def test_reader_of_ones_own_without_pairs_has_those_of_its_names():
    train, val = (Figures(None, split, count=4, side=40) for split in ("train", "val"))
    for reader in (train, val):
        reader.info = replace(reader.info, flip_pairs=())
    data = read_data(load_recipe("figures_hourglass", {"data.workers": 0}), train=train, val=val)
    assert len(data.info.flip_pairs) == 6
