"""The head of proposals by hand."""

import torch

from unpool.models.detection.two_stages import ProposalHead


def test_objectness_of_two_scores_is_their_softmax():
    torch.manual_seed(0)
    head, x = ProposalHead(4, 8, count=3, scores=2), torch.randn(2, 4, 5, 6)
    objectness, deltas = head([x])
    hidden = head.conv(x).clamp(min=0)
    pairs = head.objectness(hidden).view(2, 3, 2, 5, 6).softmax(2)[:, :, 1]  # of a thing, (B, 3, 5, 6)
    torch.testing.assert_close(objectness.sigmoid(), pairs.permute(0, 2, 3, 1).flatten(1))
    assert deltas.shape == (2, 90, 4)


def test_maps_stand_one_after_the_other():
    torch.manual_seed(0)
    head, maps = ProposalHead(4, 8, count=3, scores=1), [torch.randn(1, 4, 6, 6), torch.randn(1, 4, 3, 3)]
    both, (first, second) = head(maps), [head([x]) for x in maps]
    for whole, a, b in zip(both, first, second, strict=True):
        assert torch.equal(whole, torch.cat([a, b], 1))
