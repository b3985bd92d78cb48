"""A recipe with every key that it can have, each with a line of help from the docstrings that define it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import getdoc, getmro, isclass, signature
from textwrap import wrap
from typing import Any

from pydantic import BaseModel

from unpool.recipe.keywords import DERIVED, Option, options_of
from unpool.recipe.options import model_options
from unpool.recipe.settings import Recipe
from unpool.recipe.yaml_text import write_yaml

COLUMN, WIDTH = 36, 80  # where help begins behind a value, and where lines end
_ENTRY = re.compile(r"^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)", re.MULTILINE)


def explain(recipe: Recipe) -> str:
    """The recipe as YAML with every key, also those of its reader, network and task, and help at each.

    What a recipe sets, and every default that YAML can express, stands as a value; a key without one is a comment.
    Loading the text gives the recipe again. Imports torch, for the tables.

    Args:
        recipe: as `load_recipe` returns it.
    """
    from unpool.data.augment import AUGMENTATIONS
    from unpool.data.noise import NOISES
    from unpool.data.order import ORDERS
    from unpool.data.proposals import PROPOSERS
    from unpool.data.readers import READERS
    from unpool.layers.initializations import INITS
    from unpool.models import backbone_row_of, row_of
    from unpool.models.exchanging import exchange
    from unpool.tasks import TASKS

    data, model, task = recipe.data, recipe.model, recipe.task
    builds = [row_of(model.name).build, *([backbone_row_of(model.backbone).build] if model.backbone else []), exchange]
    rows = {
        "data": ([READERS[data.reader]], options_of(READERS[data.reader], DERIVED["data"])),
        "model": (builds, model_options(model.name, model.backbone)),
        "task": ([TASKS[task.name]], options_of(TASKS[task.name], DERIVED["task"])),
        "train": ([], {}),
    }
    tables = {
        "data": {"reader": READERS, "augment": AUGMENTATIONS, "order": ORDERS, "noise": NOISES, "proposals": PROPOSERS},
        "model": {"init": INITS},
        "task": {"name": TASKS},
    }
    lines = [_line("format", recipe.format, "", 0), _line("about", recipe.about, "", 0)]
    for section, (builders, options) in rows.items():
        lines.append(f"{section}:")
        lines += _section(getattr(recipe, section), builders, options, tables=tables.get(section, {}))
    return "\n".join(lines)


def _section(
    settings: BaseModel,
    builds: list[Callable[..., Any]],
    options: Mapping[str, Option],
    *,
    tables: Mapping[str, Iterable[str]],
) -> Iterator[str]:
    from unpool.types import Decoding

    values = settings.model_dump(mode="json")
    general = help_of(type(settings))
    schema = type(settings).model_json_schema()["properties"]
    for key in type(settings).model_fields:
        choices = tables.get(key) or schema[key].get("enum", ())
        yield _line(key, values[key], _with_choices(general.get(key, ""), choices), 2)
    theirs = {key: text for build in (Decoding, *reversed(builds)) for key, text in help_of(build).items()}
    for key in options:
        if key in values:
            yield _line(key, values[key], theirs.get(key, ""), 2)
        else:
            yield _comment(f"  # {key}:", theirs.get(key, ""))


def help_of(build: Callable[..., Any]) -> dict[str, str]:
    """The first sentence about each argument or attribute in the docstring of a class or function, by name.

    None is called null, as in YAML. Those of the bases of a class, and of the class that a function returns, count
    where it says nothing itself.

    Example:
        >>> from unpool.recipe.settings import Train
        >>> help_of(Train)["batch"]
        'images per step, before accumulation'
    """
    while hasattr(build, "func"):  # a partial
        build = build.func  # type: ignore[attr-defined]
    returned = None if isclass(build) else signature(build, eval_str=True).return_annotation
    sources = [*(getmro(build) if isclass(build) else (build,)), *(getmro(returned) if isclass(returned) else ())]
    texts: dict[str, str] = {}
    for source in reversed(sources):
        here: dict[str, str] = {}
        for names, text in _ENTRY.findall(getdoc(source) or "" if source is not object else ""):
            sentence = re.split(r"\.(?:\s|$)", " ".join(text.split()), maxsplit=1)[0]
            sentence = re.sub(r"\bNone\b", "null", sentence)
            here |= {name: sentence for name in re.split(r",\s*", names) if name not in here}  # arguments come first
        texts |= here
    return texts


def _with_choices(text: str, choices: Iterable[str]) -> str:
    """The help, with the words that the value is chosen from where it does not name them."""
    words = list(map(str, choices))
    return text if not words or all(word in text for word in words) else f"{text}: {', '.join(words)}".lstrip(": ")


def _line(key: str, value: Any, text: str, indent: int) -> str:
    """`key: value  # help`; long help, and that of a value of several lines, above it."""
    plain = write_yaml({key: value}).strip()
    if plain.startswith("{"):
        plain = plain[1:-1].replace("\n", "\n  ")  # a text of several lines goes on behind its key
    lines = [" " * indent + line for line in plain.split("\n")]
    if len(lines) == 1:
        return _comment(lines[0], text)
    return "\n".join([*_above(text), *lines])


def _comment(line: str, text: str) -> str:
    """The line with its help behind it, or where that is too long above it."""
    mark = "" if line.lstrip().startswith("#") else "# "
    whole = f"{line:{COLUMN}}{mark if len(line) < COLUMN else f'  {mark}'}{text}" if text else line
    return whole if len(whole) <= WIDTH or not text else "\n".join([*_above(text), line])


def _above(text: str) -> list[str]:
    return [f"  #   {part}" for part in wrap(text, WIDTH - 6, break_long_words=False, break_on_hyphens=False)]
