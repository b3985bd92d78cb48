"""The two classifiers beside GoogLeNet, and what they leave alone."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.models.classifiers.googlenet_auxiliary import PaperPool
from unpool.tasks.classification import Classification
from unpool.types import Auxiliary, DataInfo

ROWS = {"googlenet_aux": "googlenet", "googlenet_torchvision_aux": "googlenet_torchvision"}
INFO = DataInfo(classes=("a", "b", "c"))


def small(name):
    torch.manual_seed(0)
    return models.build(name, width=8, num_classes=3)


def test_heads_have_the_parameters_of_the_release():
    with torch.device("meta"):
        heads = models.build("googlenet_aux").auxiliary
    assert [sum(p.numel() for p in head.parameters()) for head in heads.values()] == [3_188_840, 3_190_888]


@pytest.mark.parametrize(("name", "plain"), ROWS.items())
def test_weights_move_to_and_from_the_network_without_heads(name, plain):
    whole, alone = small(name).eval(), small(plain).eval()
    weights = whole.state_dict()
    alone.load_state_dict({key: weights[key] for key in alone.state_dict()})
    assert all(key.startswith("auxiliary.") for key in weights.keys() - alone.state_dict().keys())
    image = torch.rand(2, 3, 48, 64)
    assert torch.equal(whole(image).logits, alone(image))


@pytest.mark.parametrize("name", ROWS)
def test_output_is_of_one_kind_in_both_modes(name):
    model, image = small(name), torch.rand(2, 3, 48, 64)
    for mode in (True, False):
        output = model.train(mode)(image)
        assert isinstance(output, Auxiliary)
        assert len(output.auxiliary) == 2


def test_answer_is_the_same_whatever_the_heads_hold():
    model, image = small("googlenet_aux").eval(), torch.rand(2, 3, 48, 64)
    task = Classification(INFO)
    before = task.decode(task.forward(model, {"image": image}), {})
    for parameter in model.auxiliary.parameters():
        nn.init.normal_(parameter)
    after = task.decode(task.forward(model, {"image": image}), {})
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_gradient_of_the_first_head_ends_at_the_module_it_reads():
    model = small("googlenet_aux").train()
    first, second = model(torch.rand(2, 3, 48, 64)).auxiliary
    first.square().sum().backward(retain_graph=True)
    fed = {key.rpartition(".branches")[0] for key, p in model.backbone.named_parameters() if p.grad is not None}
    assert fed == {"", "stages.2.3a", "stages.2.3b", "stages.3.4a"}
    second.square().sum().backward()
    fed = {key.rpartition(".branches")[0] for key, p in model.backbone.named_parameters() if p.grad is not None}
    assert fed == {"", "stages.2.3a", "stages.2.3b", *(f"stages.3.4{letter}" for letter in "abcd")}


def test_pooling_is_the_papers_at_its_size_and_gives_four_by_four_of_any():
    x = torch.rand(2, 3, 14, 14)
    assert torch.equal(PaperPool()(x), nn.functional.avg_pool2d(x, 5, stride=3))
    for size in ((2, 3), (5, 4), (7, 19)):
        assert PaperPool()(torch.ones(1, 1, *size)).tolist() == torch.ones(1, 1, 4, 4).tolist()


def test_dropout_of_the_heads_is_larger():
    model = small("googlenet_aux")
    assert [head.drop.p for head in model.auxiliary.values()] == [0.7, 0.7]
    assert model.head.drop.p == 0.4
