"""ResNet-50, 224x224, batch 32, from an ImageFolder of photographs."""

from pathlib import Path

import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.peers.loop import MEAN, STD, Peer, run


def dataset(root: Path) -> ImageFolder:
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(224),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    return ImageFolder(str(root / "train"), transform)


if __name__ == "__main__":
    run(Peer(network="resnet50", batch=32, num_classes=2, dataset=dataset, lr=0.01))
