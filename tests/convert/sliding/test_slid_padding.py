"""What is padded behind a crop counts: where there is no margin, every score is that of its crop."""

import pytest
import torch
from torch import nn

from tests.convert.dilation.dilated import Act, conv, image, sequential
from tests.convert.sliding.test_fully_convolutional import slid
from unpool.convert import fully_convolutional

NATIVE = (18, 21)
BEGIN, END = Act(lambda x: x[:, :, 1:, 2:]), Act(lambda x: x[:, :, :-1, :-2])
CASES = {  # layers, stride, margin of rows and of columns
    "begin, pooling": ((BEGIN, nn.MaxPool2d(3, 2, 1)), 2, ((1, 1), (1, 1))),
    "begin, two convolutions": ((BEGIN, conv(3, 3, padding=1), conv(3, 3, padding=1)), 1, ((2, 2), (2, 2))),
    "begin by a padding": ((nn.ZeroPad2d((-1, 0, -2, 0)), conv(3, 3, padding=1)), 1, ((1, 1), (1, 1))),
    "padded begin": ((conv(3, 3, padding=1), BEGIN, conv(3, 3, padding=(0, 1))), 1, ((0, 1), (1, 2))),
    "end": ((END, conv(3, 3, padding=(1, 0))), 1, ((1, 1), (0, 0))),
    "end by a padding": ((nn.ZeroPad2d((0, -1, 0, -2)), conv(3, 3, padding=1)), 1, ((1, 1), (1, 1))),
    "end, last row that is not whole": ((END, nn.AvgPool2d(2, 2, ceil_mode=True)), 2, ((0, 1), (0, 1))),
    "end of every second row": ((Act(lambda x: x[:, :, :-2:2, :-1:2]), conv(3, 3, padding=1)), 2, ((2, 1), (2, 1))),
    "both, nothing padded": ((BEGIN, END, conv(3, 3)), 1, ((0, 0), (0, 0))),
}


def compared(case):
    """The network, and how far its scores are from those of the crops, and of a larger image, at each position."""
    layers, stride, margin = CASES[case]
    classifier = sequential(conv(3, 3, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = fully_convolutional(classifier, image=image(NATIVE))
    assert (network.stride, network.margin) == ((stride, stride), margin)
    larger = image((60, 66))
    part = larger[:, :, 12:43, 12:47]
    with torch.no_grad():
        scores, crops, wide = network(part), slid(classifier, part, NATIVE, stride), network(larger)
    rows, columns = scores.shape[2:]
    same = wide[:, :, 12 // stride :, 12 // stride :][:, :, :rows, :columns]
    rows, columns = crops.shape[2:]
    return network, (scores[:, :, :rows, :columns] - crops).abs().amax((0, 1)), (scores - same).abs().amax((0, 1))


@pytest.mark.parametrize("case", CASES)
def test_scores_that_read_no_padding_are_those_inside_and_all_others_change_with_the_border(case):
    network, _, off = compared(case)
    rows, columns = network.inside((31, 35))
    assert off[rows, columns].max() < 1e-10
    off[rows, columns] = 1
    assert off.min() > 1e-6


@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_the_crops_where_the_margin_is_zero_and_nowhere_else(case):
    network, off, _ = compared(case)
    assert (off.max() < 1e-10) == (network.margin == ((0, 0), (0, 0)))
