"""Networks that read a string from an image. A new one is one new file here and one word in MODULES.

`num_classes` is the number of characters and one more, number 0, which stands for none.
"""

from unpool.models.catalog import Variant
from unpool.models.reading import crnn, positions

MODULES = (crnn, positions)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
