"""Networks that classify an image and regress a box. A new one is one new file here and one word in MODULES.

`num_classes` is the number of classes, `things` how many things each image shows. The layers of the boxes are called
`locate`, those of the classes `head`, as a classifier's are: so the weights of one fit, see `models.foreign`.
"""

from unpool.models.catalog import Variant
from unpool.models.localization import alexnet, localizer

MODULES = (localizer, alexnet)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
