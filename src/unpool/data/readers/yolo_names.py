"""data.yaml of a set in YOLO's form: names of the classes, and where the images of each split lie.

All scalars are read as they are written: a class called no, 1e3 or 012 keeps its name.

Source: docs.ultralytics.com, "Object Detection Datasets Overview".
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from unpool.data.classes import nfc
from unpool.data.image_file import printable
from unpool.data.readers.box_layouts import box_hint
from unpool.data.readers.split_names import SPLIT_NAMES
from unpool.data.text_file import MOST_CLASSES, read_text
from unpool.errors import DataError, quoted, shortened

_DEEPEST = 10  # mappings and lists within one another


class YoloNames(NamedTuple):
    """The content of a data.yaml.

    Attributes:
        path: of the file.
        classes: names by number.
        base: the folder that it calls `path`; empty where it does not say.
        entries: folders, files or lists of images, by split.
    """

    path: Path
    classes: tuple[str, ...]
    base: str
    entries: Mapping[str, tuple[str, ...]]


def read_yolo_names(root: Path) -> YoloNames:
    """Reads data.yaml, or the only YAML file of the root.

    Raises:
        DataError: there is no such file, it is no YAML, or its names are missing, repeated or not `nc` many, or two
            keys are of one split.
    """
    path = _find(root)
    values = _mapping(_compose(path), path)
    classes = _classes(values, path)
    stated = {
        split: [key for key in keys if key in values and not _is_empty(values[key])]
        for split, keys in SPLIT_NAMES.items()
    }
    for split, keys in stated.items():
        if len(keys) > 1:
            raise DataError(f"{printable(path)} has {' and '.join(keys)}, both of {split}: delete one of them")
    entries = {split: _texts(values[key], key, path) for split, keys in stated.items() for key in keys}
    base = _texts(values["path"], "path", path)[0] if "path" in values and not _is_empty(values["path"]) else ""
    return YoloNames(path, classes, base, entries)


def _compose(path: Path) -> Node | None:
    """Returns the document of a file, which is nested as little as a data.yaml."""
    try:
        text, depth = read_text(path, most=MOST_CLASSES), 0
        for event in _yaml().parse(text):  # as it is read, before anything recurses
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > _DEEPEST:
                raise DataError(f"{printable(path)} is nested more than {_DEEPEST} deep; a data.yaml is nested twice")
        return _yaml().compose(text)
    except DataError:  # also a ValueError, as that of a file which is no UTF-8
        raise
    except (YAMLError, ValueError) as error:
        problem = shortened(" ".join(str(error).split()))
        raise DataError(f"{printable(path)} is not plain YAML: {problem}: correct it") from error


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _find(root: Path) -> Path:
    files = sorted(path for suffix in ("yaml", "yml") for path in root.glob(f"*.{suffix}") if path.is_file())
    named = [path for path in files if path.stem == "data"]
    if len(named or files) == 1:
        return (named or files)[0]
    held = ", ".join(printable(path.name) for path in files) or "no YAML file"
    advice = "write the names of the classes into data.yaml, such as `names: [ant, bee]`"
    raise DataError(
        f"{printable(root)} holds {held}; expected one data.yaml: {advice}{box_hint(root, 'train', 'yolo')}"
    )


def _mapping(node: Node | None, path: Path) -> dict[str, Node]:
    if not isinstance(node, MappingNode):
        raise DataError(f"{printable(path)} holds no `key: value` lines; expected names, train and val")
    values = {str(key.value): value for key, value in node.value}
    if len(values) < len(node.value):
        raise DataError(f"{printable(path)} has one key twice among {', '.join(map(quoted, values))}: drop one")
    return values


def _classes(values: Mapping[str, Node], path: Path) -> tuple[str, ...]:
    node = values.get("names")
    if isinstance(node, MappingNode):
        numbered = _mapping(node, path)
        numbers = [str(number) for number in range(len(numbered))]
        if set(numbered) != set(numbers):
            listed = shortened(", ".join(numbered))
            raise DataError(
                f"{printable(path)}: names has the numbers {listed}; expected 0 to {len(numbers) - 1}, each once"
            )
        node = SequenceNode("", [numbered[number] for number in numbers])
    if not isinstance(node, SequenceNode) or not node.value:
        raise DataError(f"{printable(path)} has no names; expected a list of the classes, such as `names: [ant, bee]`")
    names = tuple(nfc(name.strip()) for name in _texts(node, "names", path))
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(
            f"{printable(path)}: the name {quoted(twice[0])} stands twice in names: give each class its name"
        )
    count = values.get("nc")
    if count is not None and str(count.value).strip() != str(len(names)):
        problem = f"{printable(path)}: nc is {quoted(str(count.value))} and names has {len(names)}"
        raise DataError(f"{problem}; expected as many: correct one of them")
    return names


def _texts(node: Node, key: str, path: Path) -> tuple[str, ...]:
    """Returns the scalars of a node, which is one or a list of them."""
    nodes = node.value if isinstance(node, SequenceNode) else [node]
    if not all(isinstance(one, ScalarNode) for one in nodes):
        raise DataError(f"{printable(path)}: {key} holds lists or mappings; expected words")
    return tuple(str(one.value) for one in nodes)


def _is_empty(node: Node) -> bool:
    return node.value in ("", "null", "~", [])
