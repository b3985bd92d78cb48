"""What captioners share: an image encoder, vectors of words, and a recurrent decoder that a subclass writes."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unpool.models.dense import map_indices
from unpool.ops.sequence_outputs import Begun, SeenImage, Spoken
from unpool.types import Backbone

Kept = tuple[Tensor, ...]
FLICKR8K = 2539  # words that occur five times or more in Flickr8k's training captions, and the end (arXiv:1412.2306)


class Captioner(nn.Module):
    """Image (B, C, H, W) -> SeenImage; `begin` and `step` say one word after the other.

    Vectors of words start from a uniform distribution of -0.1 to 0.1, as in Karpathy's release. Dropout is between
    layers, never from step to step (Zaremba et al. 2014, arXiv:1409.2329); all captions of an image drop the same at a
    step, so that several processes, which share the images of a batch, drop what one does.

    Args:
        backbone: gives maps.
        num_classes: words, and number 0, which begins and ends a caption.
        embedding: numbers of a word's vector.
        hidden: numbers of which the scores of the next word are made.
        dropout: share of a word's vector, and of the layer before the scores, that is dropped.

    Attributes:
        seen: what of the image features are, in words: networks of which it is equal have equal features.
    """

    seen = "mean of the last map"

    def __init__(self, backbone: Backbone, *, num_classes: int, embedding: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.words = nn.Embedding(num_classes, embedding)
        nn.init.uniform_(self.words.weight, -0.1, 0.1)
        self.dropout = nn.Dropout(dropout)
        self.hidden = hidden
        self.head = nn.Linear(hidden, num_classes)

    @property
    def seeing(self) -> Sequence[nn.Module]:
        """The modules on which features depend."""
        return (self.backbone,)

    def see(self, image: Tensor) -> Tensor:
        """Features (B, C): the mean of the backbone's last map over all places."""
        return self.backbone(image)[-1].mean((2, 3))

    @abstractmethod
    def begin(self, features: Tensor) -> Begun:
        """What is kept before the first word, from the features of B images."""

    @abstractmethod
    def step(self, word: Tensor, begun: Begun, kept: Kept | None = None) -> Spoken:
        """Takes one word more: (B,) int64 numbers, 0 before the first word of a caption.

        `kept` are the rows of `drawn` that belong to these words; None drops nothing.
        """

    def drawn(self, images: int) -> Kept | None:
        """What dropout keeps at a step, a row an image: factors of vectors (B, E) and of hidden layers (B, H)."""
        if not self.training:
            return None
        sizes = self.words.embedding_dim, self.hidden
        return tuple(self.dropout(self.words.weight.new_ones(images, size)) for size in sizes)

    def scores(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of the next word, from what `step` gives."""
        return self.head(hidden)

    def vectors(self, word: Tensor, kept: Kept | None) -> Tensor:
        """(B, E) vectors of words."""
        return self.words(word) if kept is None else self.words(word) * kept[0]

    def forward(self, image: Tensor) -> SeenImage:
        features = self.see(image)
        begun = self.begin(features)
        first = torch.zeros(len(features), dtype=torch.int64, device=features.device)
        return SeenImage(self.scores(self.step(first, begun).hidden), features)


class MapCaptioner(Captioner):
    """A captioner whose features are places of a map.

    Args:
        backbone, num_classes, embedding, hidden, dropout: see `Captioner`.
        at_stride: of the map.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        at_stride: int,
        num_classes: int,
        embedding: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__(backbone, num_classes=num_classes, embedding=embedding, hidden=hidden, dropout=dropout)
        (self.index,) = map_indices(backbone, (at_stride,), reader=f"a captioner at stride {at_stride}")
        self.channels = backbone.channels[self.index]
        self.seen = f"map of stride {at_stride}"

    def see(self, image: Tensor) -> Tensor:
        """Features (B, C, h, w): the map."""
        return self.backbone(image)[self.index]
