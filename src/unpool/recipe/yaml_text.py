"""Reads and writes YAML 1.2 with plain values only: no tags, no aliases, no duplicate keys."""

import copy
import datetime
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, MappingStartEvent, SequenceStartEvent
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from unpool.errors import RecipeError, quoted, shortened

LARGEST = 1_000_000  # characters; a recipe has some thousands
STRANGE_BREAKS = frozenset("\x85\u2028\u2029\ufeff")
DEEPEST = 20  # levels of nested mappings and lists; a recipe has five


def read_yaml(text: str, *, where: str) -> Any:
    """Parses one YAML document to plain values: dict, list, str, int, float, bool and None.

    Args:
        text: the document.
        where: name of the document, for messages.

    Raises:
        RecipeError: the text is no YAML, or has other than plain values; the message has the line and column.
    """
    return copy.deepcopy(_parse(text, where))


@lru_cache(maxsize=64)  # a command reads one recipe several times
def _parse(text: str, where: str) -> Any:
    if len(text) > LARGEST:
        raise RecipeError(
            f"{where} has {len(text)} characters; a recipe has at most {LARGEST}: is this the right file?"
        )
    text = text.removeprefix("\ufeff")
    try:
        _refuse_expansion(text, where)
        return _plain(_yaml().load(text), where)
    except RecipeError:  # also a ValueError
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        location = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise RecipeError(f"{where} is not plain YAML{location}: {_explain(error)}") from error
    except YAMLError as error:
        raise RecipeError(f"{where} is not plain YAML: {shortened(' '.join(str(error).split()))}") from error
    except ValueError as error:  # an invalid number or date, such as 2020-13-01
        raise RecipeError(f"{where} has a value that cannot be read: {shortened(str(error))}") from error


def write_yaml(values: Any) -> str:
    """Returns plain values as YAML, from which `read_yaml` reads equal values."""
    yaml, text = _yaml(), io.StringIO()
    yaml.default_flow_style = None
    yaml.width = 110
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = not _has_strange_break(values)
    yaml.dump(values, text)
    return text.getvalue()


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """Returns the line, counted from 1, of the deepest part of `path` that the document has; None if it has none."""
    node, line = _yaml().compose(text.removeprefix("\ufeff")), None
    for part in path:
        child = _child(node, part)
        if child is None:
            break
        key, node = child
        line = key.start_mark.line + 1
    return line


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)  # the compiled parser reads YAML 1.1


def _has_strange_break(value: Any) -> bool:
    """Whether a text has one of Unicode's further line breaks, which the emitter keeps and the parser folds."""
    if isinstance(value, dict):
        return any(_has_strange_break(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return any(map(_has_strange_break, value))
    return isinstance(value, str) and not STRANGE_BREAKS.isdisjoint(value)


def _child(node: Node | None, part: str | int) -> tuple[Node, Node] | None:
    if isinstance(node, MappingNode):
        return next((pair for pair in node.value if pair[0].value == part), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _refuse_expansion(text: str, where: str) -> None:
    depth = 0
    for event in _yaml().parse(text):
        location = f"{where}, line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"
        if isinstance(event, AliasEvent):
            raise RecipeError(
                f"{location}: the alias *{shortened(str(event.anchor))} is not allowed; write the value out"
            )
        if event.__class__.__name__.endswith("EndEvent"):
            depth -= 1
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            depth += 1
        if depth > DEEPEST:
            raise RecipeError(f"{location}: lists or mappings are nested more than {DEEPEST} deep; a recipe needs five")


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        plain = {_key(key, where): _plain(item, where) for key, item in value.items()}
        if len(plain) < len(value):
            raise RecipeError(f"{where} has one key twice among {shortened(', '.join(map(repr, value)))}; drop one")
        return plain
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    if isinstance(value, datetime.date):  # also a datetime
        return value.isoformat()
    if value is None or isinstance(value, str | int | float):
        return value
    raise RecipeError(
        f"{where} has a {type(value).__name__}: {quoted(str(value))}; write words, numbers, lists or mappings"
    )


def _key(key: Any, where: str) -> str:
    """The key as text; whole numbers too, such as ids of `data.mask_values`, as in JSON."""
    if type(key) is int:
        return str(key)
    if not isinstance(key, str):
        raise RecipeError(f"{where} has the key {quoted(key)}, which is no word; put it in quotes if it is a name")
    return key


def _explain(error: MarkedYAMLError) -> str:
    problem = shortened(str(error.problem or error.context or "cannot be read"))
    if "\\t" in problem:
        return f"{problem}; indent with spaces, not tabs"
    if "could not determine a constructor" in problem:
        return f"{problem}; recipes hold plain values, no tags"
    if "found another document" in str(problem):
        return "a second document starts here; a recipe is one document"
    return problem
