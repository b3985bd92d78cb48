"""The optimiser holds what is to be trained, once; what is frozen stays."""

import pytest
import torch
from torch import nn

from tests.checks.small_runs import batches, is_named, net, run, stepped, usual
from unpool.checks.membership import look_frozen, look_held


def trained_net():
    """A network whose weights look like trained ones: heavy tails."""
    model = net()
    with torch.no_grad():
        for weight in (model[0].weight, model[6].weight):
            weight.copy_(weight.sign() * weight.abs() ** 3 * 20)
        model[1].running_mean.add_(0.3)
    return model


def test_optimiser_of_all_parameters_passes():
    assert look_held(run()).verdict == "pass"


def test_fresh_layers_that_are_in_no_optimiser_are_named():
    model = net()
    finding = look_held(run(model=model, optimizer=torch.optim.Adam(model[6].parameters())))
    assert is_named(finding, "optim.missing_parameters")
    assert any("0.weight" in text for text in finding.evidence)


@pytest.mark.parametrize("init", [nn.init.kaiming_normal_, nn.init.xavier_uniform_, nn.init.kaiming_uniform_])
def test_fresh_layers_are_known_by_any_usual_distribution(init):
    model = net()
    init(model[0].weight)
    finding = look_held(run(model=model, optimizer=torch.optim.Adam(model[6].parameters())))
    assert is_named(finding, "optim.missing_parameters")


def test_trained_layers_that_are_left_out_on_purpose_pass():
    model = trained_net()
    assert look_held(run(model=model, optimizer=torch.optim.Adam(model[6].parameters()))).verdict == "pass"


def test_frozen_layers_that_are_left_out_pass():
    model = net()
    model[:4].requires_grad_(requires_grad=False)
    assert look_held(run(model=model, optimizer=torch.optim.Adam(model[6].parameters()))).verdict == "pass"


def test_parameters_of_the_loss_in_the_optimiser_pass():
    class Weighted(nn.CrossEntropyLoss):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, outputs, targets):
            return super().forward(outputs * self.scale, targets)

    model, loss = net(), Weighted()
    optimizer = torch.optim.Adam([*model.parameters(), *loss.parameters()])
    assert look_held(run(model=model, loss=loss, optimizer=optimizer)).verdict == "pass"


def test_layer_that_replaced_one_of_the_optimiser_is_named():
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    model[6] = nn.Linear(64, 3)
    assert is_named(look_held(run(model=model, optimizer=optimizer)), "optim.no_step")


def test_optimiser_of_another_model_is_named():
    assert is_named(look_held(run(optimizer=torch.optim.Adam(net().parameters()))), "optim.no_step")


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_parameters_that_stand_twice_are_named():
    model = net()
    weights = [*model.parameters(), *model[6].parameters()]
    assert is_named(look_held(run(model=model, optimizer=torch.optim.SGD(weights, lr=0.1))), "optim.twice")


def test_attribute_of_a_module_that_freezes_nothing_is_named():
    model = net()
    model[0].requires_grad = False
    assert is_named(look_frozen(run(model=model)), "optim.frozen_trained")


def test_attribute_of_a_parameter_that_freezes_nothing_is_named():
    model = net()
    for weight in model[0].parameters():
        weight.requires_grad_ = False
    assert is_named(look_frozen(run(model=model)), "optim.frozen_trained")


def test_attribute_beside_true_freezing_passes():
    model = net()
    model[0].requires_grad = False
    model[0].requires_grad_(requires_grad=False)
    assert look_frozen(run(model=model)).verdict == "pass"


def test_frozen_weights_that_decay_are_named():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.01)

    def make(setup):
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)

        def step(batch):
            loss = setup.loss(model(batch[0]), batch[1])
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    model[0].requires_grad_(requires_grad=False)
    assert is_named(look_frozen(stepped(make, model=model, optimizer=optimizer)), "optim.frozen_trained")


def test_statistics_of_frozen_norms_that_move_are_a_warning():
    model = trained_net()
    model[:4].requires_grad_(requires_grad=False)
    assert is_named(look_frozen(stepped(usual, model=model)), "optim.frozen_trained", "warn")


def test_frozen_backbone_in_evaluation_mode_passes():
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = trained_net()[:5].requires_grad_(requires_grad=False), nn.Linear(64, 3)

        def train(self, mode: bool = True):  # noqa: FBT001, FBT002, the signature of torch
            super().train(mode)
            self.backbone.eval()
            return self

        def forward(self, x):
            return self.head(self.backbone(x))

    model = Frozen()
    setup = run(model=model, optimizer=torch.optim.Adam(model.head.parameters()), train=batches())
    assert look_frozen(setup).verdict == "pass"
    assert look_held(setup).verdict == "pass"


@pytest.mark.parametrize(("are_stepped", "cause"), [(False, "optim.missing_parameters"), (True, "")])
def test_directions_that_the_step_leaves_alone_are_named(are_stepped, cause):
    loss = nn.Linear(16, 3, bias=False)
    beside = torch.optim.SGD(loss.parameters(), lr=0.1)

    def cost(vectors, labels):
        return nn.functional.cross_entropy(vectors @ loss.weight.T, labels)

    def step_of(setup):
        def step(batch):
            setup.optimizer.zero_grad()
            beside.zero_grad()
            value = cost(setup.model(batch[0]), batch[1])
            value.backward()
            setup.optimizer.step()
            if are_stepped:
                beside.step()
            return value.detach()

        return step

    assert look_held(stepped(step_of, model=net(16), loss=cost)).cause == cause
