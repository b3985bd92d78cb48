"""Describes the mistakes in a recipe: the key, its value, what is expected, and the nearest valid name."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from unpool.errors import quoted, shortened

MEANT = {  # other tools' names of our keys
    "learning_rate": "lr",
    "batch_size": "batch",
    "num_epochs": "epochs",
    "wd": "weight_decay",
    "opt": "optimizer",
    "scheduler": "schedule",
    "warmup": "warmup_epochs",
    "num_workers": "workers",
    "augmentation": "augment",
    "transforms": "augment",
    "path": "root",
    "dataset": "reader",
    "image_size": "size",
    "arch": "name",
    "encoder": "backbone",
    "grad_clip": "clip_norm",
}
_BETWEEN = re.compile(r"\s*[,;x\u00d7]\s*|\s+")
_NUMBERS = re.compile(rf"[({{]?\s*([0-9.]+(?:(?:{_BETWEEN.pattern})[0-9.]+)*)\s*[)}}]?")
_KINDS = {"boolean": "true or false", "string": "text", "null": "null", "object": "a mapping"}
_LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


class Mistake(NamedTuple):
    """One mistake: the path of keys and list positions to it, and the sentence that describes it."""

    path: tuple[str | int, ...]
    text: str


def mistakes_of(error: ValidationError, model: type[BaseModel]) -> list[Mistake]:
    """Returns the mistakes in a pydantic error, one per field, however many members of a union complain about it.

    Args:
        error: raised by `model`.
        model: the class that was validated; its JSON Schema says what is expected.
    """
    schema, mistakes = _schema(model), {}
    for detail in error.errors(include_url=False):
        path, kind = _field(detail["loc"], schema)
        mistakes.setdefault(path, Mistake(path, _sentence(detail, path, kind, schema)))
    return list(mistakes.values())


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def unknown_key(section: str, key: str, known: Iterable[str]) -> str:
    """Returns the sentence that refuses an unknown key and names the nearest known one."""
    return f"{shortened(section)} has no key {quoted(key)}{nearest(key, known)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the known word nearest to `word`, or the list of all if none is near.

    Other tools' names of our keys count as near: see MEANT.
    """
    known = list(known)
    words = {**{name: meant for name, meant in MEANT.items() if meant in known}, **{name: name for name in known}}
    near = get_close_matches(shortened(word).lower(), words, n=1, cutoff=0.6)
    return f"; did you mean {words[near[0]]!r}?" if near else f"; there are: {', '.join(known) or 'none'}"


def allowed(kind: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Describes in words the values that a JSON Schema allows.

    Args:
        kind: the schema of one value.
        schema: the schema that holds the definitions to which `kind` refers.
    """
    if "$ref" in kind:
        return allowed(schema.get("$defs", {})[kind["$ref"].rsplit("/", 1)[1]], schema)
    if "anyOf" in kind:
        return " or ".join(dict.fromkeys(allowed(option, schema) for option in kind["anyOf"]))
    if "const" in kind or "enum" in kind:
        return " or ".join(str(value) for value in kind.get("enum", [kind.get("const")]))
    if kind.get("type") in ("integer", "number"):
        noun = "a whole number" if kind["type"] == "integer" else "a finite number"
        return " ".join([noun, _limits(kind)]).strip()
    if kind.get("type") == "array":
        return _list(kind, schema)
    if kind.get("maxProperties") == 1:
        return "a mapping with one entry"
    if "maxLength" in kind:
        return f"text of at most {kind['maxLength']} characters"
    return _KINDS.get(kind.get("type", ""), "another value")


def shown(value: Any) -> str:
    """Returns a value as text for a message, in JSON, which distinguishes "1" from 1; of a long one the two ends."""
    return shortened(json.dumps(value, ensure_ascii=False, default=str))


def _limits(kind: Mapping[str, Any]) -> str:
    return " and ".join(f"{words} {_number(kind[key])}" for key, words in _LIMITS.items() if key in kind)


def _number(limit: float) -> str:
    return str(int(limit) if limit == int(limit) else limit)


def _list(kind: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    items = kind.get("prefixItems")
    if items:
        return f"a list of {len(items)}, each {allowed(items[0], schema)}"
    least, most = kind.get("minItems", 0), kind.get("maxItems")
    length = "" if most is None else f" of {most}" if least == most else f" of at most {most}"
    inner = kind.get("items")
    return f"a list{length}, each {allowed(inner, schema)}" if inner else f"a list{length}"


def _field(location: Sequence[str | int], schema: Mapping[str, Any]) -> tuple[tuple[str | int, ...], Mapping[str, Any]]:
    """The part of pydantic's location that is a key of the recipe, and that key's schema.

    The rest of the location is names of union members, or positions inside a list.
    """
    kind: Mapping[str, Any] = schema
    for position, part in enumerate(location):
        if "$ref" in kind:
            kind = schema["$defs"][kind["$ref"].rsplit("/", 1)[1]]
        if part not in kind.get("properties", {}):
            ends = "properties" not in kind
            return tuple(location[:position] if ends else location[: position + 1]), kind
        kind = kind["properties"][part]
    return tuple(location), kind


def _sentence(
    detail: ErrorDetails, path: tuple[str | int, ...], kind: Mapping[str, Any], schema: Mapping[str, Any]
) -> str:
    *sections, key = path or ("",)
    section = ".".join(map(str, sections)) or "the recipe"
    if detail["type"] == "extra_forbidden":
        return unknown_key(section, str(key), kind.get("properties", {}))
    if detail["type"] == "missing" and len(detail["loc"]) == len(path):
        return f"{section} lacks {key!r}; write {'.'.join(map(str, path))}"
    if detail["type"] == "value_error":
        return f"{'.'.join(map(str, path))}: {detail.get('ctx', {}).get('error')}"
    value, name = _value(detail, path), ".".join(map(str, path)) or "the recipe"
    return f"{name} is {shown(value)}; it must be {allowed(kind, schema)}{_in_brackets(name, value, kind)}"


def _in_brackets(name: str, value: Any, kind: Mapping[str, Any]) -> str:
    """How to write numbers without brackets, such as 64, "64,96" or "64x96", where a list of them is allowed."""
    lists = [one for one in kind.get("anyOf", [kind]) if one.get("prefixItems") or one.get("items")]
    numbers = _NUMBERS.fullmatch(str(value)) if lists and not isinstance(value, list) else None
    if numbers is None:
        return ""
    parts = _BETWEEN.split(numbers[1])
    count = len(lists[0].get("prefixItems", parts))
    parts = parts * count if len(parts) == 1 else parts
    return f": {name}=[{','.join(parts)}]" if len(parts) == count else ""


def _value(detail: ErrorDetails, path: tuple[str | int, ...]) -> Any:
    """The wrong value; inside a list, the wrong item with its position."""
    if detail["type"] == "missing":  # an item: the list is too short
        return detail["input"]
    inner = [part for part in detail["loc"][len(path) :] if isinstance(part, int)]
    return {f"item {inner[0] + 1}": detail["input"]} if inner else detail["input"]
