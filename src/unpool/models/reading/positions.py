"""One head for each position of a string of bounded length, as Goodfellow et al. 2013 read house numbers.

In the paper (arXiv:1312.6082) one softmax more answers the length; here each position has a class more, none, which
every position behind the end is. The convolutions are those of `crnn`, so that the two differ in their answers alone; a
hidden layer reads all columns at once. The paper's network has eleven layers of its own, on crops of 54 x 54.
"""

from torch import Tensor, nn

from unpool.models.catalog import Variant
from unpool.models.reading.crnn import Columns
from unpool.ops.sequence_outputs import ReadPositions


class PositionReader(nn.Module):
    """Image (B, in_channels, H, W) -> ReadPositions of scores (B, num_classes, positions).

    Columns are averaged to two for each position before the hidden layer.

    Args:
        in_channels: channels of the image.
        num_classes: characters and, number 0, none.
        positions: characters of the longest string.
        width: channels of the first convolution.
        hidden: units of the hidden layer.
        dropout: share of them that is dropped.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 11,
        positions: int = 6,
        width: int = 64,
        hidden: int = 1024,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.backbone = Columns(width=width, in_channels=in_channels)
        self.pool = nn.AdaptiveAvgPool1d(2 * positions)
        self.hidden = nn.Linear(2 * positions * self.backbone.channels, hidden)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, positions * num_classes)
        self.positions = positions

    def forward(self, image: Tensor) -> ReadPositions:
        columns = self.pool(self.backbone(image)).flatten(1)
        scores = self.head(self.dropout(self.hidden(columns).relu()))
        return ReadPositions(scores.unflatten(1, (-1, self.positions)))


VARIANTS = {
    "position_reader": Variant(
        build=PositionReader,
        kind="whole",
        params=11_910_978,
        source="`unpool summary`; heads as in Goodfellow et al. 2013, section 4, on the convolutions of crnn",
        input=(1, 40, 160),
        output=(11, 6),
        classes=11,
    )
}
