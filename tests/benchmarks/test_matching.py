"""Block matching, beside which networks for stereo are shown: its scores are those of a slow reference."""

import pytest
import torch

from benchmarks.matching import SEMI_GLOBAL, WITHOUT, Scored, correlations, verdicts

SIDE = 24


def reference(image, y, x, disparity, window):
    """Pearson's correlation of the parts of two squares that both images have."""
    reach = window // 2
    left, right = image.double()
    rows = slice(max(y - reach, 0), min(y + reach, SIDE - 1) + 1)
    first, last = max(x - disparity - reach, 0), min(x + reach, SIDE - 1) - disparity
    here, there = left[rows, first + disparity : last + disparity + 1], right[rows, first : last + 1]
    return float(torch.corrcoef(torch.stack([here.flatten(), there.flatten()]))[0, 1])


@pytest.mark.parametrize(
    ("y", "x", "disparity"), [(12, 12, 3), (0, 15, 5), (12, 5, 5), (23, 23, 6), (9, 7, 6), (3, 0, 0)]
)
def test_correlation_is_that_of_squares_at_the_ends_of_images_too(y, x, disparity):
    image = torch.randint(256, (2, SIDE, SIDE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    scores = correlations(image, 5, 8)
    assert float(scores[0, disparity, y, x]) == pytest.approx(reference(image, y, x, disparity, 5), abs=1e-4)
    assert scores.abs().max() <= 1 + 1e-6


def test_verdict_judges_the_first_network_whichever_is_better_on_the_test():
    classical, first, second = (
        Scored(name, "", {"epe": value}) for name, value in (("a", 6.0), ("b", 2.0), ("c", 1.0))
    )
    assert [row.figure for row in verdicts("epe", [classical], [first, second])] == ["3.00 times"]


def test_verdict_sets_semi_global_methods_beside_one_another():
    values = {"a": 6.0, f"a, {SEMI_GLOBAL}": 3.0}
    classical = [Scored(name, "", {"epe": value}) for name, value in values.items()]
    ours = [Scored(name, "", {"epe": value}) for name, value in (("b", 1.5), (f"b, {WITHOUT}", 2.0))]
    assert [row.figure for row in verdicts("epe", classical, ours)] == ["4.00 times", "3.00 times", "2.00 times"]
