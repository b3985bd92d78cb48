"""Parses overrides, `section.key=value`, and applies them to a recipe."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from typing import Any

from unpool.errors import RecipeError, quoted, shortened
from unpool.recipe.mistakes import MEANT, nearest
from unpool.recipe.settings import Data, Model, Task, Train
from unpool.recipe.yaml_text import read_yaml

# not parsed as YAML: a folder's name may be 2024, or contain a colon
TEXT = {"about", "data.reader", "data.root", "model.name", "model.backbone", "task.name"}
SECTION_CLASSES = {"data": Data, "model": Model, "task": Task, "train": Train}
SECTIONS = tuple(SECTION_CLASSES)

Overrides = Sequence[str] | Mapping[str, Any]


def parse_overrides(overrides: Overrides, *, only: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns the overrides as values by dotted key.

    Args:
        overrides: `section.key=value` texts, the value in YAML; or values by dotted key.
        only: the keys that may be overridden; None allows all.

    Raises:
        RecipeError: a text is no override, a key is in no section, or a key is not in `only`.
        TypeError: `overrides` is one text, or a value is of a kind that YAML does not have.
    """
    if isinstance(overrides, str):
        raise TypeError(f"overrides is the text {quoted(overrides)}; give a list of texts or a mapping")
    if isinstance(overrides, Mapping):
        values = {key: _from_python(value) for key, value in overrides.items()}
    else:
        values = dict(_split(text) for text in overrides)
    for key, value in values.items():
        _check_key(key, value)
        if only is not None and key not in only:
            raise RecipeError(f"{shortened(key)} cannot be overridden here; only {' and '.join(only)} can")
    return values


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Returns the values of `key=value` texts by key, each value parsed as YAML; for options outside of a recipe.

    Raises:
        RecipeError: a text is no `key=value`, or its value is no YAML.
    """
    return dict(_split(text) for text in texts)


def apply_overrides(tree: Any, values: Mapping[str, Any]) -> Any:
    """Returns a copy of a recipe's tree with the values set; a tree that is no mapping is returned unchanged.

    Args:
        tree: values of a recipe's YAML document.
        values: by dotted key, such as "train.epochs".
    """
    if not isinstance(tree, dict):
        return tree
    changed = dict(tree)
    for dotted, value in values.items():
        section, _, key = dotted.partition(".")
        if not key:
            changed[section] = value
        elif isinstance(changed.get(section) or {}, dict):
            changed[section] = {**(changed.get(section) or {}), key: value}
    return changed


def _is_folder(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except OSError:  # too long for a name
        return False


def _split(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals and _is_folder(text):
        raise RecipeError(f"{quoted(text)} is a folder; of the data set, write data.root={quote(text)}")
    if not equals or not key:
        raise RecipeError(f"override {quoted(text)} is no key=value; write, for example, train.epochs=5")
    if not value.strip():
        raise RecipeError(f"override {quoted(text)} has no value; write {shortened(key)}=null for none")
    if key in TEXT:
        return key, None if value in ("null", "~") else value
    return key, read_yaml(value, where=f"override {quoted(text)}")


def _check_key(key: str, value: Any) -> None:
    section, dot, name = key.partition(".")
    if key == "about" or (section in SECTIONS and dot and name and "." not in name):
        return
    if section in SECTIONS:
        raise RecipeError(f"override {quoted(key)} must name one key of {section}: {section}.key=value")
    if not dot and (meant := _in_sections(key)):
        likely = " or ".join(f"{one}={shortened(str(value))}" for one in meant)
        raise RecipeError(f"override {quoted(key)} lacks its section; did you mean {likely}?")
    raise RecipeError(f"override {quoted(key)}: there is no section {quoted(section)}{nearest(section, SECTIONS)}")


def _in_sections(word: str) -> list[str]:
    """The keys `section.key` that are called `word`, in other tools too; else the nearest of all keys."""
    fields = {section: list(kind.model_fields) for section, kind in SECTION_CLASSES.items()}
    name = word if any(word in keys for keys in fields.values()) else MEANT.get(word, word)
    exact = [f"{section}.{name}" for section, keys in fields.items() if name in keys]
    every = {key: f"{section}.{key}" for section, keys in fields.items() for key in keys}
    return exact or [every[near] for near in get_close_matches(shortened(word).lower(), every, n=1, cutoff=0.7)]


def _from_python(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_from_python(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _from_python(item) for key, item in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"an override is {quoted(value)}; give text, numbers, None, or lists and mappings of them")
