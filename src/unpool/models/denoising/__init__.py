"""Networks whose output is a better image. A new one is one new file here and one word in MODULES.

`num_classes` is the number of channels of the output. A network with `finds_noise = True` predicts the noise and
subtracts it from the image itself, so that its output must have as many channels as the image.
"""

from unpool.models.catalog import Variant
from unpool.models.denoising import autoencoder, dncnn, unet

MODULES = (autoencoder, dncnn, unet)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
