"""Disparity and flow after augmentation are those of the pair that it makes."""

import numpy as np
import pytest
import torch

from unpool.assemble.loaders import _require_colours, _require_targets
from unpool.assemble.statistics import with_colour_axes
from unpool.data.augment import AUGMENTATIONS, Augment, Crop, Flip, Scale
from unpool.data.augment.pair_targets import move_pair_targets, refusal
from unpool.data.pair_scenes import FlowScenes, StereoScenes, draw_flow, draw_stereo
from unpool.data.planes import see
from unpool.errors import RecipeError
from unpool.ops import colour, geometry
from unpool.ops.displacements import warped
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import load_recipe
from unpool.types import DataInfo

SIDE = 64
COLOUR = Preprocessing(channels=6, mean=6 * (0.5,), std=6 * (0.25,))


def sample_of(kind, index=1):
    """A pair without noise, and of one exposure."""
    planes = (draw_stereo if kind is StereoScenes else draw_flow)(np.random.default_rng(index), SIDE, 16.0)
    views = [see(planes, (SIDE, SIDE), second=second) for second in (False, True)]
    image = torch.from_numpy(np.concatenate([view.colours for view in views], axis=2).round().astype(np.uint8))
    known = {"image": image.permute(2, 0, 1).contiguous(), "index": torch.tensor(index)}
    (left, hidden), (right, other) = ((torch.from_numpy(view.motion), torch.from_numpy(view.hidden)) for view in views)
    if kind is FlowScenes:
        return known | {"flow": left.permute(2, 0, 1).contiguous(), "hidden": hidden}
    disparities = {"disparity": -left[..., 0], "other_disparity": right[..., 0].clone()}
    return known | disparities | {"hidden": hidden, "other_hidden": other}


def augmented(sample, *steps, size_hw=(SIDE, SIDE), seed=0):
    batch = Augment(list(steps), size_hw=size_hw, preprocessing=COLOUR, info=DataInfo(), seed=seed)([sample], 0)
    return {key: value[0] for key, value in batch.items()}


def as_flow(sample):
    if "flow" in sample:
        return sample["flow"]
    return torch.stack([-sample["disparity"], torch.zeros_like(sample["disparity"])])


def residual(sample, flow):
    """The mean difference of visible pixels to what the second image shows where the flow points to."""
    first, second = sample["image"].float().chunk(2)
    seen = ~sample["hidden"] & flow.isfinite().all(0)
    back = warped(second[None], flow.nan_to_num(0)[None])[0]
    return float((back - first).abs().mean(0)[seen].mean())


STEPS = {
    "flip": Flip(p=1.0),
    "scale": Scale(range=(1.5, 1.5)),
    "smaller": Scale(range=(0.8, 0.8)),
    "crop": Crop(),
    "stretch": AUGMENTATIONS["stretch"](),
    "translate": AUGMENTATIONS["translate"](pixels=5),
    "resized_crop": AUGMENTATIONS["resized_crop"](area=(0.5, 0.9)),
}
TURNING = {
    "rotate": AUGMENTATIONS["rotate"](degrees=20),
    "turn": AUGMENTATIONS["turn"](),
    "shear": AUGMENTATIONS["shear"](degrees=15),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((StereoScenes, name) for name in STEPS), *((FlowScenes, name) for name in {**STEPS, **TURNING})],
)
def test_answer_of_the_augmented_pair_explains_it(kind, name):
    sample = sample_of(kind)
    size = (48, 48) if name == "crop" else (SIDE, SIDE)
    seen = augmented(sample, {**STEPS, **TURNING}[name], size_hw=size)
    flow = as_flow(seen)
    assert residual(seen, flow) < 0.5 * residual(seen, torch.zeros_like(flow))


def test_mirror_makes_the_right_image_of_a_pair_the_left_one():
    sample = sample_of(StereoScenes)
    seen = augmented(sample, Flip(p=1.0))
    left, right = sample["image"].chunk(2)
    assert seen["image"].equal(torch.cat([right, left]).flip(-1))
    assert seen["disparity"].equal(sample["other_disparity"].flip(-1))
    assert seen["hidden"].equal(sample["other_hidden"].flip(-1))
    assert seen["other_disparity"].equal(sample["disparity"].flip(-1))


def test_scale_multiplies_what_it_scales():
    """Half again as wide and half as high, by hand."""
    map_ = geometry.zoom(torch.tensor([1.5]), torch.tensor([0.5]))[0]
    stereo = move_pair_targets({"disparity": torch.full((4, 4), 2.0)}, map_, (2, 6))
    assert stereo["disparity"].tolist() == 2 * [6 * [3.0]]
    flow = torch.stack([torch.full((4, 4), 2.0), torch.full((4, 4), -4.0)])
    moved = move_pair_targets({"flow": flow}, map_, (2, 6))["flow"]
    assert (moved[0] == 3).all()
    assert (moved[1] == -2).all()


MAPS = {
    "larger": (geometry.zoom(torch.tensor([1.5]), torch.tensor([1.5]))[0], 1.5, 0, (0.0, 0.0)),
    "smaller": (geometry.zoom(torch.tensor([0.8]), torch.tensor([0.8]))[0], 0.8, 0, (0.0, 0.0)),
    "moved": (geometry.translation(torch.tensor([5.0]), torch.tensor([-3.0]))[0], 1.0, 0, (5.0, -3.0)),
    "turned": (geometry.rotation(torch.tensor([25.0]), torch.tensor([[24, 32]]))[0], 1.0, 25, (0.0, 0.0)),
}


@pytest.mark.parametrize("name", MAPS)
def test_ramp_moves_by_the_formula_of_its_map(name):
    """Each pixel takes the value of that in which its middle lies, times the map; by hand, with y down."""
    map_, times, degrees, corner = MAPS[name]
    height, width = 24, 32
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
    flow = torch.stack([0.1 * x + 0.05 * y + 1, 0.2 * y - 0.07 * x - 2])
    angle = torch.tensor(degrees).deg2rad()
    turn = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()]).view(2, 2)
    middle = torch.tensor([width / 2, height / 2])[:, None, None] if degrees else 0.0
    source = torch.einsum("ji,jhw->ihw", turn, torch.stack([x, y]) + 0.5 - middle) / times + middle
    source = source + torch.tensor(corner)[:, None, None]
    column, row = source.floor().long()
    is_known = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    sure = ((source - source.round()).abs() > 1e-3).all(0)  # its middle lies on no edge
    expected = times * torch.einsum("ij,jhw->ihw", turn, flow[:, row.clamp(0, 23), column.clamp(0, 31)])
    moved = move_pair_targets({"flow": flow, "disparity": flow[0]}, map_, (height, width))
    seen = is_known & sure
    assert int(seen.sum()) > 250
    torch.testing.assert_close(moved["flow"][:, seen], expected[:, seen], atol=1e-3, rtol=0)
    assert moved["flow"][:, ~is_known & sure].isnan().all()
    if not degrees:
        torch.testing.assert_close(moved["disparity"][seen], expected[0, seen], atol=1e-3, rtol=0)


def test_quarter_turn_turns_the_flow_with_the_image():
    map_ = geometry.rotation(torch.tensor([90.0]), torch.tensor([[4, 4]]))[0]  # counter-clockwise: right becomes up
    flow = torch.stack([torch.full((4, 4), 2.0), torch.zeros(4, 4)])
    moved = move_pair_targets({"flow": flow}, map_, (4, 4))["flow"]
    torch.testing.assert_close(moved, torch.stack([torch.zeros(4, 4), torch.full((4, 4), -2.0)]))


def test_point_whose_partner_leaves_the_window_is_hidden_and_what_lies_beside_the_image_is_not_known():
    sample = {"disparity": torch.full((4, 8), 3.0), "hidden": torch.zeros(4, 8, dtype=torch.bool)}
    whole = move_pair_targets(sample, geometry.identity(1)[0], (4, 8))
    assert whole["hidden"][0].tolist() == 3 * [True] + 5 * [False]
    right = geometry.translation(torch.tensor([4.0]), torch.tensor([0.0]))[0]
    cut = move_pair_targets(sample, right, (4, 8))
    assert cut["hidden"][0].tolist() == 3 * [True] + [False] + 4 * [True]
    assert cut["disparity"][0].isnan().tolist() == 4 * [False] + 4 * [True]


@pytest.mark.parametrize(
    ("name", "gives", "says"),
    [
        ("rotate", ("image", "disparity"), "turns rows"),
        ("turn", ("image", "disparity"), "turns rows"),
        ("elastic", ("image", "flow"), "bends both images alike"),
        ("lens", ("image", "disparity"), "bends both images alike"),
        ("erasing", ("image", "flow"), "as if something stood still"),
        ("flip", ("image", "disparity"), "samples have no other_disparity"),
        ("flip", ("image", "disparity", "hidden", "other_disparity"), "samples have no other_hidden"),
    ],
)
def test_step_that_would_make_a_wrong_answer_is_refused(name, gives, says):
    step = {"rotate": {"degrees": 5}} if name == "rotate" else name
    recipe = load_recipe("scenes_mc_cnn", {"data.augment": [step]})
    with pytest.raises(RecipeError, match=f"data.augment has {name}, which .*{says}.*: leave {name} out"):
        _require_targets(recipe, gives)


def test_every_other_step_is_allowed():
    whole = ("image", "disparity", "hidden", "other_disparity", "other_hidden")
    assert all(not refusal(AUGMENTATIONS[name], whole) for name in STEPS if name in AUGMENTATIONS)
    assert all(not refusal(AUGMENTATIONS[name], ("image", "flow", "hidden")) for name in TURNING)
    assert not refusal(AUGMENTATIONS["elastic"], ("image", "mask"))


JITTER = {"brightness": 0.3, "contrast": 0.5, "saturation": 0.5, "hue": 0.1, "lighting": 0.05}


@pytest.mark.parametrize("kind", [StereoScenes, FlowScenes])
def test_colours_of_both_images_of_a_pair_change_alike(kind):
    """One image twice stays one image twice, and becomes what that of other colours would: hue and saturation act."""
    sample = sample_of(kind)
    first = sample["image"][:3]
    sample["image"] = torch.cat([first, first])
    left, right = augmented(sample, AUGMENTATIONS["color_jitter"](**JITTER))["image"].chunk(2)
    assert left.equal(right)
    one = Preprocessing(channels=3, mean=3 * (0.5,), std=3 * (0.25,))
    augment = Augment(
        [AUGMENTATIONS["color_jitter"](**JITTER)], size_hw=(SIDE, SIDE), preprocessing=one, info=DataInfo(), seed=0
    )
    assert augment([{"image": first, "index": sample["index"]}], 0)["image"][0].equal(left)


def test_contrast_of_a_pair_turns_about_the_mean_luma_of_both():
    colours = torch.tensor([[200.0, 40, 90], [20, 160, 60]])  # of the first image, and of the second one
    image = colours.flatten().byte()[:, None, None].expand(6, 8, 8).clone()
    image[:, ::2] += 2
    sample = {"image": image, "index": torch.tensor(3), "flow": torch.zeros(2, 8, 8)}
    seen = augmented(sample, AUGMENTATIONS["color_jitter"](contrast=0.9), size_hw=(8, 8))["image"].float()
    pivot = float(colour.luma(colours).mean()) + 1
    factor = (seen[0, 1, 0] - pivot) / (200 - pivot)
    assert abs(factor - 1) > 0.1
    expected = pivot + factor * (image[:, 1, 0] - pivot)
    assert (seen[:, 1, 0] - expected.clamp(0, 255)).abs().max() < 1.1


def test_six_channels_that_are_no_pair_keep_their_colours():
    recipe = load_recipe("scenes_flow_pyramid", {"data.augment": [{"color_jitter": {"hue": 0.1}}]})
    _require_colours(recipe, ("image", "flow"))
    with pytest.raises(RecipeError, match="6 channels that are no pair of images: leave both out"):
        _require_colours(recipe, ("image", "label"))


def test_axes_of_the_colours_of_pairs_are_those_of_both_images():
    class Pairs(list):
        gives = ("image", "flow")

    reader = Pairs(sample_of(FlowScenes, index) for index in range(2))
    recipe = load_recipe("scenes_flow_pyramid", {"data.augment": [{"pca_color": {"axes": "training"}}]})
    (_, options), *_ = with_colour_axes(recipe, reader).data.steps
    colours = torch.cat([one.flatten(1) for sample in reader for one in sample["image"].chunk(2)], dim=1).double() / 255
    axes = torch.tensor(options["axes"], dtype=torch.float64)
    products = (axes.T / axes.norm(dim=1)) @ axes  # the covariance: each direction times its axis
    torch.testing.assert_close(products, colours.cov(correction=0), atol=1e-4, rtol=0)
    seen = augmented(reader[0], AUGMENTATIONS["pca_color"](**options))
    assert seen["image"].shape == (6, SIDE, SIDE)
