from itertools import pairwise

import pytest
import torch
from torch import nn

from tests.ops.test_layout import resample_slowly
from unpool.ops.tiling import pieces, predict_scores, resized_bands, spans, tile_sides


class SmallNetwork(nn.Module):
    """Two strides of 2, a skip, nearest upsampling: sees 14 pixels each way."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.up = nn.Conv2d(16, 8, 3, padding=1)
        self.out = nn.Conv2d(16, 4, 1)

    def forward(self, image):
        fine = self.fine(image).relu()
        middle = self.down(fine).relu()
        deep = nn.functional.interpolate(self.deep(middle).relu(), middle.shape[-2:])
        middle = self.up(torch.cat((deep, middle), 1)).relu()
        return self.out(torch.cat((nn.functional.interpolate(middle, fine.shape[-2:]), fine), 1))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SmallNetwork().eval()


def image_of(height, width, seed=0):
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 31, 32, 33, 64, 65, 95, 96, 97, 130, 333])
@pytest.mark.parametrize(("tile", "overlap", "stride"), [(32, 8, 8), (64, 32, 4), (64, 0, 32), (96, 31, 1), (32, 5, 8)])
def test_spans_keep_every_pixel_once_and_stay_clear_of_inner_edges(size, tile, overlap, stride):
    found = spans(size, tile=tile, overlap=overlap, stride=stride)
    kept = [pixel for span in found for pixel in range(span.first, span.last)]
    assert kept == list(range(size))
    for span in found:
        assert span.start % stride == 0
        assert span.stop - span.start <= tile
        assert span.start == 0 or span.first - span.start >= overlap // 2
        assert span.stop == size or span.stop - span.last >= overlap // 2
    assert all(one.stop - other.start >= overlap for one, other in pairwise(found))
    assert (found[0].start, found[-1].stop) == (0, size)


@pytest.mark.parametrize(("tile", "overlap", "stride"), [(32, 32, 4), (30, 8, 4), (32, -1, 4), (32, 8, 0)])
def test_spans_that_cannot_advance_are_refused(tile, overlap, stride):
    with pytest.raises(ValueError, match=f"tile {tile}, overlap {overlap}, stride {stride}"):
        spans(100, tile=tile, overlap=overlap, stride=stride)


@pytest.mark.parametrize(("height", "width"), [(150, 170), (151, 173), (64, 201), (130, 40)])
def test_tiles_agree_with_one_pass_at_every_pixel(network, height, width):
    image = image_of(height, width)
    with torch.inference_mode():
        whole = network(image)
        tiled = predict_scores(network, image, limit=0, tile=64, overlap=32, stride=4)
    assert tiled.shape == whole.shape
    assert float((tiled - whole).abs().max()) <= 1e-3
    assert torch.equal(tiled.argmax(1), whole.argmax(1))


def test_tiles_off_the_stride_or_without_overlap_would_not_agree(network):
    image = image_of(150, 170)
    with torch.inference_mode():
        whole = network(image)
        off_stride = predict_scores(network, image, limit=0, tile=63, overlap=32, stride=1)
        no_overlap = predict_scores(network, image, limit=0, tile=64, overlap=0, stride=4)
    assert float((off_stride - whole).abs().max()) > 1e-2
    assert float((no_overlap - whole).abs().max()) > 1e-2


def test_images_within_the_limit_go_through_in_one_pass():
    sizes = []

    def network(image):
        sizes.append(tuple(image.shape[-2:]))
        return image

    predict_scores(network, image_of(40, 50), limit=2000, tile=32, overlap=0, stride=1)
    predict_scores(network, image_of(40, 51), limit=2000, tile=32, overlap=0, stride=1)
    assert sizes == [(40, 50), (32, 32), (32, 32), (32, 32), (32, 32)]


def test_batches_beyond_the_limit_go_through_in_as_many_passes_as_it_takes():
    counts = []

    def network(image):
        counts.append(tuple(image.shape))
        return image[:, :2] * 2

    image = torch.cat([image_of(40, 50, seed) for seed in range(5)])
    found = predict_scores(network, image, limit=4000, tile=64, overlap=0, stride=1)
    assert counts == [(2, 3, 40, 50), (2, 3, 40, 50), (1, 3, 40, 50)]
    assert torch.equal(found, image[:, :2] * 2)
    counts.clear()
    found = predict_scores(network, image[:2], limit=1999, tile=32, overlap=0, stride=1)
    assert counts == [(1, 3, 32, 32)] * 8
    assert torch.equal(found, image[:2, :2] * 2)


@pytest.mark.parametrize("size", [(20, 30), (41, 33), (7, 50)])
def test_bands_join_to_the_interpolation_of_the_whole(size):
    scores = image_of(20, 30)
    found = torch.full((1, 3, *size), torch.nan)
    for piece in resized_bands(scores, size, limit=3 * size[1]):
        assert piece.scores.shape[-2] <= 3
        found[..., piece.rows, piece.columns] = piece.scores
    torch.testing.assert_close(found, nn.functional.interpolate(scores, size, mode="bilinear", align_corners=False))


def test_bands_at_the_size_of_the_scores_are_views():
    scores = image_of(20, 30)
    for piece in resized_bands(scores, (20, 30), limit=90):
        assert piece.scores.untyped_storage().data_ptr() == scores.untyped_storage().data_ptr()


def test_pieces_drop_what_the_network_padded():
    image = image_of(50, 70)
    found = torch.zeros(1, 3, 50, 70)
    for piece in pieces(lambda part: nn.functional.pad(part, (0, 5, 0, 3)), image, tile=32, overlap=8, stride=8):
        found[..., piece.rows, piece.columns] = piece.scores
    assert torch.equal(found, image)


def test_pieces_refuse_scores_smaller_than_the_tile():
    with pytest.raises(ValueError, match=r"scores \(16, 16\) for a tile \(32, 32\)"):
        list(pieces(lambda part: part[..., ::2, ::2], image_of(64, 64), tile=32, overlap=8, stride=8))


@pytest.mark.slow
def test_tiles_of_an_untrained_unet_change_few_classes():
    from unpool import models

    torch.manual_seed(0)
    network = models.build("unet", backbone="resnet18", num_classes=11).eval()
    image = image_of(416, 448)
    with torch.inference_mode():
        whole = network(image).argmax(1)
        tiled = predict_scores(network, image, limit=0, tile=256, overlap=128, stride=32).argmax(1)
    assert float((whole != tiled).float().mean()) < 0.002


def test_bands_of_a_box_between_pixels_show_nothing_beyond_it():
    scores, box = torch.rand(1, 2, 9, 8, generator=torch.Generator().manual_seed(0)), (1.4, 2.6, 6.8, 7.2)
    joined = torch.cat([piece.scores for piece in resized_bands(scores, (10, 12), limit=36, valid_xyxy=box)], dim=2)
    expected = torch.stack([resample_slowly(one, box, (10, 12)) for one in scores[0]])
    torch.testing.assert_close(joined[0], expected)


@pytest.mark.parametrize(
    ("stride", "multiple", "tile", "overlap", "sides"),
    [
        (32, 48, 1024, 8, (1056, 96)),  # 11 times the least common multiple
        (32, 48, 96, 8, (192, 96)),  # room for a step of 96 beside the 8 that are shared
        (48, 48, 100, 8, (144, 48)),
        (1, 8, 1, 56, (64, 8)),
        (1, 8, 64, 0, (64, 8)),
    ],
)
def test_side_of_a_tile_is_the_least_multiple_that_is_large_enough(stride, multiple, tile, overlap, sides):
    network = nn.Identity()
    network.stride = stride
    side, step = sides
    expected = {"tile": side, "overlap": overlap, "stride": step}
    assert tile_sides(network, multiple=multiple, tile=tile, overlap=overlap) == expected
