"""Promises of gradient ascent on images."""

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.inspection.dreaming import Ascent, dream
from unpool.inspection.goals import Goal, check_goal, excitement
from unpool.ops.image_priors import natural_noise, shaped_as_natural


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 5, 3, padding=1)
    )


def normalized(image):
    return 4 * image - 2


def dreamt(network, ascent, goal=Goal("3", 2), image=None):  # noqa: B008, a tuple
    start = natural_noise((3, 20, 28), exponent=1.0, deviation=0.1, seed=3)[None] if image is None else image
    return dream(start, lambda x: excitement(network, goal, x), normalized, ascent, lambda done, total: None)


@pytest.mark.parametrize("jitter", [0, 7])
def test_image_is_unchanged_by_shifts_there_and_back_where_the_step_is_zero(network, jitter):
    image = torch.rand(1, 3, 20, 28, generator=torch.Generator().manual_seed(1))
    shown = dreamt(network, Ascent(steps=3, step=0.0, octaves=3, jitter=jitter, tile=32), image=image)
    assert torch.equal(shown.image, image)


@pytest.mark.parametrize("statistics", [0.0, 1.5])
@pytest.mark.parametrize("l2", [0.0, 2.0])
def test_objective_rises_at_every_small_step(network, statistics, l2):
    ascent = Ascent(steps=20, step=0.0005, octaves=1, jitter=0, l2=l2, smoothness=l2, statistics=statistics)
    shown = dreamt(network, ascent)
    assert all(after > before for before, after in zip(shown.totals, shown.totals[1:], strict=False))


def test_larger_energy_prior_gives_a_smaller_norm(network):
    norms = [
        normalized(dreamt(network, Ascent(steps=60, step=0.01, octaves=1, jitter=0, l2=l2)).image).norm().item()
        for l2 in (0.0, 0.3, 1.0, 10.0)
    ]
    assert norms == sorted(norms, reverse=True)
    assert norms[0] > 2 * norms[-1]


def test_priors_weigh_the_image_and_not_the_scale_of_the_networks_input():
    ascent = Ascent(steps=5, step=0.01, octaves=1, jitter=0, l2=1.0, smoothness=1.0)
    image = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    one, large = (
        dream(image, lambda x: 0 * x.sum(), lambda x, scale=scale: scale * x, ascent, lambda done, total: None)
        for scale in (1, 255)
    )
    assert one.totals == large.totals
    assert one.totals[0] < one.scores[0] == 0


def test_smoothness_prior_takes_differences_of_neighbours_away_and_no_brightness():
    image = natural_noise((3, 20, 28), exponent=1.0, deviation=0.05, seed=3)[None] + 0.3
    ascent = Ascent(steps=30, step=0.001, octaves=1, jitter=0, smoothness=1.0)
    smooth = dream(image, lambda x: 0 * x.sum(), normalized, ascent, lambda done, total: None).image
    assert smooth.diff(dim=-1).square().mean() < 0.7 * image.diff(dim=-1).square().mean()
    torch.testing.assert_close(smooth.mean((2, 3)), image.mean((2, 3)), rtol=0, atol=0.002)


def test_equal_seeds_give_equal_bits_and_others_do_not(network):
    one, again, other = (dreamt(network, Ascent(steps=4, jitter=5, octaves=2, seed=seed)).image for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_tiles_of_a_layer_without_borders_give_the_image_of_the_whole(network):
    single = nn.Conv2d(3, 4, 1)
    goal = Goal("", 1)
    whole, tiled = (dreamt(single, Ascent(steps=3, octaves=1, jitter=4, tile=tile), goal).image for tile in (512, 8))
    torch.testing.assert_close(tiled, whole)


def test_no_more_than_a_tile_goes_through_the_network_at_once(network):
    seen = []
    handle = network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    dreamt(network, Ascent(steps=1, octaves=1, jitter=2, tile=9))
    handle.remove()
    assert max(max(shape) for shape in seen) <= 9
    assert len(seen) == 3 * 4


def test_modes_and_hooks_are_as_before_also_where_the_goal_is_refused(network):
    network.train()
    network[1].eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    dreamt(network, Ascent(steps=2, octaves=1, jitter=0), Goal("1", 2))
    with pytest.raises(RecipeError, match="units 0 to 7, and no unit 8"):
        excitement(network, Goal("1", 8), torch.rand(1, 3, 8, 8))
    assert [module.training for module in network.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


def test_layers_behind_the_goal_do_not_run(network):
    ran = []
    handle = network[3].register_forward_hook(lambda *_: ran.append(1))
    excitement(network, Goal("1"), torch.rand(1, 3, 8, 8))
    handle.remove()
    assert not ran


def test_class_is_excited_by_its_score_in_front_of_the_softmax():
    scores = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    whole, image = nn.Sequential(*scores, nn.Softmax(1)), torch.rand(1, 3, 8, 8)
    assert excitement(whole, Goal("", 1), image) == scores(image)[0, 1]


def test_probabilities_whose_scores_are_hidden_are_refused():
    class Hidden(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).softmax(1)

    with pytest.raises(RecipeError, match="in front of the softmax"):
        excitement(Hidden(), Goal("", 1), torch.rand(1, 3, 8, 8))


def test_whole_layer_has_its_activation_as_gradient():
    image = torch.rand(1, 2, 4, 4, requires_grad=True)
    excitement(nn.Identity(), Goal(""), image).backward()
    torch.testing.assert_close(image.grad * image.numel(), image.detach())


def test_unknown_layer_is_refused_with_the_nearest_one(network):
    named = nn.ModuleDict({"stem": network})
    with pytest.raises(RecipeError, match=r"no layer 'stm.3'; did you mean 'stem.3'"):
        check_goal(named, Goal("stm.3"))


def test_shaped_step_never_points_away_and_is_weak_at_high_frequencies():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        gradient = torch.randn(1, 3, 16, 24, generator=generator)
        shaped = shaped_as_natural(gradient, 1.0)
        assert (gradient * shaped).sum() > 0
        torch.testing.assert_close(shaped.square().mean(), gradient.square().mean())
        spectrum = torch.fft.rfft2(shaped).abs().mean((0, 1)) / torch.fft.rfft2(gradient).abs().mean((0, 1))
        assert spectrum[0, 1] > 5 * spectrum[8, 12]
