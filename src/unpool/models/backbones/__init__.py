"""Backbones. A new family is one new file here and one word in FAMILIES."""

from unpool.models.backbones import cifar_resnet, extraction, googlenet, preresnet, resnet, vgg, zf
from unpool.models.catalog import Variant

FAMILIES = (resnet, cifar_resnet, preresnet, vgg, zf, googlenet, extraction)
BACKBONES: dict[str, Variant] = {name: row for family in FAMILIES for name, row in family.VARIANTS.items()}
