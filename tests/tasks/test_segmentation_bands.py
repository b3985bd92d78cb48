"""Scores are resized in bands of as many rows as the limit allows."""

import torch

from unpool.ops.tiling import resized_bands
from unpool.tasks.segmentation import Segmentation
from unpool.types import DataInfo


def test_narrow_image_is_decoded_in_bands_of_as_many_rows_as_fit(monkeypatch):
    task = Segmentation(DataInfo(classes=("a", "b", "c")))
    scores = torch.randn(1, 3, 40, 2, generator=torch.Generator().manual_seed(0))
    batch = {"image": torch.zeros(1, 3, 40, 2), "size_hw": torch.tensor([[60, 2]])}
    whole, heights = task.decode(scores, batch), []

    def noted(*arguments, **options):
        for piece in resized_bands(*arguments, **options):
            heights.append(piece.scores.shape[-2])
            yield piece

    monkeypatch.setattr("unpool.tasks.segmentation.BAND", 25 * 3 * 2)
    monkeypatch.setattr("unpool.tasks.segmentation.resized_bands", noted)
    banded = task.decode(scores, batch)
    assert heights == [25, 25, 10]
    assert banded["mask"].equal(whole["mask"])
