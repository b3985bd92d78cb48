"""The sheet that `unpool show augment` draws."""

import json

import pytest
import torch
from PIL import Image

from unpool.assemble.augmented import EPOCHS, IMAGES, draw_augmented, show_augment
from unpool.assemble.data import read_data
from unpool.assemble.loaders import make_train_loader
from unpool.cli import environment
from unpool.cli.main import main
from unpool.errors import RecipeError
from unpool.ops.drawing_sheet import SIDE, draw_sheet
from unpool.recipe import load_recipe
from unpool.tasks.classification import Classification
from unpool.types import DataInfo

SMALL = {"data.count": 12, "data.side": 64}
STEPS = ["flip", {"rotate": {"degrees": 30}}, "elastic", "crop", "erasing"]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("scenes_unet", {"data.augment": STEPS}),
        ("scenes_ssd", {"data.augment": ["mosaic", *STEPS[:3]], "data.masks": True}),
        ("figures_simple_baselines", {"data.augment": STEPS}),
        ("figures_openpose", {"data.augment": STEPS}),
    ],
)
def test_sheet_has_a_row_an_image_and_a_column_an_epoch(name, more):
    shown = show_augment(name, SMALL | more)
    assert len(shown.images) == IMAGES
    assert shown.picture.dtype == torch.uint8
    assert shown.picture.shape[-1] > (1 + EPOCHS) * 60
    assert shown.picture.shape[-2] > IMAGES * 60


def test_sheet_shows_what_training_sees(monkeypatch):
    recipe = load_recipe("scenes_unet", SMALL | {"data.augment": STEPS})
    data = read_data(recipe)
    drawn = []
    monkeypatch.setattr("unpool.assemble.augmented.draw_sheet", lambda rows: drawn.append(rows) or torch.zeros(3, 1, 1))
    monkeypatch.setattr("unpool.tasks.segmentation.Segmentation.draw", lambda self, image, target: image)
    shown = draw_augmented(recipe, data)
    (rows,) = drawn
    assert [row[0][0] for row in rows] == list(shown.images)
    position = data.train.samples.names.index(shown.images[2])
    assert torch.equal(rows[2][0][1], data.train.samples[position]["image"])
    loader = make_train_loader(recipe, data)
    for epoch in range(EPOCHS):
        assert rows[2][1 + epoch][0] == f"epoch {epoch}"
        assert torch.equal(rows[2][1 + epoch][1], loader.batch_of([position], epoch)["image"][0])


def test_recipe_without_augmentation_has_nothing_to_show():
    with pytest.raises(RecipeError, match=r"data\.augment is empty.*nothing to show"):
        show_augment("scenes_unet", SMALL | {"data.augment": []})


def test_command_writes_the_sheet_and_replaces_none(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(environment, "prepare_torch", lambda: None)
    monkeypatch.chdir(tmp_path)
    words = ["show", "augment", "scenes_unet", "data.count=8", "data.augment=[flip]"]
    assert main([*words, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["steps"], values["picture"]) == (["flip"], "scenes_unet_augment.png")
    assert Image.open(tmp_path / "scenes_unet_augment.png").mode == "RGB"
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err


def test_mixed_image_names_both_classes(monkeypatch):
    monkeypatch.setattr("unpool.tasks.classification.caption", lambda image, text: text)
    target = {"label": torch.tensor(1), "other_label": torch.tensor(0), "mix": torch.tensor(0.7)}
    assert Classification(DataInfo(classes=("cat", "dog"))).draw(torch.zeros(3, 4, 4), target) == "dog 70%, cat 30%"


def test_large_pictures_are_made_smaller_at_their_aspect_and_cells_line_up():
    large, small = torch.full((3, 600, 1200), 200).byte(), torch.full((3, 20, 10), 100).byte()
    sheet = draw_sheet([[("a", large), ("b", small)], [("c" * 500, small)]])
    assert sheet.shape == (3, 6 + 18 + SIDE // 2 + 6 + 18 + 20 + 6, 6 + SIDE + 6 + 10 + 6)
    assert (sheet[:, 24 : 24 + SIDE // 2, 6 : 6 + SIDE] == 200).all()
    assert (sheet[:, 24:44, 12 + SIDE : 22 + SIDE] == 100).all()
    assert (sheet[:, 6 + 18 + SIDE // 2 + 24 :, 6:16][:, :20] == 100).all()
