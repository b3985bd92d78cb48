"""Images with masks as torchvision's tutorials read them: PIL, tv_tensors, transforms v2."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from benchmarks.peers.loop import MEAN, STD

VOID = 11
FILL: dict[Any, Any] = {tv_tensors.Image: 0, tv_tensors.Mask: VOID}


class CamVidPairs(Dataset):
    """The training images and masks of CamVid in the SegNet tutorial's layout, augmented to `size_hw`."""

    def __init__(self, root: Path, size_hw: tuple[int, int]) -> None:
        lines = (root / "CamVid" / "train.txt").read_text(encoding="utf-8").split("\n")
        self.pairs = [(root / line.split()[0], root / line.split()[1]) for line in lines if line]
        self.transforms = v2.Compose(
            [
                v2.RandomAffine(
                    degrees=(-10, 10), scale=(0.75, 1.5), interpolation=InterpolationMode.BILINEAR, fill=FILL
                ),
                v2.RandomCrop(size_hw, pad_if_needed=True, fill=FILL),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
                v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image_path, mask_path = self.pairs[index]
        image = tv_tensors.Image(Image.open(image_path).convert("RGB"))
        mask = tv_tensors.Mask(Image.open(mask_path))
        image, mask = self.transforms(image, mask)
        return image, mask.squeeze(0)
