"""The picture of a classifier slid over a photograph."""

import torch

from unpool.inspection.dense import Compared, DenseScores
from unpool.inspection.dense_picture import GAP, PANEL, TITLE, draw, ramp

SAME = Compared(relative_error=0.0, same_class=1, positions=1)


def dense():
    """40x80 pixels; the second class at the upper right of the coarse map, at the lower left of the fine one."""
    coarse, fine = torch.zeros(2, 2, 4), torch.zeros(2, 7, 17)
    coarse[0], fine[0] = 2.0, 2.0
    coarse[1, 0, 2:] = 9.0
    fine[1, 4:, :8] = 9.0
    return DenseScores(
        size_hw=(40, 80),
        window_hw=(16, 16),
        stride=(20, 20),
        margin=((0, 0), (0, 0)),
        output_stride=4,
        slid=coarse.clone(),
        coarse=coarse,
        fine=fine,
        slid_s=2.0,
        coarse_s=0.1,
        fine_s=1.0,
        finer_s=None,
        coarse_vs_crops=SAME,
        coarse_vs_head=None,
        fine_vs_coarse=SAME,
    )


def panel(sheet, x, y):
    """The picture in a place of the sheet: (3, 192, 384)."""
    top = GAP + TITLE if y == 0 else sheet.shape[1] - GAP - PANEL // 2
    left = GAP + x * (PANEL + GAP)
    return sheet[:, top : top + PANEL // 2, left : left + PANEL].float()


def test_heat_is_hot_where_the_class_is_likely_and_nowhere_else():
    photo = torch.full((3, 40, 80), 128, dtype=torch.uint8)
    sheet = draw(photo, dense(), label=1, classes=("a", "b"))
    for place in ((1, 0), (2, 0), (0, 1)):
        picture = panel(sheet, *place)
        assert picture[:, 50, 240:280].mean() > 2 * picture[:, 150, 100:140].mean(), place
    fine = panel(sheet, 1, 1)
    assert fine[:, 140, 100:140].mean() > 2 * fine[:, 50, 240:280].mean()


def test_classes_are_coloured_by_their_maps():
    photo = torch.full((3, 40, 80), 128, dtype=torch.uint8)
    sheet = draw(photo, dense(), label=0, classes=("a", "b"))
    upsampled, dilated = panel(sheet, 2, 1), panel(sheet, 3, 1)
    torch.testing.assert_close(upsampled[:, 55, 260], dilated[:, 135, 120])
    assert not torch.equal(upsampled[:, 55, 260], upsampled[:, 135, 120])


def test_grey_photograph_is_drawn_too():
    sheet = draw(torch.zeros(1, 40, 80, dtype=torch.uint8), dense(), label=1, classes=("a", "b"))
    assert sheet.dtype == torch.uint8
    assert sheet.shape[0] == 3


def test_colours_get_lighter_all_the_way():
    lightness = ramp(torch.linspace(0, 1, 50)[None]).mean(0)[0]
    assert bool((lightness.diff() > 0).all())


def test_photograph_is_pale_where_nothing_is_known():
    photo = torch.full((3, 40, 80), 100, dtype=torch.uint8)
    sheet = draw(photo, dense(), label=0, classes=("a", "b"))
    for x in (1, 3):  # of the fine map, which begins 6 pixels within the image
        assert (panel(sheet, x, 1)[:, 2, 2] - (100 / 2 + 110)).abs().max() <= 1, x
