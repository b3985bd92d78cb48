"""Mistakes of classification in the network."""

import itertools

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import networks
from benchmarks.mistakes.tuning.healthy_classes import (
    BERRIES,
    CIFAR,
    TEXTURES,
    berries_run,
    cifar_run,
    textures_run,
)
from benchmarks.mistakes.tuning.pieces import (
    KARPATHY,
    changed,
    planted,
    with_network,
)


def small_weights(folders: Folders) -> Plain:
    """Nine layers without norms, all weights drawn with a deviation of 0.01, as AlexNet's recipe has it."""
    torch.manual_seed(0)
    model = networks.PlainDeep(4, depth=9)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    return with_network(textures_run(folders), model)


def prior_bias_everywhere(folders: Folders) -> Plain:
    """RetinaNet's bias of -4.6, meant for the last layer, set for all of them."""
    torch.manual_seed(0)
    model = networks.PlainDeep(4, depth=5)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.bias, -4.6)
    return with_network(textures_run(folders), model)


def constant_weights(folders: Folders) -> Plain:
    """Every weight starts at the same number."""
    torch.manual_seed(0)
    model = networks.SmallNet(4)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.constant_(layer.weight, 0.01)
    return with_network(textures_run(folders), model)


def tanh_of_bytes(folders: Folders) -> Plain:
    """Units of tanh behind weights of deviation 1."""
    torch.manual_seed(0)
    layers = [networks.SmallNet(4).features[0][0], nn.Tanh(), nn.Conv2d(16, 32, 3, 2, 1), nn.Tanh()]
    layers += [nn.Conv2d(32, 32, 3, 2, 1), nn.Tanh(), nn.Flatten(), nn.Linear(32 * 64, 4)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight)
    return with_network(textures_run(folders), nn.Sequential(*layers))


def large_last_layer(folders: Folders) -> Plain:
    """A last layer drawn from the standard normal distribution, for 64 inputs."""
    torch.manual_seed(0)
    model = networks.SmallNet(4)
    nn.init.normal_(model.head.weight)
    nn.init.normal_(model.head.bias)
    return with_network(textures_run(folders), model)


class GreyLeft(networks.SmallNet):
    """Reads the first channel alone, as an experiment with grey pictures did."""

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :1].expand(-1, 3, -1, -1)
        return super().forward(x)


def one_channel_read(folders: Folders) -> Plain:
    """Green and blue never reach the network, on berries that differ in colour."""
    torch.manual_seed(0)
    model = GreyLeft(4, width=12)
    return changed(with_network(berries_run(folders), model), predict=None)


class Pointwise(nn.Module):
    """Sees single pixels and their mean."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 32, 64, 64)
        self.features = nn.Sequential(*[networks.conv_block(a, b) for a, b in itertools.pairwise(sizes)])
        for block in self.features:
            block[0] = nn.Conv2d(block[0].in_channels, block[0].out_channels, 1, bias=False)
        self.head = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def only_single_pixels(folders: Folders) -> Plain:
    """Convolutions of one pixel, where patterns of five to nine pixels are to be known."""
    torch.manual_seed(0)
    return with_network(textures_run(folders), Pointwise())


def holes_between_patches(folders: Folders) -> Plain:
    """A first layer of 2x2 every fourth pixel, to save time."""
    torch.manual_seed(0)
    model = networks.SmallNet(4)
    model.features[0][0] = nn.Conv2d(3, 16, kernel_size=2, stride=4, bias=False)
    return with_network(textures_run(folders), model)


class ListedNet(nn.Module):
    """Keeps its middle layers in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = networks.conv_block(3, 24, stride=2)
        self.blocks = [nn.Sequential(networks.conv_block(24, 24, stride=s)) for s in (1, 2, 1)]
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def blocks_in_a_list(folders: Folders) -> Plain:
    """Layers that no optimiser and no file of weights knows."""
    torch.manual_seed(0)
    return with_network(textures_run(folders), ListedNet())


class SoftmaxNet(networks.SmallNet):
    """Ends with probabilities."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


def softmax_twice(folders: Folders) -> Plain:
    """Probabilities for a loss that has its own softmax."""
    torch.manual_seed(0)
    return with_network(textures_run(folders), SoftmaxNet(4))


def thousand_outputs(folders: Folders) -> Plain:
    """torchvision's network with its 1,000 outputs, for ten classes."""
    run = cifar_run(folders)
    torch.manual_seed(0)
    model = torchvision.models.resnet18()
    model.conv1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return Plain(
        {
            **{k: v for k, v in run.arguments.items() if k not in ("step", "schedule")},
            "model": model,
            "optimizer": optimizer,
        }
    )


CASES = (
    planted(
        TEXTURES,
        "weights_of_a_hundredth",
        "network.variance",
        small_weights,
        "Glorot and Bengio 2010; He et al. 2015, section 2.2",
        network="nine convolutions without norms",
    ),
    planted(
        TEXTURES,
        "prior_bias_in_all_layers",
        "network.dead_units",
        prior_bias_everywhere,
        "the prior of Lin et al. 2017 (RetinaNet), section 4.1, is for the last layer",
        network="five convolutions without norms",
    ),
    planted(TEXTURES, "all_weights_equal", "network.symmetric", constant_weights, "wagonhelm/NaNmnist#2"),
    planted(
        TEXTURES,
        "tanh_in_its_flat_part",
        "network.saturated",
        tanh_of_bytes,
        "torch.randn for weights; Glorot and Bengio 2010",
        network="three convolutions with tanh",
        also=("network.variance",),
    ),
    planted(
        TEXTURES,
        "last_layer_too_large",
        "network.output_at_start",
        large_last_layer,
        "Karpathy 2019, A Recipe for Training Neural Networks",
    ),
    planted(BERRIES, "only_red_is_read", "network.input_unused", one_channel_read, "a slice left from grey pictures"),
    planted(
        TEXTURES,
        "convolutions_of_one_pixel",
        "network.receptive_field",
        only_single_pixels,
        "kernel_size=1 copied from a bottleneck; Luo et al. 2016 on receptive fields",
        network="convolutions 1x1",
    ),
    planted(
        TEXTURES,
        "two_pixels_of_four_read",
        "network.stride_holes",
        holes_between_patches,
        "a patch stem whose kernel was not enlarged with its stride",
    ),
    planted(
        TEXTURES,
        "blocks_in_a_python_list",
        "network.unused_layer",
        blocks_in_a_list,
        "pytorch/pytorch#1053",
        network="blocks in a list",
        also=("optim.missing_parameters",),
    ),
    planted(TEXTURES, "softmax_before_cross_entropy", "network.double_softmax", softmax_twice, KARPATHY),
    planted(
        CIFAR,
        "thousand_outputs_for_ten",
        "network.output_size",
        thousand_outputs,
        "resnet18() without num_classes runs for any label",
    ),
)
