"""Networks that score the disparities of a stereo pair. A new one is one new file here and one word in MODULES.

The image has the channels of the left image and behind them those of the right one; `num_classes` is the number of
disparities, 0 to that less one. The output is a score for each, (B, D, H, W), the highest for the likeliest. A network
with `describe` and `compare` trains without scoring every disparity.
"""

from unpool.models.catalog import Variant
from unpool.models.stereo import mc_cnn

MODULES = (mc_cnn,)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
