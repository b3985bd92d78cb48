"""Augmentation: targets move with their pictures, labels keep their meaning, numbers are drawn anew."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.checks.made import Samples, blobs, drawn, found, setup, striped
from unpool.checks.augmented_pictures import look_draws, look_meaning, look_strength, look_validation
from unpool.checks.augmented_targets import look_masks_move, look_points_move, mirror_pairs


def coin():
    return bool(torch.rand(()) < 0.5)


def both_mirrored(image, mask):
    return (image.flip(-1), mask.flip(-1)) if coin() else (image, mask)


def image_mirrored(image, mask):
    return (image.flip(-1), mask) if coin() else (image, mask)


def mask_moved(image, mask):
    return image, mask.roll(5, -1)


def jittered(image, mask):
    """Colour, noise and a hole, which leave the place as it is."""
    image = image * torch.rand(()) + 0.2 * torch.randn(image.shape) * image.std()
    image[:, 4:14, 4:14] = 0
    return both_mirrored(image, mask)


def interpolated(image, mask):
    both = torch.cat([image, mask[None].float()])[None]
    both = nn.functional.interpolate(both, (57, 57), mode="bilinear")[0, :, 4:52, 4:52]
    return both[:3], both[3].long()


@pytest.mark.parametrize(
    ("augment", "causes"),
    [
        (both_mirrored, [""]),
        (jittered, [""]),
        (image_mirrored, ["augment.target_left"]),
        (mask_moved, ["augment.target_left"]),
        (interpolated, ["augment.mask_interpolated"]),
    ],
)
def test_masks_move_with_their_pictures_and_keep_their_values(augment, causes):
    run = setup(Samples(*blobs(12, 1)), Samples(*blobs(12, 2)), form="class map", augment=augment)
    findings = look_masks_move(run)
    assert found(findings) == causes
    pictures = findings[0].pictures if isinstance(findings, list) else findings.pictures
    assert [name.partition(":")[0] for name, _ in pictures] == 3 * ["before", "after"] * (
        "augment.target_left" in causes
    )


def figures(count, seed, *, paired=True):
    """Joints (N, 5, 2): head, two hands and two feet; or five places without pairs."""
    generator = torch.Generator().manual_seed(seed)
    middle = 20 + 8 * torch.rand(count, 1, 2, generator=generator)
    plan = torch.tensor([[0.0, -9], [10, -2], [-10, -2], [5, 11], [-5, 11]])
    if not paired:
        plan = torch.tensor([[0.0, -9], [3, -2], [6, 6], [9, 11], [12, 3]])
    return Samples(drawn(count, seed, size=48), middle + plan + torch.randn(count, 5, 2, generator=generator))


def mirrored(image, points, *, order, width=48):
    if not coin():
        return image, points
    points = points.clone()
    points[:, 0] = width - 1 - points[:, 0]
    return image.flip(-1), points[order]


@pytest.mark.parametrize(
    ("order", "paired", "width", "causes"),
    [
        ([0, 2, 1, 4, 3], True, 48, [""]),
        ([0, 1, 2, 3, 4], True, 48, ["augment.pairs_not_swapped"]),
        ([0, 1, 2, 3, 4], False, 48, [""]),
        ([0, 2, 1, 4, 3], True, 64, ["augment.target_left"]),
    ],
)
def test_a_mirror_exchanges_left_and_right_where_there_are_such_pairs(order, paired, width, causes):
    augment = partial(mirrored, order=order, width=width)
    run = setup(figures(40, 1, paired=paired), figures(40, 2, paired=paired), form="points", augment=augment)
    findings = look_points_move(run)
    assert found(findings) == causes
    if "augment.pairs_not_swapped" in causes:
        assert [image.shape for _, image in findings[0].pictures] == [(3, 48, 48), (3, 48, 48)]


def test_pairs_are_joints_on_opposite_sides_at_one_height():
    assert mirror_pairs(torch.stack([points for _, points in figures(40, 1)])) == [(1, 2), (3, 4)]
    assert mirror_pairs(torch.stack([points for _, points in figures(40, 1, paired=False)])) == []


def cropped(least, most):
    def augment(image, label):
        side = int(32 * (least + (most - least) * torch.rand(())) ** 0.5)
        top, left = torch.randint(0, 33 - side, (2,)).tolist()
        part = image[:, top : top + side, left : left + side]
        return nn.functional.interpolate(part[None], (32, 32), mode="bilinear")[0], label

    return augment


@pytest.mark.parametrize(("least", "most", "cause"), [(0.08, 1.0, ""), (0.005, 0.03, "augment.too_strong")])
def test_crops_must_show_enough_of_the_picture(least, most, cause):
    run = setup(Samples(*striped(12, 1)), Samples(*striped(12, 2)), form="class", augment=cropped(least, most))
    assert found(look_strength(run)) == [cause]


@pytest.mark.parametrize(("level", "cause"), [(0.1, ""), (0.5, ""), (25, "augment.too_strong")])
def test_noise_must_leave_something_of_the_picture(level, cause):
    clean = drawn(20, 1)
    noisy = (clean + level * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    assert found(look_strength(setup(Samples(noisy, clean), form="picture"))) == [cause]


def turned(image, label):
    return (image.rot90(1, (-2, -1)) if coin() else image), label


def shifted(image, label):
    return image.roll(int(torch.randint(-2, 3, ())), -1), label


@pytest.mark.parametrize(("augment", "cause"), [(turned, "augment.changes_meaning"), (shifted, "")])
def test_a_turn_makes_stripes_across_those_that_go_down(augment, cause):
    run = setup(Samples(*striped(200, 1)), Samples(*striped(160, 5)), form="class", augment=augment)
    assert found(look_meaning(run)) == [cause]


def test_validation_that_draws_is_found_in_sets_and_in_batches():
    images, labels = striped(20, 1)
    drawing = Samples(images, labels, lambda image, label: (image + torch.rand(()), label))
    plain = Samples(images, labels)
    assert found(look_validation(setup(plain, plain, form="class"))) == [""]
    finding = look_validation(setup(plain, drawing, form="class"))
    assert found(finding) == ["augment.on_validation"]
    assert [name for name, _ in finding.pictures] == ["read once", "read again"]
    assert found(look_validation(setup(plain, Again(drawing), form="class"))) == ["augment.on_validation"]
    noisy = look_validation(setup(plain, drawing, form="picture"))
    assert noisy.verdict == "warn"


class Again:
    """An iterable of batches, of which nothing but that is known."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter(DataLoader(self.data, 10))


def seeding(image, label):
    torch.manual_seed(0)
    return image + 0.1 * torch.randn(image.shape), label


def drawing(image, label):
    return image + 0.1 * torch.randn(image.shape), label


@pytest.mark.parametrize(("change", "cause"), [(None, ""), (drawing, ""), (seeding, "augment.same_randomness")])
def test_reading_a_sample_seeds_no_generator(change, cause):
    images, labels = striped(20, 1)
    run = setup(Samples(images, labels, change), form="class")
    before = torch.get_rng_state()
    assert found(look_draws(run)) == [cause]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("workers", "cause"), [(0, ""), (2, "augment.same_randomness")])
def test_workers_that_copy_a_generator_of_the_set_draw_the_same(workers, cause):
    images, labels = striped(20, 1)
    rng = np.random.default_rng(0)
    data = Samples(images, labels, lambda image, label: (image + rng.random(), label))
    run = setup(data, form="class")
    run.train.data = DataLoader(data, 4, num_workers=workers)
    assert found(look_draws(run)) == [cause]
