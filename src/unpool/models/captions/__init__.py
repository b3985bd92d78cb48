"""Networks that describe an image in words. A new one is one new file here and one word in MODULES.

`num_classes` is the number of words and one more, number 0, which begins and ends a caption.
"""

from unpool.models.captions import attention, lstm, rnn
from unpool.models.catalog import Variant

MODULES = (rnn, lstm, attention)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
