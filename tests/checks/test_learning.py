"""A few samples can be learned by heart, in an order that is mixed, with numbers that hold what they must."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.checks.small_runs import images, is_named, net, run, stepped, usual
from unpool.checks.learning import look_order, look_overfit
from unpool.checks.precision import look_precision


def test_few_samples_of_a_healthy_run_are_learned():
    assert look_overfit(run()).value > 0.6


def test_network_that_drops_nearly_everything_cannot_learn():
    model = net()
    model[5] = nn.Dropout(0.995)
    finding = look_overfit(run(model=model))
    assert is_named(finding, "optim.cannot_overfit")
    assert "100 %" in finding.evidence[0]


def test_loss_that_no_weight_changes_cannot_be_learned():
    setup = run(loss=lambda outputs, targets: nn.functional.cross_entropy(outputs * 0, targets))
    assert is_named(look_overfit(setup), "optim.cannot_overfit")


class Sorted(Dataset):
    """Samples in the order of their classes, or not."""

    def __init__(self, *, is_sorted=True):
        x, y = images(120)
        order = y.argsort(stable=True) if is_sorted else torch.arange(120)
        self.x, self.y = x[order], y[order]

    def __len__(self):
        return 120

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def test_classes_in_order_are_named_and_shuffling_passes():
    assert is_named(look_order(run(train=DataLoader(Sorted(), 8))), "optim.not_shuffled")
    assert look_order(run(train=DataLoader(Sorted(), 8, shuffle=True))).verdict == "pass"
    assert look_order(run(train=DataLoader(Sorted(is_sorted=False), 8))).verdict == "pass"


def test_batches_that_end_with_a_class_are_in_order_where_labels_only_rise():
    x, y = images(120)
    x, y = x[:96], torch.arange(96) // 8
    assert is_named(look_order(run(train=DataLoader(TensorDataset(x, y), 8))), "optim.not_shuffled")


def test_batches_of_one_class_in_mixed_order_are_not_a_matter_of_order():
    data = Sorted()
    parts = [part for label in range(3) for part in (data.y == label).nonzero().flatten().split(4)]
    order = torch.randperm(len(parts), generator=torch.Generator().manual_seed(1))
    assert look_order(run(train=DataLoader(data, batch_sampler=[parts[i].tolist() for i in order]))).verdict == "pass"


def test_one_frequent_class_is_no_order():
    x, y = images(120)
    y = torch.where(torch.arange(120) % 20 == 0, y, 0)
    assert look_order(run(train=DataLoader(TensorDataset(x, y), 8))).verdict == "pass"


def test_data_set_without_a_loader_has_no_order():
    assert look_order(run(train=Sorted())).verdict == "not applicable"


def half_run(dtype, lr, make=None):
    model = net().to(dtype)
    model[1] = nn.Identity()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)

    def step_of(setup):
        def step(batch):
            optimizer.zero_grad()
            loss = setup.loss(model(batch[0].to(dtype)).float(), batch[1])
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    return stepped(make or step_of, model=model, optimizer=optimizer, forward=lambda m, b: m(b[0].to(dtype)).float())


def test_weights_in_16_bits_whose_updates_are_lost_are_named():
    assert is_named(look_precision(half_run(torch.bfloat16, 1e-4)), "optim.precision")


def test_weights_in_32_bits_pass():
    assert look_precision(half_run(torch.float32, 1e-4)).verdict == "pass"
    assert look_precision(run()).verdict == "pass"


def autocast(dtype, loss_of):
    def make(setup):
        def step(batch):
            setup.optimizer.zero_grad()
            with torch.autocast("cpu", dtype):
                loss = loss_of(setup, setup.model(batch[0]), batch[1])
            loss.backward()
            setup.optimizer.step()
            return loss.detach()

        return step

    return make


def test_loss_that_overflows_in_16_bits_is_named():
    def too_large(setup, outputs, targets):
        return (outputs.to(torch.float16).square() + 70_000).sum() * 0 + setup.loss(outputs, targets)

    assert is_named(look_precision(stepped(autocast(torch.float16, too_large))), "optim.precision")


def test_gradients_that_vanish_in_float16_are_named():
    model = net()
    model[1] = nn.Identity()
    loss = lambda outputs, targets: 1e-7 * nn.functional.cross_entropy(outputs, targets)  # noqa: E731
    setup = stepped(
        autocast(torch.float16, lambda setup, outputs, targets: setup.loss(outputs, targets)), model=model, loss=loss
    )
    finding = look_precision(setup)
    assert is_named(finding, "optim.precision")
    assert "too small" in finding.about


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_of_a_healthy_run_passes_where_the_processor_computes_it(dtype, monkeypatch):
    monkeypatch.setattr("unpool.checks.precision.EMULATED", float("inf"))
    make = autocast(dtype, lambda setup, outputs, targets: setup.loss(outputs.float(), targets))
    assert look_precision(stepped(make)).verdict == "pass"


def test_slow_16_bits_are_a_warning(monkeypatch):
    monkeypatch.setattr("unpool.checks.precision.EMULATED", 0.0)
    make = autocast(torch.bfloat16, lambda setup, outputs, targets: setup.loss(outputs.float(), targets))
    assert is_named(look_precision(stepped(make)), "optim.precision", "warn")


def test_step_in_32_bits_passes():
    assert look_precision(stepped(usual)).verdict == "pass"


class Doubled(nn.Module):
    """Answers with its input and a correction that is 0 at first and stays small."""

    def __init__(self, start=1.0):
        super().__init__()
        self.start = start
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.start * x + 1e-3 * self.scale * x.roll(1, -1)


@pytest.mark.parametrize(("start", "verdict"), [(1.0, "pass"), (0.0, "fail")])
def test_network_that_begins_near_its_answer_has_little_to_learn_by_heart(start, verdict):
    generator = torch.Generator().manual_seed(0)
    clean = [torch.rand(8, 3, 12, 12, generator=generator) for _ in range(3)]
    pairs = [(one + 0.02 * torch.randn(one.shape, generator=generator), one) for one in clean]
    setup = run(model=Doubled(start), train=pairs, val=None, loss=nn.functional.l1_loss)
    assert look_overfit(setup).verdict == verdict
