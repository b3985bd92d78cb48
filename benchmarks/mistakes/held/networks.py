"""Small networks as people write them, shared by the cases."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


def groups(channels: int) -> nn.Module:
    """A group norm of groups of eight channels."""
    return nn.GroupNorm(channels // 8, channels)


def conv(inputs: int, outputs: int, *, stride: int = 1, norm: Norm = nn.BatchNorm2d) -> nn.Sequential:
    """A 3x3 convolution, a norm and a ReLU."""
    layer = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(layer, norm(outputs), nn.ReLU())


class ConvNet(nn.Module):
    """Four convolutions, three of them with stride 2, the mean over the map, and a linear layer."""

    def __init__(self, classes: int, *, channels: int = 3, width: int = 16, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(channels, width, norm=norm),
            conv(width, 2 * width, stride=2, norm=norm),
            conv(2 * width, 2 * width, stride=2, norm=norm),
            conv(2 * width, 4 * width, stride=2, norm=norm),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.pool(self.features(image)).flatten(1))


class DigitNet(nn.Module):
    """Two convolutions with pooling and two linear layers with dropout between, for 28x28 grey digits."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 5), nn.Conv2d(16, 32, 5)
        self.hidden, self.head = nn.Linear(512, 64), nn.Linear(64, classes)
        self.dropout = nn.Dropout(0.3)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.max_pool2d(torch.relu(self.conv1(image)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.head(self.dropout(torch.relu(self.hidden(x.flatten(1)))))


class UNet(nn.Module):
    """Two levels down and up with skips; the output has the size of the image."""

    def __init__(self, classes: int, *, channels: int = 3, width: int = 16, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        self.enter = nn.Sequential(conv(channels, width, norm=norm), conv(width, width, norm=norm))
        self.down1 = nn.Sequential(conv(width, 2 * width, stride=2, norm=norm), conv(2 * width, 2 * width, norm=norm))
        self.down2 = nn.Sequential(
            conv(2 * width, 4 * width, stride=2, norm=norm), conv(4 * width, 4 * width, norm=norm)
        )
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.merge2 = conv(4 * width, 2 * width, norm=norm)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.merge1 = conv(2 * width, width, norm=norm)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.enter(image)
        middle = self.down1(fine)
        coarse = self.down2(middle)
        x = self.merge2(torch.cat([self.up2(coarse), middle], 1))
        return self.head(self.merge1(torch.cat([self.up1(x), fine], 1)))


class Denoiser(nn.Module):
    """Estimates the noise by six convolutions and takes it off, as DnCNN does, without norms."""

    def __init__(self, *, width: int = 24, depth: int = 6) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, noisy: Tensor) -> Tensor:
        return noisy - self.body(noisy)


class HeatmapNet(nn.Module):
    """Down to a quarter and up to a half of the size; one heatmap a joint."""

    def __init__(self, joints: int, *, width: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            conv(3, width), conv(width, 2 * width, stride=2), conv(2 * width, 4 * width, stride=2),
            conv(4 * width, 4 * width), conv(4 * width, 4 * width),
        )  # fmt: skip
        self.up = nn.Sequential(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU())
        self.head = nn.Conv2d(2 * width, joints, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.up(self.encoder(image)))


class Localizer(nn.Module):
    """Scores of the classes (B, C), and one box (B, 4) as centre, width and height in parts of the image.

    `cells` is the number of cells of the map, a sixteenth of the image.
    """

    def __init__(self, classes: int, *, cells: int = 16, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(3, width, stride=2), conv(width, 2 * width, stride=2),
            conv(2 * width, 4 * width, stride=2), conv(4 * width, 4 * width, stride=2),
        )  # fmt: skip
        self.hidden = nn.Sequential(nn.Linear(4 * width * cells, 96), nn.ReLU())
        self.scores, self.box = nn.Linear(96, classes), nn.Linear(96, 4)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.hidden(self.features(image).flatten(1))
        return self.scores(x), self.box(x).sigmoid()


class Embedder(nn.Module):
    """A vector of length 1 an image."""

    def __init__(self, *, channels: int = 1, dim: int = 32, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(channels, width, stride=2), conv(width, 2 * width, stride=2), conv(2 * width, 4 * width, stride=2)
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * width, dim))

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.normalize(self.head(self.features(image)), dim=1)


class Captioner(nn.Module):
    """Show and Tell on 48x48: the image is the first word of a GRU; `forward(image, words)` scores each next word."""

    def __init__(self, words: int, *, dim: int = 48) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            conv(3, 16, stride=2), conv(16, 32, stride=2), conv(32, 48, stride=2), nn.Flatten(), nn.Linear(48 * 36, dim)
        )
        self.embed = nn.Embedding(words, dim)
        self.rnn = nn.GRU(dim, 96, batch_first=True)
        self.head = nn.Linear(96, words)

    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        first = self.encoder(image)[:, None]  # (B, 1, dim)
        x = torch.cat([first, self.embed(words)], 1)
        return self.head(self.rnn(x)[0][:, 1:])  # (B, T, words)
