import pytest
import torch

from unpool.layers.regions import level_of
from unpool.ops import boxes
from unpool.ops.anchors import best_iou, iou_of_sides
from unpool.ops.grid import pairwise_iou


def drawn(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner, size = (torch.rand(count, 2, generator=generator, dtype=torch.float64) * 100 for _ in range(2))
    return torch.cat([corner, corner + size + 1], dim=1)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_decode_is_the_inverse_of_encode(weights: tuple[float, ...]) -> None:
    truth, anchors = drawn(50, 0), drawn(50, 1)
    assert boxes.decode(boxes.encode(truth, anchors, weights), anchors, weights) == pytest.approx(truth, abs=1e-9)


def test_weights_multiply_the_deltas() -> None:
    truth, anchors = drawn(5, 0), drawn(5, 1)
    deltas = boxes.encode(truth, anchors)
    weighted = boxes.encode(truth, anchors, (10.0, 10.0, 5.0, 5.0))
    assert weighted == pytest.approx(deltas * torch.tensor([10.0, 10.0, 5.0, 5.0]))


def test_an_anchor_itself_has_no_deltas() -> None:
    anchors = drawn(5, 1)
    assert boxes.encode(anchors, anchors).abs().max() == 0


def test_huge_deltas_stay_finite() -> None:
    assert boxes.decode(torch.full((1, 4), 1e4), torch.tensor([[0.0, 0.0, 10.0, 10.0]])).isfinite().all()


def test_iou_is_that_of_counted_pixels() -> None:
    generator = torch.Generator().manual_seed(2)
    corners = torch.randint(0, 12, (20, 2, 2), generator=generator).sort(dim=1).values
    some = corners.flatten(1).float()
    canvas = torch.zeros(20, 12, 12, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(canvas, corners.flatten(1).tolist(), strict=True):
        mask[top:bottom, left:right] = True
    shared = (canvas[:, None] & canvas[None]).flatten(2).sum(2)
    union = (canvas[:, None] | canvas[None]).flatten(2).sum(2)
    assert boxes.iou(some, some) == pytest.approx(torch.where(union > 0, shared / union, 0.0))


SIDES = torch.tensor([[0, 0, 240, 240], [0, 0, 80, 240], [120, 40, 200, 240]])
COMPUTED = {  # of boxes and others
    "areas": lambda some, _: boxes.areas(some),
    "overlaps": boxes.overlaps,
    "iou": boxes.iou,
    "encode": boxes.encode,
    "decode": lambda some, others: boxes.decode(torch.full((len(some), 4), 0.5), others),
    "pairwise_iou": pairwise_iou,
    "iou_of_sides": lambda some, others: iou_of_sides(some[:, 2:], others[:, 2:]),
    "best_iou": lambda some, others: best_iou(some, others, torch.zeros(len(others))),
    "level_of": lambda some, _: level_of(some, (4, 8, 16, 32, 64, 128)),
}


KINDS = {torch.uint8: 1, torch.int16: 4, torch.int32: 250, torch.float16: 4, torch.bfloat16: 4}  # and how large


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in COMPUTED for kind in KINDS if name != "best_iou" or kind.is_floating_point],
    ids=lambda value: str(value).removeprefix("torch."),
)
def test_boxes_of_few_bits_are_computed_as_in_many(name: str, kind: torch.dtype) -> None:
    some = SIDES * KINDS[kind]
    few, many = (COMPUTED[name](some.to(to), some.to(to).roll(1, 0)).double() for to in (kind, torch.float64))
    torch.testing.assert_close(few, many, rtol=1e-6, atol=1e-6)
