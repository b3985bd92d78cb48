import math

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.metrics.people import PeopleScores
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.skeleton import COCO_NECK_LIMBS, LSP
from unpool.tasks.people import People
from unpool.training.step import total_loss
from unpool.types import IGNORE, DataInfo, FieldStages

NAN = float("nan")
INFO = DataInfo(keypoints=("head", "middle", "foot"), limbs=((0, 1), (1, 2)))
CROSSING = torch.tensor([[[20.0, 20.0], [80.0, 80.0], [136.0, 136.0]], [[136.0, 24.0], [80.0, 92.0], [24.0, 136.0]]])


def batch_of(*people, **more):
    image = torch.zeros(len(people), 3, 80, 80)
    return {"image": image, "people": list(people), "size_hw": torch.tensor([[160, 160]] * len(people))} | more


def perfect(task, batch):
    fields, maps = task.labels(batch, (40, 40))
    return FieldStages((fields, fields), (maps, maps))


def test_crossing_people_are_read_back_on_the_image_as_decoded():
    task, batch = People(INFO), batch_of(CROSSING, CROSSING[:0])
    found = task.decode(perfect(task, batch), batch)
    assert [len(people) for people in found["people"]] == [2, 0]
    near = torch.cdist(found["people"][0][:, 0], CROSSING[:, 0]).argmin(1)
    assert (found["people"][0] - CROSSING[near]).norm(dim=2).mean() < 0.25 * 4
    metric = task.metric()
    metric.update(found, batch)
    assert metric.compute() == {"limbs": 1.0, "limbs_precision": 1.0, "people_ratio": 1.0}


def test_labels_of_a_crowd_are_the_highest_map_and_the_mean_field():
    task, batch = People(INFO), batch_of(CROSSING)
    one, other = (task.labels(batch_of(CROSSING[i : i + 1]), (40, 40)) for i in (0, 1))
    fields, maps = task.labels(batch, (40, 40))
    assert maps[:, :3].equal(torch.maximum(one[1][:, :3], other[1][:, :3]))
    assert torch.allclose(maps[:, 3], 1 - maps[:, :3].amax(1))
    alone = (one[0].abs() + other[0].abs()).amax(1) == one[0].abs().amax(1)
    assert torch.allclose((fields - one[0]).abs().amax(1)[alone].max(), torch.tensor(0.0))
    assert fields.unflatten(1, (2, 2)).norm(dim=2).max() <= 1 + 1e-6


def test_limb_keeps_its_field_where_both_of_its_joints_lie_outside_of_the_window():
    task = People(INFO)
    fields, maps = task.labels(batch_of(torch.tensor([[[-40.0, 81.5], [220.0, 81.5], [NAN, NAN]]])), (40, 40))
    assert fields[0, 0, 20].equal(torch.ones(40))  # from edge to edge
    assert fields[0, :, :18].abs().max() == 0
    assert maps[0, :3].max() < 1e-6


def test_loss_is_that_of_both_answers_of_every_stage_by_image():
    task, batch = People(INFO), batch_of(CROSSING, CROSSING[:1])
    output = perfect(task, batch)
    assert total_loss(task.loss(output, batch)) == 0
    wrong = FieldStages((output.fields[0] + 1.0, output.fields[1]), output.heatmaps)
    losses = task.loss(wrong, batch)
    assert list(losses) == ["fields_1", "heatmaps_1", "fields_2", "heatmaps_2"]
    assert (losses["fields_1"].sum * 2 * torch.pi).item() == pytest.approx(output.fields[0].numel())
    assert losses["fields_1"].count == 2


def test_people_that_are_not_labelled_take_no_part():
    mask = torch.zeros(1, 80, 80, dtype=torch.int64)
    mask[:, :, 40:] = IGNORE
    task, batch = People(INFO), batch_of(CROSSING, mask=mask)
    output = perfect(task, batch)
    shifted = FieldStages(output.fields, tuple(maps.clone() for maps in output.heatmaps))
    shifted.heatmaps[0][..., 20:] += 5
    assert total_loss(task.loss(shifted, batch)) == 0
    shifted.heatmaps[0][..., :20] += 5
    assert total_loss(task.loss(shifted, batch)) > 0


def test_gradient_is_zero_on_people_that_are_not_labelled_and_nowhere_else():
    mask = torch.zeros(160, 160, dtype=torch.int64)
    mask[40:80, 80:160] = IGNORE
    task, batch = People(INFO), batch_of(CROSSING, mask=[mask])
    maps = tuple(torch.zeros(1, 4, 40, 40, requires_grad=True) for _ in range(2))
    fields = tuple(torch.ones(1, 4, 40, 40, requires_grad=True) for _ in range(2))
    total_loss(task.loss(FieldStages(fields, maps), batch)).backward()
    for answer in (*maps, *fields):
        assert answer.grad is not None
        moved = answer.grad[0].abs().amax(0) > 0
        assert not moved[10:20, 20:40].any()
        assert moved.sum() == 1600 - 10 * 20


def test_joints_are_where_they_were_on_an_image_that_no_stride_divides():
    # 45 x 46 pixels of stride 8: the last 7 rows and columns belong to none
    people = CROSSING[:1] * 2.5
    batch = {"image": torch.zeros(1, 3, 367, 375), "people": [people], "size_hw": torch.tensor([[367, 375]])}
    task = People(INFO)
    fields, maps = task.labels(batch, (45, 46))
    x, y = (people[0, 2] - 3.5) / 8  # the first pixel of the map is over the first eight of the image
    place = maps[0, 2].argmax().item()
    assert (place % 46, place // 46) == (round(x.item()), round(y.item()))
    found = task.decode(FieldStages((fields,), (maps,)), batch)["people"][0]
    assert (found - people).norm(dim=2).max() < 0.25 * 8 * 2**0.5


@pytest.mark.parametrize("is_training", [True, False])
def test_last_stage_answers(is_training):
    class Two(nn.Module):
        def forward(self, image):
            return FieldStages((image, image + 1), (image, image + 2))

    output = People(INFO).forward(Two().train(is_training), {"image": torch.zeros(1, 4, 2, 2)})
    assert len(output.fields) == len(output.heatmaps) == (2 if is_training else 1)
    assert (output.fields[-1].mean(), output.heatmaps[-1].mean()) == (1, 2)


def test_limb_of_two_people_s_joints_is_not_joined_right():
    metric = PeopleScores(INFO)
    mixed = CROSSING.clone()
    mixed[0, 2], mixed[1, 2] = CROSSING[1, 2], CROSSING[0, 2]
    truth = CROSSING.clone()
    truth[1, 0] = NAN
    metric.update({"people": [mixed], "score": [torch.ones(2)]}, {"people": [truth]})
    scores = metric.compute()
    assert scores["limbs"] == pytest.approx(1 / 3)  # of three limbs that are known
    assert scores["limbs_precision"] == pytest.approx(1 / 4)


def test_boxes_give_the_precision_of_people():
    metric = PeopleScores(INFO)
    boxes = torch.tensor([[20.0, 20.0, 136.0, 136.0], [24.0, 24.0, 136.0, 136.0]])
    found = {"people": [CROSSING[:1]], "score": [torch.ones(1)]}
    metric.update(found, {"people": [CROSSING], "boxes": [boxes]})
    scores = metric.compute()
    assert scores["oks_ap"] == pytest.approx(51 / 101)
    assert scores["people_ratio"] == 0.5
    other = PeopleScores(INFO)
    other.update({"people": [CROSSING[1:]], "score": [torch.ones(1)]}, {"people": [CROSSING[1:]], "boxes": [boxes[1:]]})
    metric.merge(other)
    assert metric.compute()["people_ratio"] == pytest.approx(2 / 3)
    assert metric.compute()["limbs"] == pytest.approx(4 / 6)


def test_annotated_areas_come_before_boxes_in_the_precision_of_people():
    boxes = torch.tensor([[20.0, 20.0, 136.0, 136.0], [24.0, 24.0, 136.0, 136.0]])
    off = 20 * 2 * 0.079 * (-math.log(0.62)) ** 0.5  # in x and in y: a similarity of 0.62 where the area is 400
    found = []
    for areas in (None, torch.tensor([400.0, 400.0]), torch.tensor([40.0, 40.0])):
        metric = PeopleScores(DataInfo(keypoints=("a", "b", "c"), limbs=((0, 1), (1, 2))))
        batch = {"people": [CROSSING], "boxes": [boxes]} | ({} if areas is None else {"areas": [areas]})
        metric.update({"people": [CROSSING + off], "score": [torch.ones(2)]}, batch)
        found.append(metric.compute()["oks_ap"])
    assert found == [pytest.approx(x) for x in (1.0, 0.3, 0.0)]  # 0.62 is above three of ten thresholds


def precision_without_the_neck(names):
    """OKS-AP of a person whose joints are all where they should be but the neck, which is far away."""
    info = DataInfo(keypoints=names, limbs=((0, 1),))
    truth = 100 * torch.rand(1, len(names), 2, generator=torch.Generator().manual_seed(0))
    found = truth.clone()
    found[0, names.index("neck")] += 1e4
    metric = PeopleScores(info)
    metric.update({"people": [found], "score": [torch.ones(1)]}, {"people": [truth], "areas": [torch.tensor([1000.0])]})
    return metric.compute()["oks_ap"]


def test_neck_that_is_made_up_of_coco_s_shoulders_has_no_part_in_the_similarity():
    coco = tuple(dict.fromkeys(name for limb in COCO_NECK_LIMBS for name in limb))
    assert len(coco) == 18
    assert precision_without_the_neck(coco) == 1.0
    # the neck of other bodies is annotated: 13 of 14 joints are a similarity of 0.93, above nine of ten thresholds
    assert precision_without_the_neck(LSP) == pytest.approx(0.9)


def test_people_found_where_none_are_labelled_are_neither_right_nor_wrong():
    stray = torch.tensor([[[20.0, 60.0], [20.0, 70.0], [90.0, 90.0]]])  # two of three joints in the crowd
    mask = torch.zeros(160, 160, dtype=torch.int64)
    mask[50:80, 10:40] = IGNORE
    found = {"people": [torch.cat([stray, CROSSING])], "score": [torch.tensor([3.0, 1.0, 1.0])]}
    boxes = torch.tensor([[20.0, 20.0, 136.0, 136.0], [24.0, 24.0, 136.0, 136.0]])
    scores = []
    for more in ({}, {"mask": mask[None]}):
        metric = PeopleScores(INFO)
        metric.update(found, {"people": [CROSSING], "boxes": [boxes], **more})
        scores.append(metric.compute())
    assert [score["limbs_precision"] for score in scores] == [pytest.approx(4 / 6), 1.0]
    assert [score["people_ratio"] for score in scores] == [1.5, 1.0]
    assert scores[0]["oks_ap"] < scores[1]["oks_ap"] == 1.0
    metric = PeopleScores(INFO)
    metric.update(found, {"people": [CROSSING], "mask": [torch.roll(mask, 60, 1)]})  # beside the stray one
    assert metric.compute()["limbs_precision"] == pytest.approx(4 / 6)


def test_people_refuse_a_network_that_does_not_fit():
    task, batch = People(INFO), batch_of(CROSSING)
    with pytest.raises(RecipeError, match="no limbs; people need one with fields"):
        task.loss(torch.zeros(1, 4, 40, 40), batch)
    with pytest.raises(RecipeError, match=r"6 channels of fields and 4 heatmaps where 4 and 4 .* limbs=2"):
        task.loss(FieldStages((torch.zeros(1, 6, 40, 40),), (torch.zeros(1, 4, 40, 40),)), batch)
    with pytest.raises(RecipeError, match="names of joints and limbs"):
        People(DataInfo(keypoints=("head",)))
    with pytest.raises(RecipeError, match=r"task.width is 0.0"):
        People(INFO, width=0.0)


def test_skeletons_of_people_are_drawn_without_their_missing_joints():
    people = CROSSING.clone()
    people[0, 2] = NAN
    drawn = People(INFO).draw(torch.zeros(3, 200, 200, dtype=torch.uint8), {"people": people})
    assert drawn[:, 20, 20].min() == 255
    assert drawn[:, 136, 136].max() == 0


def test_people_ratio_is_above_one_where_too_many_are_found():
    metric = PeopleScores(INFO)
    metric.update({"people": [CROSSING], "score": [torch.ones(2)]}, {"people": [CROSSING[:1]]})
    assert metric.compute()["people_ratio"] == 2.0


def test_people_lie_on_the_image_of_their_own_size():
    task, batch = People(INFO), batch_of(CROSSING, CROSSING / 2, size_hw=torch.tensor([[160, 160], [80, 80]]))
    _, maps = task.labels(batch, (40, 40))
    places = maps[:, 0].flatten(1).argmax(1)
    assert places[0] == places[1]


def test_people_refuse_images_without_their_borders():
    with pytest.raises(RecipeError, match="cover cuts borders off on which joints may lie; use stretch"):
        People(INFO, preprocessing=Preprocessing(size_hw=(8, 8), rule="cover"))


def test_limbs_are_drawn_between_their_joints_in_a_colour_for_each_person():
    people = torch.tensor([[[20.0, 20.0], [20.0, 60.0], [20.0, 100.0]], [[80.0, 20.0], [80.0, 60.0], [NAN, NAN]]])
    drawn = People(INFO).draw(torch.zeros(3, 200, 200, dtype=torch.uint8), {"people": people})
    first, second = drawn[:, 40, 20], drawn[:, 40, 80]
    assert first.max() > 100
    assert second.max() > 100
    assert not first.equal(second)
    assert drawn[:, 80, 20].equal(first)
    assert drawn[:, 80, 80].max() == 0
    assert drawn[:, 70:].flatten(0, 1)[..., 40:].max() == 0  # a joint that is missing lies nowhere
    assert drawn[:, :10, :10].max() == 0
