"""Show and Tell: an LSTM that sees the image once, before the first word (Vinyals et al. 2015, arXiv:1411.4555).

x_(-1) = W CNN(I), x_t = W_e S_t from the first word on, p_(t+1) = softmax of a linear layer on the LSTM's output. Words
and image have vectors of 512 numbers, as the LSTM has units. In the paper the CNN is a GoogLeNet with batch norm, of
which the mean of the last map is taken; its LSTM has no biases, torch's has two.
"""

from torch import Tensor, nn

from unpool.models.captions.captioner import FLICKR8K, Captioner, Kept
from unpool.models.catalog import Variant
from unpool.ops.sequence_outputs import Begun, Spoken
from unpool.types import Backbone


class CaptionLstm(Captioner):
    """The LSTM on the mean of the backbone's last map.

    Args:
        backbone: gives the map.
        num_classes: words and the end.
        embedding: numbers of a vector, of a word or of the image.
        hidden: units of the LSTM.
        dropout: share of a vector, and of the LSTM's output, that is dropped.
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
    ) -> None:
        super().__init__(backbone, num_classes=num_classes, embedding=embedding, hidden=hidden, dropout=dropout)
        self.image = nn.Linear(backbone.channels[-1], embedding)
        self.recurrent = nn.LSTMCell(embedding, hidden)

    def begin(self, features: Tensor) -> Begun:
        return Begun(tuple(self.recurrent(self.dropout(self.image(features)))))

    def step(self, word: Tensor, begun: Begun, kept: Kept | None = None) -> Spoken:
        hidden, cell = self.recurrent(self.vectors(word, kept), (begun.state[0], begun.state[1]))
        return Spoken(hidden if kept is None else hidden * kept[1], (hidden, cell))


VARIANTS = {
    "caption_lstm": Variant(
        build=CaptionLstm,
        kind="composed",
        backbone="googlenet_bn",
        params=11_209_355,
        source="`unpool summary`; Vinyals et al. 2015, section 3, with the words of Flickr8k, on GoogLeNet with norms",
        input=(3, 224, 224),
        output=((FLICKR8K,), (1024,)),
        classes=FLICKR8K,
    )
}
