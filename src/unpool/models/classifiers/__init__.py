"""Classifiers without a backbone: they return no maps for a decoder. A new one is one new file here and one word."""

from unpool.models.catalog import Variant
from unpool.models.classifiers import alexnet, googlenet_auxiliary, lenet, mnist

MODULES = (mnist, lenet, alexnet, googlenet_auxiliary)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
