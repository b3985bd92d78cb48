"""Augmentations of the papers that train on ImageNet: what they draw, and what they leave alone."""

import math

import pytest
import torch
from torch import Tensor

from tests.data.loading import Numbers
from unpool.assemble.data import read_data
from unpool.assemble.loaders import make_train_loader
from unpool.assemble.statistics import with_colour_axes
from unpool.data.augment import AUGMENTATIONS, Augment
from unpool.data.augment.pca_color import IMAGENET
from unpool.data.draws import Draws
from unpool.errors import RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import load_recipe
from unpool.types import DataInfo, Sample

COUNT = 100_000


def draws(count: int = COUNT) -> Draws:
    return Draws(0, 0, index=torch.arange(count))


def maps(name: str, size_hw: tuple[int, int], **options) -> tuple[Tensor, Tensor]:
    """(COUNT, 3, 3) maps of a step, and the sizes of its output."""
    size = torch.tensor([size_hw] * COUNT, dtype=torch.float64)
    return AUGMENTATIONS[name](**options).map(draws(), size, target_hw=size)


def shifts(**options) -> Tensor:
    """(COUNT, 3) of pca_color, on 0..1."""
    matrices = AUGMENTATIONS["pca_color"](**options).matrix(draws(), torch.zeros(COUNT, 3))
    assert torch.equal(matrices[:, :, :3], torch.eye(3, dtype=torch.float64).expand(COUNT, 3, 3))
    return matrices[:, :, 3] / 255


def test_axes_of_imagenet_are_orthogonal_and_as_long_as_their_variances():
    axes = torch.tensor(IMAGENET, dtype=torch.float64)
    length = axes.norm(dim=1)
    assert length.tolist() == pytest.approx([0.2175, 0.0188, 0.0045], rel=1e-4)
    directions = axes / length[:, None]
    assert (directions @ directions.T - torch.eye(3)).abs().max() < 2e-4
    assert (axes.T @ directions).diagonal().sqrt().tolist() == pytest.approx([0.284, 0.276, 0.290], abs=0.005)


def test_colours_shift_along_each_axis_by_a_tenth_of_its_variance():
    axes = torch.tensor(IMAGENET, dtype=torch.float64)
    along = shifts() @ (axes / axes.norm(dim=1, keepdim=True)).T
    assert along.std(0).tolist() == pytest.approx([0.02175, 0.00188, 0.00045], rel=5 / math.sqrt(2 * COUNT))
    assert (torch.corrcoef(along.T) - torch.eye(3)).abs().max() < 0.02
    assert float((along[:, 0].abs() < 0.02175).double().mean()) == pytest.approx(0.683, abs=0.01)  # normal
    assert torch.allclose(shifts(deviation=0.2), 2 * shifts())


class Correlated(Numbers):
    """Red and green vary together by 0.2, blue by 0.1 alone; means differ, and so do the images."""

    def __getitem__(self, index: int) -> Sample:
        a, b = (102 * (torch.arange(4) % 2) - 51, 51 * (torch.arange(4) // 2))
        return {"image": torch.stack([100 + a, 150 + a, 20 + b]).to(torch.uint8).reshape(3, 2, 2)}


def test_axes_of_the_training_set_are_its_directions_times_their_variances():
    recipe = load_recipe("cifar10_resnet20", ["data.augment=[flip, {pca_color: {axes: training}}]", "data.root=."])
    made = with_colour_axes(recipe, Correlated(5))
    axes = torch.tensor(made.data.steps[1][1]["axes"], dtype=torch.float64)
    assert axes[0].tolist() == pytest.approx([0.08 / math.sqrt(2)] * 2 + [0], abs=1e-5)
    assert axes[1].tolist() == pytest.approx([0, 0, 0.01], abs=1e-5)
    assert axes[2].abs().max() < 1e-5
    assert with_colour_axes(made, Correlated(5)) is made


def test_axes_that_do_not_fit_the_channels_are_refused():
    with pytest.raises(RecipeError, match=r"pca_color with axes of ImageNet.*channels is 1; set its axes to training"):
        load_recipe("mnist_convnet", ["data.augment=[pca_color]", "data.root=."])
    with pytest.raises(RecipeError, match="rows of unequal length"):
        AUGMENTATIONS["pca_color"](axes=[[0.1, 0.1], [0.1]])
    step = AUGMENTATIONS["pca_color"](axes=[[0.1, 0.1]])
    with pytest.raises(RecipeError, match="of 2 channels and images have 3"):
        step.matrix(draws(2), torch.zeros(2, 3))
    with pytest.raises(RecipeError, match="not counted and images have 3"):
        AUGMENTATIONS["pca_color"](axes="training").matrix(draws(2), torch.zeros(2, 3))


def erased(count: int, size_hw: tuple[int, int], *, image: Tensor | None = None, **options) -> Tensor:
    image = torch.full((count, 3, *size_hw), 7, dtype=torch.uint8) if image is None else image
    size = torch.tensor([size_hw] * count, dtype=torch.float64)
    step = AUGMENTATIONS["erasing"](**options)
    return step.finish(image, draws(count), size_hw=size, fill=torch.tensor([10.0, 20.0, 30.0]))["image"]


def test_every_second_image_loses_a_rectangle_of_the_drawn_area_and_aspect():
    image = erased(1000, (60, 80), fill="mean", area=(0.05, 0.2), aspect=(0.5, 1.5))
    is_erased = (image == torch.tensor([10, 20, 30])[:, None, None]).all(1)
    rows, columns = is_erased.any(2).sum(1), is_erased.any(1).sum(1)
    assert torch.equal(rows * columns, is_erased.sum((1, 2)))
    assert ((image == 7).all(1) | is_erased).all()
    some = rows > 0
    assert float(some.double().mean()) == pytest.approx(0.5, abs=0.05)
    area, aspect = (rows * columns)[some] / 4800, (rows / columns)[some]
    assert 0.045 < area.min() < 0.06
    assert 0.19 < area.max() < 0.21
    assert float(area.mean()) == pytest.approx(0.125, abs=0.01)
    assert 0.45 < aspect.min() < 0.6
    assert 1.4 < aspect.max() < 1.65
    first_row = is_erased.any(2).int().argmax(1)[some]
    assert first_row.min() <= 1
    assert first_row.max() > 35


def test_erased_pixels_are_random_and_of_every_value_unless_the_mean_is_asked_for():
    image = erased(50, (40, 40), p=1, area=(0.3, 0.3))
    values = image[image != 7].float()
    assert (values.amin(), values.amax()) == (0, 255)
    assert float(values.mean()) == pytest.approx(127.5, abs=2)
    assert torch.equal(image, erased(50, (40, 40), p=1, area=(0.3, 0.3)))


def test_erased_images_are_copies():
    image = torch.full((20, 3, 30, 30), 7, dtype=torch.uint8)
    assert not torch.equal(erased(20, (30, 30), image=image, p=1), image)
    assert (image == 7).all()


def test_padding_is_not_erased_and_no_target_moves():
    preprocessing = Preprocessing(shorter=20, longest=100)
    step = AUGMENTATIONS["erasing"](p=1, fill="mean", area=(0.3, 0.3))
    change = Augment([step], size_hw=None, preprocessing=preprocessing, info=DataInfo(), seed=0)
    samples = [
        {
            "image": torch.zeros(3, 20, width, dtype=torch.uint8),
            "mask": torch.ones(20, width),
            "index": torch.tensor(i),
            "boxes": torch.tensor([[1.0, 2.0, 15.0, 16.0]]),
            "labels": torch.tensor([1]),
        }
        for i, width in enumerate((20, 60))
    ]
    batch = change(samples, 0)
    changed = (batch["image"] != 0).any(1)
    assert 60 < changed[0, :, :20].sum() < 180
    assert batch["boxes"][0].tolist() == [[1.0, 2.0, 15.0, 16.0]]
    assert all((mask == 1).all() for mask in batch["mask"])


def test_shorter_side_is_every_length_alike_and_the_aspect_stays():
    _, size = maps("shorter_side", (300, 500))
    shorter = size[:, 0]
    assert (shorter.min(), shorter.max()) == (256, 480)
    counts = torch.bincount(shorter.long())[256:]
    assert (counts / COUNT - 1 / 225).abs().max() < 5 * math.sqrt(1 / 225 / COUNT)
    assert ((size[:, 1] / size[:, 0]) / (5 / 3) - 1).abs().max() < 0.5 / 256


def test_scale_augmentation_shows_windows_within_the_image():
    steps = [AUGMENTATIONS[name](**options) for name, options in (("shorter_side", {"range": (32, 60)}), ("crop", {}))]
    change = Augment(steps, size_hw=(28, 28), preprocessing=Preprocessing(size_hw=(28, 28)), info=DataInfo(), seed=0)
    image = torch.full((3, 45, 80), 200, dtype=torch.uint8)
    batch = change([{"image": image, "index": torch.tensor(i)} for i in range(40)], 0)
    assert batch["image"].shape == (40, 3, 28, 28)
    assert (batch["image"] == 200).all()


def test_scale_augmentation_is_refused_where_evaluation_stretches():
    recipe = load_recipe(
        "scenes_unet", {"data.count": 4, "data.augment": ["shorter_side", "crop"], "data.size": [48, 64]}
    )
    with pytest.raises(RecipeError, match=r"has shorter_side.*data.rule is stretch.*set data.rule=cover"):
        make_train_loader(recipe, read_data(recipe))


def test_width_and_height_are_stretched_by_factors_of_their_own():
    _, size = maps("stretch", (1000, 2000), range=(0.5, 2.0))
    factors = (size / torch.tensor([1000, 2000])).log2()
    assert (factors.amin(0) + 1).abs().max() < 0.01
    assert (factors.amax(0) - 1).abs().max() < 0.01
    assert factors.mean(0).abs().max() < 0.01
    assert abs(float(torch.corrcoef(factors.T)[0, 1])) < 0.02


def test_shear_leans_upright_lines_by_every_angle_alike_about_the_centre():
    matrix, size = maps("shear", (40, 60), degrees=30)
    angle = torch.rad2deg(torch.atan(matrix[:, 0, 1]))
    assert (torch.histc(angle, 5, -30, 30) / COUNT - 0.2).abs().max() < 0.01
    assert torch.equal(matrix[:, 1], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(COUNT, 3))
    centre = torch.tensor([30.0, 20.0, 1.0], dtype=torch.float64)
    assert (matrix @ centre - centre).abs().max() < 1e-9
    assert size[0].tolist() == [40, 60]
