"""Every number that a recipe sets has limits, and what lies beyond them is refused by name."""

import json
import math
from inspect import Parameter
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from unpool.data.augment import AUGMENTATIONS, Augment
from unpool.data.noise import NOISES, AddNoise
from unpool.data.order import ORDERS
from unpool.data.readers import READERS
from unpool.errors import RecipeError
from unpool.models import MODELS
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import Recipe, load_recipe
from unpool.recipe.keywords import DERIVED, Option, options_of
from unpool.recipe.options import model_options
from unpool.tasks import TASKS
from unpool.types import DataInfo

EXTREME = [-1e300, -1, 0, 1e-300, 1e6, 1e300, math.inf, math.nan, 10**30, -(10**30)]
LONG = [[0.5] * 2000, [10**30] * 3, "x" * 20_000]
MOST = 2500  # characters of a message, whatever a value is
SIZE = (24, 32)


def tables() -> dict[str, tuple[dict[str, Any], dict[str, Option]]]:
    """By name of a row: the options that it needs, and all that it takes."""
    rows = {
        **{f"data.augment.{name}": options_of(row) for name, row in AUGMENTATIONS.items()},
        **{f"data.noise.{name}": options_of(row) for name, row in NOISES.items()},
        **{f"data.order.{name}": options_of(row) for name, row in ORDERS.items()},
        **{f"reader.{name}": options_of(row, DERIVED["data"]) for name, row in READERS.items()},
        **{f"task.{name}": options_of(row, DERIVED["task"]) for name, row in TASKS.items()},
    }
    for name, row in MODELS.items():
        needs = row.kind == "composed" and row.backbone is None
        rows[f"model.{name}"] = model_options(name, "resnet18" if needs else None)
    return rows


def numbers(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a JSON Schema that are numbers, of whatever depth."""
    inner = [part for key in ("anyOf", "prefixItems") for part in schema.get(key, ())]
    inner += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    mine = [schema] if schema.get("type") in ("integer", "number") else []
    return [*mine, *(part for one in inner for part in numbers(one))]


ROWS = tables()
OPTIONS = [(row, name) for row, options in ROWS.items() for name in options]
NUMERIC = [(row, name) for row, name in OPTIONS if numbers(TypeAdapter(ROWS[row][name].kind).json_schema())]
FIELDS = [
    (section, key)
    for section in ("Data", "Train")
    for key, schema in Recipe.model_json_schema()["$defs"][section]["properties"].items()
    if numbers(schema)
]


def is_limited(schema: dict[str, Any]) -> bool:
    low, high = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
    return any(key in schema for key in low) and any(key in schema for key in high)


def test_tables_have_numeric_options():
    assert len(NUMERIC) > 150
    assert len(FIELDS) > 25


@pytest.mark.parametrize(("row", "name"), sorted({(r.split(".")[0] + "." + r.split(".", 1)[1], n) for r, n in NUMERIC}))
def test_every_numeric_option_states_its_limits(row, name):
    for schema in numbers(TypeAdapter(ROWS[row][name].kind).json_schema()):
        assert is_limited(schema), schema


@pytest.mark.parametrize(("section", "key"), FIELDS)
def test_every_numeric_key_states_its_limits(section, key):
    for schema in numbers(Recipe.model_json_schema()["$defs"][section]["properties"][key]):
        assert is_limited(schema), schema


def overrides(row: str, name: str, value: Any) -> dict[str, Any]:
    part, _, rest = row.partition(".")
    if part == "data":
        key, _, kind = rest.partition(".")
        needed = {n: default_of(kind, n) for n, o in ROWS[row].items() if o.default is Parameter.empty}
        entry = {kind: {**needed, name: value}}
        return {f"data.{key}": [entry] if key == "augment" else entry}
    if part == "reader":
        return {"data.reader": rest, "data.root": "/nowhere", f"data.{name}": value}
    if part == "task":
        fitting = next(model for model in MODELS if MODELS[model].gives in TASKS[rest].takes)
        return {"task.name": rest, "model.name": fitting, f"task.{name}": value}
    backbone = (
        {"model.backbone": "resnet18"} if MODELS[rest].kind == "composed" and MODELS[rest].backbone is None else {}
    )
    return {"model.name": rest, **backbone, f"model.{name}": value}


def default_of(kind: str, name: str) -> Any:
    return {"rotate": 10, "shear": 10, "gaussian": 10, "poisson": 10, "p_times_k": 2}.get(kind, 0.1)


def bare(overridden: dict[str, Any]) -> Recipe:
    plain = {"data": {"reader": "scenes", "augment": [], "order": "shuffled"}, "model": {"name": "lenet5"}}
    tree = plain | {"task": {"name": "classification"}, "train": {"epochs": 1, "batch": 4, "lr": 0.1}, "about": "x"}
    return load_recipe(Recipe.model_validate_json(json.dumps(spelled(tree))), overridden)


def accepted(overridden: dict[str, Any], name: str) -> Recipe | None:
    """The recipe; None where it is refused, by the name of the option and in few words."""
    try:
        return bare(overridden)
    except RecipeError as error:
        message = str(error)
    assert name in message
    assert len(message) < MOST
    return None


def spelled(tree: dict[str, Any]) -> dict[str, Any]:
    data = {**tree["data"], "order": {"shuffled": {}}, "mean": [0.5] * 3, "std": [0.5] * 3}
    return {**tree, "data": data}


SOME = [pair for pair in NUMERIC if not pair[0].startswith("model.")]
SOME += [
    pytest.param(f"model.{name}", option, marks=pytest.mark.slow)
    for name in ("unet", "cpm", "mlp", "deeplabv3", "deeppose3", "fcn8s")
    for option in ROWS[f"model.{name}"]
    if (f"model.{name}", option) in NUMERIC
]


@pytest.mark.parametrize(("row", "name"), SOME)
def test_extreme_value_is_refused_by_name_or_works(row, name):
    for value in [*EXTREME, *LONG, *([v, v] for v in (-1, 0, 1e-300, 1e300)), [1e-300, 1e300]]:
        recipe = accepted(overrides(row, name, value), name)
        if recipe is not None and row.startswith(("data.augment", "data.noise")):
            assert_finite(recipe)


def assert_finite(recipe: Recipe) -> None:
    """A batch of the augmentations and noise of a recipe has finite values."""
    samples = [
        {
            "image": torch.full((3, *SIZE), 100, dtype=torch.uint8),
            "index": torch.tensor(i),
            "size_hw": torch.tensor(SIZE),
        }
        for i in range(2)
    ]
    steps = [AUGMENTATIONS[name](**options) for name, options in recipe.data.steps]
    transform = Augment(steps, size_hw=SIZE, preprocessing=Preprocessing(), info=DataInfo(), seed=0)
    for name, options in (recipe.data.noise or {}).items():
        transform = AddNoise(transform, NOISES[name](**options), seed=0, evaluates=False)
    for epoch in range(2):
        assert torch.stack(list(transform(samples, epoch)["image"])).float().isfinite().all()


@pytest.mark.parametrize(("section", "key"), FIELDS)
def test_extreme_value_of_a_key_is_refused_by_name_or_taken(section, key):
    for value in [*EXTREME, *LONG, *([v, v] for v in (-1, 0, 1e-300, 1e300)), [1e-300, 1e300]]:
        accepted({f"{section.lower()}.{key}": value}, key)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.augment=[{scale: {range: [1, 1e300]}}]", "at least 0.01 and at most 100"),
        ("data.augment=[{scale: {range: [1, 1e400]}}]", "finite"),
        ("data.augment=[{translate: {pixels: 1000000}}]", "at most 10000"),
        ("data.noise={gaussian: {level: 1e300}}", "at most 255"),
        ("train.lr=1e-300", "at least 1e-12"),
        ("train.clip_norm=1e-300", "at least 1e-06"),
    ],
)
def test_what_trained_in_silence_is_refused_with_its_limits(override, words):
    with pytest.raises(RecipeError, match=words):
        load_recipe("scenes_unet", [override])


def test_long_values_names_and_paths_are_cut_in_every_message():
    long = "n" * 100_000
    tries = [
        lambda: load_recipe(long),
        lambda: load_recipe(f"{long}.yaml"),
        lambda: load_recipe(f"a/{long}"),
        *(
            (lambda text=text: load_recipe("scenes_unet", [text]))
            for text in (
                *(
                    long,
                    f"{long}=1",
                    f"data.{long}=1",
                    f"data.reader={long}",
                    f"data.root={long}",
                    f"model.name={long}",
                ),
                *(f"model.backbone={long}", f"model.weights={long}", f"task.name={long}", f"train.{long}=1"),
                *(f"train.lr={long}", f"train.schedule={long}", f"data.augment=[{long}]", f"data.noise={long}"),
                *(f"data.order={long}", f"data.augment=[{{flip: {{{long}: 1}}}}]", f"model.width='{long}'"),
                *(f"train.lr=!{long} 1", f"train.lr=*{long}", f"train.lr={'1' * 100_000}", f"about='{long}'"),
            )
        ),
    ]
    for attempt in tries:
        with pytest.raises(RecipeError) as caught:
            attempt()
        assert len(str(caught.value)) < MOST, str(caught.value)[:300]
        assert "n" * 101 not in str(caught.value)


def test_network_of_one_stage_takes_one_weight():
    weights = TypeAdapter(options_of(TASKS["pose"], DERIVED["task"])["stage_weights"].kind)
    assert list(weights.validate_python([0.5])) == [0.5]
    with pytest.raises(ValueError, match="at least 1 item"):
        weights.validate_python([])
