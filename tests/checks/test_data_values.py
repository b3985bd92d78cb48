"""Values of labels, masks, pixels, boxes and joints: each mistake is named, and its healthy twin passes."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch import nn

from tests.checks.made import Samples, blobs, drawn, found, setup, striped
from unpool.checks.box_values import look_boxes, look_points
from unpool.checks.files_whole import look_files, look_left_out
from unpool.checks.label_values import look_imbalance, look_labels, look_words
from unpool.checks.mask_values import look_masks
from unpool.checks.pixel_values import look_distributions, look_ranges


def labels_run(labels, val_labels, outputs=3, **more):
    return setup(Samples(drawn(len(labels), 1), labels), Samples(drawn(len(val_labels), 2), val_labels),
                 outputs=outputs, form="class", **more)  # fmt: skip


LABELS = torch.arange(120) % 3


@pytest.mark.parametrize(
    ("labels", "val", "outputs", "cause"),
    [
        (LABELS, LABELS[:60], 3, ""),
        (LABELS + 1, LABELS[:60] + 1, 4, "data.label_range"),
        (LABELS - 1, LABELS[:60], 3, "data.label_range"),
        (LABELS + 1, LABELS[:60] + 1, 3, "data.label_range"),
        (LABELS, LABELS[:60], 4, "data.empty_class"),
        (LABELS.clamp(max=1), LABELS[:60], 3, "data.class_one_split"),
    ],
)
def test_labels_are_compared_with_outputs_and_between_the_splits(labels, val, outputs, cause):
    assert found(look_labels(labels_run(labels, val, outputs))) == [cause]


def test_a_class_that_only_training_has_is_a_warning():
    (finding,) = look_labels(labels_run(LABELS, LABELS[:60].clamp(max=1)))
    assert (finding.verdict, finding.cause) == ("warn", "data.class_one_split")


def test_the_label_that_the_loss_ignores_is_in_range():
    ignoring = torch.where(torch.arange(120) % 10 == 0, -100, LABELS)
    assert found(look_labels(labels_run(ignoring, LABELS, loss=nn.CrossEntropyLoss()))) == [""]


@pytest.mark.parametrize(("weight", "cause"), [(None, "data.imbalance"), ((1.0, 1.0, 60.0), "")])
def test_a_rare_class_has_weight_by_its_number_or_by_the_loss(weight, cause):
    labels = torch.where(torch.arange(200) < 2, 2, torch.arange(200) % 2)
    loss = nn.CrossEntropyLoss(weight=None if weight is None else torch.tensor(weight))
    images = drawn(200, 1)
    batches = [(images[i : i + 40], labels[i : i + 40]) for i in range(0, 200, 40)]
    assert found(look_imbalance(setup_of_batches(batches, loss))) == [cause]


def setup_of_batches(batches, loss):
    from tests.checks.made import Net
    from unpool.checks.setup import Setup
    from unpool.checks.source import Source

    return Setup(model=Net(3), train=Source(batches, name="train"), loss=loss, form="class")


def test_words_numbered_anew_in_validation_are_found():
    generator = torch.Generator().manual_seed(0)
    weights = torch.linspace(1, 0.02, 30) ** 2
    texts = torch.multinomial(weights.expand(200, -1), 8, generator=generator)

    def run(val):
        return setup(Samples(drawn(120, 1), texts[:120]), Samples(drawn(80, 2), val), form="tokens")

    assert found(look_words(run(texts[120:]))) == [""]
    assert found(look_words(run(texts[120:].flip(0) * 7 % 30))) == ["data.class_one_split"]


def masks_run(masks, val_masks=None):
    images, right = blobs(40, 1)
    masks = right if masks is None else masks(right)
    val = Samples(*blobs(20, 2)) if val_masks is None else Samples(blobs(20, 2)[0], val_masks(blobs(20, 2)[1]))
    return setup(Samples(images, masks), val, form="class map")


def blended(masks):
    soft = nn.functional.interpolate(masks[:, None].float(), (37, 37), mode="bilinear")
    return nn.functional.interpolate(soft, (48, 48), mode="bilinear")[:, 0].add(1e-3).long()


@pytest.mark.parametrize(
    ("masks", "cause"),
    [
        (None, ""),
        (lambda masks: masks * 0, "data.label_kind"),
        (lambda masks: torch.where(masks > 0, 255, masks), "data.palette"),
        (blended, "data.soft_mask"),
        (lambda masks: masks.clamp(max=1), "data.class_one_split"),
    ],
)
def test_masks_hold_ids_and_nothing_between_them(masks, cause):
    assert found(look_masks(masks_run(masks))) == [cause]


def test_masks_of_numbers_have_two_values():
    images, masks = blobs(24, 1)
    hard = (masks > 0).float()[:, None]
    soft = nn.functional.avg_pool2d(hard, 3, 1, 1)
    val = Samples(images[:12], hard[:12])
    assert found(look_masks(setup(Samples(images, hard), val, form="class map"))) == [""]
    assert found(look_masks(setup(Samples(images, soft), val, form="class map"))) == ["data.soft_mask"]


def test_pictures_as_targets_are_no_masks():
    images = drawn(24, 1)
    assert (
        look_masks(setup(Samples(images, images), Samples(images, images), form="picture")).verdict == "not applicable"
    )


def bytes_of(images):
    return (images * 255).round() / 255


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda x: (x - 0.5) / 0.25, ""),
        (lambda x: x, "data.normalization"),
        (lambda x: (x - 0.47) / 0.25 - 0.02, "data.normalization"),
        (lambda x: x * 255, "data.value_range"),
    ],
)
def test_both_splits_are_normalised_alike(change, cause):
    train, val = bytes_of(drawn(40, 1) * 1.3 - 0.15).clamp(0, 1), bytes_of(drawn(40, 2) * 1.3 - 0.15).clamp(0, 1)
    run = setup(Samples((train - 0.5) / 0.25, LABELS[:40]), Samples(change(val), LABELS[:40]), form="class")
    assert found(look_ranges(run)) == [cause]


def test_mean_of_bytes_taken_from_pixels_up_to_1_is_named():
    images = drawn(40, 1)
    run = setup(Samples((images - 123.7) / 58.4, LABELS[:40]), form="class")
    assert found(look_ranges(run)) == ["data.normalization"]


def test_pixels_up_to_255_are_a_warning_unless_a_norm_takes_them():
    images = (drawn(20, 1) * 255).round()
    plain = setup(Samples(images, LABELS[:20]), form="class")
    normed = setup(
        Samples(images, LABELS[:20]), form="class", model=nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3))
    )
    assert (look_ranges(plain).verdict, look_ranges(plain).cause) == ("warn", "data.value_range")
    assert found(look_ranges(normed)) == [""]


TINT = torch.tensor([0.9, 0.6, 0.3])[:, None, None]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda x: x * TINT, ""),
        (lambda x: (x * TINT).flip(1), "data.channel_order"),
        (lambda x: x * TINT * 0.3, "data.split_shift"),
        (lambda x: x * TINT * 8 - 3, "data.normalization"),
    ],
)
def test_splits_look_alike_in_colour_and_light(change, cause):
    train, val = Samples(drawn(60, 1) * TINT, LABELS[:60]), Samples(change(drawn(60, 2)), LABELS[:60])
    assert found(look_distributions(setup(train, val, form="class"))) == [cause]


CORNERS = torch.tensor([[4.0, 6, 20, 30], [10, 2, 40, 22], [1, 1, 9, 12], [30, 20, 47, 44]]).repeat(10, 1)


XYWH = torch.tensor([[30.0, 20, 17, 24], [20, 25, 18, 20], [2, 2, 20, 24], [35, 30, 10, 12]]).repeat(10, 1)


@pytest.mark.parametrize(
    ("boxes", "cause"),
    [
        (CORNERS, ""),
        (torch.where(torch.arange(40)[:, None] % 5 == 0, CORNERS[:, [2, 3, 0, 1]], CORNERS), "data.box_invalid"),
        (torch.where(torch.arange(40)[:, None] == 3, CORNERS[:, [0, 1, 0, 1]], CORNERS), "data.box_invalid"),
        (XYWH, "data.box_format"),
        (torch.cat([(CORNERS[:, :2] + CORNERS[:, 2:]) / 2, CORNERS[:, 2:] - CORNERS[:, :2]], 1), ""),
    ],
)
def test_boxes_have_an_extent_or_another_convention(boxes, cause):
    run = setup(Samples(drawn(40, 1, size=48), boxes), form="things")
    assert found(look_boxes(run)) == [cause]


def test_four_numbers_that_are_no_corners_are_left_alone():
    numbers = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
    assert look_boxes(setup(Samples(drawn(60, 1), numbers), form="numbers")).verdict == "not applicable"


@pytest.mark.parametrize(("visible", "cause"), [(0, ""), (1, "data.keypoint_outside")])
def test_joints_at_one_place_outside_must_be_hidden(visible, cause):
    points = torch.cat([torch.rand(40, 4, 2, generator=torch.Generator().manual_seed(0)) * 30, torch.ones(40, 4, 1)], 2)
    points[::3, 1] = torch.tensor([-1.0, -1.0, visible])
    assert found(look_points(setup(Samples(drawn(40, 1), points), form="points"))) == [cause]


def test_joints_say_by_a_key_beside_them_which_are_hidden_and_these_are_counted():
    points = torch.rand(40, 4, 2, generator=torch.Generator().manual_seed(0)) * 30
    points[::2, 1] = -1000.0
    visible = torch.ones(40, 4, dtype=torch.bool)
    visible[::2, 1] = False
    targets = [{"keypoints": spots, "visible": seen} for spots, seen in zip(points, visible, strict=True)]
    finding = look_points(setup(Samples(drawn(40, 1), targets), form="points"))
    assert (finding.verdict, finding.value) == ("pass", 0.0)
    assert "20 of 160 are marked hidden" in finding.about


def test_share_of_a_mask_without_a_class_is_said():
    masks = blobs(24, 1)[1]
    masks[:, :12] = 255
    finding = look_masks(setup(Samples(blobs(24, 1)[0], masks), form="class map"))
    assert "25.0% of their pixels stand for no class" in finding.about


def test_boxes_that_are_none_are_shown_in_their_pictures():
    boxes = torch.where(torch.arange(40)[:, None] == 3, CORNERS[:, [0, 1, 0, 1]], CORNERS)
    finding = look_boxes(setup(Samples(drawn(40, 1, size=48), boxes), form="things"))
    assert len(finding.pictures) == 1
    assert finding.pictures[0][0] in finding.evidence[0]


def test_readers_notes_are_repeated_and_boxes_they_left_out_are_a_warning():
    data = Samples(drawn(4, 1), torch.zeros(4).long())
    assert look_left_out(setup(data)).verdict == "not applicable"
    left_out = "1 of 9 boxes have no extent: left out, a.xml, object 4"
    finding = look_left_out(setup(data, facts={"notes": ("grey image: 2 files, first b.jpg",)}))
    assert (finding.verdict, finding.evidence) == ("pass", ("grey image: 2 files, first b.jpg",))
    (finding,) = look_left_out(setup(data, facts={"notes": (left_out, "x")}))
    assert (finding.verdict, finding.cause, finding.evidence) == ("warn", "data.box_invalid", (left_out,))
    (finding,) = look_left_out(setup(data, facts={"notes": (), "skipped": ("c.jpg: it is empty",)}))
    assert (finding.cause, finding.evidence) == ("data.unreadable", ("c.jpg: it is empty",))


@pytest.mark.parametrize(("cut", "cause"), [(0, ""), (200, "data.unreadable")])
def test_files_are_decoded_to_their_end_whatever_the_caller_allows(tmp_path, monkeypatch, cut, cause):
    images, labels = striped(6, 1)
    data = Samples(images, labels)
    data.samples = []
    for i, image in enumerate(images):
        path = tmp_path / f"{i}.jpg"
        Image.fromarray((image.permute(1, 2, 0) * 255).byte().numpy().astype(np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[: -cut or None] if i == 2 else path.read_bytes())
        data.samples.append((str(path), int(labels[i])))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    finding = look_files(setup(data, form="class"))
    assert finding.cause == cause
    assert ImageFile.LOAD_TRUNCATED_IMAGES
    assert not cut or "2.jpg" in finding.evidence[0]
    assert cut or "(6 JPEG)" in finding.about
