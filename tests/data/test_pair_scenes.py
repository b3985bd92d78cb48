"""Generated pairs: the motion and what is hidden are those of the planes that are drawn."""

import numpy as np
import pytest
import torch

from unpool.data.pair_scenes import FlowScenes, StereoScenes
from unpool.data.planes import Plane, draw_texture, see
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.types import Decoding


def planes(motion, nearness=1.0):
    """A still wall, and a square of columns 10 to 15 and rows 4 to 9 in front of it that moves by `motion`."""
    rng = np.random.default_rng(0)
    still, moves = np.eye(2, 3, dtype=np.float32), np.eye(2, 3, dtype=np.float32)
    moves[:, 2] = motion
    wall = Plane("all", (0, 0), (1, 1), 0.0, draw_texture(rng), still, (0.0, 0.0, 0.0))
    square = Plane("rectangle", (12.5, 6.5), (3.5, 3.5), 0.0, draw_texture(rng), moves, (nearness, 0.0, 0.0))
    return [wall, square]


def test_square_before_a_wall_hides_what_a_hand_count_says():
    """In the left image the strip that the square hides in the right one lies to its left, as wide as its disparity."""
    view = see(planes((-3.0, 0.0)), (16, 24), second=False)
    square = np.zeros((16, 24), bool)
    square[4:10, 10:16] = True
    assert np.array_equal(view.motion[..., 0], np.where(square, -3, 0))
    hidden = np.zeros((16, 24), bool)
    hidden[4:10, 7:10] = True
    assert np.array_equal(view.hidden, hidden)
    right = see(planes((-3.0, 0.0)), (16, 24), second=True)
    assert right.motion[4:10, 7:13, 0].tolist() == [[3.0] * 6] * 6
    behind = np.zeros((16, 24), bool)
    behind[4:10, 13:16] = True
    assert np.array_equal(right.hidden, behind)


def test_point_that_leaves_the_frame_is_hidden():
    view = see(planes((10.0, 0.0))[1:], (16, 24), second=False)
    assert view.hidden[6, 10:16].tolist() == [False] * 4 + [True] * 2


def test_plane_of_less_nearness_is_behind():
    assert not see(planes((-3.0, 0.0), nearness=-1.0), (16, 24), second=False).motion.any()


@pytest.mark.parametrize("kind", [StereoScenes, FlowScenes])
def test_sample_is_a_function_of_seed_split_and_index(kind):
    first, again = kind(None, "val", side=32, count=3), kind(None, "val", side=32, count=2)
    assert tuple(first[1]) == first.gives
    assert all(torch.equal(value, again[1][key]) for key, value in first[1].items())
    others = (kind(None, "val", side=32, seed=1)[1], kind(None, "train", side=32)[1], first[2])
    assert not any(torch.equal(first[1]["image"], other["image"]) for other in others)
    assert scan(first, memory=True).samples[1]["image"].equal(first[1]["image"])
    assert first.measure(0).num_bytes == sum(value.nbytes for value in first[0].values())


@pytest.mark.parametrize("index", range(3))
def test_disparity_of_what_both_images_show_is_the_same_in_both(index):
    """A visible point's position in the right image lies on the same plane there, which looks back to it."""
    sample = StereoScenes(None, "val", side=64)[index]
    disparity, x = sample["disparity"], torch.arange(64.0).expand(64, -1)
    assert 0 <= disparity.min() <= disparity.max() <= 24
    there = (x - disparity).round().long().clamp(0, 63)
    back = sample["other_disparity"].gather(1, there)
    seen = ~sample["hidden"]
    near = (back - disparity).abs() < 0.4  # a slanted plane changes within half a pixel
    assert near[seen].float().mean() > 0.97  # the rest rounds over an edge
    assert near[sample["hidden"] & (x - disparity >= 0)].float().mean() < 0.3
    assert seen.float().mean() > 0.5


def test_grey_pair_is_that_of_colours_and_other_channels_are_refused():
    colours, grey = (StereoScenes(None, "val", side=32, decoding=Decoding(channels=c))[0] for c in (6, 2))
    weights = torch.tensor([0.299, 0.587, 0.114])
    mixed = torch.einsum("ncij,c->nij", colours["image"].float().unflatten(0, (2, 3)), weights)
    assert grey["image"].shape == (2, 32, 32)
    assert (mixed - grey["image"]).abs().max() <= 3  # colours are rounded, and clipped, before they are mixed
    with pytest.raises(DataError, match=r"data\.channels is 3 and stereo scenes are pairs of images"):
        StereoScenes(None, "val", decoding=Decoding())
    with pytest.raises(DataError, match=r"data\.bands is \[1, 2\] and flow scenes"):
        FlowScenes(None, "val", decoding=Decoding(channels=2, bands=(1, 2)))
