"""Batches made from samples: every augmentation carries image, mask, boxes and keypoints alike."""

import math

import pytest
import torch
from torch import Tensor

from unpool.data.augment import AUGMENTATIONS, Augment, Collate, Finishing, Geometry, Joining, Step
from unpool.data.draws import Draws
from unpool.errors import DataError, RecipeError
from unpool.ops import geometry
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.resampling import warp
from unpool.types import IGNORE, DataInfo, Sample

OPTIONS = {
    "translate": {"fraction": 0.2},
    "rotate": {"degrees": 30},
    "color_jitter": {"brightness": 0.4, "hue": 0.1},
    "expand": {"largest": 1.4},
    "shear": {"degrees": 15},
    "shorter_side": {"range": (30, 50)},
}
TOGETHER = [name for name in AUGMENTATIONS if name != "mixup"]  # a batch is mixed once
GREY = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def step(name: str) -> Step:
    return AUGMENTATIONS[name](**OPTIONS.get(name, {}))


def augment(
    *steps: Step,
    size_hw: tuple[int, int] | None = None,
    preprocessing: Preprocessing = GREY,
    info: DataInfo | None = None,
    seed: int = 0,
) -> Augment:
    info = info or DataInfo()
    return Augment(steps, size_hw=size_hw, preprocessing=preprocessing, info=info, seed=seed)


def sample(index: int = 0, height: int = 40, width: int = 56, **more: Tensor) -> Sample:
    """A picture whose grey value is 20 times the class of a coarse mask."""
    generator = torch.Generator().manual_seed(index)
    cells = torch.randint(0, 5, (height // 8, width // 8), dtype=torch.uint8, generator=generator)
    mask = cells.repeat_interleave(8, 0).repeat_interleave(8, 1)
    image = (mask * 20).expand(3, -1, -1).contiguous()
    own = {"image": image, "mask": mask, "index": torch.tensor(index), "size_hw": torch.tensor([height, width])}
    return own | more


def samples(count: int = 6) -> list[Sample]:
    return [sample(i) for i in range(count)]


def same(first: Sample, second: Sample) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", [name for name, kind in AUGMENTATIONS.items() if issubclass(kind, Geometry)])
@pytest.mark.parametrize("size_hw", [None, (32, 48)])
def test_mask_stays_on_its_image(name: str, size_hw: tuple[int, int] | None) -> None:
    batch = augment(step(name), size_hw=size_hw)(samples(), 0)
    image, mask = batch["image"][:, 0].int(), batch["mask"]
    assert (image[mask == IGNORE] == 128).all()
    known = mask != IGNORE
    assert known.float().mean() > 0.5
    flat = torch.nn.functional.max_pool2d(mask.float(), 5, 1, 2) == -torch.nn.functional.max_pool2d(
        -mask.float(), 5, 1, 2
    )  # away from edges, where bilinear and nearest differ
    inner = torch.zeros_like(known)
    inner[:, 2:-2, 2:-2] = (known & flat)[:, 2:-2, 2:-2]  # nor is it known what lies just outside of the window
    assert inner.float().mean() > 0.1
    assert ((image[inner] - 20 * mask[inner]).abs() <= 1).all()


def is_of_one_sample(name: str) -> bool:
    kind = AUGMENTATIONS[name]
    return not issubclass(kind, Joining) and not (issubclass(kind, Finishing) and kind.mixes)


@pytest.mark.parametrize("name", [*filter(is_of_one_sample, AUGMENTATIONS)])
def test_what_a_sample_gets_depends_on_seed_epoch_and_index_only(name: str) -> None:
    items = samples()
    both = augment(step("flip"), step(name))
    batch = both(items, 3)
    alone = [both([item], 3) for item in reversed(items)]
    assert all(torch.equal(a["image"][0], image) for a, image in zip(reversed(alone), batch["image"], strict=True))
    assert not torch.equal(both(items, 4)["image"], batch["image"])
    assert not torch.equal(augment(step("flip"), step(name), seed=1)(items, 3)["image"], batch["image"])


def test_a_step_added_at_the_end_does_not_shift_the_draws_before() -> None:
    jitter = step("color_jitter")
    one = augment(step("translate"))(samples(), 0)
    assert torch.equal(one["mask"], augment(step("translate"), jitter)(samples(), 0)["mask"])


@pytest.mark.parametrize("rule", ["stretch", "cover"])
@pytest.mark.parametrize("size_hw", [(24, 24), (64, 100), (40, 56)])
def test_without_steps_training_sees_what_evaluation_sees(rule: str, size_hw: tuple[int, int]) -> None:
    preprocessing = Preprocessing(size_hw=size_hw, rule=rule)
    trained = augment(size_hw=size_hw, preprocessing=preprocessing)(samples(), 0)["image"]
    evaluated = Collate(preprocessing)(samples(), 0)["image"]
    assert (trained.int() - evaluated.int()).abs().max() <= 1


@pytest.mark.parametrize(("size_hw", "most"), [((24, 24), 12), ((64, 100), 1), ((90, 30), 12)])
def test_without_steps_training_fits_images_as_evaluation_does(size_hw: tuple[int, int], most: int) -> None:
    """But for the pixel at the border of the image, which evaluation blends with the bars; shrunk ones are alike."""
    preprocessing = Preprocessing(size_hw=size_hw, rule="fit")
    trained = augment(size_hw=size_hw, preprocessing=preprocessing)(samples(), 0)["image"]
    batch = Collate(preprocessing)(samples(), 0)
    left, top, right, bottom = batch["valid_xyxy"][0].tolist()
    rows, columns = torch.arange(size_hw[0])[:, None] + 0.5, torch.arange(size_hw[1]) + 0.5
    near = ((rows - top).abs() < 1.6) | ((rows - bottom).abs() < 1.6)
    near = near | ((columns - left).abs() < 1.6) | ((columns - right).abs() < 1.6)
    assert near.float().mean() < 0.6
    difference = (trained.int() - batch["image"].int()).abs()
    assert difference.where(~near, 0).max() <= most
    assert difference.where(~near, 0).float().mean() < 1


@pytest.mark.parametrize("rule", ["stretch", "cover"])
def test_crop_shows_objects_as_large_as_evaluation_does(rule: str) -> None:
    preprocessing = Preprocessing(size_hw=(20, 28), rule=rule, crop=1.0)
    cropped = augment(step("crop"), size_hw=(20, 28), preprocessing=preprocessing)(samples(), 0)["image"]
    evaluated = Collate(preprocessing)(samples(), 0)["image"]
    assert (cropped.int() - evaluated.int()).abs().max() <= 1


def test_crop_reaches_what_the_middle_of_cover_leaves_out() -> None:
    preprocessing = Preprocessing(size_hw=(20, 20), rule="cover", crop=0.5)
    ramp = torch.arange(80, dtype=torch.uint8).mul(3).expand(3, 80, 80).contiguous()
    items = [sample(i, 80, 80, image=ramp) for i in range(64)]
    seen = augment(step("crop"), size_hw=(20, 20), preprocessing=preprocessing)(items, 0)["image"]
    assert (seen[..., -1].int() - seen[..., 0].int()).float().mean() == pytest.approx(19 * 6, abs=2)  # half the size
    assert seen.min() <= 6
    assert seen.max() >= 231


def test_without_a_window_a_smaller_training_size_is_the_middle_at_the_scale_of_evaluation() -> None:
    batch = augment(size_hw=(16, 24))(samples(), 0)
    assert torch.equal(batch["mask"], torch.stack([item["mask"][12:28, 16:40] for item in samples()]).long())


def test_torch_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    augment(*map(step, TOGETHER), size_hw=(24, 24))(samples(), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_are_not_written_into() -> None:
    items = samples()
    augment(*map(step, TOGETHER), size_hw=(24, 24))(items, 0)
    assert all(same(a, b) for a, b in zip(items, samples(), strict=True))


def test_mask_is_int64_and_image_uint8() -> None:
    batch = augment(step("rotate"))(samples(), 0)
    assert batch["mask"].dtype == torch.int64
    assert batch["image"].dtype == torch.uint8
    assert batch["size_hw"].tolist() == [[40, 56]] * 6


def test_flip_mirrors_all_or_none() -> None:
    items = samples()
    mirrored = augment(AUGMENTATIONS["flip"](p=1))(items, 0)["image"]
    assert all(torch.equal(m, item["image"].flip(-1)) for m, item in zip(mirrored, items, strict=True))
    assert torch.equal(augment(AUGMENTATIONS["flip"](p=0))(items, 0)["image"][0], items[0]["image"])


def test_mirrored_hands_trade_names() -> None:
    points = torch.tensor([[1.0, 5.0], [10.0, 6.0], [20.0, 7.0]])
    item = sample(keypoints=points, visible=torch.tensor([True, False, True]))
    info = DataInfo(keypoints=("nose", "left", "right"), flip_pairs=((1, 2),))
    batch = augment(AUGMENTATIONS["flip"](p=1), info=info)([item], 0)
    assert batch["keypoints"][0].tolist() == [[54.0, 5.0], [35.0, 7.0], [45.0, 6.0]]
    assert batch["visible"][0].tolist() == [True, True, False]


def test_keypoints_out_of_the_window_turn_invisible() -> None:
    item = sample(keypoints=torch.tensor([[1.0, 1.0], [28.0, 20.0]]), visible=torch.tensor([True, True]))
    batch = augment(AUGMENTATIONS["scale"](range=[2, 2]))([item], 0)
    assert batch["keypoints"][0].tolist() == [[-25.5, -17.5], [28.5, 20.5]]
    assert batch["visible"][0].tolist() == [False, True]


def test_boxes_that_leave_take_label_and_mask_along() -> None:
    masks = torch.zeros(2, 40, 56, dtype=torch.bool)
    masks[0, 0:4, 0:4] = masks[1, 10:30, 20:40] = True
    item = sample(
        boxes=torch.tensor([[0.0, 0.0, 4.0, 4.0], [20.0, 10.0, 40.0, 30.0]]), labels=torch.tensor([3, 7]), masks=masks
    )
    batch = augment(AUGMENTATIONS["scale"](range=[2, 2]))([item], 0)
    assert batch["boxes"][0].tolist() == [[12.0, 0.0, 52.0, 40.0]]
    assert batch["labels"][0].tolist() == [7]
    ys, xs = batch["masks"][0][0].nonzero(as_tuple=True)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (12, 51, 0, 39)


def crowd() -> dict[str, Tensor]:
    nan = float("nan")
    people = torch.tensor(
        [
            [[20.0, 15.0], [1.0, 15.0], [30.0, 25.0]],  # one joint leaves
            [[2.0, 2.0], [4.0, 2.0], [nan, nan]],  # all leave
            [[14.0, 10.0], [nan, nan], [nan, nan]],  # little of the box is left, and a joint on it
        ]
    )
    mask = torch.zeros(40, 56, dtype=torch.uint8)
    mask[25:30, 30:40] = IGNORE
    boxes = torch.tensor([[0.0, 12.0, 32.0, 28.0], [0.0, 0.0, 6.0, 4.0], [0.0, 0.0, 15.0, 11.0]])
    return sample(people=people, boxes=boxes, labels=torch.tensor([4, 5, 6]), mask=mask)


def test_joints_that_leave_keep_their_places_and_who_lies_beside_the_window_goes() -> None:
    batch = augment(AUGMENTATIONS["scale"](range=[2, 2]))([crowd()], 0)
    people = batch["people"][0]
    assert people[:, 0].tolist() == [[12.5, 10.5], [0.5, 0.5]]
    assert people[0, 1].tolist() == [-25.5, 10.5]
    assert people.isnan().any(2).tolist() == [[False] * 3, [False, True, True]]
    assert batch["labels"][0].tolist() == [4, 6]
    assert batch["boxes"][0].tolist() == [[0.0, 4.0, 36.0, 36.0], [0.0, 0.0, 2.0, 2.0]]


def test_people_boxes_and_mask_move_together_and_mirrored_sides_trade_places() -> None:
    info = DataInfo(keypoints=("nose", "left", "right"), flip_pairs=((1, 2),))
    batch = augment(AUGMENTATIONS["flip"](p=1), info=info)([crowd()], 0)
    people = batch["people"][0]
    assert people[0].tolist() == [[35.0, 15.0], [25.0, 25.0], [54.0, 15.0]]
    assert people[1].isnan().any(1).tolist() == [False, True, False]
    assert batch["boxes"][0][0].tolist() == [24.0, 12.0, 56.0, 28.0]
    assert batch["mask"][0].equal(crowd()["mask"].flip(-1).long())
    assert batch["mask"][0, 25, 25] == IGNORE  # under the joint that was right


def test_person_stays_whose_limb_crosses_the_window_though_every_joint_has_left() -> None:
    nan = float("nan")
    limb = torch.tensor([[[1.0, 20.0], [55.0, 20.0], [nan, nan]], [[1.0, 1.0], [55.0, 1.0], [nan, nan]]])
    boxes = torch.tensor([[0.0, 15.0, 56.0, 25.0], [0.0, 0.0, 56.0, 4.0]])
    item = sample(people=limb, boxes=boxes, labels=torch.tensor([4, 5]), mask=torch.zeros(40, 56, dtype=torch.uint8))
    batch = augment(AUGMENTATIONS["scale"](range=[2, 2]))([item], 0)
    assert batch["people"][0][:, :2].tolist() == [[[-25.5, 20.5], [82.5, 20.5]]]
    assert batch["labels"][0].tolist() == [4]
    assert (batch["mask"] == 0).all()


def test_people_who_all_leave_leave_none() -> None:
    item = crowd() | {"people": torch.zeros(1, 3, 2), "boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0]])}
    item["areas"] = torch.ones(1)
    batch = augment(AUGMENTATIONS["scale"](range=[2, 2]))([item | {"labels": torch.tensor([1])}], 0)
    assert (batch["people"][0].shape, batch["boxes"][0].shape) == ((0, 3, 2), (0, 4))
    assert batch["areas"][0].shape == (0,)


def test_areas_of_people_grow_with_the_image_and_no_mirror_makes_them_negative() -> None:
    nan = float("nan")
    people = torch.tensor([[[28.0, 20.0], [30.0, 22.0], [nan, nan]], [[1.0, 1.0], [2.0, 2.0], [nan, nan]]])
    item = sample(people=people, areas=torch.tensor([60.0, 7.0]), area=torch.tensor(60.0))
    larger = augment(AUGMENTATIONS["scale"](range=[2, 2]))([item], 0)
    assert larger["areas"][0].tolist() == pytest.approx([240.0])  # the other one has left
    assert larger["area"].tolist() == pytest.approx([240.0])
    mirrored = augment(AUGMENTATIONS["flip"](p=1))([item], 0)
    assert mirrored["areas"][0].tolist() == pytest.approx([60.0, 7.0])
    assert Collate(GREY)([item], 0)["areas"][0].tolist() == [60.0, 7.0]
    assert mirrored["areas"][0].dtype == torch.float32


def test_ignored_people_move_and_grow_with_the_image_and_leave_with_their_boxes() -> None:
    ignored = torch.tensor([[20.0, 10.0, 30.0, 20.0, 60.0, 1.0], [0.0, 0.0, 4.0, 4.0, 7.0, 0.0]])
    item = sample(people=torch.full((1, 3, 2), 20.0), ignored=ignored)
    larger = augment(AUGMENTATIONS["scale"](range=[2, 2]))([item], 0)["ignored"][0]
    assert larger.flatten().tolist() == pytest.approx([12.0, 0.0, 32.0, 20.0, 240.0, 1.0])  # the other one has left
    mirrored = augment(AUGMENTATIONS["flip"](p=1))([item], 0)["ignored"][0]
    assert mirrored.flatten().tolist() == pytest.approx([26, 10, 36, 20, 60, 1, 52, 0, 56, 4, 7, 0])
    assert isinstance(Collate(GREY)([item, item], 0)["ignored"], list)


def test_boxes_stay_a_list_where_their_number_agrees() -> None:
    items = [sample(i, boxes=torch.rand(2, 4), labels=torch.tensor([1, 2])) for i in (0, 1)]
    assert isinstance(augment()(items, 0)["boxes"], list)
    assert isinstance(Collate(GREY)(items, 0)["labels"], list)


def test_crop_takes_every_place() -> None:
    items = [sample(0) | {"index": torch.tensor(i)} for i in range(400)]
    ramp = torch.arange(56).expand(3, 40, 56).to(torch.uint8)
    for item in items:
        item["image"] = ramp
    corner = augment(AUGMENTATIONS["crop"](), size_hw=(40, 52))(items, 0)["image"][:, 0, 0, 0]
    assert corner.unique().tolist() == [0, 1, 2, 3, 4]
    assert corner.long().bincount().min() > 50


def test_crop_of_a_small_image_shows_all_of_it() -> None:
    batch = augment(AUGMENTATIONS["crop"](), size_hw=(64, 64))(samples(), 0)
    assert ((batch["mask"] != IGNORE).sum((1, 2)) == 40 * 56).all()


class Shift(Geometry):
    """Four pixels to the left."""

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        return geometry.translation(torch.tensor([4.0]), torch.tensor([0.0])), size_hw


def test_steps_act_in_the_order_of_the_list() -> None:
    ramp = torch.arange(56).expand(3, 40, 56).to(torch.uint8)
    item = sample() | {"image": ramp}
    double = AUGMENTATIONS["scale"](range=[2, 2])
    shifted_first = augment(Shift(), double)([item], 0)["image"]
    shifted_last = augment(double, Shift())([item], 0)["image"]
    assert shifted_first[0, 0, 0, 10] == 23  # 4 + (28 + 10.5) / 2 - 0.5 = 22.75
    assert shifted_last[0, 0, 0, 10] == 21  # (28 + 4 + 10.5) / 2 - 0.5 = 20.75


def test_masks_keep_their_classes() -> None:
    items = [item | {"mask": item["mask"] // 3 * 9} for item in samples()]
    batch = augment(step("scale"), step("rotate"))(items, 0)
    assert batch["mask"].unique().tolist() == [0, 9, IGNORE]


def test_translate_by_pixels_is_padding_and_cropping() -> None:
    items = [sample(i) for i in range(50)]
    batch = augment(AUGMENTATIONS["translate"](pixels=4))(items, 0)
    padded = [torch.nn.functional.pad(item["image"], (4, 4, 4, 4), value=128) for item in items]
    for image, wide in zip(batch["image"], padded, strict=True):
        assert any(torch.equal(image, wide[:, y : y + 40, x : x + 56]) for y in range(9) for x in range(9))


def draw_maps(name: str, options: dict, count: int, size_hw: tuple[int, int], target_hw: tuple[int, int]) -> Tensor:
    made = AUGMENTATIONS[name](**options)
    assert isinstance(made, Geometry)
    size, target = (torch.tensor([hw] * count, dtype=torch.float64) for hw in (size_hw, target_hw))
    return made.map(Draws(0, 0, index=torch.arange(count)), size, target_hw=target)[0]


def test_scale_keeps_to_its_range_and_reaches_its_ends() -> None:
    factor = 1 / draw_maps("scale", {"range": [0.5, 1.5]}, 2000, (1000, 1000), (100, 100))[:, 0, 0]
    assert 0.5 <= factor.min() < 0.51
    assert 1.47 < factor.max() <= 1.5
    assert abs(float((factor < 1).double().mean()) - math.log(2) / math.log(3)) < 0.04


def test_resized_crop_keeps_to_area_and_aspect() -> None:
    options = {"area": [0.2, 0.5], "aspect": [0.5, 1.5]}
    maps = draw_maps("resized_crop", options, 2000, (300, 400), (100, 100))
    width, height = maps[:, 0, 0] * 100, maps[:, 1, 1] * 100
    area, aspect = width * height / 120_000, width / height
    assert area.min() > 0.19
    assert area.max() < 0.51
    assert 0.49 < aspect.min() < 0.55
    assert 1.4 < aspect.max() < 1.53
    left, top = maps[:, 0, 2], maps[:, 1, 2]
    assert left.min() >= 0
    assert top.min() >= 0
    assert (left + width).max() <= 400.001
    assert (top + height).max() <= 300.001


def test_rotate_reaches_both_ends() -> None:
    angle = torch.rad2deg(torch.asin(draw_maps("rotate", {"degrees": 30}, 1000, (10, 10), (10, 10))[:, 1, 0]))
    assert -30 <= angle.min() < -29
    assert 29 < angle.max() <= 30


def test_jitter_turns_contrast_about_the_mean_of_the_image() -> None:
    items = [item | {"image": item["image"] + 80} for item in map(sample, range(40))]
    batch = augment(AUGMENTATIONS["color_jitter"](contrast=0.5))(items, 0)["image"].float()
    plain = torch.stack([item["image"] for item in items]).float()
    ratio = batch.std((1, 2, 3)) / plain.std((1, 2, 3))
    assert 0.5 <= ratio.min() < 0.65
    assert 1.35 < ratio.max() <= 1.51
    assert (batch.mean((1, 2, 3)) - plain.mean((1, 2, 3))).abs().max() < 2


def test_jitter_takes_grey_images() -> None:
    items = [item | {"image": item["image"][:1]} for item in samples()]
    preprocessing = Preprocessing(channels=1, mean=(0.5,), std=(0.25,))
    jitter = AUGMENTATIONS["color_jitter"](brightness=0.3, contrast=0.3, saturation=0.3, hue=0.2, lighting=0.1)
    batch = augment(jitter, preprocessing=preprocessing)(items, 0)
    assert batch["image"].shape == (6, 1, 40, 56)


def test_images_of_many_sizes_make_a_batch_of_one() -> None:
    items = [sample(0), sample(1, 80, 64), sample(2, 16, 16)]
    batch = augment(*map(step, TOGETHER), size_hw=(24, 32))(items, 0)
    assert batch["image"].shape == (3, 3, 24, 32)
    assert batch["mask"].shape == (3, 24, 32)


def test_images_of_many_sizes_without_a_size_are_refused() -> None:
    with pytest.raises(DataError, match=r"sizes \[\(16, 16\), \(40, 56\)\].*data.size.*by: size"):
        augment()([sample(0), sample(1, 16, 16)], 0)


def test_evaluation_pads_images_of_many_sizes_and_says_what_is_no_padding() -> None:
    items = [sample(0), sample(1, 80, 64)]
    batch = Collate(GREY)([item | {"clean": item["image"] // 2} for item in items], 0)
    assert batch["image"].shape == batch["clean"].shape == (2, 3, 80, 64)
    assert batch["valid_xyxy"].tolist() == [[0, 0, 56, 40], [0, 0, 64, 80]]
    assert torch.equal(batch["image"][0, :, :40, :56], items[0]["image"])
    assert batch["image"][0, :, 40:].eq(128).all()
    assert torch.equal(batch["clean"][1], items[1]["image"] // 2)
    assert augment(size_hw=(24, 32))(items, 0)["valid_xyxy"].tolist() == [[0, 0, 32, 24]] * 2


def test_box_of_normalisation_by_image_is_around_what_the_window_shows() -> None:
    fit = Preprocessing(size_hw=(64, 64), rule="fit", normalization="image")
    item = sample(0, 40, 80)
    batch = augment(size_hw=(64, 64), preprocessing=fit)([item], 0)
    assert batch["shown_xyxy"].tolist() == Collate(fit)([item], 0)["valid_xyxy"].tolist() == [[0, 16, 64, 48]]
    assert batch["valid_xyxy"].tolist() == [[0, 0, 64, 64]]  # targets lie on the window
    crop = augment(size_hw=(48, 20), preprocessing=fit)([item], 0)
    assert crop["shown_xyxy"].tolist() == [[0, 8, 20, 40]]
    assert "shown_xyxy" not in augment(size_hw=(64, 64))([item], 0)


def test_evaluation_keeps_masks_as_they_are() -> None:
    items = [sample(0), sample(1, 80, 64)]
    batch = Collate(Preprocessing(size_hw=(24, 32)))(items, 0)
    assert batch["image"].shape == (2, 3, 24, 32)
    assert [tuple(m.shape) for m in batch["mask"]] == [(40, 56), (80, 64)]
    assert torch.equal(batch["mask"][1], items[1]["mask"].long())
    assert batch["size_hw"].tolist() == [[40, 56], [80, 64]]


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("scale", {"range": [2.0, 1.0]}, r"scale.range is \[2.0, 1.0\]; expected two numbers"),
        ("scale", {"range": [0.0, 1.0]}, "scale.range"),
        ("flip", {"p": 1.5}, "flip.p is 1.5; expected a number from 0 to 1"),
        ("translate", {}, "give one of the two"),
        ("translate", {"pixels": 2, "fraction": 0.1}, "give one of the two"),
        ("rotate", {"degrees": -1}, "rotate.degrees"),
        ("color_jitter", {"hue": 0.7}, "color_jitter.hue is 0.7; expected a number from 0 to 0.5"),
        ("resized_crop", {"area": [0.5, 1.5]}, "resized_crop.area"),
        ("resized_crop", {"aspect": [1.0]}, "resized_crop.aspect"),
    ],
)
def test_wrong_options_are_refused_by_name(name: str, options: dict, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        AUGMENTATIONS[name](**options)


def test_keypoints_survive_every_geometry() -> None:
    steps = ("scale", "rotate", "translate", "flip")
    image = torch.zeros(3, 61, 61, dtype=torch.uint8)
    image[:, 25:32, 37:44] = 255
    item = sample() | {"image": image, "keypoints": torch.tensor([[40.0, 28.0]]), "visible": torch.tensor([True])}
    item.pop("mask")
    items = [item | {"index": torch.tensor(i)} for i in range(30)]
    batch = augment(*map(step, steps))(items, 0)
    for picture, points, visible in zip(batch["image"], batch["keypoints"], batch["visible"], strict=True):
        bright = (picture[0] > 200).nonzero().double()
        if visible[0] and len(bright) > 40:
            assert (bright.mean(0).flip(0) - points[0].double()).abs().max() < 1.0


class Quarters:
    """Draws the same number of quarter turns for every sample."""

    def __init__(self, number: int) -> None:
        self.number = number

    def integer(self, low: int, high: int) -> torch.Tensor:
        assert low <= self.number <= high
        return torch.full((2,), float(self.number), dtype=torch.float64)


@pytest.mark.parametrize("quarters", range(4))
def test_turn_shows_whole_pixels_of_the_image_turned(quarters: int) -> None:
    image = torch.arange(2 * 5 * 7, dtype=torch.uint8).view(2, 1, 5, 7) * 3
    size = torch.tensor([[5.0, 7.0]] * 2)
    matrix, sizes = AUGMENTATIONS["turn"]().map(Quarters(quarters), size, target_hw=size)
    expected = torch.rot90(image, quarters, (2, 3))
    assert sizes.tolist() == [list(expected.shape[2:])] * 2
    assert torch.equal(warp(image, matrix, tuple(expected.shape[2:])), expected)


def test_turn_takes_each_of_the_four_as_often() -> None:
    size = torch.tensor([[5.0, 5.0]] * 400)
    matrix, _ = AUGMENTATIONS["turn"]().map(Draws(0, 0, index=torch.arange(400)), size, target_hw=size)
    counts = torch.unique(matrix, dim=0, return_counts=True)[1]
    assert len(counts) == 4
    assert counts.min() > 70


def test_targets_of_a_batch_lie_on_its_window() -> None:
    """Evaluation leaves joints and `size_hw` as decoded, training gives both of the window: one rule reads them."""
    item = sample(keypoints=torch.tensor([[27.5, 19.5]]), visible=torch.tensor([True]))
    preprocessing = Preprocessing(size_hw=(20, 28))
    window = augment(size_hw=(20, 28), preprocessing=preprocessing)([item], 0)
    decoded = Collate(preprocessing)([item], 0)
    for batch, size in ((window, [20, 28]), (decoded, [40, 56])):
        assert batch["size_hw"].tolist() == [size]
        share = (batch["keypoints"][0, 0] + 0.5) / torch.tensor(size[::-1])
        assert share.tolist() == [0.5, 0.5]


SHORTER = Preprocessing(shorter=30, longest=60, multiple=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
UNEVEN = [(40, 56), (80, 64), (16, 80), (24, 40)]


def uneven() -> list[Sample]:
    return [sample(i, *size) for i, size in enumerate(UNEVEN)]


def test_without_steps_shortened_images_are_those_of_evaluation() -> None:
    trained, evaluated = augment(preprocessing=SHORTER)(uneven(), 0), Collate(SHORTER)(uneven(), 0)
    assert trained["image"].shape == evaluated["image"].shape == (4, 3, 48, 64)
    assert torch.equal(trained["valid_xyxy"], evaluated["valid_xyxy"])
    assert (trained["image"].int() - evaluated["image"].int()).abs().max() <= 1
    assert trained["size_hw"].tolist() == [[30, 42], [37, 30], [12, 60], [30, 50]]  # targets lie on the windows
    assert [tuple(mask.shape) for mask in trained["mask"]] == [(30, 42), (37, 30), (12, 60), (30, 50)]


@pytest.mark.parametrize("name", [name for name, kind in AUGMENTATIONS.items() if issubclass(kind, Geometry)])
def test_windows_of_several_sizes_are_padded_with_the_mean_colour_and_said(name: str) -> None:
    items = [item | {"clean": item["image"]} for item in uneven()]
    change = augment(step(name), preprocessing=SHORTER)
    batch = change(items, 0)
    assert batch["image"].shape[-2] % 16 == batch["image"].shape[-1] % 16 == 0
    assert torch.equal(batch["image"], batch["clean"])
    for i, mask in enumerate(batch["mask"]):
        height, width = mask.shape
        assert batch["valid_xyxy"][i].tolist() == [0, 0, width, height]
        assert batch["size_hw"][i].tolist() == [height, width]
        image = batch["image"][i]
        assert image[:, height:].eq(128).all()
        assert image[:, :, width:].eq(128).all()
        known = mask != IGNORE
        assert (image[0, :height, :width][~known] == 128).all()
        alone = change([items[i]], 0)  # no window depends on the others of its batch
        assert torch.equal(alone["image"][0, :, :height, :width], image[:, :height, :width])


def test_shortened_image_that_is_turned_or_scaled_is_seen_whole() -> None:
    grown = augment(AUGMENTATIONS["scale"](range=[1.5, 1.5]), preprocessing=SHORTER)(uneven(), 0)
    assert grown["size_hw"].tolist() == [[45, 63], [56, 45], [18, 90], [45, 75]]
    turned = augment(step("turn"), preprocessing=SHORTER)([sample(i) for i in range(12)], 0)
    assert set(map(tuple, turned["size_hw"].tolist())) == {(30, 42), (42, 30)}
    assert all((mask != IGNORE).all() for mask in turned["mask"])


def test_windows_of_a_chosen_size_are_cut_from_shortened_images() -> None:
    batch = augment(step("crop"), size_hw=(16, 16), preprocessing=SHORTER)(uneven(), 0)
    assert batch["image"].shape == (4, 3, 16, 16)
    assert batch["valid_xyxy"].tolist() == [[0, 0, 16, 16]] * 4


def test_box_of_normalisation_by_image_is_that_of_each_window() -> None:
    by_image = Preprocessing(shorter=30, longest=60, normalization="image")
    batch = augment(preprocessing=by_image)(uneven(), 0)
    assert batch["shown_xyxy"].tolist() == batch["valid_xyxy"].tolist()


def test_joining_behind_another_step_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"mosaic behind another step, or twice.*put it first"):
        augment(step("flip"), step("mosaic"))
