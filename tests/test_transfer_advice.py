"""The lectures' table: four cases, each with advice, reason and keys of a recipe that are accepted."""

import pytest

from unpool import load_recipe, transfer_advice
from unpool.errors import RecipeError


@pytest.mark.parametrize(
    ("images", "is_similar", "command", "says"),
    [
        (60, True, "probe", "linear classifier on the features of the last stage"),
        (60, False, "probe", "several stages"),
        (2000, True, "train", "last stages at a tenth of the rate"),
        (2000, False, "train", "all stages"),
    ],
)
def test_advice_is_that_of_the_table_with_its_reason_and_keys(images, is_similar, command, says):
    advice = transfer_advice(images=images, classes=4, is_similar=is_similar)
    assert advice.command == command
    assert says in advice.action
    assert f"{images / 4:g} images a class are {'little' if images < 400 else 'much'}" in advice.reason
    load_recipe("folder_resnet18", {"data.root": "x", **advice.overrides})


def test_no_advice_on_images_that_do_not_make_two_classes():
    with pytest.raises(RecipeError, match="1 images of 2 classes"):
        transfer_advice(images=1, classes=2, is_similar=True)
