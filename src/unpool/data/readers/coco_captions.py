"""COCO's captions: annotations/captions_<train|val>2017.json beside the folders of images.

Images without a caption are left out and counted. There is no labelled test split, so test is val.

Source: Chen et al. 2015, arXiv:1504.00325; cocodataset.org, "Data format".
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpool.data.image_file import printable
from unpool.data.listing import as_posix, is_below
from unpool.data.readers.captioned_images import LEAST_COUNT, CaptionedImages, LeastCount, require_caption
from unpool.data.readers.coco import reading
from unpool.data.readers.listed_images import split_missing
from unpool.data.readers.splits import Split, missing_split, origin_of, require_split, with_exif
from unpool.data.root import require_root
from unpool.data.text_file import read_json_text
from unpool.errors import DataError
from unpool.types import RGB, Decoding, Exif

_KINDS = {"images": {"id": int, "file_name": str}, "annotations": {"id": int, "image_id": int, "caption": str}}


class CocoCaptions(CaptionedImages):
    """Everyday photographs and five captions of each.

    Args:
        least_count: times that a word of the vocabulary occurs in the training captions.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        least_count: LeastCount = LEAST_COUNT,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        part = "train2017" if split == "train" else "val2017"
        path = require_root(root) / "annotations" / f"captions_{part}.json"
        if not path.is_file():
            raise missing_split(root, split, [f"annotations/{path.name}"])
        captions, lacking = _captions(path, part)
        images, missing = split_missing(root, dict.fromkeys(captions, path.name))
        super().__init__(
            root,
            {image: captions[image] for image in images},
            least_count=least_count if split == "train" else None,
            decoding=decoding,
            missing=missing,
        )
        self.notes += [f"{lacking} images of {path.name} have no caption and are left out"] if lacking else []
        self.set_files = (path,)
        self.origin = origin_of(root, split)


def _captions(path: Path, part: str) -> tuple[dict[str, list[str]], int]:
    """Returns the captions of each image, by its path below the root, in the order of their ids; how many have none."""
    with reading(path, "COCO captions"):
        content = json.loads(read_json_text(path))
        _require_records(content)
        images = {one["id"]: f"{part}/{as_posix(one['file_name'])}" for one in content["images"]}
        captions: dict[str, list[str]] = {}
        for one in sorted(content["annotations"], key=lambda one: (one["image_id"], one["id"])):
            if one["image_id"] not in images:
                raise ValueError(f"annotation {one['id']} is of image {one['image_id']}, which is not in images")
            text = require_caption(one["caption"], f"{printable(path)}: annotation {one['id']}")
            captions.setdefault(images[one["image_id"]], []).append(text)
    if not captions:
        raise DataError(f"{printable(path)} holds no caption; expected some of each image")
    return captions, len(set(images.values()) - captions.keys())


def _require_records(content: Any) -> None:
    """Raises ValueError unless images and annotations are lists of records with what is read of them."""
    for part, kinds in _KINDS.items():
        records = content.get(part) if isinstance(content, Mapping) else None
        if not isinstance(records, list):
            raise ValueError(f"{part} is no list")
        for position, record in enumerate(records):
            for key, kind in kinds.items():
                if not isinstance(record, Mapping) or type(record.get(key)) is not kind:
                    raise ValueError(f"{part}[{position}] has no {key} that is {kind.__name__}")
        if len({record["id"] for record in records}) < len(records):
            raise ValueError(f"two of {part} have one id")
    if outside := [one["file_name"] for one in content["images"] if not is_below(one["file_name"])]:
        raise ValueError(f"file_name is {outside[0]!r}; expected a path below the folder of images")
