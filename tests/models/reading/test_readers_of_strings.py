"""Networks that read strings: the paper's layers, and what each column can see."""

import pytest
import torch

from unpool import models
from unpool.errors import DataError
from unpool.ops.sequence_outputs import ReadPositions, ReadSteps


def test_crnn_gives_a_column_for_four_pixels_of_width_and_one_row_at_the_height_of_the_paper():
    network = models.build("crnn", width=4, hidden=8).eval()
    for width in (100, 61, 32):
        scores = network(torch.rand(2, 1, 32, width))
        assert isinstance(scores, ReadSteps)
        assert scores.scores.shape == (2, 37, width // 4 - 1)
    assert network.backbone.stages(torch.rand(1, 1, 32, 100)).shape == (1, 32, 1, 24)


def test_convolutions_at_the_paper_s_size_have_the_numbers_of_its_table():
    """Channels 64, 128, 256, 256, 512, 512, 512; kernels 3x3 and one of 2x2; batch norm on the fifth and the sixth."""
    with torch.device("meta"):
        columns = models.build("crnn").backbone
    weights = [weight for name, weight in columns.named_parameters() if name.endswith("conv.weight")]
    assert [tuple(weight.shape[:3]) for weight in weights] == [
        *((64, 1, 3), (128, 64, 3), (256, 128, 3), (256, 256, 3)),
        *((512, 256, 3), (512, 512, 3), (512, 512, 2)),
    ]
    assert sum("norm.weight" in name for name, _ in columns.named_parameters()) == 2


def test_position_reader_has_scores_of_each_position():
    output = models.build("position_reader", width=4, hidden=8, positions=3, num_classes=5)(torch.rand(2, 1, 40, 90))
    assert isinstance(output, ReadPositions)
    assert output.scores.shape == (2, 5, 3)


def test_image_that_is_too_low_for_columns_is_refused():
    with pytest.raises(DataError, match=r"\(28, 28\) \(H, W\); .* give 32 and 8 at least"):
        models.build("crnn", width=4, hidden=8)(torch.rand(1, 1, 28, 28))
