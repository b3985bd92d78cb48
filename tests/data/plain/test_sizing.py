"""What transforms do to the size of a photograph is read where one of our rules does the same, and never guessed."""

import pytest
from torch.utils.data import ConcatDataset, Subset
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Lambda, Normalize, Resize, ToTensor, v2
from torchvision.transforms._presets import ImageClassification

from unpool.data.plain.sizing import find_sizing


class Pictures:
    def __init__(self, *steps):
        self.transform = Compose(steps) if steps else None

    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise IndexError(index)


TO_64 = (Resize(80), CenterCrop(64), ToTensor(), Normalize([0.5], [0.5]))


@pytest.mark.parametrize(
    ("data", "rule", "crop"),
    [
        (Pictures(*TO_64), "cover", 0.8),
        (Subset(Pictures(*TO_64), [1]), "cover", 0.8),
        (ConcatDataset([Pictures(*TO_64), Pictures(*TO_64)]), "cover", 0.8),
        (Pictures(v2.Resize([80]), v2.CenterCrop((64, 64)), v2.ToImage()), "cover", 0.8),
        (Pictures(ImageClassification(crop_size=64, resize_size=80)), "cover", 0.8),
        (Pictures(Resize((48, 64)), ToTensor()), "stretch", 1.0),
    ],
)
def test_resizing_that_a_rule_of_ours_does_is_read(data, rule, crop):
    assert find_sizing(data)[1:] == (rule, crop)


@pytest.mark.parametrize(
    ("data", "steps"),
    [
        (Pictures(ToTensor()), ""),
        (Pictures(), ""),
        (Pictures(Resize(64)), "Resize(64)"),
        (Pictures(Resize(80), CenterCrop((64, 48))), "Resize(80), CenterCrop(64x48)"),
        (Pictures(Resize(60), CenterCrop(64)), "Resize(60), CenterCrop(64x64)"),
        (Pictures(CenterCrop(64), Resize(80)), "CenterCrop(64x64), Resize(80)"),
        (Pictures(Resize((64, 64), interpolation=InterpolationMode.BICUBIC)), "Resize"),
        (Pictures(Resize(80, max_size=99), CenterCrop(64)), "Resize, CenterCrop(64x64)"),
        (Pictures(Lambda(lambda image: image), Resize((64, 64))), "Lambda, Resize(64x64)"),
        (
            ConcatDataset([Pictures(*TO_64), Pictures(Resize((64, 64)))]),
            "Resize(64x64) or Resize(80), CenterCrop(64x64)",
        ),
    ],
)
def test_what_no_rule_of_ours_does_is_named(data, steps):
    assert find_sizing(data) == (steps, None, 1.0)
