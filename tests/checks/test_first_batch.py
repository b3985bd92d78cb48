"""What keeps the first batch from passing is named with what to do."""

import pytest
import torch
from torch import nn

from tests.checks.small_setups import classes, drawn, masks, seen, setup, small_map, small_net
from unpool.checks.first_batch import look_first_batch

CE = nn.CrossEntropyLoss()


def shifted(by: int):
    return [(image, label + by) for image, label in classes()]


class FirstMixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(108, 3)

    def forward(self, x):
        return self.head(x.reshape(-1, 108))


CASES = {
    "labels from 1": (small_net(), shifted(1), CE, "data.label_range"),
    "label -1": (small_net(), shifted(-1), CE, "data.label_range"),
    "too few outputs": (small_net(2), classes(5), CE, "network.output_size"),
    "labels as floats": (small_net(), [(i, t.float()) for i, t in classes()], CE, "data.label_kind"),
    "logits for probabilities": (
        small_net(1),
        [(i, (t[:, None] > 0).float()) for i, t in classes()],
        nn.BCELoss(),
        "network.double_softmax",
    ),
    "masks of half the size": (small_map(), [(i, m[:, ::2, ::2]) for i, m in masks()], CE, "data.mask_size"),
    "map of half the size": (nn.Sequential(small_map(), nn.MaxPool2d(2)), masks(), CE, "network.output_size"),
    "view mixes": (FirstMixed(), classes(), CE, "network.batch_mixing"),
    "loss for each sample": (small_net(), classes(), nn.CrossEntropyLoss(reduction="none"), "loss.scale"),
    "bytes": (small_net(), [((i * 9).byte(), t) for i, t in classes()], CE, "data.value_range"),
    "channels last": (
        small_net(),
        [(i.permute(0, 2, 3, 1), t) for i, t in classes()],
        CE,
        "data.channel_order",
    ),
    "linear layer of another size": (
        nn.Sequential(nn.Flatten(), nn.Linear(7, 3)),
        classes(),
        CE,
        "network.output_size",
    ),
    "one value a channel": (
        nn.Sequential(nn.Flatten(), nn.Linear(432, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)),
        classes(size=1),
        CE,
        "norm.small_batch",
    ),
    "NaN in a picture": (small_net(), [(i * float("nan"), t) for i, t in classes()], CE, "data.unreadable"),
    "logarithm of 0": (
        small_net(),
        classes(),
        lambda out, t: -(0 * out.sum(1)).log().mean() + 0 * t.sum(),
        "loss.wrong_way",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_failure_of_the_first_batch_is_named(name):
    model, train, loss, cause = CASES[name]
    assert seen(look_first_batch, setup(model, train, loss)) == {("fail", cause)}


def test_weights_that_overflow_are_named():
    net = small_net()
    net[0].weight.data *= 1e38
    assert seen(look_first_batch, setup(net, classes(), CE)) == {("fail", "network.variance")}


def test_both_splits_are_run_and_each_is_named():
    findings = look_first_batch(setup(small_net(), classes(), CE, val=shifted(1)))
    assert [one.verdict for one in findings] == ["pass", "fail"]
    assert "val" in findings[1].about
    assert findings[1].evidence[0].startswith("val inputs: (8, 3, 12, 12)")


def test_what_the_data_raise_is_said():
    class Broken(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index):
            raise OSError("image file is truncated")

    (found,) = look_first_batch(setup(small_net(), Broken(), CE))
    assert (found.verdict, found.cause) == ("fail", "data.unreadable")
    assert "truncated" in found.about


def test_batch_of_dicts_with_several_outputs_passes():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_net()

        def forward(self, x):
            return {"out": self.net(x), "aux": self.net(x)}

    batches = [{"image": drawn(4, 3, 12, 12), "label": torch.arange(4) % 3, "name": ["a", "b", "c", "d"]}]

    def loss(outputs, batch):
        return {key: CE(value, batch["label"]) for key, value in outputs.items()}

    assert seen(look_first_batch, setup(Two(), batches, loss)) == {("pass", "")}


def test_samples_of_several_sizes_without_a_loader_are_no_mistake():
    data = [(drawn(3, 8 + i, 8), i % 3) for i in range(6)]

    class Several(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, index):
            return data[index]

    assert seen(look_first_batch, setup(small_net(), Several(), CE)) == {("not applicable", "")}
