"""Augmentations by the name they have in a recipe, and what turns samples into batches."""

from unpool.data.augment.color_jitter import ColorJitter
from unpool.data.augment.crop import Crop
from unpool.data.augment.cutmix import Cutmix
from unpool.data.augment.elastic import Elastic, ElasticGaussian
from unpool.data.augment.erasing import Erasing
from unpool.data.augment.expand import Expand
from unpool.data.augment.flip import Flip
from unpool.data.augment.iou_crop import IouCrop
from unpool.data.augment.lens import Lens
from unpool.data.augment.mixup import Mixup
from unpool.data.augment.mosaic import Mosaic
from unpool.data.augment.on_device import OnDevice
from unpool.data.augment.pca_color import PcaColor
from unpool.data.augment.pipeline import Augment, Collate
from unpool.data.augment.resized_crop import ResizedCrop
from unpool.data.augment.rotate import Rotate
from unpool.data.augment.scale import Scale
from unpool.data.augment.shear import Shear
from unpool.data.augment.shorter_side import ShorterSide
from unpool.data.augment.step import Colour, Finishing, Geometry, Joining, Step
from unpool.data.augment.stretch import Stretch
from unpool.data.augment.translate import Translate
from unpool.data.augment.turn import Turn

__all__ = ["AUGMENTATIONS", "Augment", "Collate", "Colour", "Finishing", "Geometry", "Joining", "OnDevice", "Step"]

AUGMENTATIONS: dict[str, type[Step]] = {
    "mosaic": Mosaic,
    "shorter_side": ShorterSide,
    "scale": Scale,
    "stretch": Stretch,
    "crop": Crop,
    "flip": Flip,
    "translate": Translate,
    "rotate": Rotate,
    "turn": Turn,
    "shear": Shear,
    "lens": Lens,
    "elastic": Elastic,
    "elastic_gaussian": ElasticGaussian,
    "color_jitter": ColorJitter,
    "pca_color": PcaColor,
    "resized_crop": ResizedCrop,
    "expand": Expand,
    "iou_crop": IouCrop,
    "erasing": Erasing,
    "mixup": Mixup,
    "cutmix": Cutmix,
}
