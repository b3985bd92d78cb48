"""Promises of residual blocks, lesions and path lengths."""

from math import comb, isclose

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.inspection.blocks import parts_of
from unpool.inspection.lesions import reordered, without
from unpool.inspection.path_lengths import gradients_by_length, path_gradients, path_shares
from unpool.layers.preactivation import Preactivated
from unpool.layers.residual import Residual

SIDE = 32


def image(side=SIDE, count=1):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def built(name, **options):
    torch.manual_seed(0)
    network = models.build(name, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


class Foreign(nn.Module):
    """A residual block as others write it: in place, with a projection, no module for its branch."""

    def __init__(self, into, out):
        super().__init__()
        self.a, self.b = nn.Conv2d(into, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.down = nn.Conv2d(into, out, 1) if into != out else None
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        other = x if self.down is None else self.down(x)
        out = self.b(self.act(self.a(x)))
        out += other
        return self.act(out)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("cifar_resnet20", 9), ("cifar_resnet110", 54), ("preresnet110", 54), ("cifar_plain20", 0), ("googlenet", 0)],
)
def test_residual_blocks_of_our_networks_are_counted_as_the_paper_counts_them(name, blocks):
    side = 64 if name == "googlenet" else SIDE
    assert len(parts_of(built(name), image(side)).blocks) == blocks


@pytest.mark.parametrize(
    ("name", "blocks"), [("resnet18", 8), ("mobilenet_v2", 10), ("convnext_tiny", 18), ("densenet121", 0)]
)
def test_residual_blocks_of_torchvision_are_found(name, blocks):
    torchvision = pytest.importorskip("torchvision")
    network = torchvision.models.get_model(name).eval()
    found = parts_of(network, image(64)).blocks
    assert len(found) == blocks
    assert all(block.is_module for block in found)


def test_residual_blocks_of_timm_are_found():
    timm = pytest.importorskip("timm")
    assert len(parts_of(timm.create_model("regnetx_002").eval(), image(64)).blocks) == 13


def test_names_of_modules_take_no_part():
    network = nn.Sequential(Foreign(3, 8), Foreign(8, 8), nn.Conv2d(8, 8, 1))
    found = parts_of(network, image())
    assert [(block.name, block.keeps_shape) for block in found.blocks] == [("0", False), ("1", True)]
    assert [layer.name for layer in found.layers] == ["2"]


def test_fusions_of_maps_that_are_no_shortcut_are_no_blocks():
    class Fusing(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return self.a(x) + self.b(x) + x.mean(1, keepdim=True)

    assert not parts_of(Fusing(), image()).blocks


@pytest.mark.parametrize("name", ["cifar_resnet20", "preresnet110"])
def test_deleted_block_is_its_shortcut(name):
    network, x = built(name), image()
    kinds = [module for module in network.modules() if hasattr(module, "branch")]
    blocks = parts_of(network, x).blocks
    for number in (0, len(kinds) // 3, len(kinds) - 1):
        block = blocks[number]
        with torch.no_grad(), without(network, [block]):
            deleted = network(x)
        handle = kinds[number].branch.register_forward_hook(lambda _, __, output: torch.zeros_like(output))
        with torch.no_grad():
            reference = network(x)
        handle.remove()
        torch.testing.assert_close(deleted, reference, rtol=0, atol=0)
        with torch.no_grad():
            assert not torch.equal(deleted, network(x))


def test_deleted_foreign_blocks_are_their_shortcuts_also_with_work_in_place():
    network, x = nn.Sequential(Foreign(3, 8), Foreign(8, 8)).eval(), image()
    with torch.no_grad(), without(network, parts_of(network, x).blocks):
        deleted = network(x)
    torch.testing.assert_close(deleted, network[0].down(x).relu())


def test_deleted_layer_of_a_plain_network_passes_on_what_it_reads():
    network, x = built("vgg11_bn", width=4, num_classes=10), image()
    layer = next(layer for layer in parts_of(network, x).layers if layer.name.endswith("2.1.conv"))
    with torch.no_grad(), without(network, [layer]):
        deleted = network(x)
    shorter = built("vgg11_bn", width=4, num_classes=10)
    shorter.load_state_dict(network.state_dict())
    shorter.backbone.stages[2][1] = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(deleted, shorter(x), rtol=0, atol=0)


def test_layer_that_changes_the_shape_cannot_be_deleted():
    network = built("vgg11_bn", width=4, num_classes=10)
    layer = parts_of(network, image()).layers[0]
    with pytest.raises(RecipeError, match="cannot be left out: its output"), without(network, [layer]):
        pass


def test_reordered_blocks_run_in_each_others_positions_and_return():
    network, x = built("cifar_resnet20"), image()
    blocks = parts_of(network, x).blocks
    order = [0, 2, 1, *range(3, 9)]
    stage = network.backbone.stages[0]
    with torch.no_grad():
        reference = network.head(torch_stages(network, [stage[0], stage[2], stage[1]], x))
        with reordered(network, blocks, order):
            moved = network(x)
        assert torch.equal(moved, reference)
        assert not torch.equal(moved, network(x))
    assert list(network.backbone.stages[0]) == list(stage)


def torch_stages(network, first, x):
    x = network.backbone.stem(x)
    for block in first:
        x = block(x)
    for stage in network.backbone.stages[1:]:
        x = stage(x)
    return x


def test_blocks_of_other_shapes_do_not_trade_places():
    network = built("cifar_resnet20")
    blocks = parts_of(network, image()).blocks
    order = [0, 4, 2, 3, 1, *range(5, 9)]
    with pytest.raises(RecipeError, match="other shapes"), reordered(network, blocks, order):
        pass


def test_hooks_and_modules_are_as_before_after_an_error_inside():
    network, x = built("cifar_resnet20").train(), image()
    parts, modules = parts_of(network, x), dict(network.named_modules())
    assert network.training
    with (
        pytest.raises(ZeroDivisionError),
        without(network, parts.blocks[:1]),
        reordered(network, parts.blocks, [0, 2, 1, *range(3, 9)]),
    ):
        raise ZeroDivisionError
    assert dict(network.named_modules()) == modules
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_each_forward_inside_counts_from_its_beginning():
    network, x = built("cifar_resnet20"), image()
    with torch.no_grad(), without(network, parts_of(network, x).blocks[4:5]):
        assert torch.equal(network(x), network(x))


def test_path_lengths_of_110_layers_are_those_of_the_paper():
    shares = path_shares(54)
    assert isclose(sum(k * share for k, share in enumerate(shares)), 27)
    assert isclose(sum(shares[19:36]), 0.9802, abs_tol=5e-5)
    assert isclose(sum(shares[5:18]), 0.004537, abs_tol=5e-7)


def nonlinear(blocks=4):
    torch.manual_seed(1)
    parts = [
        Residual(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()), nn.Identity()) for _ in range(blocks - 1)
    ]
    parts.append(Preactivated(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 3, 1))))
    return nn.Sequential(*parts).double().eval()


def test_gradients_of_all_paths_of_a_nonlinear_network_add_up_to_the_gradient():
    network, x = nonlinear(), image(8).double().requires_grad_()
    (whole,) = torch.autograd.grad(network(x).square().sum(), x)
    blocks = parts_of(network, x.detach()).blocks
    with path_gradients(network, lambda y: network(y).square().sum(), x, blocks) as gradient:
        paths = [gradient({i for i in range(4) if bits >> i & 1}) for bits in range(16)]
    torch.testing.assert_close(sum(paths), whole, rtol=0, atol=1e-12)
    assert all(path.abs().max() > 1e-6 for path in paths)


def test_gradient_of_a_path_goes_through_its_branches_alone():
    network, x = nonlinear(2), image(8).double()
    blocks = parts_of(network, x).blocks
    with path_gradients(network, lambda y: network(y).sum(), x, blocks) as gradient:
        through_none, through_last = gradient(set()), gradient({1})
    inner = network[0](x).detach()
    mask = (network[0].branch(x) + x > 0).double().detach()
    expected = network[1].branch[1].weight.sum((0, 2, 3))[None, :, None, None] * (inner > 0) * mask
    torch.testing.assert_close(through_none, mask)
    torch.testing.assert_close(through_last, expected)


def test_gradients_by_length_weigh_each_length_by_its_paths():
    network, x = nonlinear(), image(8, 2).double()
    blocks = parts_of(network, x[:1]).blocks
    lengths = gradients_by_length(network, lambda y: network(y).sum(), x, blocks, draws=100)
    total = sum(comb(4, one.length) * one.gradient for one in lengths)
    for one in lengths:
        assert isclose(one.contribution, comb(4, one.length) * one.gradient / total, rel_tol=1e-9)
        assert isclose(one.paths, comb(4, one.length) / 16)
