"""Classifiers that are no backbones: they return no maps for a decoder. A new one is one new file here and one word."""

from unpool.models.catalog import Variant
from unpool.models.classifiers import alexnet, googlenet_auxiliary, lenet, mnist, stage_classifier

MODULES = (mnist, lenet, alexnet, googlenet_auxiliary, stage_classifier)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
