"""Averages of views and of networks: what the answer is, and what is refused."""

import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.models.detection.practice import SSD
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.views import VIEWS
from unpool.predictor import Ensemble, Predictor
from unpool.tasks import Classification, Denoising, Detection, Pose, Segmentation
from unpool.tasks.detection_answers import join_boxes
from unpool.types import AnchoredBoxes, DataInfo

INFO = DataInfo(classes=("cat", "dog", "horse"))
SIDES = DataInfo(classes=("left_arrow", "square", "right_arrow"))
PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
SQUARE = Preprocessing(size_hw=(28, 28), rule="cover", **PLAIN)  # photos need no resizing, and margins are even
OTHERS = DataInfo(classes=("cat", "dog", "cow"))
GREY = Preprocessing(size_hw=(32, 32), channels=1, mean=(0.0,), std=(1.0,))
FREE = Preprocessing(**PLAIN)


def photo(height=32, width=48, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def classifier(seed=0, info=INFO, preprocessing=SQUARE, loss="cross_entropy", **options):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    model = nn.Sequential(*layers).eval()
    model[-1].weight.data *= 20
    return Predictor(model, preprocessing, info, Classification(info, loss=loss), name=f"network {seed}", **options)


def segmenter(seed=0, info=INFO, preprocessing=FREE, **limits):
    torch.manual_seed(seed)
    model = nn.Conv2d(3, 3, 3, padding=1).eval()
    model.weight.data *= 9
    task = Segmentation(info, preprocessing=preprocessing)
    return Predictor(model, preprocessing, info, task, name=f"network {seed}", **limits)


class Brightest(nn.Module):
    """A detector of one stage: anchors of four columns, scored by the colours there, those on the right most."""

    practice = replace(SSD, score=0.05, nms=0.5, most=10)
    box_weights = (1.0, 1.0, 1.0, 1.0)

    def forward(self, image):
        share = torch.tensor([0.4, 0.8, 1.2, 1.6])
        starts = torch.arange(0, image.shape[-1] - 3, 4)
        seen = torch.stack([(image[..., i : i + 4] * share).mean((2, 3)) for i in starts.tolist()], 1)  # (B, A, 3)
        bottom = torch.full_like(starts, image.shape[-2])
        anchors = torch.stack([starts, torch.zeros_like(starts), starts + 4, bottom], 1).float()
        deltas = torch.zeros(len(image), len(anchors), 4)
        deltas[..., 0] = 0.125  # half a pixel to the right: a mirror image says the same half a pixel to the left
        return AnchoredBoxes(8 * seen - 4, deltas, anchors, torch.zeros(len(anchors), dtype=torch.int64))


def detector(info=INFO):
    return Predictor(Brightest(), FREE, info, Detection(info, preprocessing=FREE), name="detector")


def scores_of(answer, classes):
    by_label = dict(zip(answer["top_labels"], answer["top_scores"], strict=True))
    return torch.tensor([by_label[i] for i in range(classes)])


@pytest.mark.parametrize(
    ("views", "atol"),
    [
        (["flip"], 1e-6),
        (["ten_crops"], 1e-6),
        (["flip", "colors"], 1e-6),
        (["five_scales", "flip"], 1e-3),  # resizing rounds to whole levels, where two are equally near to either side
    ],
)
def test_classes_of_a_mirrored_image_are_those_of_the_image(views, atol):
    asked = Ensemble([classifier()], views)
    one, mirrored = (scores_of(asked.predict(image), 3) for image in (photo(), photo().flip(-1)))
    assert torch.allclose(one, mirrored, atol=atol)
    plain = scores_of(classifier().predict(photo()), 3)
    assert not torch.allclose(one, plain, atol=1e-4)


def test_probabilities_of_views_are_averaged_not_logits():
    plain = classifier()
    rows = [scores_of(plain.predict(image), 3) for image in (photo(), photo().flip(-1))]
    assert torch.allclose(scores_of(Ensemble([plain], ["flip"]).predict(photo()), 3), sum(rows) / 2, atol=1e-6)


def test_classes_that_are_sides_change_places_in_the_mirror():
    asked = Ensemble([classifier(info=SIDES)], ["flip"])
    one, mirrored = (scores_of(asked.predict(image), 3) for image in (photo(), photo().flip(-1)))
    assert torch.allclose(one, mirrored[[2, 1, 0]], atol=1e-6)


def test_classes_stay_in_the_mirror_where_training_has_kept_them(caplog):
    caplog.set_level(logging.INFO)
    for info in (SIDES, DataInfo(classes=("left", "a", "b"))):
        asked = Ensemble([classifier(info=info, keeps_sides=True)], ["flip"])
        one, mirrored = (scores_of(asked.predict(image), 3) for image in (photo(), photo().flip(-1)))
        assert torch.allclose(one, mirrored, atol=1e-6)
    assert "network 0: left_arrow and right_arrow stay in mirror images, as it was trained with flip" in caplog.text
    Ensemble([classifier(info=SIDES, keeps_sides=True), classifier(1, info=SIDES)], ["ten_crops"])
    assert "network 1: in mirror images change places: left_arrow and right_arrow" in caplog.text


def test_rotations_answer_a_turned_image_as_the_image():
    asked = Ensemble([classifier()], ["rotations"])
    square = photo(32, 32)
    one, turned = (scores_of(asked.predict(image), 3) for image in (square, square.rot90(1, (-2, -1))))
    assert torch.allclose(one, turned, atol=1e-5)


def test_five_scales_are_the_mean_of_pooled_scores():
    asked, model = Ensemble([classifier()], ["five_scales"]), classifier().model
    resized = [SQUARE.__class__(**PLAIN, shorter=side, longest=999) for side in (28, 32, 48, 60, 80)]
    rows = [model(one.normalize(one.resize(photo()[None]))).softmax(1) for one in resized]
    assert torch.allclose(scores_of(asked.predict(photo()), 3), torch.cat(rows).mean(0), atol=1e-6)


def test_axes_of_the_colours_that_vary_are_told(caplog):
    with caplog.at_level("INFO", logger="unpool"):
        Ensemble([classifier()], ["colors"])
    assert "colors vary along ImageNet's axes" in caplog.text


@pytest.mark.parametrize(("side", "map_side"), [(224, 7), (256, 8), (384, 12), (480, 15), (640, 20)])
def test_map_of_a_resnet_at_each_of_five_scales(side, map_side):
    backbone = models.build("resnet18", width=2, num_classes=3).backbone.eval()
    with torch.inference_mode():
        assert backbone(torch.zeros(1, 3, side, side))[-1].shape[-2:] == (map_side, map_side)


def test_classifier_that_flattens_its_map_slides_over_larger_images():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 13 * 13, 3)).eval()
    asked = Ensemble([Predictor(model, SQUARE, INFO, Classification(INFO))], ["five_scales"])
    assert abs(sum(asked.predict(photo())["top_scores"]) - 1) < 1e-5


@pytest.mark.parametrize("preprocessing", [FREE, Preprocessing(size_hw=(16, 32), rule="fit", multiple=16, **PLAIN)])
@pytest.mark.parametrize("views", [["flip"], ["flip", "colors"]])
def test_mask_of_a_mirrored_image_is_the_mirrored_mask(views, preprocessing):
    asked = Ensemble([segmenter(preprocessing=preprocessing)], views)
    one, mirrored = asked.predict(photo()), asked.predict(photo().flip(-1))
    assert torch.allclose(one["score"].flip(-1), mirrored["score"], atol=1e-5)
    assert (one["mask"].flip(-1) == mirrored["mask"]).float().mean() > 0.999


def test_mask_of_a_turned_image_is_the_turned_mask():
    asked = Ensemble([segmenter()], ["rotations"])
    one, turned = asked.predict(photo()), asked.predict(photo().rot90(1, (-2, -1)))
    assert torch.allclose(one["score"].rot90(1, (-2, -1)), turned["score"], atol=1e-5)


def test_mask_of_sides_is_exchanged_in_the_mirror():
    asked = Ensemble([segmenter(info=SIDES)], ["flip"])
    one, mirrored = asked.predict(photo()), asked.predict(photo().flip(-1))
    assert torch.equal(2 - one["mask"].flip(-1), mirrored["mask"])


def test_large_image_in_tiles_has_the_averaged_mask_of_one_pass():
    whole, tiled = (Ensemble([segmenter(0), segmenter(1)], ["flip"]) for _ in range(2))
    tiled.limit, tiled.tile, tiled.overlap = 1000, 32, 8
    one, parts = whole.predict(photo(75, 101)), tiled.predict(photo(75, 101))
    assert torch.allclose(one["score"], parts["score"], atol=1e-5)


def test_boxes_of_a_mirrored_image_are_the_mirrored_boxes():
    asked = Ensemble([detector(SIDES)], ["flip"])
    one, mirrored = asked.predict(photo(16, 24)), asked.predict(photo(16, 24).flip(-1))
    boxes = torch.tensor(one["boxes"])
    boxes[:, [0, 2]] = 24 - boxes[:, [2, 0]]
    rows = sorted(zip(boxes.round(decimals=3).tolist(), (2 - torch.tensor(one["labels"])).tolist(), strict=True))
    there = torch.tensor(mirrored["boxes"]).round(decimals=3).tolist()
    assert rows == sorted(zip(there, mirrored["labels"], strict=True))
    assert one["score"] == pytest.approx(mirrored["score"], abs=1e-6)


def test_joined_boxes_keep_the_better_of_two_that_overlap():
    def answer(*rows):
        boxes = torch.tensor([[x, 0.0, x + 10, 10.0] for x, _, _ in rows])
        labels, score = torch.tensor([label for _, label, _ in rows]), torch.tensor([score for _, _, score in rows])
        return {"boxes": [boxes], "labels": [labels], "score": [score]}

    joined = join_boxes([answer((0, 0, 0.5), (50, 0, 0.9)), answer((1, 0, 0.7), (1, 1, 0.6))], SSD)
    rows = zip(joined["boxes"][0][:, 0].tolist(), joined["labels"][0].tolist(), strict=True)
    assert list(rows) == [(50, 0), (1, 0), (1, 1)]


def test_joints_are_mirrored_by_the_flip_test_of_the_task():
    info = DataInfo(keypoints=("left_eye", "right_eye", "nose"), flip_pairs=((0, 1),))
    torch.manual_seed(0)
    model = nn.Conv2d(3, 3, 3, padding=1).eval()
    members = [Predictor(model, FREE, info, Pose(info, flip_test=flag)) for flag in (False, True)]
    views, own = Ensemble(members[:1], ["flip"]).predict(photo()), members[1].predict(photo())
    assert views == own
    lone = Pose(DataInfo(keypoints=("left_eye", "nose")))
    with pytest.raises(RecipeError, match="joint left_eye is left or right and has no partner"):
        Ensemble([Predictor(model, FREE, lone.info, lone)], ["flip"])


def test_networks_are_averaged_by_the_names_of_their_classes():
    other = DataInfo(classes=("horse", "cat", "dog"))
    wide = Preprocessing(size_hw=(24, 48), rule="stretch", mean=(0.5,) * 3, std=(0.2,) * 3)
    first, second = classifier(0), classifier(1, other, wide)
    joined = Ensemble([first, second]).predict(photo())
    expected = (scores_of(first.predict(photo()), 3) + scores_of(second.predict(photo()), 3)[[1, 2, 0]]) / 2
    assert torch.allclose(scores_of(joined, 3), expected, atol=1e-6)
    assert joined["class"] == INFO.classes[int(expected.argmax())]


def test_masks_of_networks_that_see_other_sizes_are_averaged_at_the_size_of_the_image():
    small = Preprocessing(size_hw=(20, 28), rule="stretch", **PLAIN)
    members = [segmenter(0), segmenter(1, DataInfo(classes=("dog", "horse", "cat")), small)]
    joined = Ensemble(members).predict(photo())
    scores = members[0].model(FREE.normalize(photo()[None])).softmax(1)
    seen = members[1].model(small.normalize(small.resize(photo()[None])))
    other = nn.functional.interpolate(seen, (32, 48), mode="bilinear").softmax(1)[:, [2, 0, 1]]
    assert torch.allclose(joined["score"], ((scores + other) / 2).amax(1)[0], atol=1e-5)


def test_what_is_averaged_is_said(caplog):
    with caplog.at_level("INFO", logger="unpool"):
        asked = Ensemble([classifier(0), classifier(1)], ["flip"])
    assert asked.averaged == {
        "networks": ["network 0", "network 1"],
        "views": ["flip"],
        "answers": 4,
        "of": "probabilities of the classes",
    }
    assert "averaged over 4 answers an image (2 networks, views flip): probabilities of the classes" in caplog.text


def test_images_that_have_the_input_size_lose_no_borders_to_any_of_the_networks():
    wide = Preprocessing(size_hw=(28, 28), rule="cover", crop=0.5, **PLAIN)
    members = [classifier(0), classifier(1, preprocessing=wide)]
    image = photo(28, 28)
    whole = [scores_of(one.uncropped().predict(image), 3) for one in members]
    joined = scores_of(Ensemble(members).uncropped().predict(image), 3)
    assert torch.allclose(joined, sum(whole) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("members", "views", "says"),
    [
        (
            lambda: [segmenter()],
            ["ten_crops"],
            "ten_crops are none of Segmentation: it averages flip, colors",
        ),
        (lambda: [classifier(), segmenter()], [], "answers as Segmentation"),
        (
            lambda: [classifier(), classifier(1, OTHERS)],
            [],
            "other classes.*cow, horse",
        ),
        (lambda: [classifier(info=DataInfo(classes=("left", "a", "b")))], ["flip"], "class left is a side"),
        (lambda: [classifier(preprocessing=FREE)], ["five_scales"], "one input size"),
        (
            lambda: [
                classifier(),
                classifier(1, INFO, GREY),
            ],
            [],
            "reads images with channels 1",
        ),
        (
            lambda: [classifier(preprocessing=GREY)],
            ["colors"],
            "colors varies red, green and blue, and images have data.channels 1",
        ),
        (
            lambda: [classifier(preprocessing=Preprocessing(size_hw=(20, 28), **PLAIN))],
            ["rotations"],
            r"data.size \[20, 28\] is not square",
        ),
        (
            lambda: [classifier(), classifier(1, loss="binary_cross_entropy")],
            [],
            "network 1 makes probabilities by sigmoid, and network 0 by softmax",
        ),
    ],
)
def test_what_cannot_be_averaged_is_refused_by_name(members, views, says):
    with pytest.raises(RecipeError, match=says):
        Ensemble(members(), views)


def test_tasks_without_views_refuse_them_and_several_networks():
    info = DataInfo()
    member = Predictor(nn.Identity(), FREE, info, Denoising(info, preprocessing=FREE))
    with pytest.raises(RecipeError, match="flip are none of Denoising: it averages none"):
        Ensemble([member], ["flip"])
    with pytest.raises(RecipeError, match="Denoising does not average the answers of several networks"):
        Ensemble([member, member])


def test_every_view_of_a_task_is_a_row():
    kinds = (Classification, Segmentation, Detection, Pose)
    assert all(set(kind.views) <= set(VIEWS) and kind.averages for kind in kinds)
