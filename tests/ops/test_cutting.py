import pytest
import torch

from unpool.ops.cutting import Frame, cut, mirror_index, pad_to_multiple


@pytest.mark.parametrize(("size", "before", "after"), [(3, 0, 2), (5, 4, 1), (3, 7, 8), (2, 3, 3), (1, 2, 4)])
def test_mirror_index_walks_to_and_fro(size, before, after):
    expected = []
    for row in range(-before, size + after):
        while not 0 <= row < size:
            row = 0 if size == 1 else -row if row < 0 else 2 * (size - 1) - row
        expected.append(row)
    assert mirror_index(size, before, after, device=torch.device("cpu")).tolist() == expected


@pytest.mark.parametrize(
    "frame", [(-2, 1, 6, 7), (1, -3, 4, 2), (0, 0, 3, 9), (50, 0, 2, 2), (0, -9, 4, 4), (0, 0, 5, 6)]
)
def test_cut_takes_each_pixel_from_the_image_or_the_fill(frame):
    image = torch.arange(2 * 2 * 5 * 6, dtype=torch.uint8).view(2, 2, 5, 6)
    fill = torch.tensor([200, 201])
    seen = cut(image, Frame(*frame), fill)
    left, top, height, width = frame
    assert seen.shape == (2, 2, height, width)
    for y in range(height):
        for x in range(width):
            is_inside = 0 <= y + top < 5 and 0 <= x + left < 6
            expected = image[:, :, y + top, x + left] if is_inside else fill.expand(2, 2)
            assert torch.equal(seen[:, :, y, x].int(), expected.int())


def test_padding_mirrors_up_to_the_multiple():
    padded = pad_to_multiple(torch.arange(15).view(1, 3, 5), 4)
    assert padded.shape == (1, 4, 8)
    assert padded[0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert padded[0, :, 0].tolist() == [0, 5, 10, 5]
