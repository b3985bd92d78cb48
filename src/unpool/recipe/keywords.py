"""Keyword arguments of the rows of tables: which a constructor takes, and what of a recipe does not fit them."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, signature
from typing import Any, NamedTuple

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from unpool.errors import quoted
from unpool.recipe.mistakes import Mistake, allowed, shown, unknown_key

# keyword arguments that `assemble` derives from other keys or from the data: no options of a recipe
DERIVED = {
    "data": {
        "decoding": "write data.channels, data.bands, data.range and data.background",
        "together": "copies of an image are looked for in the data",
    },
    "model": {"num_classes": "it comes from the data", "in_channels": "it comes from data.channels"},
    "task": dict.fromkeys(("num_classes", "samples", "preprocessing"), "it comes from the data"),
}


class Option(NamedTuple):
    """One keyword argument of a constructor: its annotation, and its default or `Parameter.empty`."""

    kind: Any
    default: Any


Rows = Mapping[str, Mapping[str, Option]]  # of a table, by name


def options_of(build: Callable[..., Any], derived: Mapping[str, str] | None = None) -> dict[str, Option]:
    """Returns the keyword-only arguments of a class or function by name, without those in `derived`."""
    parameters = signature(build, eval_str=True).parameters.values()
    return {
        p.name: Option(p.annotation, p.default)
        for p in parameters
        if p.kind is Parameter.KEYWORD_ONLY and p.name not in (derived or {})
    }


def misfits(
    path: tuple[str | int, ...],
    what: str,
    options: Mapping[str, Any],
    known: Mapping[str, Option],
    *,
    extra: tuple[str, ...] | list[str] = (),
) -> Iterator[Mistake]:
    """Keys that are derived from others, unknown, missing, or of a value that their annotation does not allow."""
    derived = DERIVED.get(str(path[0]), {}) if len(path) == 1 else {}
    for key, value in options.items():
        if key in derived:
            yield Mistake((*path, key), f"{what} takes no key {quoted(key)}: {derived[key]}")
        elif key not in known:
            yield Mistake((*path, key), unknown_key(what, key, [*known, *extra]))
        elif wanted := _misfit(known[key].kind, value):
            yield Mistake((*path, key), f"{what}: {key} is {shown(value)}; it must be {wanted}")
    for key, option in known.items():
        if option.default is Parameter.empty and key not in options:
            yield Mistake(path, f"{what} lacks {quoted(key)}")


def _misfit(kind: Any, value: Any) -> str:
    """The values that the annotation allows, in words; empty if the value is one of them."""
    if not is_finite(value):
        return "finite"
    try:
        adapter = TypeAdapter(Any if kind is Parameter.empty else kind)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return ""  # pydantic does not know the annotation's class: the constructor checks the value
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError:
        schema = adapter.json_schema()
        return allowed(schema, schema)
    return ""


def is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
