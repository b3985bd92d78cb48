"""Mirrors that make pictures of one class those of another are told from mirrors that do not."""

import pytest
import torch

from tests.checks.made import Samples, drawn, found, setup
from unpool.checks.learnable import look_order
from unpool.checks.name_orders import other_orders
from unpool.checks.turned_classes import look_turned


def wedges(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Wedges that point left (0) or right (1), and squares (2)."""
    labels = torch.randint(3, (count,), generator=torch.Generator().manual_seed(seed))
    images = drawn(count, seed, channels=1) * 0.3
    rows, columns = (torch.arange(32) - 16).abs()[:, None], torch.arange(32)[None]
    right = (rows < (26 - columns) * 0.6) & (columns > 6)
    kinds = torch.stack([right.flip(-1), right, (rows < 8) & ((columns - 16).abs() < 8)]).float()
    return images + 0.6 * kinds[labels][:, None], labels


def coin() -> bool:
    return bool(torch.rand(()) < 0.5)


def mirrored(image, label):
    return (image.flip(-1) if coin() else image), label


def mirrored_with_label(image, label):
    return (image.flip(-1), torch.tensor([1, 0, 2])[label]) if coin() else (image, label)


def upside_down(image, label):
    return (image.flip(-2) if coin() else image), label


def strong(image, label):
    image = image.roll(int(torch.randint(-6, 7, ())), -1) * (0.3 + torch.rand(())) + 0.3 * torch.randn(image.shape)
    return image, label


@pytest.mark.parametrize(
    ("augment", "causes"),
    [
        (mirrored, ["augment.changes_meaning"]),
        (mirrored_with_label, [""]),
        (upside_down, [""]),
        (strong, [""]),
    ],
)
def test_a_mirror_that_exchanges_two_classes_is_told_from_one_that_does_not(augment, causes):
    run = setup(Samples(*wedges(60, 1)), Samples(*wedges(60, 2)), form="class", augment=augment)
    assert found(look_turned(run)) == causes


class Named(Samples):
    """Samples with the names of their files, in one order, and the targets in another."""

    def __init__(self, *, names: bool, targets: bool) -> None:
        images, labels = wedges(90, 3)
        self.files = [f"picture_{i}.png" for i in range(90)]
        as_text = torch.tensor(sorted(range(90), key=lambda i: self.files[i]))
        if names:
            self.files, images = sorted(self.files), images[as_text]
        super().__init__(images, labels[as_text] if targets else labels)


@pytest.mark.parametrize(("names", "targets"), [(False, False), (True, True), (True, False), (False, True)])
def test_targets_in_another_order_than_the_names_of_files_are_found(names, targets):
    run = setup(Named(names=names, targets=targets), form="class")
    assert found(look_order(run)) == ["" if names == targets else "data.target_mismatch"]


def test_names_in_no_order_or_of_no_numbers_have_no_other_order():
    named = Named(names=False, targets=False)
    named.files = ["b.png", "a.png"]
    assert other_orders(named) == {}
    named.files = ["7.png", "10.png", "8.png"]
    assert other_orders(named) == {}
    assert other_orders(object()) == {}
