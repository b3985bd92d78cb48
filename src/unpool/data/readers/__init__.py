"""The readers: `READERS` maps a recipe's `data.reader` to the class that reads the format."""

from collections.abc import Callable, Mapping
from typing import Any

from unpool.data.box_scenes import BoxScenes
from unpool.data.figures import Figures
from unpool.data.pair_scenes import FlowScenes, StereoScenes
from unpool.data.readers.boxes_csv import BoxesCsv
from unpool.data.readers.camvid import CamVid
from unpool.data.readers.captions_csv import CaptionsCsv
from unpool.data.readers.cifar import Cifar
from unpool.data.readers.coco_captions import CocoCaptions
from unpool.data.readers.coco_instances import CocoInstances
from unpool.data.readers.coco_people import CocoPeople
from unpool.data.readers.coco_scenes import CocoScenes
from unpool.data.readers.cub import Cub
from unpool.data.readers.digit_strings import DigitStrings
from unpool.data.readers.flickr8k import Flickr8k
from unpool.data.readers.flying_chairs import FlyingChairs
from unpool.data.readers.folder import Folder
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.readers.folder_text import FolderText
from unpool.data.readers.image_pairs import ImagePairs
from unpool.data.readers.imagenet import ImageNet
from unpool.data.readers.images import Images
from unpool.data.readers.kitti import Kitti
from unpool.data.readers.lfw import Lfw
from unpool.data.readers.lsp import Lsp
from unpool.data.readers.middlebury import Middlebury
from unpool.data.readers.mnist import Mnist
from unpool.data.readers.person_folders import PersonFolders
from unpool.data.readers.person_pairs import PersonPairs
from unpool.data.readers.plain_set import dataset
from unpool.data.readers.voc import Voc
from unpool.data.readers.yolo import Yolo
from unpool.data.synthetic import Scenes
from unpool.types import Reader

READERS: dict[str, Callable[..., Reader]] = {
    "box_scenes": BoxScenes,
    "boxes_csv": BoxesCsv,
    "camvid": CamVid,
    "captions_csv": CaptionsCsv,
    "cifar": Cifar,
    "coco_captions": CocoCaptions,
    "coco_instances": CocoInstances,
    "coco_people": CocoPeople,
    "coco_scenes": CocoScenes,
    "cub": Cub,
    "dataset": dataset,
    "digit_strings": DigitStrings,
    "figures": Figures,
    "flickr8k": Flickr8k,
    "flow_scenes": FlowScenes,
    "flying_chairs": FlyingChairs,
    "folder": Folder,
    "folder_masks": FolderMasks,
    "folder_text": FolderText,
    "image_pairs": ImagePairs,
    "imagenet": ImageNet,
    "images": Images,
    "kitti": Kitti,
    "lfw": Lfw,
    "lsp": Lsp,
    "middlebury": Middlebury,
    "mnist": Mnist,
    "person_folders": PersonFolders,
    "person_pairs": PersonPairs,
    "scenes": Scenes,
    "stereo_scenes": StereoScenes,
    "voc": Voc,
    "yolo": Yolo,
}


def whole_options(name: str) -> Mapping[str, Any]:
    """Returns the options that make a reader take a folder without splits as one; empty if it never draws a split."""
    return getattr(READERS[name], "whole_options", {})
