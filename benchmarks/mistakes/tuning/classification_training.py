"""Mistakes of classification in normalisation and loss."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated, networks
from benchmarks.mistakes.tuning.healthy_classes import (
    DIGITS,
    INSECTS,
    SCARCE,
    TEXTURES,
    digits_run,
    insects_run,
    lite0,
    scarce_run,
    textures_run,
)
from benchmarks.mistakes.tuning.pieces import KARPATHY, changed, planted, usual_step, with_network


def momentum_of_zero(folders: Folders) -> Plain:
    """Running statistics that no batch changes."""
    torch.manual_seed(0)
    return with_network(textures_run(folders), networks.SmallNet(4, momentum=0.0))


def momentum_of_keras(folders: Folders) -> Plain:
    """0.999 of another library, turned into 0.001, for a run of 150 steps."""
    torch.manual_seed(0)
    return with_network(textures_run(folders), networks.SmallNet(4, momentum=0.001))


class ByClass(Sampler):
    """Batches of one class each, in random order."""

    def __init__(self, labels: Tensor, size: int) -> None:
        self.labels, self.size = labels, size
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return sum(-(-int(count) // self.size) for count in torch.bincount(self.labels))

    def __iter__(self) -> Iterator[list[int]]:
        parts = [
            part
            for label in self.labels.unique()
            for part in (self.labels == label).nonzero().flatten().split(self.size)
        ]
        for index in torch.randperm(len(parts), generator=self.generator):
            yield parts[index].tolist()


def batches_of_one_class(folders: Folders) -> Plain:
    """Each batch is read from one folder, as the records on disk lie."""
    images, labels = generated.textures(400, 1)
    return changed(
        textures_run(folders), train=DataLoader(TensorDataset(images, labels), batch_sampler=ByClass(labels, 32))
    )


def bias_before_norm(folders: Folders) -> Plain:
    """Convolutions keep a bias that the norm behind them takes away."""
    torch.manual_seed(0)
    model = networks.SmallNet(4)
    for block in model.features:
        old = block[0]
        block[0] = nn.Conv2d(old.in_channels, old.out_channels, 3, old.stride, 1, bias=True)
    return with_network(textures_run(folders), model)


def evaluation_mode_kept(folders: Folders) -> Plain:
    """The first validation switches to evaluation mode, and nothing switches back."""
    run = textures_run(folders)
    model = run.arguments["model"]
    usual = usual_step(model, run.arguments["loss"], run.arguments["optimizer"])
    model.eval()

    def step(batch: Any) -> Tensor:
        model.eval()
        return usual(batch)

    return changed(run, step=step)


class OpenBackbone(nn.Module):
    """Trained features whose weights are frozen, and whose batch norms go on counting."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = lite0(0), nn.Linear(1280, 2)
        self.backbone.requires_grad_(requires_grad=False)
        for norm in self.backbone.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.reset_running_stats()

    def train(self, mode: bool = True) -> "OpenBackbone":  # noqa: FBT001, FBT002 (torch's signature)
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def statistics_lost(folders: Folders) -> Plain:
    """Only parameters were copied from the trained network, so that frozen norms have mean 0 and variance 1."""
    run = insects_run(folders)
    torch.manual_seed(0)
    model = OpenBackbone()
    return changed(run, model=model, optimizer=torch.optim.Adam(model.head.parameters(), lr=1e-3))


class AlwaysDropping(networks.LeNet):
    """Drops by the function, which does not know the mode."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.dropout(F.relu(self.fc1(x.flatten(1))), 0.5))


def dropout_function(folders: Folders) -> Plain:
    """F.dropout drops in evaluation, too."""
    torch.manual_seed(0)
    model = AlwaysDropping()
    return changed(
        digits_run(folders), model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    )


def keep_share_as_dropout(folders: Folders) -> Plain:
    """0.95 was the share to keep in TensorFlow 1; here it is the share to drop."""
    torch.manual_seed(0)
    model = networks.LeNet(dropout=0.95)
    return changed(
        digits_run(folders), model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    )


def weights_are_shares(folders: Folders) -> Plain:
    """The share of each class in place of its inverse."""
    run = scarce_run(folders)
    return changed(run, loss=nn.CrossEntropyLoss(weight=torch.tensor([0.97, 0.03]) * 2))


def logits_for_nll(folders: Folders) -> Plain:
    """NLLLoss of outputs without their logarithm of softmax: it falls without end, whatever is predicted."""
    return changed(textures_run(folders), loss=nn.NLLLoss())


def answers_for_labels(folders: Folders) -> Plain:
    """The variable of the labels was used for the predictions before the loss was computed."""

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        _, labels = outputs.detach().max(1)
        return F.cross_entropy(outputs, labels)

    return changed(textures_run(folders), loss=loss)


def squares_of_class_numbers(folders: Folders) -> Plain:
    """One output, rounded to the number of the class, by squared error."""
    run = textures_run(folders)
    torch.manual_seed(0)
    run = with_network(run, networks.SmallNet(1))

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return F.mse_loss(outputs[:, 0], labels.float())

    def metric(outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs[:, 0].round() == labels).float().mean()

    return Plain(
        {
            **{k: v for k, v in run.arguments.items() if k != "evaluate"},
            "loss": loss,
            "metric": metric,
            "task": "classification",
        }
    )


CASES = (
    planted(
        TEXTURES,
        "running_statistics_stand_still",
        "norm.train_eval_gap",
        momentum_of_zero,
        "Cadene/pretrained-models.pytorch#5",
        also=("norm.slow_momentum",),
    ),
    planted(
        TEXTURES,
        "momentum_of_a_thousandth",
        "norm.slow_momentum",
        momentum_of_keras,
        "kazuto1011/deeplab-pytorch#79 has 0.999 to be 0.001",
        also=("norm.train_eval_gap",),
    ),
    planted(
        TEXTURES,
        "batches_of_one_folder",
        "norm.alike_batch",
        batches_of_one_class,
        "piximi/piximi#437; records are read file by file",
    ),
    planted(TEXTURES, "bias_before_batch_norm", "norm.bias_before", bias_before_norm, KARPATHY),
    planted(TEXTURES, "training_in_evaluation_mode", "norm.frozen", evaluation_mode_kept, KARPATHY),
    planted(
        INSECTS,
        "parameters_copied_without_buffers",
        "norm.other_statistics",
        statistics_lost,
        "copying parameters() leaves buffers out",
    ),
    planted(
        DIGITS,
        "dropout_by_function",
        "norm.dropout_in_eval",
        dropout_function,
        "ipolharvard/ethos-ares#20 is of this kind",
    ),
    planted(
        DIGITS,
        "dropout_of_what_to_keep",
        "optim.cannot_overfit",
        keep_share_as_dropout,
        "TensorFlow 1's keep_prob is PyTorch's 1 - p",
    ),
    planted(
        SCARCE, "weights_are_the_shares", "loss.weights_inverted", weights_are_shares, "amanshenoy/multilogue-net#21"
    ),
    planted(
        TEXTURES,
        "nll_of_raw_outputs",
        "loss.wrong_way",
        logits_for_nll,
        "clvrai/ACGAN-PyTorch#4",
        also=("network.double_softmax",),
    ),
    planted(
        TEXTURES,
        "labels_overwritten_by_answers",
        "loss.not_of_targets",
        answers_for_labels,
        "one name for labels and predictions",
    ),
    planted(
        TEXTURES,
        "squared_error_of_class_numbers",
        "loss.wrong_kind",
        squares_of_class_numbers,
        "classes are numbers, and MSE takes numbers",
    ),
)
