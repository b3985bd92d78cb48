"""Builds the JSON Schema of all recipes, with which editors complete and check a recipe."""

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

from unpool.recipe.keywords import DERIVED, Option, options_of
from unpool.recipe.options import model_options
from unpool.recipe.settings import Recipe

Options = Mapping[str, Option]
TIMM = {"type": "string", "pattern": "^timm/"}  # timm's names are not listed: timm need not be installed


def recipe_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a recipe: every key, name and option. Imports torch, for the tables."""
    from unpool.data.augment import AUGMENTATIONS
    from unpool.data.noise import NOISES
    from unpool.data.order import ORDERS
    from unpool.data.proposals import PROPOSERS
    from unpool.data.readers import READERS
    from unpool.layers.initializations import INITS
    from unpool.models import BACKBONES, MODELS
    from unpool.tasks import TASKS

    schema = Recipe.model_json_schema()
    data, model, task = (schema["$defs"][name] for name in ("Data", "Model", "Task"))
    _choose(data, "reader", {name: options_of(row, DERIVED["data"]) for name, row in READERS.items()})
    _choose(task, "name", {name: options_of(row, DERIVED["task"]) for name, row in TASKS.items()})
    _choose(model, "name", {name: model_options(name, None) for name in MODELS})
    _choose(model, "backbone", {name: options_of(row.build, DERIVED["model"]) for name, row in BACKBONES.items()})
    model["properties"]["name"] = {"anyOf": [model["properties"]["name"], TIMM]}
    model["properties"]["backbone"]["enum"].append(None)
    model["properties"]["backbone"] = {"anyOf": [model["properties"]["backbone"], TIMM]}
    steps = [_step(name, options_of(row)) for name, row in AUGMENTATIONS.items()]
    data["properties"]["augment"]["items"] = {"anyOf": [{"enum": list(AUGMENTATIONS)}, *steps]}
    kinds = [_step(name, options_of(row)) for name, row in NOISES.items()]
    data["properties"]["noise"] = {"anyOf": [{"enum": [*NOISES, None]}, *kinds], "default": None}
    sources = [_step(name, options_of(row)) for name, row in PROPOSERS.items()]
    data["properties"]["proposals"] = {"anyOf": [{"enum": [*PROPOSERS, None]}, *sources], "default": None}
    orders = [_step(name, options_of(row)) for name, row in ORDERS.items()]
    data["properties"]["order"] = {"anyOf": [{"enum": list(ORDERS)}, *orders], "default": "shuffled"}
    inits = [_step(name, options_of(row)) for name, row in INITS.items()]
    model["properties"]["init"] = {"anyOf": [{"enum": [*INITS, None]}, *inits], "default": None}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _choose(section: dict[str, Any], key: str, rows: Mapping[str, Options]) -> None:
    """Changes a section's schema: the key takes a row's name, the section the options of that row and no other."""
    section.pop("additionalProperties", None)
    section["unevaluatedProperties"] = False
    section["properties"][key] = {"enum": list(rows)}
    section.setdefault("allOf", []).extend(
        {
            "if": {"properties": {key: {"const": name}}, "required": [key]},
            "then": {"properties": _properties(options), "required": _required(options)},
        }
        for name, options in rows.items()
        if options
    )


def _step(name: str, options: Options) -> dict[str, Any]:
    inner = {
        "type": ["object"] if _required(options) else ["object", "null"],
        "properties": _properties(options),
        "required": _required(options),
        "additionalProperties": False,
    }
    return {"type": "object", "properties": {name: inner}, "required": [name], "additionalProperties": False}


def _required(options: Options) -> list[str]:
    return [name for name, option in options.items() if option.default is Parameter.empty]


def _properties(options: Options) -> dict[str, Any]:
    return {name: _kind(option) for name, option in options.items()}


def _kind(option: Option) -> dict[str, Any]:
    try:
        kind = TypeAdapter(option.kind).json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError):
        return {}  # an annotation that JSON Schema cannot express
    return {} if "$defs" in kind else kind
