"""The recurrent captioner of Karpathy & Fei-Fei 2015 (arXiv:1412.2306, section 3.2).

h_t = relu(W_hx x_t + W_hh h_(t-1) + b_h + [t = 1] b_v), b_v = W_hi CNN(I) + b: the image is added at the first word
alone, h_0 = 0, and the scores of the next word are W_oh h_t + b_o. In the paper the image is VGG's last hidden layer,
fc7; on other backbones it is the mean of the last map.
"""

from functools import partial
from typing import Literal, cast

import torch
from torch import Tensor, nn

from unpool.models.captions.captioner import FLICKR8K, Captioner, Kept
from unpool.models.catalog import Variant
from unpool.models.classification import vgg_head
from unpool.ops.sequence_outputs import Begun, Spoken
from unpool.types import Backbone

Image = Literal["mean", "fc7"]  # the mean of the last map, or VGG's last hidden layer


class CaptionRnn(Captioner):
    """The recurrent network.

    Args:
        image: "mean" or "fc7".
        backbone: gives the map.
        num_classes: words and the end.
        embedding: E, numbers of a word's vector.
        hidden: H.
        dropout: share of a word's vector, and of the hidden layer before the scores, that is dropped.
    """

    def __init__(
        self,
        image: Image,
        backbone: Backbone,
        /,
        *,
        num_classes: int = FLICKR8K,
        embedding: int = 300,
        hidden: int = 512,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(backbone, num_classes=num_classes, embedding=embedding, hidden=hidden, dropout=dropout)
        channels = backbone.channels[-1]
        if (
            image == "fc7"
        ):  # part of the backbone, under the names of VGG's own head, so that its weights are loaded too
            backbone.add_module("head", cast(nn.Sequential, vgg_head(channels, 1))[:-2])  # without drop7 and fc8
            channels, self.seen = 8 * channels, "fc7"
        self.image = nn.Linear(channels, hidden)
        self.input = nn.Linear(embedding, hidden)
        self.recurrent = nn.Linear(hidden, hidden, bias=False)

    def see(self, image: Tensor) -> Tensor:
        """Features (B, C): the mean of the last map, or fc7."""
        if self.seen != "fc7":
            return super().see(image)
        return self.backbone.get_submodule("head")(self.backbone(image)[-1])

    def begin(self, features: Tensor) -> Begun:
        image = self.image(features)
        return Begun((torch.zeros_like(image), image))

    def step(self, word: Tensor, begun: Begun, kept: Kept | None = None) -> Spoken:
        hidden, image = begun.state
        hidden = torch.relu(self.input(self.vectors(word, kept)) + self.recurrent(hidden) + image)
        return Spoken(hidden if kept is None else hidden * kept[1], (hidden, torch.zeros_like(image)))


def _row(image: Image, params: int, features: int) -> Variant:
    return Variant(
        build=partial(CaptionRnn, image),
        kind="composed",
        backbone="vgg16",
        params=params,
        source="Karpathy & Fei-Fei 2015, section 3.2, with the words of Flickr8k (section 4), on VGG-16",
        input=(3, 224, 224),
        output=((FLICKR8K,), (features,)),
        classes=FLICKR8K,
    )


_CONVOLUTIONS, _FC7 = 14_714_688, 134_260_544  # VGG-16 without its head, and without its last layer
_DECODER = 4_578_127  # V'E + HE + HH + H + (4096 H + H) + V'H + V', with V' = 2539, E = 300, H = 512

VARIANTS = {
    "caption_rnn": _row("mean", _CONVOLUTIONS + _DECODER - (4096 - 512) * 512, 512),
    "vgg16_caption_rnn": _row("fc7", _FC7 + _DECODER, 4096),
}
