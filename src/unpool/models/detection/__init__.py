"""Detectors of things in boxes. A new one is one new file here and one word in MODULES.

`num_classes` is the number of classes of things; a network whose classes exclude one another adds the background.
"""

from unpool.models.catalog import Variant
from unpool.models.detection import fast_rcnn, faster_rcnn, mask_rcnn, rcnn, retinanet, ssd, yolo

MODULES = (faster_rcnn, ssd, retinanet, rcnn, fast_rcnn, yolo, mask_rcnn)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
