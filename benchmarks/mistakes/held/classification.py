"""Textures by their kind: mistakes of optimisation, norms, networks, sets and prediction."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import ConvNet, conv
from benchmarks.mistakes.held.runs import Pictures, accuracy, plain, shares, to_tensor

CLASSES = len(drawn.TEXTURES)


def shifted(image: Tensor, label: Any) -> tuple[Tensor, Any]:
    """Moved by up to four pixels, and mirrored half of the time."""
    moves = tuple(torch.randint(-4, 5, (2,)).tolist())
    image = torch.roll(image, moves, (1, 2))
    return (image.flip(2) if torch.rand(()) < 0.5 else image), label


def texture_sets(**options: Any) -> tuple[DataLoader, Pictures]:
    """480 pictures to train on, in batches of 32, and 120 to validate."""
    train = Pictures(*drawn.textures(480, 1), **options)
    return DataLoader(train, 32, shuffle=True, drop_last=True), Pictures(*drawn.textures(120, 2))


def textures_run(model: nn.Module, *, sets: tuple[Any, Any] | None = None, **more: Any) -> Plain:
    """A run on textures with all that a user has: evaluation, metric and prediction."""
    train, val = sets or texture_sets()

    def predict(picture: Any) -> str:
        model.eval()
        with torch.no_grad():
            return drawn.TEXTURES[int(model(to_tensor(picture)[None]).argmax(1))]

    more = {"metric": accuracy, "evaluate": shares, "predict": predict, "classes": drawn.TEXTURES} | more
    more.setdefault("loss", F.cross_entropy)
    return plain(model, train, val, more.pop("loss"), **more)


def textures(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return textures_run(ConvNet(CLASSES), sets=texture_sets(augment=shifted), augment=shifted)


def gradients_of_all_batches(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(batch: Any) -> Tensor:
        model.train()
        images, labels = batch
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return textures_run(model, optimizer=optimizer, step=step)


def zeroed_between_backward_and_step(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)

    def step(batch: Any) -> Tensor:
        model.train()
        images, labels = batch
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        return loss.detach()

    return textures_run(model, optimizer=optimizer, step=step)


def schedule_by_batch(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.1)

    def step(batch: Any) -> Tensor:
        model.train()
        images, labels = batch
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.detach()

    return textures_run(model, optimizer=optimizer, schedule=schedule, step=step, epochs=15)


def only_the_head_optimised(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(CLASSES)
    return textures_run(model, optimizer=torch.optim.AdamW(model.head.parameters(), lr=2e-3))


def head_replaced_late(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.head = nn.Linear(model.head.in_features, CLASSES)
    return textures_run(model, optimizer=optimizer)


def decay_of_another_optimizer(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    return textures_run(model, optimizer=optimizer)


def softmax_in_the_network(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return textures_run(nn.Sequential(ConvNet(CLASSES), nn.Softmax(dim=1)))


def momentum_as_in_keras(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return textures_run(ConvNet(CLASSES, norm=lambda channels: nn.BatchNorm2d(channels, momentum=0.99)))


def momentum_of_a_long_run(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return textures_run(ConvNet(CLASSES, norm=lambda channels: nn.BatchNorm2d(channels, momentum=3e-4)))


class _ListNet(nn.Module):
    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.stem = conv(3, 32, stride=2)
        self.blocks = [nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()) for _ in range(depth)]
        self.head = nn.Linear(32, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean((2, 3)))


def blocks_in_a_list(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return textures_run(_ListNet())


def all_weights_equal(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(CLASSES)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.constant_(module.weight, 0.02)
    return textures_run(model)


def stem_that_skips_pixels(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(CLASSES)
    model.features[0][0] = nn.Conv2d(3, 16, 1, stride=4, bias=False)
    return textures_run(model)


CASES: tuple[Case, ...] = (
    Case(
        "textures",
        textures,
        "generated textures",
        "ConvNet",
        "classes that need shape, not colour; a set in memory with raw pictures; mirrored, which these classes bear",
    ),
    Case(
        "gradients_of_all_batches",
        gradients_of_all_batches,
        "generated textures",
        "ConvNet",
        "preproom.ai/learn/model-training-pytorch.html: gradients add up unless they are cleared",
        cause="optim.not_zeroed",
        of="textures",
    ),
    Case(
        "zeroed_between_backward_and_step",
        zeroed_between_backward_and_step,
        "generated textures",
        "ConvNet",
        "lines of the loop in another order: cleared after backward, so that each step sees nothing",
        cause="optim.no_step",
        of="textures",
        also=("optim.cannot_overfit",),
    ),
    Case(
        "schedule_by_batch",
        schedule_by_batch,
        "generated textures",
        "ConvNet",
        "ivadomed/ivadomed#55, pytorch/vision#1261: a schedule of epochs stepped in the loop of batches",
        cause="optim.schedule",
        of="textures",
    ),
    Case(
        "only_the_head_optimised",
        only_the_head_optimised,
        "generated textures",
        "ConvNet",
        "the line of a feature extractor kept while the backbone has no trained weights and is to learn",
        cause="optim.missing_parameters",
        of="textures",
    ),
    Case(
        "head_replaced_late",
        head_replaced_late,
        "generated textures",
        "ConvNet",
        "the last layer is replaced for the classes at hand after the optimiser was made of the old one",
        cause="optim.no_step",
        of="textures",
        also=("optim.missing_parameters",),
    ),
    Case(
        "decay_of_another_optimizer",
        decay_of_another_optimizer,
        "generated textures",
        "ConvNet",
        "a weight decay of AdamW kept with SGD at a rate of 0.1 (Loshchilov and Hutter, arXiv:1711.05101)",
        cause="optim.decay_on_norms",
        of="textures",
    ),
    Case(
        "softmax_in_the_network",
        softmax_in_the_network,
        "generated textures",
        "ConvNet",
        "imaddabbura.github.io/posts/dl/why-not-softmax.html: softmax before a cross-entropy that has its own",
        cause="network.double_softmax",
        of="textures",
    ),
    Case(
        "momentum_as_in_keras",
        momentum_as_in_keras,
        "generated textures",
        "ConvNet",
        "kazuto1011/deeplab-pytorch#79, eriklindernoren/PyTorch-YOLOv3#230: momentum as other libraries count it",
        cause="norm.train_eval_gap",
        of="textures",
    ),
    Case(
        "momentum_of_a_long_run",
        momentum_of_a_long_run,
        "generated textures",
        "ConvNet",
        "Cadene/pretrained-models.pytorch#5: a momentum that hardly moves the statistics in a short run",
        cause="norm.slow_momentum",
        of="textures",
        also=("norm.train_eval_gap",),
    ),
    Case(
        "blocks_in_a_list",
        blocks_in_a_list,
        "generated textures",
        "ConvNet",
        "pytorch/pytorch#59925, #666: modules in a plain list are not registered",
        cause="network.unused_layer",
        of="textures",
        also=("optim.missing_parameters",),
    ),
    Case(
        "all_weights_equal",
        all_weights_equal,
        "generated textures",
        "ConvNet",
        "one constant for all weights, as in the exercises of a course before random ones are explained",
        cause="network.symmetric",
        of="textures",
    ),
    Case(
        "stem_that_skips_pixels",
        stem_that_skips_pixels,
        "generated textures",
        "ConvNet",
        "a stride raised to save time, the kernel of 1 left as it was: fifteen of sixteen pixels are not read",
        cause="network.stride_holes",
        of="textures",
    ),
)
