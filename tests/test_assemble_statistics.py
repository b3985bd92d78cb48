"""Mean and deviation of each channel or location, counted by hand."""

import logging

import numpy as np
import pytest
import torch

from tests.data.loading import Numbers
from unpool import conduct
from unpool.assemble.data import read_data
from unpool.assemble.statistics import with_mean_image, with_statistics
from unpool.custom_parts import CustomParts
from unpool.errors import DataError
from unpool.ops.mean_image import pack, unpack
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import load_recipe
from unpool.run_directory import RunDirectory
from unpool.types import Sample


class Halves(Numbers):
    """Images of two channels, half of the pixels 0 in the first and 51 in the second, the others 102 and 153."""

    def __getitem__(self, index: int) -> Sample:
        image = torch.tensor([[[0, 102]], [[51, 153]]], dtype=torch.uint8)
        return {"image": image.repeat(1, 1 + index, 2)}


@pytest.mark.parametrize(
    ("value_range", "mean", "std"),
    [((0.0, 1.0), (0.2, 0.4), 0.2), ((-1.0, 1.0), (-0.6, -0.2), 0.4), ((0.0, 255.0), (51.0, 102.0), 51.0)],
)
def test_mean_and_deviation_are_on_the_range_of_the_values(value_range, mean, std) -> None:
    made = with_statistics(Preprocessing(value_range=value_range, mean=(0.0,) * 2, std=(1.0,) * 2), Halves(5))
    assert made.mean == pytest.approx(mean)
    assert made.std == pytest.approx((std, std))


class OneColour(Numbers):
    def __getitem__(self, index: int) -> Sample:
        return {"image": torch.full((1, 4, 4), 51, dtype=torch.uint8)}


def test_deviation_of_one_colour_is_one_step_of_8_bits() -> None:
    made = with_statistics(Preprocessing(value_range=(0.0, 1.0), mean=(0.0,), std=(1.0,)), OneColour(3))
    assert (made.mean, made.std) == (pytest.approx((0.2,)), pytest.approx((1 / 255,), abs=1e-4))


class Ramps(Numbers):
    """Images of three channels and of two sizes, no two pixels and no two images alike."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.sizes_hw = [(6, 8) if i % 2 else (12, 16) for i in range(size)]

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index)
        low = torch.tensor([0, 60, 120])[:, None, None]
        image = torch.randint(0, 130, (3, *self.sizes_hw[index]), generator=generator) + low
        return {"image": image.to(torch.uint8), "index": torch.tensor(index)}


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_training_set_has_zero_mean_and_unit_deviation_in_either_order(order) -> None:
    samples = Ramps(40)
    samples.sizes_hw = [(12, 16)] * 40
    made = with_statistics(Preprocessing(order=order, mean=(0.0,) * 3, std=(1.0,) * 3), samples)
    seen = torch.stack([made.normalize(samples[i]["image"]) for i in range(40)]).double()
    assert seen.mean((0, 2, 3)).abs().max() < 1e-3
    assert (seen.std((0, 2, 3)) - 1).abs().max() < 1e-2


@pytest.mark.parametrize(("order", "multiple"), [("rgb", 1), ("bgr", 4)])
def test_each_location_of_the_training_set_has_zero_mean(order, multiple) -> None:
    plain = Preprocessing(size_hw=(6, 7), order=order, multiple=multiple, value_range=(-1.0, 1.0))
    made = with_mean_image(plain, Ramps(10))
    seen = torch.stack([made.normalize(made.resize(Ramps(10)[i]["image"])) for i in range(10)]).double()
    assert seen.mean(0)[:, :6, :7].abs().max() < 1e-5
    assert (made.std, made.mean) == (plain.std, plain.mean)


def test_mean_image_is_counted_where_it_can_be_stopped() -> None:
    told: list[tuple[int, int]] = []
    with_mean_image(Preprocessing(size_hw=(6, 7)), Ramps(3), progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3)]


def test_resumed_run_keeps_the_mean_image_that_it_began_with(tmp_path, monkeypatch) -> None:
    begun = pack(torch.full((3, 32, 32), 0.25))
    counted = {"data.count": 4, "data.side": 32, "data.size": [32, 32], "data.normalize": "location"}
    file = counted | {"data.mean_image": str(tmp_path / "mean.npy")}
    np.save(tmp_path / "mean.npy", np.full((3, 32, 32), 0.25))
    monkeypatch.setattr("unpool.assemble.data.with_mean_image", lambda *_, **__: pytest.fail("counted anew"))
    for chosen in (counted, file):
        made = read_data(load_recipe("scenes_unet", chosen), begun_with=begun).preprocessing
        assert (made.normalization, made.mean_image) == ("location", begun)
    with pytest.raises(DataError, match=r"mean\.npy holds another mean image than the run began with"):
        read_data(load_recipe("scenes_unet", file), begun_with=pack(torch.zeros(3, 32, 32)))


def test_resume_reads_the_mean_image_of_the_run(tmp_path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(conduct, "check_same_set", lambda *_: [])
    monkeypatch.setattr(conduct, "read_data", lambda _, **options: asked.append(options["begun_with"]))
    monkeypatch.setattr(RunDirectory, "read_json", lambda *_: {"preprocessing": {"mean_image": "AAAA"}})
    for _ in range(2):
        conduct._same_data(
            load_recipe("scenes_unet"), RunDirectory(tmp_path), CustomParts(), unreadable=(), progress=lambda *_: None
        )
        (tmp_path / "recipe.yaml").touch()
    assert asked == [None, "AAAA"]


def test_recipe_asks_for_the_statistics_of_its_training_images(caplog) -> None:
    caplog.set_level(logging.INFO)
    small = {"data.count": 6, "data.side": 32, "data.size": [32, 32]}
    counted = read_data(load_recipe("scenes_unet", small | {"data.mean": [], "data.std": []}))
    images = torch.stack([counted.train.samples[i]["image"] for i in range(6)]).double() / 255
    assert counted.preprocessing.mean == pytest.approx(images.mean((0, 2, 3)).tolist(), abs=1e-4)
    by_location = read_data(load_recipe("scenes_unet", small | {"data.normalize": "location"})).preprocessing
    assert by_location.normalization == "location"
    assert torch.allclose(unpack(str(by_location.mean_image), (3, 32, 32)), images.mean(0).float(), atol=1e-6)
    assert "the mean image was counted in 6 training images" in caplog.text
