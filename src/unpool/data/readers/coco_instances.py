"""Everyday things of COCO: annotations/instances_<train|val>2017.json beside the folders of images.

Boxes are `bbox` as corners; a crowd's box is kept, with a flag. `areas` are the pixels that annotators covered. Classes
are all categories of the file, in the order of their ids, which need not follow one another. With `masks`, polygons and
run lengths are drawn as a mask of each thing; one whose mask lies beside its box is left out. An image without
annotations is a background. There is no labelled test split, so test is val.

Source: Lin et al. 2014, arXiv:1405.0312; cocodataset.org, "Data format".
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpool.data.classes import case_clashes, match, nfc
from unpool.data.image_file import Unusable, printable
from unpool.data.measure import Measure
from unpool.data.readers import coco
from unpool.data.readers.box_checks import Things, require_annotated
from unpool.data.readers.box_forms import SIZES
from unpool.data.readers.box_layouts import missing_boxes
from unpool.data.readers.boxed_images import BoxedImages
from unpool.data.readers.coco_beside import in_their_boxes
from unpool.data.readers.coco_boxes import check_boxes
from unpool.data.readers.coco_checks import require_instances
from unpool.data.readers.coco_regions import SHAPE, Region, draw_instance, region_of
from unpool.data.readers.splits import Split, origin_of, require_split, with_exif
from unpool.data.root import require_root
from unpool.data.text_file import read_json_text
from unpool.errors import DataError, quoted
from unpool.types import RGB, DataInfo, Decoding, Exif, Sample

Annotation = Mapping[str, Any]
_KIND = "COCO instances"


class CocoInstances(BoxedImages):
    """Images with boxes of things of many classes, and their masks where these are asked for.

    Args:
        masks: whether to give the mask of each thing.
        classes: class names by index, as in a training run; categories with other names are refused.
        allow_background: more than half of the images may have no annotation.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        masks: bool = False,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "ignore",
        allow_background: bool = False,
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        part = "train2017" if split == "train" else "val2017"
        path = require_root(root) / "annotations" / f"instances_{part}.json"
        if not path.is_file():
            raise missing_boxes(root, split, [f"annotations/{path.name}"], "coco_instances")
        with coco.reading(path, _KIND):
            content = json.loads(read_json_text(path))
            require_instances(content)
            images = sorted(content["images"], key=lambda one: one["id"])
            sizes = {one["id"]: (one["height"], one["width"]) for one in images}
            everything = sorted(content["annotations"], key=lambda one: (one["image_id"], one["id"]))
            doubts = check_boxes(everything, sizes)
            everything, beside = in_their_boxes(everything) if masks else (everything, [])
            drawn = [region_of(one) for one in everything] if masks else []
        if not everything:
            raise DataError(
                f"{printable(path)} has no annotations, so that nothing can be learned or measured: add them"
            )
        if masks:
            _require_regions(everything, path)
        names = {one["id"]: nfc(one["name"]) for one in sorted(content["categories"], key=lambda one: one["id"])}
        known = tuple(names.values()) if classes is None else tuple(classes)
        label_of = dict(zip(names, match(list(names.values()), known, printable(path)), strict=True))
        paths = [f"{part}/{one['file_name']}" for one in images]
        _require_names(root, part, images, path)
        annotated = {one["image_id"] for one in content["annotations"]}
        backgrounds = require_annotated(
            paths,
            [one["id"] in annotated for one in images],
            looked_in=printable(path),
            allow_background=allow_background,
        )
        row_of = {one["id"]: row for row, one in enumerate(images)}
        things = _things(everything, row_of, label_of)
        super().__init__(root, paths, list(sizes.values()), things, decoding=decoding)
        self._regions = [drawn[row] for row in self.kept] if masks else None
        if masks:
            self.gives = (*self.gives, "masks")
        id_of = {label: number for number, label in label_of.items()}
        has_ids = len(id_of) == len(known)  # another set's classes may be more
        self.info = DataInfo(classes=known, class_ids=tuple(id_of[i] for i in range(len(known))) if has_ids else ())
        self.notes = [*doubts, *beside, *self.notes, *backgrounds, *case_clashes(known)]
        self.set_files = (path,)
        self.origin = origin_of(root, split)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        targets = super().targets(index)
        return targets if self._regions is None else {**targets, "masks": self._masks(index, self._regions)}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        measure = super().measure(index)
        if self._regions is None:
            return measure
        rows, (height, width) = self.rows(index), measure.size_hw
        return measure._replace(num_bytes=measure.num_bytes + (rows.stop - rows.start) * height * width)

    def _masks(self, index: int, regions: Sequence[Region]) -> Tensor:
        """Returns (N, H, W) bool."""
        size_hw = self.sizes_hw[index]
        try:
            drawn = [draw_instance(region, size_hw) for region in regions[self.rows(index)]]
        except ValueError as error:
            raise Unusable(self.names[index], f"{error}: correct the annotations") from error
        return torch.from_numpy(np.array(drawn, bool).reshape(-1, *size_hw))


def _require_regions(everything: Sequence[Annotation], path: Path) -> None:
    """Raises DataError where things have no segmentation."""
    if lacking := [one["id"] for one in everything if not one.get(SHAPE)]:
        problem = f"{printable(path)}: {len(lacking)} of {len(everything)} annotations have no segmentation"
        raise DataError(f"{problem}, such as {lacking[0]}, and data.masks=true asks for masks: set data.masks=false")


def _require_names(root: Path, part: str, images: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Raises DataError where images are named from the root, not from their folder."""
    name = images[0]["file_name"] if images else ""
    if name and not (root / part / name).exists() and (root / name).exists():
        problem = f"{printable(path)} has the file_name {quoted(printable(name))}, which is below data.root"
        raise DataError(f"{problem}; expected names from the folder {part}: delete the folders in front")


def _things(everything: Sequence[Annotation], row_of: Mapping[int, int], label_of: Mapping[int, int]) -> Things:
    boxes = np.array([one["bbox"] for one in everything], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Things(
        image=np.array([row_of[one["image_id"]] for one in everything], np.int64),
        boxes=boxes.astype(np.float32),
        labels=np.array([label_of[one["category_id"]] for one in everything], np.int64),
        record=lambda row: f"annotation {everything[row]['id']}",
        more={
            "areas": np.array([one["area"] for one in everything], np.float32),
            "crowd": np.array([one["iscrowd"] for one in everything], bool),
        },
        form=SIZES,
    )
