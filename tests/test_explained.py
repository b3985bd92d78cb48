"""A recipe with every key and a line of help each."""

import re
from itertools import pairwise

import pytest

from unpool.cli.main import main
from unpool.errors import RecipeError
from unpool.recipe import explain, load_recipe, recipe_names
from unpool.recipe.explained import help_of
from unpool.recipe.keywords import DERIVED, options_of
from unpool.recipe.options import model_options
from unpool.recipe.settings import Data, Model, Train


@pytest.mark.parametrize("name", recipe_names())
def test_text_is_the_same_recipe_with_help_for_every_key(name, tmp_path):
    recipe = load_recipe(name)
    text = explain(recipe)
    (tmp_path / "all.yaml").write_text(text)
    assert load_recipe(tmp_path / "all.yaml") == recipe
    lines = text.splitlines()
    bare = [
        line
        for above, line in pairwise(lines)
        if re.match(r"  (# )?\w+:", line) and not re.search(r"# \w+: +\S|: .*# \S", line) and above[:6] != "  #   "
    ]
    assert bare == []
    assert [line for line in lines if "#" in line and len(line) > 80] == []


def test_every_key_of_sections_and_rows_is_there():
    from unpool.data.readers import READERS
    from unpool.tasks import TASKS

    recipe = load_recipe("folder_resnet18")
    expected = {*Data.model_fields, *Model.model_fields, *Train.model_fields, *model_options("resnet18", None)}
    expected |= {*options_of(READERS["folder"], DERIVED["data"]), *options_of(TASKS["classification"], DERIVED["task"])}
    assert set(re.findall(r"^  (?:# )?(\w+):", explain(recipe), flags=re.MULTILINE)) == expected


def test_help_is_the_first_sentence_of_the_docstring_with_the_words_to_choose_from():
    shown = " ".join(explain(load_recipe("folder_resnet18")).replace("\n  #   ", " ").split())
    for text in (
        "over all steps, after the warm-up: constant, step, cosine, poly, onecycle, plateau schedule: cosine",
        "the format of the data: box_scenes, boxes_csv, camvid, captions_csv, cifar, ",
        "channels of the stem and width of the first stage; it doubles with each stage width: 64",
        "folders with other names are refused # classes:",
        "batch: 32 # images per step, before accumulation ",
    ):
        assert text in shown


def test_help_says_null_as_a_recipe_does_and_not_none(capsys):
    shown = explain(load_recipe("folder_unet"))
    assert "null keeps the size of the images" in shown
    assert not re.search(r"#.*\bNone\b", shown)


def test_arguments_come_before_attributes_and_a_class_before_its_bases():
    class Base:
        """A base.

        Args:
            one: of the base. More.
            two: of the base.
        """

    class Row(Base):
        """A row.

        Args:
            one: of the row,
                on two lines. More.

        Attributes:
            one: of the attribute.
        """

    assert help_of(Row) == {"one": "of the row, on two lines", "two": "of the base"}


def test_command_prints_it(capsys):
    assert main(["recipes", "mnist_convnet", "--all"]) == 0
    assert capsys.readouterr().out == explain(load_recipe("mnist_convnet")) + "\n"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("epochs=5", "did you mean train.epochs=5?"),
        ("batch_size=8", "did you mean train.batch=8?"),
        ("name=x", "did you mean model.name=x or task.name=x?"),
        ("backbon=resnet18", "did you mean model.backbone=resnet18?"),
        ("zzz=5", "there is no section 'zzz'"),
    ],
)
def test_key_without_its_section_gets_a_suggestion(override, says):
    with pytest.raises(RecipeError, match=re.escape(says)):
        load_recipe("folder_resnet18", [override])


@pytest.mark.parametrize(
    ("recipe", "overrides", "says"),
    [
        ("folder_resnet18", ["model.name=unet"], "'unet' gives a map for each class.* networks that fit: resnet18, "),
        ("folder_unet", ["model.name=vgg16"], "'vgg16' gives one score for each class.* networks that fit: fcn32s, "),
        ("folder_unet", ["model.name=hourglass1", "model.backbone=null"], "gives a small map for each joint"),
        ("figures_hourglass", ["model.name=openpose"], "gives maps for joints and for limbs"),
        ("lsp_deeppose", ["model.name=alexnet"], "fit: deeppose, deeppose_grouped, deeppose3, joint_regression "),
    ],
)
def test_network_that_gives_another_kind_of_output_is_refused_with_those_that_fit(recipe, overrides, says):
    with pytest.raises(RecipeError, match=says):
        load_recipe(recipe, overrides)
