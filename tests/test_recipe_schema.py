"""The schema of a recipe knows every name of every table and every option of every row."""

from unpool.data.augment import AUGMENTATIONS
from unpool.data.noise import NOISES
from unpool.data.order import ORDERS
from unpool.data.readers import READERS
from unpool.models import MODELS, known_options
from unpool.recipe import recipe_schema
from unpool.tasks import TASKS


def test_schema_knows_every_name_of_every_table():
    parts = recipe_schema()["$defs"]
    assert parts["Data"]["properties"]["reader"]["enum"] == list(READERS)
    assert parts["Model"]["properties"]["name"]["anyOf"][0]["enum"] == list(MODELS)
    assert parts["Task"]["properties"]["name"]["enum"] == list(TASKS)
    assert parts["Data"]["properties"]["augment"]["items"]["anyOf"][0]["enum"] == list(AUGMENTATIONS)
    assert parts["Data"]["properties"]["order"]["anyOf"][0]["enum"] == list(ORDERS)
    assert parts["Data"]["properties"]["noise"]["anyOf"][0]["enum"] == [*NOISES, None]


def test_schema_lets_in_an_option_only_with_its_row():
    rows = recipe_schema()["$defs"]["Data"]["allOf"]
    takes = {row["if"]["properties"]["reader"]["const"]: row["then"]["properties"] for row in rows}
    assert takes["folder"]["val_share"]["type"] == "number"
    assert "val_share" not in takes["camvid"]
    assert recipe_schema()["$defs"]["Data"]["unevaluatedProperties"] is False


def test_schema_leaves_out_what_the_data_gives():
    rows = recipe_schema()["$defs"]["Task"]["allOf"]
    takes = {row["if"]["properties"]["name"]["const"]: row["then"]["properties"] for row in rows}
    assert set(takes["denoising"]) == {"loss", "huber_delta", "residual"}
    assert set(takes["segmentation"]) == {"loss", "focal_gamma", "class_weights", "auxiliary_weight"}


def test_schema_lets_in_the_names_of_timm_unlisted():
    known = recipe_schema()["$defs"]["Model"]["properties"]
    assert known["name"]["anyOf"][1] == known["backbone"]["anyOf"][1] == {"type": "string", "pattern": "^timm/"}
    assert known["backbone"]["anyOf"][0]["enum"][-1] is None


def test_schema_gives_a_composed_network_the_options_of_its_backbone_too():
    rows = recipe_schema()["$defs"]["Model"]["allOf"]
    takes = {
        row["if"]["properties"]["name"]["const"]: row["then"]["properties"]
        for row in rows
        if "name" in row["if"]["properties"]
    }
    for name, row in MODELS.items():
        assert set(takes.get(name, ())) == set(known_options(name))
        assert row.kind != "composed" or "width" in takes[name]
