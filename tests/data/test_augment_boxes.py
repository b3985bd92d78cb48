"""Boxes and masks of things lie where their picture shows them after every augmentation; what leaves, leaves whole."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unpool.data.augment import AUGMENTATIONS, Augment, Geometry
from unpool.data.augment.step import Bending
from unpool.data.augment.targets import warp_targets
from unpool.data.draws import Draws
from unpool.ops import geometry
from unpool.ops.boxes import areas, iou
from unpool.ops.preprocessing import Preprocessing
from unpool.types import IGNORE, DataInfo, Sample

GEOMETRIES = [name for name, kind in AUGMENTATIONS.items() if issubclass(kind, Geometry)]
OPTIONS = {
    "translate": {"fraction": 0.1},
    "rotate": {"degrees": 20},
    "expand": {"largest": 1.5},
    "shear": {"degrees": 15},
    "lens": {"strength": 0.05},
    "elastic": {"deviation": 2},
    "elastic_gaussian": {"sigma": 8, "alpha": 30},
    "shorter_side": {"range": (60, 90)},
    "mosaic": {"p": 1.0},
}
DARK = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
COLOURS = torch.tensor([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]], dtype=torch.uint8)
MARK = 5  # pixels


def step(name: str):
    return AUGMENTATIONS[name](**OPTIONS.get(name, {}))


def marked(index: int, height: int = 72, width: int = 96) -> Sample:
    """Black but for a coloured mark in each corner of a box; another one is marked in white, and filled by its mask."""
    generator = torch.Generator().manual_seed(index)
    left, top = (int(torch.randint(4, 20, (), generator=generator)) for _ in range(2))
    right, bottom = left + 40, top + 30
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for (x, y), colour in zip([(left, top), (right, top), (left, bottom), (right, bottom)], COLOURS, strict=True):
        x, y = x - MARK * (x == right), y - MARK * (y == bottom)
        image[:, y : y + MARK, x : x + MARK] = colour[:, None, None]
    mask = torch.zeros(2, height, width, dtype=torch.bool)
    mask[1, 58:68, 70:90] = True
    image[:, mask[1]] = 250
    return {
        "image": image,
        "boxes": torch.tensor([[left, top, right, bottom], [70, 58, 90, 68]], dtype=torch.float32),
        "labels": torch.tensor([0, 1]),
        "masks": mask,
        "index": torch.tensor(index),
        "size_hw": torch.tensor([height, width]),
    }


def augmented(names, *, size_hw=None, epoch=0, count=6, **preprocessing):
    chosen = Preprocessing(**DARK, **preprocessing)
    change = Augment([step(n) for n in names], size_hw=size_hw, preprocessing=chosen, info=DataInfo(), seed=0)
    return change([marked(i) for i in range(count)], epoch)


def near(image: Tensor, colour: Tensor) -> Tensor:
    """(K, 2) x, y of the centres of pixels of a colour, blends at its border included half and half."""
    apart = (image.int() - colour.int()[:, None, None]).abs().amax(0)
    return (apart < 125).nonzero().flip(1) + 0.5


def assert_boxes_lie_on_their_marks(image: Tensor, boxes: Tensor, labels: Tensor, *, most: float = 2.0) -> int:
    """The number of boxes that were compared: the first one where all of its marks show, the second where it shows."""
    height, width = image.shape[-2:]
    count = 0
    for box, label in zip(boxes, labels, strict=True):
        found = [near(image, colour) for colour in (COLOURS if label == 0 else COLOURS[:1] * 0 + 250)]
        if label == 0 and min(map(len, found)) < 12:
            continue
        points = torch.cat(found)
        if label == 0 and (points.amin() < 1 or (points.amax(0) > torch.tensor([width - 1.0, height - 1.0])).any()):
            continue  # a mark is cut
        shown = torch.cat([points.amin(0) - 0.5, points.amax(0) + 0.5])
        assert (shown - box).abs().max() <= most, (shown, box, label)
        count += 1
    return count


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("sizes", [{"size_hw": None}, {"size_hw": (60, 90)}, {"shorter": 54, "longest": 90}])
def test_boxes_lie_on_the_marks_of_their_corners_after_every_geometry(name, sizes):
    batch = augmented([name], count=20, **({"size_hw": None} | sizes))
    parts = zip(batch["image"], batch["boxes"], batch["labels"], strict=True)
    most = 0.001 if AUGMENTATIONS[name].keeps_pixels and "shorter" not in sizes else 2.0
    assert sum(assert_boxes_lie_on_their_marks(*part, most=most) for part in parts) >= 4


@settings(max_examples=20, deadline=None)
@given(
    names=st.lists(st.sampled_from(GEOMETRIES), min_size=2, max_size=4),
    epoch=st.integers(0, 1000),
    is_joined=st.booleans(),
    sizes=st.sampled_from([{"size_hw": None}, {"size_hw": (60, 90)}, {"shorter": 54, "longest": 90}]),
)
def test_boxes_lie_on_their_marks_after_any_combination(names, epoch, is_joined, sizes):
    batch = augmented(["mosaic"] * is_joined + names, epoch=epoch, count=3, **({"size_hw": None} | sizes))
    for i in range(3):
        boxes, labels, masks = (batch[key][i] for key in ("boxes", "labels", "masks"))
        assert len(boxes) == len(labels) == len(masks)
        assert (areas(boxes) > 0).all()
        right, bottom = batch["valid_xyxy"][i, 2:].tolist()
        assert boxes.numel() == 0 or (
            boxes.amin() >= 0 and boxes[:, 2].amax() <= right and boxes[:, 3].amax() <= bottom
        )
        for box, mask in zip(boxes[labels == 1], masks[labels == 1], strict=True):
            left, top, right, bottom = box.int().tolist()
            assert mask.sum() == mask[top:bottom, left:right].sum() > 0
        if not is_joined and names.count("rotate") < 2:
            is_bent = any(
                issubclass(AUGMENTATIONS[name], Bending) for name in names
            )  # marks too, which are then scaled
            assert_boxes_lie_on_their_marks(batch["image"][i], boxes, labels, most=3.0 if is_bent else 2.0)


def of_boxes(boxes: list[list[float]], **more: Tensor) -> Sample:
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.arange(len(boxes))} | more


def shifted(right: float, down: float) -> Tensor:
    return geometry.translation(torch.tensor([-right]), torch.tensor([-down]))[0]


@pytest.mark.parametrize(
    ("boxes", "stay"),
    [
        ([[0, 4, 10, 8]], [0]),  # its centre is 1 to the right of the border
        ([[-2, 4, 6, 8], [-1, 4, 7, 8]], []),  # on the border of what is beyond, and half a pixel farther
        ([[20, 4, 35, 8], [20, 4, 36, 8]], [0]),
        ([[2, -5, 6, 6], [2, 3, 6, 9]], [1]),
        ([[-90, -90, 100, 100]], [0]),  # larger than the window, which it fills
    ],
)
def test_things_stay_whose_centre_is_in_the_window(boxes, stay):
    moved = warp_targets(of_boxes(boxes), shifted(-4, -2), (20, 24))
    moved_by_hand = torch.tensor(boxes, dtype=torch.float32) - torch.tensor([4.0, 2.0, 4.0, 2.0])
    clipped = torch.minimum(moved_by_hand.clamp(min=0), torch.tensor([24.0, 20.0, 24.0, 20.0]))
    assert moved["labels"].tolist() == stay
    assert torch.equal(moved["boxes"], clipped[stay])


@pytest.mark.parametrize(("key", "other"), [("crowd", "difficult"), ("difficult", "crowd")])
def test_what_is_not_counted_stays_where_a_tenth_of_it_shows(key, other):
    boxes = [[-8.0, 4.0, 2.0, 8.0], [-9.5, 4.0, 0.5, 8.0], [-8.0, 4.0, 2.0, 8.0]]
    flags = torch.tensor([True, True, False])
    moved = warp_targets(of_boxes(boxes, **{key: flags, other: flags & False}), shifted(0, 0), (20, 24))
    assert moved["labels"].tolist() == [0]
    assert (moved[key].tolist(), moved[other].tolist()) == ([True], [False])


def test_thing_without_a_pixel_or_an_area_in_the_window_is_dropped():
    masks = torch.zeros(2, 20, 24, dtype=torch.bool)
    masks[0, 4:8, 0:2] = masks[1, 4:8, 0:14] = True  # the first one's pixels are all beside the window
    boxes = [[0.0, 4.0, 14.0, 8.0]] * 2
    moved = warp_targets(of_boxes(boxes, masks=masks), shifted(-4, 0), (20, 24))
    assert moved["labels"].tolist() == [1]
    assert moved["boxes"].tolist() == [[0.0, 4.0, 10.0, 8.0]]
    assert warp_targets(of_boxes([[3.0, 3.0, 3.0, 9.0]]), shifted(0, 0), (20, 24))["boxes"].shape == (0, 4)


def test_box_of_a_turned_mask_is_around_its_pixels_and_without_a_mask_around_the_corners():
    masks = torch.zeros(2, 40, 40, dtype=torch.bool)
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    masks[0] = (rows - 19.5) ** 2 + (columns - 19.5) ** 2 < 100  # a disk, which a turn leaves as it is
    turn = geometry.rotation(torch.tensor([45.0]), torch.tensor([[40, 40]]))[0]
    moved = warp_targets(of_boxes([[10.0, 10.0, 30.0, 30.0]] * 2, masks=masks), turn, (40, 40))
    assert (moved["boxes"][0] - torch.tensor([10.0, 10.0, 30.0, 30.0])).abs().max() <= 1
    reach = 10 * 2**0.5
    assert moved["boxes"][1].tolist() == pytest.approx([20 - reach, 20 - reach, 20 + reach, 20 + reach], abs=1e-4)


@pytest.mark.parametrize("names", [[name] for name in GEOMETRIES] + [["mosaic", "scale", "flip"]])
def test_images_without_things_stay_without_things(names):
    item = marked(0) | {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 72, 96, dtype=torch.bool),
        "crowd": torch.zeros(0, dtype=torch.bool),
        "areas": torch.zeros(0),
    }
    change = Augment([step(n) for n in names], size_hw=(30, 40), preprocessing=Preprocessing(), info=DataInfo(), seed=0)
    batch = change([item], 0)
    shapes = {key: tuple(batch[key][0].shape) for key in ("boxes", "labels", "masks", "crowd", "areas")}
    assert shapes == {"boxes": (0, 4), "labels": (0,), "masks": (0, 30, 40), "crowd": (0,), "areas": (0,)}


def maps_of(name: str, count: int, size_hw: tuple[int, int], *, boxes=None, **options) -> tuple[Tensor, Tensor]:
    """(B, 4) windows of a step in pixels of its input, for a target of 100 x 100, and the sizes of its output."""
    made = AUGMENTATIONS[name](**options)
    size, target = (torch.tensor([hw] * count, dtype=torch.float64) for hw in (size_hw, (100, 100)))
    draws = Draws(0, 0, index=torch.arange(count))
    matrix, out = made.map_around(boxes or [torch.zeros(0, 4)] * count, draws, size, target_hw=target)
    ends = torch.stack((out.new_zeros(count, 2), out.flip(1)), dim=1)  # (B, 2, 2) x, y
    seen = torch.einsum("bij,bkj->bki", matrix[:, :2, :2], ends) + matrix[:, None, :2, 2]
    return seen.flatten(1).round(decimals=6), out


def test_expanded_image_is_anywhere_on_a_canvas_of_its_aspect_up_to_four_times_as_wide():
    canvas, out = maps_of("expand", 2000, (300, 400), p=1.0)
    assert out.tolist() == [[300, 400]] * 2000
    width, height = (canvas[:, 2:] - canvas[:, :2]).unbind(1)
    ratio = width / 400
    assert torch.allclose(ratio, height / 300)
    assert ratio.amin() >= 1
    assert ratio.amax() <= 4
    assert (torch.histc(ratio, 3, 1, 4) / 2000 - 1 / 3).abs().max() < 0.03
    for i, side in ((0, 400), (1, 300)):
        share = -canvas[:, i] / (ratio - 1) / side
        assert (torch.histc(share, 4, 0, 1) / 2000 - 0.25).abs().max() < 0.03


def test_every_second_image_is_expanded():
    canvas, _ = maps_of("expand", 2000, (300, 400))
    is_same = (canvas == torch.tensor([0.0, 0.0, 400.0, 300.0])).all(1)
    assert abs(float(is_same.double().mean()) - 0.5) < 0.04


def test_around_an_expanded_image_is_the_mean_colour():
    image = torch.full((3, 40, 40), 200, dtype=torch.uint8)
    item = {"image": image, "index": torch.tensor(3)}
    grey = Preprocessing(mean=(0.5,) * 3, std=(1.0,) * 3)
    change = Augment(
        [AUGMENTATIONS["expand"](p=1.0, largest=3.0)], size_hw=None, preprocessing=grey, info=DataInfo(), seed=0
    )
    seen = change([item], 0)["image"]
    assert set(seen.unique().tolist()) == {128, 200}
    assert 1 / 9 <= float((seen == 200).double().mean()) < 0.9


THINGS = torch.tensor([[40.0, 30.0, 350.0, 260.0], [360.0, 270.0, 380.0, 290.0]])


def test_windows_are_of_seven_kinds_by_their_overlap_with_a_box_whose_centre_they_hold():
    windows, out = maps_of("iou_crop", 1000, (300, 400), boxes=[THINGS] * 1000)
    assert out.tolist() == [[100, 100]] * 1000
    is_whole = (windows == torch.tensor([0.0, 0.0, 400.0, 300.0])).all(1)
    centre = (THINGS[:, :2] + THINGS[:, 2:]) / 2
    holds = ((centre >= windows[:, None, :2]) & (centre < windows[:, None, 2:])).all(2)
    assert holds.any(1).all()
    best = torch.where(holds, iou(windows, THINGS.double()), 0.0).amax(1)[~is_whole]
    least = [float((best >= overlap).double().mean()) for overlap in (0.3, 0.5, 0.7, 0.9)]
    assert least[0] > 4 / 6 - 0.04  # those of 0.3 and more always, the others by chance
    assert 3 / 6 - 0.04 < least[1] < 0.88
    assert 2 / 6 - 0.04 < least[2] < 0.65
    assert least[3] < 0.1
    assert 1 / 7 - 0.02 < float(is_whole.double().mean()) < 1 / 6 + 0.02  # more where no window overlaps by 0.9


def test_windows_keep_to_area_aspect_and_the_image():
    windows, _ = maps_of("iou_crop", 1000, (300, 400), boxes=[THINGS] * 1000)
    width, height = (windows[:, 2:] - windows[:, :2]).unbind(1)
    area, aspect = width * height / 120_000, width / height
    assert windows.amin() >= 0
    assert (windows[:, 2:] <= torch.tensor([400.0, 300.0])).all()
    assert torch.equal(windows, windows.round())
    assert 0.095 < area.amin() < 0.15
    assert 0.49 < aspect.amin() < 0.6
    assert 1.8 < aspect.amax() < 2.03


def test_image_without_boxes_is_cropped_to_any_window_or_not():
    windows, _ = maps_of("iou_crop", 1000, (300, 400))
    is_whole = (windows == torch.tensor([0.0, 0.0, 400.0, 300.0])).all(1)
    assert abs(float(is_whole.double().mean()) - 0.5) < 0.06


def test_kinds_that_no_window_meets_are_not_drawn():
    windows, _ = maps_of("iou_crop", 500, (300, 400), boxes=[torch.tensor([[198.0, 148.0, 202.0, 152.0]])] * 500)
    is_whole = (windows == torch.tensor([0.0, 0.0, 400.0, 300.0])).all(1)
    assert abs(float(is_whole.double().mean()) - 0.5) < 0.06  # whole, or any window with it


def test_window_is_chosen_by_boxes_as_steps_before_have_moved_them_and_never_by_a_crowd():
    """Mirrored, the thing is on the left; a crowd in the same place on the right does not hold the window there."""
    item = {"image": torch.zeros(3, 60, 80, dtype=torch.uint8), "index": torch.tensor(0)}
    item |= of_boxes([[60.0, 20.0, 80.0, 40.0], [0.0, 20.0, 20.0, 40.0]], crowd=torch.tensor([False, True]))
    items = [item | {"index": torch.tensor(i)} for i in range(100)]
    steps = [AUGMENTATIONS["flip"](p=1.0), AUGMENTATIONS["iou_crop"]()]
    change = Augment(steps, size_hw=(60, 80), preprocessing=Preprocessing(), info=DataInfo(), seed=0)
    labels = change(items, 0)["labels"]
    assert all(0 in one.tolist() for one in labels)
    assert sum(1 in one.tolist() for one in labels) < 90


def joined(samples, *, epoch=0, seed=0, **preprocessing):
    step, chosen = AUGMENTATIONS["mosaic"](p=1.0), Preprocessing(**DARK, **preprocessing)
    return Augment([step], size_hw=chosen.size_hw, preprocessing=chosen, info=DataInfo(), seed=seed)(samples, epoch)


def plain(index: int, height: int = 40, width: int = 60) -> Sample:
    """A picture of one grey value, a box around all of it, whose label, area and flags say which it is."""
    return {
        "image": torch.full((3, height, width), 20 + 30 * (index % 7), dtype=torch.uint8),
        "mask": torch.full((height, width), index, dtype=torch.uint8),
        "masks": torch.ones(1, height, width, dtype=torch.bool),
        "index": torch.tensor(index),
        "size_hw": torch.tensor([height, width]),
        **of_boxes([[0.0, 0.0, float(width), float(height)]]),
        "labels": torch.tensor([index]),
        "areas": torch.tensor([100.0 + index]),
        "crowd": torch.tensor([index == 5]),
        "difficult": torch.tensor([index == 4]),
    }


@pytest.mark.parametrize("sizes", [{}, {"size_hw": (40, 60), "rule": "cover", "crop": 0.5}], ids=["kept", "cover"])
def test_joined_picture_shows_four_images_of_the_batch_that_meet_in_its_middle(sizes):
    batch = joined([plain(i) for i in range(6)], **sizes)
    assert batch["image"].shape == (6, 3, 40, 60)
    assert batch["index"].tolist() == list(range(6))
    assert batch["size_hw"].tolist() == [[40, 60]] * 6
    for i in range(6):
        assert batch["image"][i, 0, 0, 0] == 20 + 30 * i  # itself in the upper left
        shown = batch["image"][i, 0][[0, 0, -1, -1], [0, -1, 0, -1]].sub(20).div(30).long()
        assert len(set(shown.tolist())) == 4
        assert torch.equal(batch["image"][i, 0].long(), 20 + 30 * batch["mask"][i])
        rows = (batch["mask"][i][:, 0] == i).sum()
        columns = (batch["mask"][i][0] == i).sum()
        assert 8 <= rows <= 32
        assert 12 <= columns <= 48


def test_all_that_lies_on_joined_images_is_joined_with_them():
    seen = set()
    batches = [joined([plain(i) for i in range(6)], epoch=epoch) for epoch in range(3)]
    for batch, i in product(batches, range(6)):
        labels = batch["labels"][i].tolist()
        assert labels[0] == i or i not in labels  # a corner without the centre of its image's box has no box
        for row, label in enumerate(labels):
            left, top, right, bottom = batch["boxes"][i][row].int().tolist()
            assert (batch["mask"][i][top:bottom, left:right] == label).all()
            assert torch.equal(batch["masks"][i][row], batch["mask"][i] == label)
            assert (bottom - top) * (right - left) == batch["masks"][i][row].sum()
            assert batch["areas"][i][row] == 100 + label
            assert (batch["crowd"][i][row], batch["difficult"][i][row]) == (label == 5, label == 4)
            seen.add(label)
    assert seen == set(range(6))


def test_joined_boxes_lie_on_their_marks_at_the_scale_of_evaluation():
    items = [{key: value for key, value in marked(i).items() if key != "masks"} for i in range(12)]
    batch = joined(items, shorter=144, longest=192)
    assert batch["image"].shape[-2:] == (144, 192)
    sizes = set()
    for image, boxes, labels in zip(batch["image"], batch["boxes"], batch["labels"], strict=True):
        for box in boxes[labels == 1]:
            left, top, right, bottom = box.int().tolist()
            assert (image[:, top:bottom, left:right] > 100).double().mean() > 0.9
            sizes.add((right - left, bottom - top))
    assert max(height for _, height in sizes) == 20  # twice that in its file
    assert len(sizes) > 2


def test_what_joins_is_a_function_of_seed_epoch_and_batch():
    items = [plain(i) for i in range(6)]
    same, again = joined(items)["image"], joined(items)["image"]
    assert torch.equal(same, again)
    assert not torch.equal(same, joined(items, epoch=1)["image"])
    assert not torch.equal(same, joined(items, seed=1)["image"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_batch_of_less_than_four_shows_some_twice(count):
    batch = joined([plain(i) for i in range(count)])
    for i in range(count):
        assert set(batch["mask"][i].unique().tolist()) == set(range(count))


def test_images_that_are_not_joined_are_as_in_evaluation():
    items = [plain(i, 20 + i, 30) for i in range(16)]
    chosen = Preprocessing(size_hw=(20, 30), rule="fit", **DARK)
    some, none = (
        Augment(steps, size_hw=(20, 30), preprocessing=chosen, info=DataInfo(), seed=0)(items, 0)
        for steps in ([AUGMENTATIONS["mosaic"](p=0.5)], [])
    )
    alone = [len(set(mask.unique().tolist()) - {IGNORE}) == 1 for mask in some["mask"]]
    assert 2 < sum(alone) < 14
    for is_alone, one, other in zip(alone, some["image"], none["image"], strict=True):
        assert torch.equal(one, other) == is_alone
