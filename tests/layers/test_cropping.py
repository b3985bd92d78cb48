"""Cutting and mirroring, by hand and against torch."""

import pytest
import torch
from torch import nn

from unpool.layers.cropping import crop, crop_centre, mirror_pad


def test_mirrored_border_is_torchs_reflection():
    x = torch.arange(2 * 30.0).view(1, 2, 5, 6)
    ours = mirror_pad(x, before=3, after_hw=(2, 4))
    assert torch.equal(ours, nn.functional.pad(x, (3, 4, 3, 2), mode="reflect"))


def test_mirrored_border_may_be_wider_than_the_image():
    x = torch.tensor([[0.0, 1.0, 2.0]]).view(1, 1, 1, 3)
    padded = mirror_pad(x, before=5, after_hw=(0, 6))
    assert padded.shape == (1, 1, 6, 14)
    assert padded[0, 0, -1].tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0]


@pytest.mark.parametrize(("size", "start"), [(6, 0), (5, 0), (4, 1), (3, 1)])
def test_centre_is_the_middle_and_an_odd_surplus_goes_at_the_end(size, start):
    x = torch.arange(36.0).view(1, 1, 6, 6)
    assert torch.equal(crop_centre(x, (size, 6)), x[:, :, start : start + size])
    assert torch.equal(crop_centre(x, (6, size)), x[:, :, :, start : start + size])


def test_crop_starts_at_its_offset_in_both_directions():
    x = torch.arange(20.0).view(1, 1, 4, 5)
    assert crop(x, (2, 3), offset=1).flatten().tolist() == [6, 7, 8, 11, 12, 13]


class Halved(nn.Module):
    """Rounds the size up when it halves it and cuts the surplus off, as networks with skips do."""

    def __init__(self, cut):
        super().__init__()
        self.cut = cut
        self.norm = nn.BatchNorm2d(2)  # what follows a cut asks how it lies in memory

    def forward(self, x):
        up = nn.functional.interpolate(nn.functional.max_pool2d(x, 2, ceil_mode=True), scale_factor=2)
        return self.norm(self.cut(up, (x.shape[-2], x.shape[-1])) + x)


@pytest.mark.parametrize("cut", [crop, crop_centre])
def test_exported_cut_takes_odd_and_even_sizes(cut):
    model = Halved(cut).eval()
    sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(model, (torch.rand(1, 2, 33, 47),), dynamic_shapes=(sizes,)).module()
    for size in ((33, 47), (64, 48), (10, 15)):
        x = torch.rand(1, 2, *size)
        torch.testing.assert_close(program(x), model(x))


@pytest.mark.parametrize("cut", [crop, crop_centre])
def test_cut_is_a_view_where_nothing_is_exported(cut):
    x = torch.rand(1, 2, 6, 7)
    assert cut(x, (4, 5))._base is x


class Cut(nn.Module):
    def forward(self, x):
        return crop(x, (x.shape[-2] - 3, 4), offset=2)


def test_exported_cut_starts_at_its_offset():
    x = torch.rand(1, 2, 7, 8)
    program = torch.export.export(Cut(), (x,), dynamic_shapes=({2: torch.export.Dim.DYNAMIC},)).module()
    for image in (x, torch.rand(1, 2, 20, 8)):
        assert torch.equal(program(image), Cut()(image))
