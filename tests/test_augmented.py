"""The sheet that `unpool show augment` draws."""

import json

import pytest
import torch
from PIL import Image

from unpool.assemble import augmented
from unpool.assemble.augmented import EPOCHS, IMAGES, _enlarged, _read, draw_augmented, show_augment
from unpool.assemble.data import read_data
from unpool.assemble.loaders import make_train_loader
from unpool.cli import environment
from unpool.cli.main import main
from unpool.data.image_file import Unusable
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
    monkeypatch.setattr(augmented, "LEAST", 1)  # nothing is enlarged
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


def test_image_that_cannot_be_read_gives_way_to_the_next_one(monkeypatch):
    class Some(list):
        def __getitem__(self, index):
            if index in self.damaged:
                raise Unusable(f"{index}.png", "cut off")
            return index

    some = Some(range(6))
    some.damaged = {0, 5}
    assert _read(some, [0, 2, 5]) == {1: 1, 2: 2}  # what stands behind 5, at the start again, is no new image
    some.damaged = set()
    assert list(_read(some, [0, 2, 5])) == [0, 2, 5]
    some.damaged = set(range(6))
    with pytest.raises(Unusable, match="cut off"):
        _read(some, [0, 2, 5])


def test_small_image_is_enlarged_with_what_lies_on_it():
    image, corner = torch.zeros(3, 32, 20, dtype=torch.uint8), torch.zeros(32, 20, dtype=torch.uint8)
    image[:, 4:8, 2:6], corner[4:8, 2:6] = 255, 1
    target = {"mask": corner, "boxes": torch.tensor([[2.0, 4.0, 6.0, 8.0]]), "labels": torch.tensor([3])}
    target |= {"clean": image, "label": torch.tensor(1), "keypoints": torch.tensor([[2.0, 4.0]])}
    large, moved = _enlarged(image, target)
    assert large.shape == (3, 192, 120)  # by a whole factor
    assert torch.equal(large, moved["clean"])
    assert torch.equal(large[0] == 255, moved["mask"] == 1)
    assert torch.allclose(moved["boxes"], 6 * target["boxes"])
    assert (int(moved["label"]), moved["labels"].tolist()) == (1, [3])
    assert torch.allclose(moved["keypoints"], torch.tensor([[14.5, 26.5]]))  # the centre of the same pixel
    wide = torch.zeros(1, 60, 100, dtype=torch.uint8)
    assert _enlarged(wide, target) == (wide, target)


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
