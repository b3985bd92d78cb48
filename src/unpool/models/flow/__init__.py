"""Networks that give the flow from a frame to the next. A new one is one new file here and one word in MODULES.

The image has the channels of the first frame and behind them those of the second one; the output has two channels, x
to the right and y down, in pixels of the image: `num_classes` is 2. Flows of coarser levels are auxiliary outputs, in
pixels of the image too.
"""

from unpool.models.catalog import Variant
from unpool.models.flow import flownet_c, pyramid

MODULES = (flownet_c, pyramid)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
