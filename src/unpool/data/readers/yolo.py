"""YOLO's form, as Ultralytics reads it: data.yaml, images, and a text file of boxes for each in a folder of labels.

The label file of an image has its name, in the folder `labels` in the place of the last folder `images` of its path, or
beside the image where there is none. An image without one is a background, as one with an empty file is. Classes are
those of data.yaml, by number.

Source: docs.ultralytics.com, "Object Detection Datasets Overview".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from unpool.data.classes import case_clashes, match
from unpool.data.image_file import printable
from unpool.data.readers.box_checks import Things, require_annotated
from unpool.data.readers.box_forms import CENTRES
from unpool.data.readers.boxed_images import BoxedImages, header_sizes
from unpool.data.readers.splits import (
    WHOLE,
    Drawn,
    Split,
    Together,
    drawn_images,
    origin_of,
    require_split,
    with_exif,
)
from unpool.data.readers.yolo_labels import YoloBox, label_file, read_label_files, require_one_image_each
from unpool.data.readers.yolo_lists import find_images
from unpool.data.readers.yolo_names import read_yolo_names
from unpool.data.root import require_root
from unpool.limits import Seed, ValShare
from unpool.types import RGB, DataInfo, Decoding, Exif

_SHOWN = 3  # folders that a message lists


class Yolo(BoxedImages):
    """Images and boxes in fractions of them.

    Args:
        classes: class names by index, as in a training run; other names in data.yaml are refused.
        allow_background: more than half of the images may lack a label file.
        val_share: part drawn for validation if data.yaml and the folders have none; with 1, a root without splits is
            all val, and all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    whole_options = WHOLE

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        allow_background: bool = False,
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        names = read_yolo_names(require_root(root))
        listed = find_images(root, split, names, Drawn.of(val_share, seed, together))
        require_one_image_each(root, listed.images)
        images = drawn_images(root, listed.images, split, listed.drawn)
        labels = read_label_files(root, images, len(names.classes))
        folders = sorted({str(PurePosixPath(label_file(image)).parent) for image in images})
        looked_in = ", ".join(printable(root / folder) for folder in folders[:_SHOWN])
        backgrounds = require_annotated(
            images,
            [image in labels for image in images],
            looked_in=looked_in + (", ..." if len(folders) > _SHOWN else ""),
            allow_background=allow_background,
        )
        known = names.classes if classes is None else tuple(classes)
        label_of = np.array(match(names.classes, known, printable(names.path)), np.int64)
        sizes = header_sizes(root, images, decoding)
        super().__init__(root, images, sizes, _things(images, labels, label_of, sizes), decoding=decoding)
        self.info = DataInfo(classes=known)
        self.faults = listed.faults
        self.notes += [*listed.notes, *backgrounds, *case_clashes(known)]
        self.set_files = (names.path, *listed.set_files, *(root / label_file(image) for image in labels))
        self.origin = origin_of(root, split, ignored=listed.ignored, drawn=listed.drawn)


def _things(
    images: Sequence[str],
    labels: Mapping[str, Sequence[YoloBox]],
    label_of: np.ndarray,
    sizes_hw: Sequence[tuple[int, int]],
) -> Things:
    """Returns the boxes in pixels of the images."""
    rows = [(index, one) for index, image in enumerate(images) for one in labels.get(image, ())]
    centre_size = np.array([one.box for _, one in rows], np.float64).reshape(-1, 2, 2)
    image = np.array([index for index, _ in rows], np.int64)
    centre, half = centre_size[:, 0], centre_size[:, 1] / 2
    sizes_wh = np.array(sizes_hw, np.float64).reshape(-1, 2)[image][:, ::-1]
    boxes = np.concatenate([(centre - half) * sizes_wh, (centre + half) * sizes_wh], axis=1)

    def record(row: int) -> str:
        index, one = rows[row]
        return f"{label_file(images[index])} line {one.line}"

    return Things(
        image=image,
        boxes=boxes.astype(np.float32),
        labels=label_of[np.array([one.number for _, one in rows], np.int64)],
        record=record,
        more={},
        form=CENTRES,
    )
