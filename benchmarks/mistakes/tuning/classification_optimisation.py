"""Mistakes of classification in optimisation."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated, networks
from benchmarks.mistakes.tuning.healthy_classes import (
    DIGITS,
    INSECTS,
    STREAM,
    TEXTURES,
    digits_run,
    insects_run,
    lite0,
    stream_run,
    textures_run,
)
from benchmarks.mistakes.tuning.pieces import changed, loader, planted, usual_step


def gradients_kept(folders: Folders) -> Plain:
    """No zero_grad."""
    run = textures_run(folders)
    model, loss, optimizer = (run.arguments[key] for key in ("model", "loss", "optimizer"))

    def step(batch: Any) -> Tensor:
        value = loss(model(batch[0]), batch[1])
        value.backward()
        optimizer.step()
        return value.detach()

    return changed(run, step=step)


def only_the_head(folders: Folders) -> Plain:
    """The optimiser of a frozen backbone, for a network from scratch."""
    run = textures_run(folders)
    return changed(run, optimizer=torch.optim.Adam(run.arguments["model"].head.parameters(), lr=2e-3))


def two_optimizers(folders: Folders) -> Plain:
    """One optimiser for all, another one for the head, both stepped."""
    run = textures_run(folders)
    model, loss, first = (run.arguments[key] for key in ("model", "loss", "optimizer"))
    second = torch.optim.Adam(model.parameters(), lr=2e-3)

    def step(batch: Any) -> Tensor:
        first.zero_grad()
        second.zero_grad()
        value = loss(model(batch[0]), batch[1])
        value.backward()
        first.step()
        second.step()
        return value.detach()

    return changed(run, step=step)


def head_listed_twice(folders: Folders) -> Plain:
    """The head is appended to a list that has it already."""
    run = textures_run(folders)
    model = run.arguments["model"]
    return changed(
        run, optimizer=torch.optim.SGD([*model.parameters(), *model.head.parameters()], lr=0.05, momentum=0.9)
    )


class AttributeFrozen(nn.Module):
    """Its author set `requires_grad` of a module, which is but a new attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = lite0(0), nn.Linear(1280, 2)
        self.backbone.requires_grad = False  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def frozen_by_attribute(folders: Folders) -> Plain:
    """A backbone that is meant to be frozen, and is trained."""
    run = insects_run(folders)
    torch.manual_seed(0)
    model = AttributeFrozen()
    return changed(run, model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3))


def head_after_optimizer(folders: Folders) -> Plain:
    """The last layer is replaced when the optimiser already has the old one."""
    run = textures_run(folders)
    run.arguments["model"].head = nn.Linear(64, 4)
    return run


def step_before_backward(folders: Folders) -> Plain:
    """zero_grad stands between backward and step."""
    run = textures_run(folders)
    model, loss, optimizer = (run.arguments[key] for key in ("model", "loss", "optimizer"))

    def step(batch: Any) -> Tensor:
        value = loss(model(batch[0]), batch[1])
        value.backward()
        optimizer.zero_grad()
        optimizer.step()
        return value.detach()

    return changed(run, step=step)


def rate_of_sgd_for_adam(folders: Folders) -> Plain:
    """Adam takes the place of SGD, and the rate stays."""
    run = digits_run(folders)
    return changed(run, optimizer=torch.optim.Adam(run.arguments["model"].parameters(), lr=0.05))


def rate_of_adam_for_sgd(folders: Folders) -> Plain:
    """A rate for fine tuning with Adam, for plain SGD from scratch."""
    run = digits_run(folders)
    return changed(run, optimizer=torch.optim.SGD(run.arguments["model"].parameters(), lr=1e-4))


def decay_of_a_third(folders: Folders) -> Plain:
    """The decay of a vision transformer's recipe, for SGD."""
    run = digits_run(folders)
    optimizer = torch.optim.SGD(run.arguments["model"].parameters(), lr=0.05, momentum=0.9, weight_decay=0.3)
    return changed(run, optimizer=optimizer)


def schedule_by_batches(folders: Folders) -> Plain:
    """A tenth of the rate each four epochs, stepped with each batch."""
    run = textures_run(folders)
    optimizer = run.arguments["optimizer"]
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 4, 0.1)
    usual = usual_step(run.arguments["model"], run.arguments["loss"], optimizer)

    def step(batch: Any) -> Tensor:
        value = usual(batch)
        schedule.step()
        return value

    return changed(run, step=step, schedule=schedule)


def clipped_to_a_thousandth(folders: Folders) -> Plain:
    """Gradients of the mean loss are clipped to a norm that they never fall below."""
    run = digits_run(folders)
    model, loss, optimizer = (run.arguments[key] for key in ("model", "loss", "optimizer"))

    def step(batch: Any) -> Tensor:
        optimizer.zero_grad()
        value = loss(model(batch[0]), batch[1])
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.005)
        optimizer.step()
        return value.detach()

    return changed(run, step=step)


def accumulated_sum(folders: Folders) -> Plain:
    """Eight batches are added and not divided, under plain SGD."""
    run = digits_run(folders)
    model, loss = run.arguments["model"], run.arguments["loss"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    seen = 0

    def step(batch: Any) -> Tensor:
        nonlocal seen
        value = loss(model(batch[0]), batch[1])
        value.backward()
        seen += 1
        if seen % 8 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return value.detach()

    return changed(run, step=step, optimizer=optimizer)


def order_by_class(folders: Folders) -> Plain:
    """Files in the order of their folders, not shuffled."""
    images, labels = generated.textures(400, 1)
    order = labels.argsort(stable=True)
    return changed(textures_run(folders), train=loader(TensorDataset(images[order], labels[order]), 32))


def weights_in_half(folders: Folders) -> Plain:
    """Weights themselves in 16-bit floats, which small updates do not change."""
    run = stream_run(folders)
    torch.manual_seed(0)
    model = networks.SmallNet(4).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss = run.arguments["loss"]

    def step(batch: dict[str, Tensor]) -> Tensor:
        optimizer.zero_grad()
        value = loss(model(batch["image"].bfloat16()), batch)
        value.backward()
        optimizer.step()
        return value.detach()

    def forward(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return network(batch["image"].bfloat16())

    kept = {key: value for key, value in run.arguments.items() if key != "evaluate"}
    return Plain({**kept, "model": model, "optimizer": optimizer, "step": step, "forward": forward})


CASES = (
    planted(TEXTURES, "gradients_never_zeroed", "optim.not_zeroed", gradients_kept, "wenet-e2e/wekws#73"),
    planted(
        TEXTURES,
        "only_the_head_is_optimised",
        "optim.missing_parameters",
        only_the_head,
        "an optimiser of a transfer run, kept from scratch",
    ),
    planted(
        TEXTURES,
        "two_optimisers_step",
        "optim.twice",
        two_optimizers,
        "torch warns of duplicate parameters in a group, of two optimisers not",
    ),
    planted(
        TEXTURES,
        "head_listed_twice",
        "optim.twice",
        head_listed_twice,
        "lists of parameters are put together by hand; torch.optim only warns of duplicates",
    ),
    planted(
        INSECTS,
        "frozen_by_an_attribute",
        "optim.frozen_trained",
        frozen_by_attribute,
        "requires_grad of a module is but a new attribute; nothing warns",
    ),
    planted(
        TEXTURES,
        "head_replaced_after_optimiser",
        "optim.no_step",
        head_after_optimizer,
        "microsoft/nni#4521",
        also=("optim.missing_parameters",),
    ),
    planted(
        TEXTURES,
        "zeroed_before_the_step",
        "optim.no_step",
        step_before_backward,
        "tatsu-lab/alpaca_farm#57: gradients are zeroed at the wrong time",
    ),
    planted(
        DIGITS,
        "adam_at_a_rate_of_sgd",
        "optim.rate_high",
        rate_of_sgd_for_adam,
        "optimisers are exchanged and rates are not; omoindrot/tensorflow-triplet-loss#6 lowers it",
    ),
    planted(
        DIGITS,
        "sgd_at_a_rate_of_adam",
        "optim.rate_low",
        rate_of_adam_for_sgd,
        "optimisers are exchanged and rates are not",
    ),
    planted(
        DIGITS,
        "decay_of_a_transformer_in_sgd",
        "optim.decay_on_norms",
        decay_of_a_third,
        "0.3 is Dosovitskiy et al. 2021's for Adam; tables are copied by column",
    ),
    planted(TEXTURES, "schedule_stepped_by_batches", "optim.schedule", schedule_by_batches, "ivadomed/ivadomed#55"),
    planted(
        DIGITS,
        "clipped_to_half_a_percent",
        "optim.always_clipped",
        clipped_to_a_thousandth,
        "milesial/Pytorch-UNet#468: a limit for scaled gradients always clips",
    ),
    planted(DIGITS, "eight_batches_not_divided", "optim.accumulation", accumulated_sum, "hirofumi0810/neural_sp#168"),
    planted(TEXTURES, "files_in_order_of_folders", "optim.not_shuffled", order_by_class, "Deci-AI/super-gradients#416"),
    planted(
        STREAM,
        "weights_in_bfloat16",
        "optim.precision",
        weights_in_half,
        "model.bfloat16() in place of autocast; Micikevicius et al. 2018 keep weights in float32",
    ),
)
