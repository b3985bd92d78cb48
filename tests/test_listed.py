"""listed.txt, by which a recipe is checked before torch is imported."""

from inspect import Parameter, signature

import pytest

from unpool.data.readers import READERS
from unpool.errors import RecipeError
from unpool.models import MODELS
from unpool.recipe import early_recipe, load_recipe, recipe_names
from unpool.recipe.keywords import DERIVED, Option, options_of
from unpool.recipe.listed import FILE
from unpool.recipe.options import model_options
from unpool.tasks import TASKS

HOW = "write it anew: .venv/bin/python -m tests.test_listed"


def line(section: str, name: str, words: tuple[str, ...], options: dict[str, Option]) -> str:
    names = [f"{key}{'!' if option.default is Parameter.empty else ''}" for key, option in options.items()]
    return " ".join([section, name, *words]) + ": " + " ".join(names)


def lines() -> list[str]:
    needs = {name: signature(row).parameters["root"].default is Parameter.empty for name, row in READERS.items()}
    return [
        text.strip()
        for text in (
            *(line("data", n, ("root",) * needs[n], options_of(row, DERIVED["data"])) for n, row in READERS.items()),
            *(line("task", n, row.takes, options_of(row, DERIVED["task"])) for n, row in TASKS.items()),
            *(line("model", n, (), model_options(n, None)) for n in MODELS),
        )
    ]


def test_list_is_the_tables():
    assert FILE.read_text().splitlines() == lines(), HOW


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.val_shar=0.3", "did you mean 'val_share'?"),
        ("data.readr=folder", "did you mean 'reader'?"),
        ("data.reader=foldr", "did you mean 'folder'?"),
        ("data.decoding=1", "write data.channels"),
        ("task.label_smothing=0.1", "did you mean 'label_smoothing'?"),
        ("task.nam=pose", "did you mean 'name'?"),
        ("model.nme=unet", "did you mean 'name'?"),
        ("model.weight=imagenet", "did you mean 'weights'?"),
        ("model.name=resnt18", "no network is called 'resnt18'; did you mean: resnet18"),
        ("model.name=unet", "networks that fit: resnet18"),
    ],
)
def test_what_the_list_shows_is_refused_early_in_the_words_of_the_tables(tmp_path, override, says):
    overrides = [f"data.root={tmp_path}", override]
    with pytest.raises(RecipeError) as late:
        load_recipe("folder_resnet18", overrides)
    with pytest.raises(RecipeError) as early:
        early_recipe("folder_resnet18", overrides)
    assert says in str(early.value)
    assert str(early.value) == str(late.value)


def test_folder_that_no_key_names_is_asked_for_early():
    with pytest.raises(RecipeError, match=r"reader folder needs a folder; say which: data\.root=DIR"):
        early_recipe("folder_resnet18")
    assert early_recipe("scenes_unet").data.root is None


@pytest.mark.parametrize("name", recipe_names())
def test_no_recipe_is_refused_early(name, tmp_path):
    early_recipe(name, [f"data.root={tmp_path}"])


@pytest.mark.parametrize("overrides", [["model.backbone=resnet50"], ["model.name=timm/resnet18"]])
def test_what_the_list_lacks_is_left_to_the_tables(overrides, tmp_path):
    early_recipe("folder_unet", [f"data.root={tmp_path}", "model.strange=3", *overrides])


if __name__ == "__main__":
    FILE.write_text("\n".join([*lines(), ""]))
