"""Small networks in plain PyTorch, as users write them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_block(
    inputs: int, outputs: int, *, stride: int = 1, norm: str = "batch", momentum: float = 0.1
) -> nn.Sequential:
    """Convolution, norm and ReLU."""
    norms = {
        "batch": nn.BatchNorm2d(outputs, momentum=momentum),
        "group": nn.GroupNorm(4, outputs),
        "none": nn.Identity(),
    }
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=norm == "none"), norms[norm], nn.ReLU(inplace=True)
    )


class SmallNet(nn.Module):
    """Four convolutions with batch norm, global mean and a linear layer."""

    def __init__(
        self, classes: int, *, channels: int = 3, width: int = 16, norm: str = "batch", momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_block(channels, width, norm=norm, momentum=momentum),
            conv_block(width, 2 * width, stride=2, norm=norm, momentum=momentum),
            conv_block(2 * width, 4 * width, stride=2, norm=norm, momentum=momentum),
            conv_block(4 * width, 4 * width, norm=norm, momentum=momentum),
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class LeNet(nn.Module):
    """LeNet-5's layers with ReLU and dropout, for grey pictures of 28 pixels."""

    def __init__(self, classes: int = 10, dropout: float = 0.25) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 12, 5, padding=2), nn.Conv2d(12, 24, 5)
        self.fc1, self.dropout, self.fc2 = nn.Linear(24 * 25, 84), nn.Dropout(dropout), nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(self.dropout(F.relu(self.fc1(x.flatten(1)))))


class PlainDeep(nn.Module):
    """Convolutions without norms, one after another, initialised by He's rule."""

    def __init__(self, classes: int, *, depth: int = 8, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 2, 1), nn.ReLU()]
        for i in range(depth - 1):
            layers += [nn.Conv2d(width, width, 3, 2 if i == 2 else 1, 1), nn.ReLU()]
        self.features, self.head = nn.Sequential(*layers), nn.Linear(width, classes)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class UNet(nn.Module):
    """A U-Net of three levels."""

    def __init__(self, classes: int, *, channels: int = 3, width: int = 12, norm: str = "batch") -> None:
        super().__init__()
        self.down1 = conv_block(channels, width, norm=norm)
        self.down2 = conv_block(width, 2 * width, norm=norm)
        self.down3 = conv_block(2 * width, 4 * width, norm=norm)
        self.up2 = conv_block(6 * width, 2 * width, norm=norm)
        self.up1 = conv_block(3 * width, width, norm=norm)
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        middle = self.down2(F.max_pool2d(fine, 2))
        coarse = self.down3(F.max_pool2d(middle, 2))
        middle = self.up2(torch.cat([F.interpolate(coarse, middle.shape[2:]), middle], 1))
        fine = self.up1(torch.cat([F.interpolate(middle, fine.shape[2:]), fine], 1))
        return self.last(fine)


class DnCNN(nn.Module):
    """Finds the noise, and takes it away."""

    def __init__(self, *, depth: int = 5, width: int = 20) -> None:
        super().__init__()
        middle = [conv_block(width, width) for _ in range(depth - 2)]
        self.layers = nn.Sequential(nn.Conv2d(1, width, 3, 1, 1), nn.ReLU(), *middle, nn.Conv2d(width, 1, 3, 1, 1))

    def forward(self, noisy: Tensor) -> Tensor:
        return noisy - self.layers(noisy)


class PoseNet(nn.Module):
    """A heatmap of half the size for each joint."""

    def __init__(self, joints: int, *, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_block(3, width, stride=2), conv_block(width, width))
        self.down = nn.Sequential(conv_block(width, 2 * width, stride=2), conv_block(2 * width, 2 * width))
        self.deep = nn.Sequential(conv_block(2 * width, 4 * width, stride=2), conv_block(4 * width, 2 * width))
        self.join = conv_block(3 * width, 2 * width)
        self.last = nn.Conv2d(2 * width, joints, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.stem(x)
        middle = self.down(fine)
        middle = middle + F.interpolate(self.deep(middle), middle.shape[2:], mode="bilinear")
        return self.last(self.join(torch.cat([F.interpolate(middle, fine.shape[2:], mode="bilinear"), fine], 1)))


class BoxNet(nn.Module):
    """Four numbers about one thing in a picture, from a map that keeps where things are."""

    def __init__(self, outputs: int = 4, *, size: int = 64, width: int = 12) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_block(3, width, stride=2),
            conv_block(width, 2 * width, stride=2),
            conv_block(2 * width, 2 * width, stride=2),
            conv_block(2 * width, 2 * width),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * width * (size // 8) ** 2, 64), nn.ReLU(), nn.Linear(64, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Embedder(nn.Module):
    """A vector of length 1 for each picture."""

    def __init__(self, dim: int = 32, *, width: int = 16, norm: str = "batch") -> None:
        super().__init__()
        self.net = SmallNet(dim, channels=1, width=width, norm=norm)
        self.net.features.append(nn.AdaptiveAvgPool2d(4))
        self.net.head = nn.Linear(4 * width * 16, dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.net.head(self.net.features(x).flatten(1)), dim=1)


class Captioner(nn.Module):
    """Words one after another from the features of a picture and the words before."""

    def __init__(self, words: int, *, hidden: int = 64, width: int = 12) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_block(3, width, stride=2),
            conv_block(width, 2 * width, stride=2),
            conv_block(2 * width, 2 * width, stride=2),
        )
        self.first = nn.LazyLinear(hidden)
        self.embed = nn.Embedding(words, 24, padding_idx=0)
        self.gru = nn.GRU(24, hidden, batch_first=True)
        self.words = nn.Linear(hidden, words)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        state = torch.tanh(self.first(self.features(image).flatten(1)))
        return self.words(self.gru(self.embed(tokens), state[None])[0])


def parameters_of(*modules: nn.Module) -> Sequence[nn.Parameter]:
    """The parameters of several modules, in their order."""
    return [parameter for module in modules for parameter in module.parameters()]
