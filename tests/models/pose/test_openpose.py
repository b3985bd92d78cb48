"""What the stages read, and the trunk."""

import torch

from unpool import models
from unpool.models.backbones import BACKBONES


def network(**options):
    torch.manual_seed(0)
    return models.build("openpose", width=4, num_classes=3, limbs=2, **options)


def test_later_stages_read_185_channels():
    with torch.device("meta"):
        model = models.build("openpose")
    inputs = [branch[0].conv.in_channels for part in (model.fields, model.heatmaps) for branch in part]
    assert inputs == 2 * [128, *5 * [128 + 38 + 19]]


def test_each_stage_gives_fields_and_heatmaps():
    fields, heatmaps = network()(torch.rand(2, 3, 40, 63))
    assert [x.shape for x in fields] == 6 * [(2, 4, 5, 7)]
    assert [x.shape for x in heatmaps] == 6 * [(2, 3, 5, 7)]


def test_inputs_join_as_features_fields_heatmaps():
    model, image = network(stages=2), torch.rand(1, 3, 40, 40)
    for part in (model.fields, model.heatmaps):
        part[1][0].conv.weight.data[:, -3:] = 0
    with torch.no_grad():
        before = model(image)
        model.heatmaps[0][-1].bias += 1
        after = model(image)
        assert not torch.equal(before.heatmaps[0], after.heatmaps[0])
        assert torch.equal(before.fields[1], after.fields[1])
        assert torch.equal(before.heatmaps[1], after.heatmaps[1])
        model.fields[0][-1].bias += 1
        assert not torch.equal(after.heatmaps[1], model(image).heatmaps[1])


def test_each_branch_reads_both_answers_of_the_stage_before():
    model = network(stages=2)
    for part in model(torch.rand(1, 3, 64, 64)):
        model.zero_grad()
        part[1].square().sum().backward(retain_graph=True)
        assert model.fields[0][-1].weight.grad.any()
        assert model.heatmaps[0][-1].weight.grad.any()


def test_loss_of_the_first_stage_leaves_the_later_ones_alone():
    model = network(stages=2)
    (model(torch.rand(1, 3, 64, 64)).fields[0].square().sum()).backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert all(name.startswith(("features.", "fields.0.")) for name in trained)


def test_trunk_is_vgg19_up_to_conv4_2():
    torch.manual_seed(0)
    vgg, model = BACKBONES["vgg19"].build(width=4), network()
    weights = vgg.state_dict()
    for place in range(3):
        part = f"stages.{place}."
        model.features[0].stages[place].load_state_dict(
            {name.removeprefix(part): tensor for name, tensor in weights.items() if name.startswith(part)}
        )
    for place in (0, 1):
        model.features[1 + place].load_state_dict(vgg.stages[3][place].state_dict())
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = vgg.stages[3][:2](vgg.pool(vgg(image)[2]))
        torch.testing.assert_close(model.features[:3](image), expected)


def test_limbs_decide_the_fields_and_classes_the_heatmaps():
    with torch.device("meta"):
        model = models.build("openpose_mpi")
    assert model.fields[0][-1].out_channels == 28
    assert model.heatmaps[0][-1].out_channels == 16
