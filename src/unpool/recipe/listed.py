"""What the tables of readers, tasks and networks hold, known without importing one, which would import torch.

listed.txt has a line for each row: section of a recipe, name, words about it, and behind a colon its options, with "!"
those without a default. Words about a reader: "root" where it needs a folder; about a task: the kinds of output that it
takes. Options of a network are those with the backbone that it has by itself.
"""

from collections.abc import Iterator
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Any, NamedTuple

from unpool.network_names import listed_networks, not_listed
from unpool.recipe.keywords import Option
from unpool.recipe.mistakes import Mistake
from unpool.recipe.options import check_data, check_model, check_output, check_task
from unpool.recipe.settings import Recipe

FILE = Path(__file__).with_name("listed.txt")  # tests/test_listed.py says how to write it anew


class Row(NamedTuple):
    """One row of a table: words about it, and its options."""

    words: tuple[str, ...]
    options: dict[str, Option]


@cache
def listed_rows() -> dict[str, dict[str, Row]]:
    """Returns the rows by section, "data", "task" or "model", and name.

    Example:
        >>> listed_rows()["task"]["pose"].words
        ('maps', 'heatmaps')
    """
    rows: dict[str, dict[str, Row]] = {"data": {}, "task": {}, "model": {}}
    for line in FILE.read_text(encoding="ascii").splitlines():
        head, _, options = line.partition(":")
        section, name, *words = head.split()
        rows[section][name] = Row(tuple(words), dict(map(_option, options.split())))
    return rows


def early_mistakes(recipe: Recipe) -> Iterator[Mistake]:
    """Those mistakes in names and options of tables that the list shows; values of options are checked later."""
    rows = listed_rows()
    options = {section: {name: row.options for name, row in rows[section].items()} for section in rows}
    yield from check_data(recipe, options["data"])
    yield from check_task(recipe, options["task"])
    reader, model = rows["data"].get(recipe.data.reader), recipe.model
    if reader is not None and "root" in reader.words and recipe.data.root is None:
        yield Mistake(("data", "root"), needs_folder(recipe.data.reader))
    if model.name.startswith("timm/"):
        return
    if model.name not in options["model"]:
        yield Mistake(("model", "name"), not_listed(model.name, options["model"]))
        return
    if model.backbone is None:
        yield from check_model(model, options["model"][model.name])
    if task := rows["task"].get(recipe.task.name):
        yield from check_output(recipe, gives=listed_networks()[model.name].gives, takes=task.words)


def needs_folder(reader: str) -> str:
    """Returns the sentence that asks for the folder of a data set."""
    return f"reader {reader} needs a folder; say which: data.root=DIR"


def _option(word: str) -> tuple[str, Option]:
    return word.removesuffix("!"), Option(Any, Parameter.empty if word.endswith("!") else None)
