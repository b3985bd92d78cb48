"""Networks that give back a better image. A new one is one new file here and one word in MODULES.

`num_classes` is the number of channels of the answer; where the network answers by what is to be taken away from the
image, it must be that of the image; such a network says so by `finds_noise`, and takes the noise away itself.
"""

from unpool.models.catalog import Variant
from unpool.models.denoising import autoencoder, dncnn, unet

MODULES = (autoencoder, dncnn, unet)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
