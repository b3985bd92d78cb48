"""Converts networks: strides to dilations, classifiers to networks that slide, batch norms to weights; deepens them."""

from unpool.convert.deepening.conversion import Deepened, deepen
from unpool.convert.dilation.conversion import Dilated, dilate
from unpool.convert.folding.conversion import Folded, fold_batch_norm
from unpool.convert.sliding.conversion import FullyConvolutional, fully_convolutional

__all__ = [
    "Deepened",
    "Dilated",
    "Folded",
    "FullyConvolutional",
    "deepen",
    "dilate",
    "fold_batch_norm",
    "fully_convolutional",
]
