import pytest
import torch
from PIL import Image
from torch import nn

from tests.small_figures import HOURGLASS, SMALL
from unpool import run
from unpool.data.figures import Figures
from unpool.recipe import load_recipe
from unpool.report_pictures import _spread, draw_examples
from unpool.tasks.classification import Classification
from unpool.training.step import Step
from unpool.types import DataInfo


def test_examples_are_spread_from_the_first_to_the_last():
    assert _spread(3, 8) == [0, 1, 2]
    assert _spread(100, 4) == [0, 33, 66, 99]


@pytest.mark.parametrize("name", ["figures_hourglass", "figures_openpose"])
def test_noise_as_an_augmentation_leaves_the_targets_to_be_drawn(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    overrides = SMALL | {"data.noise": {"gaussian": {"level": 25}}, "model.width": 4, "train.epochs": 1}
    run.train(name, overrides, run=tmp_path / "run")
    assert "loss" in (tmp_path / "run" / "report.html").read_text()


def test_picture_of_a_target_shows_the_file_without_the_noise_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []
    monkeypatch.setattr("unpool.finishing.write_report", lambda run, *, examples, **others: seen.append(examples[0]))
    overrides = HOURGLASS | {"data.noise": {"gaussian": {"level": 25}}, "model.width": 4, "train.epochs": 1}
    run.train("figures_hourglass", overrides, run=tmp_path / "run")
    options = load_recipe(tmp_path / "run" / "recipe.yaml").data.options
    assert torch.equal(seen[0].exhibit.pictures[0][1], Figures(None, "val", **options)[0]["image"])


def test_noise_beyond_the_range_of_a_pixel_is_drawn_white_and_not_black(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []
    monkeypatch.setattr("unpool.finishing.write_report", lambda run, *, examples, **others: seen.append(examples[0]))
    for split in ("train", "val"):
        for number in range(2):
            (tmp_path / "set" / split).mkdir(parents=True, exist_ok=True)
            Image.new("L", (16, 16), 252 - number).save(tmp_path / "set" / split / f"{split}{number}.png")
    small = {"data.root": str(tmp_path / "set"), "data.train_size": [16, 16], "data.workers": 0, "train.epochs": 1}
    fast = {"train.batch": 2, "train.precision": "float32", "train.memory_format": "contiguous", "model.width": 4}
    run.train("folder_dncnn", {**small, **fast}, run=tmp_path / "run")
    noisy = seen[0].exhibit.pictures[0][1]
    assert 255 in noisy
    assert noisy.float().mean() > 200


class Certain(nn.Module):
    """Answers class 0, the surer the brighter the image."""

    def forward(self, image):
        bright = image.mean((1, 2, 3))
        return torch.stack([bright, torch.zeros_like(bright)], dim=1)


def test_most_confident_mistakes_are_the_surest_wrong_answers(monkeypatch):
    monkeypatch.setattr("unpool.report_pictures.SHOWN", 8)  # which other tests have fewer of
    task = Classification(DataInfo(classes=("a", "b")))
    images = [torch.full((3, 8, 8), value, dtype=torch.uint8) for value in (10, 250, 100, 200)]
    labels = [1, 0, 1, 1]  # the second answer is right
    listed = [{"image": image, "label": torch.tensor(label)} for image, label in zip(images, labels, strict=True)]

    class Listed(list):
        names = ("p", "q", "r", "s")

    def collate(samples, epoch):
        return {key: torch.stack([one[key] for one in samples]) for key in ("image", "label")}

    drawn = draw_examples(
        Step(Certain(), task, precision="float32", device=torch.device("cpu")),
        Listed(listed),
        collate,
        prepare=lambda batch: {**batch, "image": batch["image"].float() / 255},
    )
    assert [one.name for one in drawn.confident] == ["s", "r", "p"]
    assert [one.name for one in drawn.worst] == ["s", "r", "p", "q"]
    assert [one.name for one in drawn.spread] == list("pqrs")
