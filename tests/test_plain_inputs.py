"""The network gets of a plain data set what the log says, and photographs as the data set's transforms bring them."""

import logging
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import CenterCrop, Compose, Resize, ToTensor

import unpool
from unpool.assemble.inputs import colours, say_colours, say_sizes, sizes
from unpool.assemble.plain import wrap
from unpool.data.plain import Levels, find_levels
from unpool.data.plain.sizing import Sizing
from unpool.errors import DataError
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.images import read_image
from unpool.recipe import load_recipe
from unpool.types import DataInfo, Decoding

RECIPE = load_recipe("dataset_classification")
RAMP = torch.arange(192.0).view(3, 8, 8)
COVERING = Sizing("Resize(80), CenterCrop(64x64)", "cover", 0.8)


def decided(images, *, model=None, asked=()):
    levels = find_levels(images, None)
    values = {"data.black": levels.black, "data.white": levels.white, **colours(RECIPE, images, levels, model=model)}
    return load_recipe(RECIPE, values | dict(asked)), levels


@pytest.mark.parametrize("image", [RAMP, (RAMP / 8).floor(), RAMP / 255], ids=["to 255", "dark", "to 1"])
def test_a_network_of_ones_own_gets_the_values_of_floats(image, caplog):
    recipe, levels = decided([image], model=nn.Identity())
    data = recipe.data
    preprocessing = Preprocessing(mean=data.mean, std=data.std, value_range=data.value_range)
    assert torch.allclose(preprocessing.normalize(levels.to_uint8(image)), image, atol=1e-4)
    with caplog.at_level(logging.INFO, logger="unpool"):
        say_colours(recipe, [image])
    assert "the network gets the values that the data set gives" in caplog.text


@pytest.mark.parametrize(
    ("image", "asked", "said"),
    [
        (RAMP.byte(), {}, "gets them as -2.12 to 2.64, by data.value_range"),
        (RAMP, {"data.mean": [1.0] * 3}, "gets them as -1 to 254"),
        (RAMP, {"data.value_range": [0.0, 2.0]}, "gets them as 0 to 2, by data.value_range"),
        (RAMP, {"data.normalize": "image"}, "gets them by data.normalize image"),
    ],
)
def test_what_is_done_to_values_is_said(image, asked, said, caplog):
    recipe, _ = decided([image], model=nn.Identity(), asked=asked)
    with caplog.at_level(logging.INFO, logger="unpool"):
        say_colours(recipe, [image])
    assert said in caplog.text


def test_a_batch_that_the_recipe_overrules_is_named(caplog):
    data = DataLoader([(RAMP.byte(), 0)] * 4, batch_size=2)
    with caplog.at_level(logging.WARNING, logger="unpool"):
        wrap(data, RECIPE, DataInfo(classes=("a", "b")), part="train")
    assert "a DataLoader of 2 samples a batch and train.batch is 32" in caplog.text


@pytest.mark.parametrize(
    ("task", "sizing", "values", "said"),
    [
        ("classification", COVERING, ("cover", 0.8), "INFO.*as Resize.80., CenterCrop.64x64. does"),
        ("classification", Sizing("Resize(48x64)", "stretch"), ("stretch", 1.0), "INFO.*as Resize.48x64. does"),
        ("classification", Sizing("Resize(64)"), ("cover", 1.0), "WARNING.*of val, Resize.64., .* by data.rule cover"),
        ("classification", Sizing(), ("cover", 1.0), "INFO.*of other sizes to it by data.rule cover and data.crop 1"),
        ("pose", COVERING, ("fit", 1.0), "WARNING.*CenterCrop.64x64., .* by data.rule fit"),
        ("segmentation", COVERING, ("stretch", 0.875), "WARNING.*photographs as they are: set data.size"),
    ],
)
def test_photographs_are_brought_to_size_as_the_transforms_do_or_it_is_warned(task, sizing, values, said, caplog):
    recipe, images = load_recipe(f"dataset_{task}"), [torch.zeros(3, 48, 64)]
    recipe = load_recipe(recipe, sizes(recipe, images, sizing))
    assert (recipe.data.rule, recipe.data.crop) == values
    with caplog.at_level(logging.INFO, logger="unpool"):
        say_sizes(recipe, images, sizing)
    (record,) = caplog.records
    assert re.search(said, f"{record.levelname} {record.getMessage()}")


class Photographs(Dataset):
    classes = ("level", "upright")

    def __init__(self, count, folder, first=0):
        self.transform = Compose([Resize(24), CenterCrop(16), ToTensor()])
        self.files = [folder / f"{first + index}.png" for index in range(count)]
        for index, file in enumerate(self.files):
            generator = torch.Generator().manual_seed(first + index)
            noise = torch.randint(0, 100, (48, 60), generator=generator)
            bars = 120 * (torch.arange(60) // 12 % 2)
            Image.fromarray((noise + (bars if index % 2 else bars[:48, None])).byte().numpy()).save(file)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return self.transform(Image.open(self.files[index]).convert("RGB")), index % 2


def test_predict_answers_as_the_network_under_the_transforms_of_the_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 2))
    data, val = Photographs(8, tmp_path), Photographs(4, tmp_path, first=100)
    over = {"train.precision": "float32", "train.memory_format": "contiguous", "data.workers": 0}
    metrics = unpool.train(
        task="classification", model=network, train=data, val=val, epochs=1, overrides=over, run=tmp_path / "run"
    )
    run = Path(metrics["run"])
    predictor = unpool.load(run, model=network)
    with torch.inference_mode():
        logits = network(torch.stack([image for image, _ in val]))
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1])).item()
    expected = logits.softmax(1).amax(1).tolist()
    assert [record["score"] for record in predictor([image for image, _ in val])] == pytest.approx(expected, abs=1e-4)
    assert [record["score"] for record in predictor(val.files)] == pytest.approx(expected, abs=3e-4)
    assert [metrics["loss"], unpool.evaluate(run, model=network, reader=val)["loss"]] == pytest.approx(
        2 * [loss], abs=1e-5
    )


def test_images_beyond_the_levels_of_the_data_set_or_of_other_channels_are_refused():
    levels = Levels(0.0, 1.0, (0.5,) * 3, (0.25,) * 3)
    assert read_image(torch.zeros(3, 2, 2), Decoding(), levels).unique().tolist() == [128]
    with pytest.raises(DataError, match="once the normalisation is undone"):
        read_image(torch.full((3, 2, 2), 9.0), Decoding(), levels)
    with pytest.raises(ValueError, match="of 1 channels: expected 3"):
        read_image(torch.zeros(1, 2, 2), Decoding(), levels)
    with pytest.raises(TypeError, match="expected uint8"):
        read_image(torch.zeros(3, 2, 2), Decoding())
