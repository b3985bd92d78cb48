import torch

from unpool.tasks.class_weights import count_pixels
from unpool.types import IGNORE


class Masks(list):
    def targets(self, index):
        return self[index]


def test_pixel_counts_of_a_class_use_only_images_that_hold_it():
    masks = [torch.tensor([[0, 0, 1]]), torch.tensor([[0, IGNORE, 0]])]
    samples = Masks({"mask": m.to(torch.uint8)} for m in masks)
    counts = count_pixels(samples, 3)
    assert counts.class_pixels.tolist() == [4, 1, 0]
    assert counts.image_pixels.tolist() == [5, 3, 0]
