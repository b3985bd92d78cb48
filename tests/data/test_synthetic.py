"""Generated scenes: pure, labelled as drawn, and not to be told by colour."""

import pytest
import torch

from unpool.data.synthetic import Scenes
from unpool.errors import DataError
from unpool.tasks.colour_baseline import colour_bin_baseline
from unpool.types import BATCH_KEYS


def lone_values(image: torch.Tensor) -> int:
    """How many values of the inner pixels differ by more than 150 from those of all 8 neighbours."""
    around = torch.nn.functional.unfold(image.float()[:, None], 3)  # (3, 9, pixels)
    apart = (around - around[:, 4:5]).abs()
    return int((apart[:, [0, 1, 2, 3, 5, 6, 7, 8]].amin(1) > 150).sum())


def test_a_scene_depends_on_seed_split_and_index_only() -> None:
    scene = Scenes(count=9)[7]
    again = Scenes(split="train", count=500)[7]
    assert all(torch.equal(scene[key], again[key]) for key in scene)
    others = [Scenes(seed=1)[7], Scenes(split="val")[7], Scenes(split="test")[7], Scenes()[6], Scenes()[8]]
    assert not any(torch.equal(scene["image"], other["image"]) for other in others)


def test_scene_gives_what_it_says() -> None:
    scenes = Scenes(split="val", count=3, side=48)
    assert len(scenes) == len(scenes.names) == 3
    assert tuple(scenes[0]) == scenes.gives
    assert set(scenes.gives) <= set(BATCH_KEYS)
    assert scenes[0]["image"].shape == (3, 48, 48)
    assert scenes[0]["image"].dtype == scenes[0]["mask"].dtype == torch.uint8
    assert len(scenes.info.classes) == len(scenes.info.palette) == 5
    assert len(scenes.info.keypoints) == scenes[0]["keypoints"].shape[0]
    with pytest.raises(IndexError):
        scenes[3]


def test_boxes_hold_pixels_of_their_class_on_every_side() -> None:
    scenes = Scenes(count=30)
    for scene in (scenes[i] for i in range(30)):
        assert 0 < len(scene["boxes"]) == len(scene["labels"]) <= 6
        for (left, top, right, bottom), label in zip(scene["boxes"].int().tolist(), scene["labels"], strict=True):
            inside = scene["mask"][top:bottom, left:right] == label
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_a_scene_holds_several_objects() -> None:
    scenes = Scenes(count=30)
    assert 3.0 < sum(len(scenes[i]["boxes"]) for i in range(30)) / 30 < 5.0


def test_visible_keypoints_lie_in_the_scene_and_name_a_class_in_it() -> None:
    scenes = Scenes(count=30)
    for scene in (scenes[i] for i in range(30)):
        assert scene["visible"].any()
        for kind in scene["visible"].nonzero().flatten().tolist():
            assert 1 + kind in scene["labels"]
            assert (scene["keypoints"][kind] >= 0).all()
            assert (scene["keypoints"][kind] < 96).all()


def test_every_class_takes_part_of_the_picture() -> None:
    scenes = Scenes(count=60)
    share = torch.stack([scenes[i]["mask"] for i in range(60)]).flatten().long().bincount(minlength=5) / (60 * 96**2)
    assert 0.45 < share[0] < 0.8
    assert (share[1:] > 0.03).all()


def test_colour_alone_scores_low() -> None:
    assert colour_bin_baseline(Scenes(count=100), Scenes(split="val", count=30), 5) < 0.4


def test_noise_leaves_bright_and_dark_colours_so() -> None:
    """A value beyond 0 to 255 would become one of the other end, alone among its neighbours."""
    scenes = Scenes(count=100)
    assert sum(lone_values(scenes[i]["image"]) for i in (30, 39, 54, 71, 87, 89)) == 0  # in these it happens


def test_classes_may_stand_in_another_order() -> None:
    own, turned = Scenes(count=1), Scenes(count=1, classes=["cross", "triangle", "square", "disc", "background"])
    assert torch.equal(turned[0]["mask"], 4 - own[0]["mask"])
    assert torch.equal(turned[0]["labels"], 4 - own[0]["labels"])
    assert turned.info.palette == own.info.palette[::-1]


def test_unknown_classes_splits_and_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="unknown classes 'disc'"):
        Scenes(classes=["background", "square", "triangle", "cross", "dis"])
    with pytest.raises(DataError, match="no split 'dev'"):
        Scenes(split="dev")  # pyright: ignore[reportArgumentType]
    for side, count in ((8, 1), (31, 1), (32, 0)):
        with pytest.raises(DataError, match=f"side {side} and number {count};"):
            Scenes(side=side, count=count)
    assert Scenes(count=1, side=32)[0]["image"].shape == (3, 32, 32)


def test_disc_that_nothing_hides_is_round() -> None:
    scenes, seen = Scenes(count=100), 0
    for scene in (scenes[i] for i in range(100)):
        boxes, discs = scene["boxes"], (scene["labels"] == 1).nonzero().flatten().tolist()
        for i in discs:
            left, top, right, bottom = boxes[i].tolist()
            others = torch.cat([boxes[:i], boxes[i + 1 :]])
            apart = (others[:, 2] <= left) | (others[:, 0] >= right) | (others[:, 3] <= top) | (others[:, 1] >= bottom)
            if min(left, top) > 0 and max(right, bottom) < 96 and apart.all():
                area = int((scene["mask"][int(top) : int(bottom), int(left) : int(right)] == 1).sum())
                assert abs((right - left) - (bottom - top)) <= 1
                assert area == pytest.approx(torch.pi / 4 * (right - left) * (bottom - top), rel=0.06)
                seen += 1
    assert seen >= 8
