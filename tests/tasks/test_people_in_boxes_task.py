import math
from types import SimpleNamespace

import pytest
import torch

from tests.tasks.tiny_detectors import ONE, TWO, Branched, scenes
from unpool.errors import RecipeError
from unpool.ops.drawing import distinct_colours
from unpool.ops.people import as_things
from unpool.ops.region_maps import joint_targets
from unpool.task_facts import check_described, check_measured
from unpool.tasks.detection_answers import Selection
from unpool.tasks.detection_losses import Regions
from unpool.tasks.detection_truth import truths
from unpool.tasks.people_in_boxes import PeopleInBoxes
from unpool.training.step import total_loss
from unpool.types import DataInfo

INFO = DataInfo(keypoints=("nose", "left_wrist", "right_wrist"), flip_pairs=((1, 2),), limbs=((0, 1), (0, 2)))
SIDE = 64


def people_in(boxes):
    """(N, 3, 2): joints at three places of each box."""
    shares = torch.tensor([[0.5, 0.1], [0.2, 0.6], [0.9, 0.7]])
    return boxes[:, None, :2] + shares * (boxes[:, 2:] - boxes[:, :2])[:, None]


def batch_of(*boxes, **more):
    labels = [torch.zeros(len(one), dtype=torch.int64) for one in boxes]
    batch = scenes(*boxes, labels=labels, people=[people_in(one) for one in boxes], **more)
    return {key: value for key, value in batch.items() if key != "labels"}


def network():
    return Branched(1, of_boxes="joints", channels=3)


def seen_of(maps, centre=0.5):
    detector = SimpleNamespace(joint_centre=centre, joint_steps=56)
    return SimpleNamespace(region_maps=lambda boxes, channels: maps, detector=detector)


def joint_loss(logits, boxes, batch):
    regions = [Regions(boxes, torch.ones(len(boxes)).long(), boxes, torch.arange(len(boxes)))]
    return PeopleInBoxes(INFO).losses_of_boxes(seen_of(logits), regions, batch)["joints"]


@pytest.mark.parametrize("centre", [0.5, 0.0])
@pytest.mark.parametrize("size_hw", [(64, 64), (128, 192)])
def test_joints_come_back_from_what_is_learned_to_half_a_cell(centre, size_hw):
    """On an input of 64x64, whatever the size of the image: as the network learns them, so they are answered."""
    scale = torch.tensor([size_hw[1], size_hw[0]]) / SIDE
    on_image = TWO * scale.repeat(2)
    people = people_in(on_image)
    targets = joint_targets(people + centre, on_image, 56)
    maps = torch.nn.functional.one_hot(targets, 56 * 56).float().unflatten(2, (56, 56))
    inputs = {"image": torch.zeros(1, 3, SIDE, SIDE), "size_hw": torch.tensor([size_hw])}
    selected = [Selection(TWO, torch.zeros(2).long(), torch.ones(2))]
    answer = PeopleInBoxes(INFO).answers_of_boxes(seen_of(maps, centre), selected, [on_image], inputs)
    cells = (on_image[:, 2:] - on_image[:, :2])[:, None] / 56
    assert ((answer["people"][0] - people).abs() <= cells / 2 + 1e-3).all()


def test_loss_of_joints_is_a_softmax_over_all_cells_of_those_that_are_known():
    batch = batch_of(TWO)
    batch["people"][0][1, 2] = math.nan
    batch["people"][0][0, 0] = torch.tensor([50.0, 50.0])  # of the first person, and not in the region
    logits = torch.zeros(2, 3, 56, 56, requires_grad=True)
    term = joint_loss(logits, TWO, batch)
    assert float(term.count) == 4
    assert float(term.sum.detach()) == pytest.approx(4 * math.log(56 * 56), rel=1e-5)
    term.sum.backward()
    assert logits.grad.flatten(2).any(2).tolist() == [[False, True, True], [True, True, False]]
    assert (logits.grad[0, 1] < 0).sum() == 1


def test_joint_in_its_cell_costs_nothing_and_beside_it_much():
    batch = batch_of(TWO)
    targets = joint_targets(batch["people"][0] + 0.5, TWO, 56)
    maps = 30 * torch.nn.functional.one_hot(targets, 56 * 56).float().unflatten(2, (56, 56))
    right, beside = (float(joint_loss(logits, TWO, batch).sum) for logits in (maps, maps.roll(1, -1)))
    assert right < 1e-3 < 100 < beside


def test_people_who_are_not_labelled_are_neither_to_be_detected_nor_background():
    ignored = torch.tensor([[1.0, 40.0, 20.0, 60.0, 100.0, 0.0], [40.0, 0.0, 64.0, 20.0, 300.0, 1.0]])
    things = as_things(batch_of(TWO, ignored=[ignored]))
    (truth,) = truths(things, is_training=True)
    assert torch.equal(truth.boxes, TWO)
    assert torch.equal(truth.others, ignored[:, :4])
    assert truth.rows.tolist() == [0, 1]
    assert (things["crowd"][0].tolist(), things["difficult"][0].tolist()) == (
        [False, False, False, True],
        [False, False, True, False],
    )


def test_small_network_learns_two_images():
    task, model = PeopleInBoxes(INFO), network()
    batch = batch_of(TWO, ONE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    seen = []
    for step in range(15):
        torch.manual_seed(step)
        losses = task.losses(model, batch)
        seen.append(float(losses["joints"].sum.detach() / losses["joints"].count))
        total_loss(losses).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert seen[-1] < 0.9 * seen[0]


def answer_of(batch):
    people = [one.clone() for one in batch["people"]]
    score = [torch.linspace(0.9, 0.4, len(one)) for one in people]
    return {
        "boxes": batch["boxes"],
        "labels": [torch.zeros(len(one)).long() for one in people],
        "people": people,
        "score": score,
    }


def test_perfect_people_score_one_and_ignored_ones_nothing():
    ignored = torch.tensor([[1.0, 40.0, 20.0, 60.0, 400.0, 0.0]])
    batch = batch_of(TWO, ignored=[ignored], areas=[torch.tensor([100.0, 300.0])])
    task, answer = PeopleInBoxes(INFO), answer_of(batch)
    beside = people_in(ignored[:, :4])
    more = {"boxes": ignored[:, :4], "labels": torch.zeros(1).long(), "people": beside, "score": torch.tensor([0.95])}
    for prediction in (answer, {key: [torch.cat([more[key], value[0]])] for key, value in answer.items()}):
        metric = task.metric()
        metric.update(prediction, batch)
        figures = metric.compute()
        assert (figures["oks_ap"], figures["ap"]) == (1.0, 1.0)
    answer["people"][0][:] += 9
    metric = task.metric()
    metric.update(answer, batch)
    assert metric.compute()["oks_ap"] < 0.5
    assert metric.compute()["ap"] == 1.0


def test_metrics_that_are_described_are_measured():
    task = PeopleInBoxes(INFO)
    check_described(task)
    check_measured(task)
    assert set(task.described) <= set(task.metric().compute())


def test_parts_of_a_set_are_counted_as_the_whole():
    task, parts = PeopleInBoxes(INFO), [batch_of(TWO, index=torch.tensor([i])) for i in range(2)]
    whole, joined = task.metric(), task.metric()
    for batch in parts:
        answer = answer_of(batch)
        answer["people"][0][0] += int(batch["index"]) * 20
        one = task.metric()
        one.update(answer, batch)
        whole.update(answer, batch)
        joined.merge(one)
    assert joined.compute() == whole.compute()
    assert 0 < whole.compute()["oks_ap"] < 1


def test_left_is_right_in_a_mirror():
    task, batch = PeopleInBoxes(INFO), batch_of(TWO)
    once = task.unmirrored(answer_of(batch), batch)
    people = batch["people"][0]
    assert torch.equal(once["people"][0][:, 1, 0], SIDE - 1 - people[:, 2, 0])
    assert torch.equal(once["people"][0][:, 0, 1], people[:, 0, 1])
    torch.testing.assert_close(task.unmirrored(once, batch)["people"][0], people)


def test_people_are_written_as_cocos_keypoints():
    task, batch = PeopleInBoxes(INFO), batch_of(ONE)
    record = task.record({key: value[0] for key, value in answer_of(batch).items()})
    (one,) = task.results([{"image": "a.jpg", **task.write(record, None)}]).content
    assert one["category_id"] == 1
    assert one["keypoints"] == [value for x, y in batch["people"][0][0].tolist() for value in (x, y, 1)]
    assert task.brief(record) == "1 person"


def test_people_are_drawn_where_they_are_likely():
    task, batch = PeopleInBoxes(INFO), batch_of(TWO)
    image = torch.full((3, SIDE, SIDE), 90, dtype=torch.uint8)
    record = task.record({key: value[0] for key, value in answer_of(batch).items()})
    drawn = task.draw(image, task.thinned(record, 1))
    times = drawn.shape[-1] // SIDE
    changed = (drawn != 90).any(0)
    for (x, y), is_shown in zip(batch["people"][0][:, 1].tolist(), (True, False), strict=True):
        assert bool(changed[int((y + 0.5) * times), int((x + 0.5) * times)]) == is_shown
    left, top, _, _ = (times * TWO[0]).int().tolist()
    assert changed[top + 5 * times, left]


def test_box_of_a_person_has_the_colour_of_the_skeleton():
    task, batch = PeopleInBoxes(INFO), batch_of(TWO)
    drawn = task.draw(torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), {"boxes": TWO, "people": batch["people"][0]})
    times = drawn.shape[-1] // SIDE
    for box, joints, colour in zip(TWO, batch["people"][0], distinct_colours(2), strict=True):
        limb = (times * (0.5 + (joints[0] + joints[1]) / 2)).int().tolist()
        corner = (times * box[2:] - 1).int().tolist()
        assert [tuple(drawn[:, y, x].tolist()) for x, y in (limb, corner)] == [colour, colour]


def test_data_without_joints_and_network_without_them_are_refused():
    with pytest.raises(RecipeError, match="need names of joints"):
        PeopleInBoxes(DataInfo(classes=("a",)))
    with pytest.raises(RecipeError, match=r"gives no joints of boxes.*keypointrcnn"):
        PeopleInBoxes(INFO).answer(Branched(1), batch_of(TWO))
