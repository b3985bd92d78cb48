"""The readers: `READERS` maps a recipe's `data.reader` to the class that reads the format."""

from collections.abc import Callable, Mapping
from typing import Any

from unpool.data.figures import Figures
from unpool.data.readers.camvid import CamVid
from unpool.data.readers.cifar import Cifar
from unpool.data.readers.coco_people import CocoPeople
from unpool.data.readers.coco_scenes import CocoScenes
from unpool.data.readers.folder import Folder
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.readers.image_pairs import ImagePairs
from unpool.data.readers.images import Images
from unpool.data.readers.lsp import Lsp
from unpool.data.readers.mnist import Mnist
from unpool.data.readers.plain_set import dataset
from unpool.data.synthetic import Scenes
from unpool.types import Reader

READERS: dict[str, Callable[..., Reader]] = {
    "camvid": CamVid,
    "cifar": Cifar,
    "coco_people": CocoPeople,
    "coco_scenes": CocoScenes,
    "dataset": dataset,
    "figures": Figures,
    "folder": Folder,
    "folder_masks": FolderMasks,
    "image_pairs": ImagePairs,
    "images": Images,
    "lsp": Lsp,
    "mnist": Mnist,
    "scenes": Scenes,
}


def whole_options(name: str) -> Mapping[str, Any]:
    """Returns the options that make a reader take a folder without splits as one; empty if it never draws a split."""
    return getattr(READERS[name], "whole_options", {})
