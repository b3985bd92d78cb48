import pytest
import torch

from unpool.ops import boxes


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
