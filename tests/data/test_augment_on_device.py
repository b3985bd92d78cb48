"""Batches augmented on the device are those that the loader makes of single images, row by row."""

import pytest
import torch

from unpool.assemble.augmented import draw_augmented
from unpool.assemble.data import read_data
from unpool.assemble.job import Prepare, make_job
from unpool.assemble.loaders import make_train_loader
from unpool.assemble.signals import show_init
from unpool.data.augment import AUGMENTATIONS, Augment, OnDevice, Step
from unpool.data.augment.on_device import require_alike
from unpool.errors import DataError, RecipeError
from unpool.ops import geometry
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.resampling import _nearest, warp, warp_together
from unpool.recipe import load_recipe
from unpool.training.stopping import StopRequest
from unpool.types import IGNORE, Batch, DataInfo, Sample

OPTIONS = {
    "translate": {"fraction": 0.2},
    "rotate": {"degrees": 30},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "hue": 0.1, "lighting": 0.05},
    "expand": {"largest": 1.4, "p": 1.0},
    "shear": {"degrees": 15},
    "scale": {"range": (0.5, 2.0)},
    "shorter_side": {"range": (20, 60)},
    "erasing": {"p": 1.0},
}
ROWS = [name for name, kind in AUGMENTATIONS.items() if not issubclass(kind, OnDevice.refuses)]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]
INFO = DataInfo(keypoints=("left", "right", "nose"), flip_pairs=((0, 1),))


def sample(index: int, height: int = 40, width: int = 56) -> Sample:
    """Noise in every pixel, so that whatever lies elsewhere shows."""
    generator = torch.Generator().manual_seed(index)

    def noise(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, high, shape, dtype=torch.uint8, generator=generator)

    mask = noise(5, height, width)
    mask[12:20, 10:30] = IGNORE
    return {
        "image": noise(256, 3, height, width),
        "clean": noise(256, 3, height, width),
        "mask": mask,
        "boxes": torch.tensor([[3.0, 4.0, 20.0, 30.0], [10.0, 2.0, 39.0, 19.0]]),
        "labels": torch.tensor([0, 1]),
        "masks": noise(2, 2, height, width).bool(),
        "keypoints": torch.tensor([[5.0, 6.0], [30.0, 20.0], [12.0, 8.0]]),
        "visible": torch.tensor([True, True, False]),
        "index": torch.tensor(index),
        "size_hw": torch.tensor([height, width]),
    }


def step(name: str) -> Step:
    return AUGMENTATIONS[name](**OPTIONS.get(name, {}))


def both(
    *names: str, size_hw: tuple[int, int] | None = None, epoch: int = 3, device: str = "cpu", **more
) -> tuple[Batch, Batch]:
    """A batch as the loader augments it, image by image where none are mixed, and as the device does."""
    preprocessing = Preprocessing(size_hw=size_hw, **more)
    augment = Augment([step(name) for name in names], size_hw=size_hw, preprocessing=preprocessing, info=INFO, seed=7)
    samples, on_device = [sample(i) for i in range(6)], OnDevice(augment)
    done = on_device.apply(on_device(samples, epoch), torch.device(device))
    moved = {key: [one.cpu() for one in v] if isinstance(v, list) else v.cpu() for key, v in done.items()}
    if {"mixup", "cutmix"} & set(names):
        return augment(samples, epoch), moved
    return gathered([augment([one], epoch) for one in samples]), moved


def gathered(singles: list[Batch]) -> Batch:
    """Batches of one image as one batch."""
    return {
        key: torch.cat([one[key] for one in singles]) if torch.is_tensor(value) else [one[key][0] for one in singles]
        for key, value in singles[0].items()
    }


def gain(epoch: int = 3) -> float:
    """By how much color_jitter multiplies a difference of a level in all channels, at most."""
    augment = Augment([step("color_jitter")], size_hw=None, preprocessing=Preprocessing(), info=INFO, seed=7)
    colours = OnDevice(augment)([sample(i) for i in range(6)], epoch)["planned_colours"]
    return float(colours[:, :, :3].abs().sum(2).max())


def furthest(first: Batch, second: Batch) -> int:
    """Levels between the pictures of two batches, all else of which is the same."""
    assert first.keys() == second.keys()
    for key in first.keys() - {"image", "clean"}:
        pairs = (
            [(first[key], second[key])] if torch.is_tensor(first[key]) else zip(first[key], second[key], strict=True)
        )
        assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs), key
    assert all(second[key].dtype == torch.uint8 for key in ("image", "clean"))
    return max(int((first[key].int() - second[key].int()).abs().max()) for key in ("image", "clean"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size_hw", [None, (32, 48)])
@pytest.mark.parametrize("name", ROWS)
def test_device_shows_what_the_loader_shows_within_a_level(name, size_hw, device):
    most = 1 if name != "color_jitter" else 1 + gain() if size_hw else 1  # of colours, after the rounding of both
    assert furthest(*both(name, size_hw=size_hw, device=device)) <= most


@pytest.mark.parametrize("name", ["flip", "translate", "crop", "mixup", "cutmix", "erasing"])
def test_whole_pixels_are_the_same_to_the_bit(name):
    assert furthest(*both(name)) == 0


@pytest.mark.parametrize("rule", ["stretch", "cover", "fit"])
@pytest.mark.parametrize("normalization", ["channel", "image"])
def test_steps_together_show_what_the_loader_shows(rule, normalization):
    names = ("color_jitter", "scale", "crop", "flip", "rotate", "erasing", "cutmix")
    loader, device = both(*names, size_hw=(32, 48), rule=rule, normalization=normalization)
    assert furthest(loader, device) <= 1 + gain()
    assert ("shown_xyxy" in device) == (normalization == "image")


def test_draws_are_those_of_the_epoch():
    first, second = (both("flip", "rotate", "erasing", epoch=epoch)[1]["image"] for epoch in (3, 4))
    assert not torch.equal(first, second)


def test_batch_is_made_again_from_what_the_loader_gave_whatever_was_drawn_meanwhile():
    steps = [step(name) for name in ("flip", "color_jitter", "erasing", "mixup")]
    change = OnDevice(Augment(steps, size_hw=None, preprocessing=Preprocessing(), info=INFO, seed=7))
    batch = change([sample(i) for i in range(4)], 1)
    state = torch.get_rng_state()
    first = change.apply(batch, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert furthest(first, change.apply(batch, torch.device("cpu"))) == 0


def test_mirror_exchanges_left_and_right_and_masks_end_as_int64():
    loader, device = both("flip")
    assert any(torch.equal(row, torch.tensor([True, True, False])) for row in device["visible"])
    is_mirrored = loader["keypoints"][:, 0, 0] != 5
    assert 0 < int(is_mirrored.sum()) < 6
    assert device["keypoints"][is_mirrored][0].tolist() == [[25.0, 20.0], [50.0, 6.0], [43.0, 8.0]]
    assert device["mask"].dtype == torch.int64


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0, 1 / 3])
@pytest.mark.parametrize("turned", [0, 90, 45])
def test_nearest_pixel_is_the_one_that_torch_takes_half_way_too(factor, turned):
    size = torch.full((1, 2), 33.0)
    matrix = geometry.rotation(torch.tensor([float(turned)]), size) @ geometry.zoom(*torch.full((2, 1), factor))
    mask = torch.arange(33 * 33).remainder(251).to(torch.uint8).view(1, 1, 33, 33)
    shown = warp_together(mask, matrix, (40, 44), mode="nearest", fill=IGNORE)
    assert torch.equal(shown, warp(mask, matrix, (40, 44), mode="nearest", fill=IGNORE))


def test_nearest_pixel_of_any_position_is_torch_s():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 17, 31, generator=generator)
    halves = torch.randint(-40, 80, (2, 50, 50, 2), generator=generator) / 2
    grid = halves * 2 / torch.tensor([31, 17]) - 1
    expected = torch.nn.functional.grid_sample(image, grid, mode="nearest", padding_mode="border", align_corners=False)
    assert torch.equal(_nearest(image, grid), expected)


SMALL = {"data.count": 8, "data.side": 32, "train.batch": 4, "data.workers": 0}
STEPS = ["flip", {"translate": {"pixels": 4}}, "erasing"]


def recipe_of(on: str):
    return load_recipe("scenes_unet", SMALL | {"data.augment": STEPS, "data.augment_on": on})


def made(on: str):
    data = read_data(recipe_of(on))
    return make_train_loader(recipe_of(on), data), data


def test_network_gets_the_same_values_either_way():
    (loader, data), (on_device, _) = made("loader"), made("device")
    device = torch.device("cpu")
    expected = Prepare(data.preprocessing, device, transform=loader.transform)(loader.batch_of([0, 5, 3], 2))
    decoded = on_device.batch_of([0, 5, 3], 2)
    assert torch.equal(decoded["image"][1], data.train.samples[5]["image"])
    batch = Prepare(data.preprocessing, device, transform=on_device.transform)(decoded)
    assert batch.keys() == expected.keys()
    assert all(torch.equal(batch[key], expected[key]) for key in ("image", "mask", "index"))


def test_batch_as_decoded_never_reaches_a_network():
    loader, data = made("device")
    with pytest.raises(ValueError, match="the device is to augment: give Prepare the loader's transform"):
        Prepare(data.preprocessing, torch.device("cpu"))(loader.batch_of([0, 1], 0))


def test_job_trains_on_what_the_device_makes():
    loader, data = made("device")
    job = make_job(recipe_of("device"), data, loader, model=None, stop=StopRequest())
    decoded = loader.batch_of([0, 1], 0)
    assert not torch.equal(job.prepare(decoded)["mask"], decoded["mask"].long())


def test_initial_weights_see_the_same_batch():
    loader, device = (show_init(recipe_of(on), {"model.width": 4}) for on in ("loader", "device"))
    assert loader == device


def test_sheet_is_the_same(monkeypatch):
    monkeypatch.setattr("unpool.assemble.augmented.EPOCHS", 1)
    sheets = []
    monkeypatch.setattr(
        "unpool.assemble.augmented.draw_sheet", lambda rows: sheets.append(rows) or torch.zeros(3, 1, 1)
    )
    data = read_data(recipe_of("loader"))
    for on in ("loader", "device"):
        draw_augmented(recipe_of(on), data)
    pairs = zip(*([image for row in rows for _, image in row] for rows in sheets), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS.keys() - set(ROWS)))
def test_rows_without_a_form_for_a_batch_are_refused_by_name(name):
    text = f"'{name}' has no form for a whole batch on the device: set data.augment_on=loader, or leave {name} out"
    with pytest.raises(RecipeError, match=text):
        load_recipe("scenes_unet", {"data.augment": [name], "data.augment_on": "device"})
    load_recipe("scenes_unet", {"data.augment": [name]})


@pytest.mark.parametrize(
    "more",
    [{"data.noise": {"gaussian": {"sigma": 5.0}}}, {"data.size": None, "data.shorter": 40, "data.longest": 60}],
)
def test_what_the_loader_does_to_finished_images_is_refused(more):
    with pytest.raises(RecipeError, match=r"set augment_on to loader, or leave (noise|shorter) out"):
        load_recipe("scenes_unet", {"data.augment_on": "device"} | more)


def test_images_of_several_sizes_are_refused_with_their_sizes():
    class Sizes:
        sizes_hw = ((30, 40), (20, 50), (30, 40))

    with pytest.raises(RecipeError, match=r"have 2 sizes, from 50x20 to 40x30: set data\.augment_on=loader"):
        require_alike(Sizes())  # type: ignore[arg-type]


def test_images_drawn_in_several_sizes_are_refused():
    change = OnDevice(Augment([], size_hw=(32, 48), preprocessing=Preprocessing(), info=INFO, seed=7))
    with pytest.raises(DataError, match=r"sizes \[\(40, 50\), \(40, 56\)\] \(H, W\): set data\.augment_on=loader"):
        change([sample(0), sample(1, width=50)], 0)


def test_stream_taken_up_in_an_epoch_has_the_bits_of_the_whole_one():
    loader, data = made("device")
    prepare = Prepare(data.preprocessing, torch.device("cpu"), transform=loader.transform)
    whole = [prepare(batch)["image"] for batch in loader.stream(0, 0, 2)]
    resumed = [prepare(batch)["image"] for batch in loader.stream(1, 1, 2)]
    assert len(whole) == 4
    assert torch.equal(resumed[0], whole[3])
