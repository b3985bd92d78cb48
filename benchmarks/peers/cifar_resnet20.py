"""ResNet-20 on CIFAR-10, 32x32, batch 128, from arrays in memory as torchvision.datasets.CIFAR10 keeps them."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from benchmarks.peers.loop import Peer, run
from benchmarks.peers.pictures import read_cifar


class Cifar(Dataset):
    """Items made exactly as torchvision's CIFAR10 makes them: an array becomes a PIL image, which is transformed."""

    def __init__(self, root: Path) -> None:
        self.data, self.targets = read_cifar(root)
        self.transform = v2.Compose(
            [
                v2.RandomCrop(32, padding=4),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
            ]
        )

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), int(self.targets[index])


if __name__ == "__main__":
    run(Peer(network="cifar_resnet20", batch=128, num_classes=10, dataset=Cifar, lr=0.1))
