"""Generated stick figures: pure, labelled as drawn."""

import pytest
import torch

from tests.data.test_synthetic import lone_values
from unpool.data.figures import Figures
from unpool.errors import DataError
from unpool.ops.fields import affinity_fields
from unpool.ops.heatmaps import gaussians
from unpool.ops.parsing import parse
from unpool.ops.skeleton import LSP
from unpool.types import BATCH_KEYS


@pytest.mark.parametrize("people", [1, 3])
def test_figures_depend_on_seed_split_and_index_only(people):
    one, again = (Figures(count=4, side=48, people=people) for _ in range(2))
    assert one[2]["image"].equal(again[2]["image"])
    assert not one[2]["image"].equal(one[3]["image"])
    assert not one[2]["image"].equal(Figures(split="val", count=4, side=48, people=people)[2]["image"])
    assert not one[2]["image"].equal(Figures(seed=1, count=4, side=48, people=people)[2]["image"])


@pytest.mark.parametrize("people", [1, 3])
def test_figures_give_what_they_say(people):
    figures = Figures(split="val", count=2, side=48, people=people)
    sample = figures[0]
    assert tuple(sample) == figures.gives
    assert set(figures.gives) <= set(BATCH_KEYS)
    assert sample["image"].shape == (3, *figures.measure(0).size_hw)
    assert set(figures.targets(0)) == set(sample) - {"image"}
    with pytest.raises(IndexError):
        figures[2]


def test_joints_lie_on_their_figure():
    bare = Figures(count=20, side=64, occlusion=0)
    shown = torch.stack([bare[i]["visible"] for i in range(20)])
    assert shown.float().mean() > 0.95
    assert min(float(bare[i]["area"]) for i in range(20)) > 100


def test_things_in_front_hide_joints():
    covered = Figures(count=20, side=64, occlusion=6)
    shown = torch.stack([covered[i]["visible"] for i in range(20)]).float().mean()
    assert 0.5 < shown < 0.95


def test_things_in_front_lie_wholly_inside_the_picture():
    """Their ends are 15 % of the side from the border at least, and half their width is 9 % of it at most."""
    bare, covered = (Figures(count=30, side=100, occlusion=occlusion) for occlusion in (0, 6))
    for i in range(30):  # the same figure: things are drawn after it; noise of a standard deviation of 6 is not
        changed = (bare[i]["image"].int() - covered[i]["image"].int()).abs().amax(0) > 70
        rows, columns = changed.nonzero().unbind(1)
        assert ((rows >= 6) & (rows <= 94) & (columns >= 6) & (columns <= 94)).all()


def test_bright_and_dark_limbs_stay_so_under_noise():
    """A value beyond 0 to 255 would become one of the other end, alone among its neighbours."""
    figures = Figures(count=8)
    assert sum(lone_values(figures[i]["image"]) for i in range(8)) == 0


def test_figures_face_the_viewer():
    figures = Figures(count=20, side=64)
    joints = torch.stack([figures[i]["keypoints"] for i in range(20)])
    left, right, neck = (joints[:, LSP.index(name)] for name in ("left_shoulder", "right_shoulder", "neck"))
    hips = (joints[:, LSP.index("left_hip")] + joints[:, LSP.index("right_hip")]) / 2
    across, down = left - right, hips - neck
    assert (across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0] > 0).all()


def test_many_people_have_boxes_and_no_joints_where_they_are_hidden():
    figures = Figures(count=10, side=96, people=3)
    for sample in (figures[i] for i in range(10)):
        assert len(sample["people"]) == len(sample["boxes"]) <= 3
        known = ~sample["people"].isnan().any(2)
        assert known.any(1).all()
        for joints, shown, box in zip(sample["people"], known, sample["boxes"], strict=True):
            assert (joints[shown] >= box[:2] - 1).all()
            assert (joints[shown] <= box[2:]).all()
    assert not torch.cat([~figures[i]["people"].isnan() for i in range(10)]).all()


def test_areas_of_many_people_are_the_pixels_on_which_each_shows():
    bare, covered = (Figures(count=6, side=96, people=3, occlusion=occlusion) for occlusion in (0, 6))
    shares, lost = [], 0.0
    for i in range(6):  # the same people: things are drawn after them
        whole, targets = bare.targets(i), covered.targets(i)
        left, top, right, bottom = whole["boxes"].unbind(1)
        assert whole["areas"].dtype == torch.float32
        assert whole["areas"].shape == (len(whole["people"]),)
        shares += (whole["areas"] / ((right - left) * (bottom - top))).tolist()
        lost += float(whole["areas"].sum() - targets["areas"].sum())
    assert all(0.05 < share < 0.9 for share in shares)
    assert max(shares) - min(shares) > 0.1, "no fixed share of the box"
    assert lost > 0, "who is hidden covers less"


def test_people_whose_necks_are_hidden_hold_together_by_their_trunks():
    person = torch.rand(1, 14, 2, generator=torch.Generator().manual_seed(0)) * 20 + 2
    person[0, LSP.index("neck")] = torch.nan
    limbs = Figures(people=2).info.limbs
    maps = gaussians(person, (28, 28), 1.0).amax(0)
    found = parse(maps, affinity_fields(person, limbs, (28, 28), 1.0), limbs)
    assert found.joints.isnan().any(2).sum(1).tolist() == [2], "the head and the neck alone are missing"


def test_figures_refuse_what_cannot_be_drawn():
    with pytest.raises(DataError, match="no split 'all'"):
        Figures(split="all")
    for wrong, words in (
        ({"people": 0}, "people 0"),
        ({"side": 31}, "side 31"),
        ({"occlusion": -1}, "occlusion -1"),
        ({"count": 0}, "number 0"),
    ):
        with pytest.raises(DataError, match=words):
            Figures(**wrong)
    assert Figures(count=1, side=32, people=1, occlusion=0)[0]["image"].shape == (3, 32, 32)
