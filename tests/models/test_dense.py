"""Maps are found by their stride."""

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.models.dense import Dense, places_of
from unpool.types import Backbone


class Maps(Backbone):
    channels = (2, 3)
    strides = (4, 8)

    def forward(self, image):
        return image[..., ::4, ::4].repeat(1, 2, 1, 1), image[..., ::8, ::8].repeat(1, 3, 1, 1)


def test_places_are_in_the_order_asked_for():
    assert places_of(Maps(), (8, 4), reader="it") == (1, 0)


def test_stride_that_is_missing_is_named():
    with pytest.raises(RecipeError, match=r"it reads the maps at strides 8, 16, .* none at 16 \(it has 4, 8\): choose"):
        places_of(Maps(), (8, 16), reader="it")


def test_head_reads_the_last_map_and_its_logits_have_the_size_of_the_image():
    image = torch.full((2, 1, 17, 23), 3.0)
    model = Dense(Maps(), nn.Identity())
    assert torch.equal(model(image), torch.full((2, 3, 17, 23), 3.0))
    assert model.stride == 8
