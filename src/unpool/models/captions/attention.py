"""Show, Attend and Tell with soft attention (Xu et al. 2015, arXiv:1502.03044, sections 3.1 and 4.2).

The features are the places of a map, VGG's conv5_3 of 14 x 14 in the paper. For each word e_i = f(a_i, h) weighs them,
alpha = softmax(e), z = beta sum_i alpha_i a_i with the gate beta = sigmoid(f_beta(h)), and the LSTM reads the word's
vector and z; its state starts from the mean of all places. Scores of the next word are a linear layer on
tanh(E y + L_h h + L_z z), the paper's deep output, whose layer here has as many units as a word's vector has numbers.
The paper does not say how large its layers are; 512 is that of its release for words and attention.
"""

import torch
from torch import Tensor, nn

from unpool.models.captions.captioner import FLICKR8K, Kept, MapCaptioner
from unpool.models.catalog import Variant
from unpool.ops.sequence_outputs import Begun, Spoken
from unpool.types import Backbone


class CaptionAttention(MapCaptioner):
    """The LSTM that looks at the map anew for each word.

    Args:
        backbone: gives the map.
        num_classes: words and the end.
        embedding: numbers of a word's vector.
        hidden: units of the LSTM and of the attention.
        dropout: share of a word's vector, and of the LSTM's output, that is dropped.
        at_stride: of the map.
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        num_classes: int = FLICKR8K,
        embedding: int = 512,
        hidden: int = 512,
        dropout: float = 0.5,
        at_stride: int = 16,
    ) -> None:
        super().__init__(
            backbone,
            at_stride=at_stride,
            num_classes=num_classes,
            embedding=embedding,
            hidden=hidden,
            dropout=dropout,
        )
        self.head = nn.Linear(embedding, num_classes)
        self.start_hidden, self.start_cell = (nn.Linear(self.channels, hidden) for _ in range(2))
        self.keys = nn.Linear(self.channels, hidden)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.energy = nn.Linear(hidden, 1)
        self.gate = nn.Linear(hidden, 1)
        self.recurrent = nn.LSTMCell(embedding + self.channels, hidden)
        self.out_hidden, self.out_context = nn.Linear(hidden, embedding), nn.Linear(self.channels, embedding)

    def begin(self, features: Tensor) -> Begun:
        parts = features.flatten(2).mT  # (B, h*w, C)
        mean = parts.mean(1)
        state = torch.tanh(self.start_hidden(mean)), torch.tanh(self.start_cell(mean))
        return Begun(state, (features, self.keys(parts)))

    def step(self, word: Tensor, begun: Begun, kept: Kept | None = None) -> Spoken:
        (hidden, cell), (features, keys) = begun.state, begun.fixed
        energy = self.energy(torch.tanh(keys + self.query(hidden)[:, None]))[..., 0]  # (B, h*w)
        weights = energy.softmax(1)
        context = torch.sigmoid(self.gate(hidden)) * torch.einsum("bl,bcl->bc", weights, features.flatten(2))
        vectors = self.vectors(word, kept)
        hidden, cell = self.recurrent(torch.cat([vectors, context], dim=1), (hidden, cell))
        said = hidden if kept is None else hidden * kept[1]
        output = torch.tanh(vectors + self.out_hidden(said) + self.out_context(context))
        return Spoken(output, (hidden, cell), weights.unflatten(1, features.shape[2:]))


VARIANTS = {
    "caption_attention": Variant(
        build=CaptionAttention,
        kind="composed",
        backbone="vgg16",
        params=22_043_437,
        source="`unpool summary`; Xu et al. 2015, section 3.1, with the words of Flickr8k, on VGG-16",
        input=(3, 224, 224),
        output=((FLICKR8K,), (512, 14, 14)),
        classes=FLICKR8K,
    )
}
