"""Changes the values of recipes: any kind and size, unknown keys, options of every table."""

import copy
import inspect
import json
import random
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from benchmarks.fuzzing.verdict import LONG_VALUE
from unpool.data.augment import AUGMENTATIONS
from unpool.data.noise import NOISES
from unpool.data.order import ORDERS
from unpool.data.readers import READERS
from unpool.models import known_options, names
from unpool.models.backbones import BACKBONES
from unpool.recipe.keywords import DERIVED
from unpool.recipe.settings import Data, Recipe, Train
from unpool.tasks import TASKS

Tree = dict[str, Any]
NUMBERS = (0, 1, 2, 3, 7, 33, 0.5, 0.1, 1.5, 0.999, 1e-3)
EXTREMES = (
    *(-1, -0.5, 5e-324, 1e-300, 1e300, -1e300, 2**31, 2**63, 10**30, 16_384, 65_536, 1_000_000, 512),
    *(float("nan"), float("inf"), -float("inf"), True, False, None),
    *("", "1", "true", LONG_VALUE, "\u2028ü\U0001f600", "a\0b", "../../x", "~nobody/x", "no", "1e3", "{}"),
    *([], [0], [1, 1], [0.5, 2.0], [2.0, 0.5], [1e300, 1], [1, 2, 3, 4], [[1, 2], [3]], [None], ["a"]),
    *({}, {"a": 1}, {"by": "size"}, {"": 0}),
)
SCHEMA = Recipe.model_json_schema()
SCHEDULES = ("constant", "step", "cosine", "poly", "onecycle", "linear")


def value_of(rng: random.Random) -> Any:
    """Any value, extremes more often than numbers of use."""
    return rng.choice(NUMBERS if rng.random() < 0.4 else EXTREMES)


def allowed(schema: Mapping[str, Any], rng: random.Random, whole: Mapping[str, Any] | None = None) -> Any:
    """A value that a JSON Schema allows, often at its limits."""
    whole = whole or schema
    if "$ref" in schema:
        return allowed(whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], rng, whole)
    if "anyOf" in schema:
        return allowed(rng.choice(schema["anyOf"]), rng, whole)
    if "enum" in schema or "const" in schema:
        return rng.choice(schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return _number(schema, rng)
    if kind == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})] * rng.choice((0, 1, 2, 3))
        values = [allowed(item, rng, whole) for item in items]
        return sorted(values) if values and all(type(value) in (int, float) for value in values) else values
    return {"boolean": rng.random() < 0.5, "null": None, "string": rng.choice(("a", "unet", "x/y.npy"))}.get(
        str(kind), rng.choice(NUMBERS)
    )


def _number(schema: Mapping[str, Any], rng: random.Random) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -(10.0**6)))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 10.0**6))
    if schema["type"] == "integer":
        return int(rng.choice((low, low + 1, low + 2, 7, 64, high, high - 1)))
    return rng.choice((low, low + 5e-324, 1e-300, 1e-8, low + 0.5 * (min(high, low + 10) - low), 1.0, 3.0, high, 1e300))


def changed_tree(tree: Tree, rng: random.Random) -> tuple[Tree, str]:
    """A copy of a recipe's tree with one to three changes, and their names."""
    tree, done = copy.deepcopy(tree), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(CHANGES)
        change(tree, rng)
        done.append(change.__name__.removeprefix("_"))
    return tree, ", ".join(done)


def as_text(tree: Tree) -> str:
    """The tree as YAML in the form of JSON, which has a word for each of its values."""
    text = json.dumps(tree, ensure_ascii=False, indent=1)
    return text.replace("-Infinity", "-.inf").replace("Infinity", ".inf").replace("NaN", ".nan").replace("\0", "\\0")


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _leaves(value, (*path, key))


def _inside(tree: Tree, path: tuple[Any, ...]) -> Any:
    inner: Any = tree
    for key in path:
        inner = inner[key]
    return inner


def _section(tree: Tree, name: str) -> Tree:
    if not isinstance(tree.get(name), dict):
        tree[name] = {}
    return tree[name]


def _value(tree: Tree, rng: random.Random) -> None:
    *parent, key = rng.choice([*_leaves(tree)] or [("about",)])
    _inside(tree, tuple(parent))[key] = value_of(rng)


def _near(tree: Tree, rng: random.Random) -> None:
    numbers = [path for path in _leaves(tree) if type(_inside(tree, path)) in (int, float)]
    if numbers:
        *parent, key = rng.choice(numbers)
        _inside(tree, tuple(parent))[key] *= rng.choice((0, 0.5, 2, 3, 10, 1000, -1))


def _unknown(tree: Tree, rng: random.Random) -> None:
    key = rng.choice(("learning_rat", "", "x y", LONG_VALUE, "__class__", "num_classes", "ünï", "1"))
    rng.choice([tree, *(value for value in tree.values() if isinstance(value, dict))])[key] = value_of(rng)


def _missing(tree: Tree, rng: random.Random) -> None:
    *parent, key = rng.choice([*_leaves(tree)] or [("about",)])
    inner = _inside(tree, tuple(parent))
    if isinstance(inner, list) or key in inner:
        del inner[key]


def _options(build: Callable[..., Any], rng: random.Random, derived: Container[str] = ()) -> Tree:
    """Some options of a row, with their defaults, numbers of use, pairs of them, or anything."""
    options = {}
    for parameter in inspect.signature(build, eval_str=True).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or parameter.name in derived:
            continue
        is_needed = parameter.default is inspect.Parameter.empty
        if not is_needed and rng.random() < 0.5:
            continue
        options[parameter.name] = _option(parameter, rng)
    return options


def _option(parameter: inspect.Parameter, rng: random.Random) -> Any:
    """A value of the option's kind, a pair of numbers of use, or anything."""
    kind = rng.random()
    if kind < 0.5:
        return allowed(TypeAdapter(parameter.annotation).json_schema(), rng)
    return sorted((rng.choice(NUMBERS), rng.choice(NUMBERS))) if kind < 0.8 else value_of(rng)


def _augment(tree: Tree, rng: random.Random) -> None:
    data = _section(tree, "data")
    steps = data["augment"] if isinstance(data.get("augment"), list) else []
    name = rng.choice([*AUGMENTATIONS])
    steps.insert(rng.randint(0, len(steps)), {name: _options(AUGMENTATIONS[name], rng)})
    data["augment"] = steps


def _noise(tree: Tree, rng: random.Random) -> None:
    name = rng.choice([*NOISES])
    _section(tree, "data")["noise"] = {name: _options(NOISES[name], rng)}


def _order(tree: Tree, rng: random.Random) -> None:
    name = rng.choice([*ORDERS])
    _section(tree, "data")["order"] = {name: _options(ORDERS[name], rng)}


def _schedule(tree: Tree, rng: random.Random) -> None:
    train = _section(tree, "train")
    train["schedule"] = rng.choice(SCHEDULES)
    for key in rng.sample(["milestones", "gamma", "power", "warmup_epochs", "lr", "momentum", "ema", "clip_norm"], 2):
        train[key] = rng.choice([[1], [1, 2], []]) if key == "milestones" else rng.choice((*NUMBERS, value_of(rng)))


def _data(tree: Tree, rng: random.Random) -> None:
    reader = _section(tree, "data").get("reader")
    options = inspect.signature(READERS[reader]).parameters if reader in [*READERS] else {}
    key = rng.choice([*Data.model_fields, *list(options)[2:]])
    _section(tree, "data")[key] = _field("Data", key, rng)


def _train(tree: Tree, rng: random.Random) -> None:
    key = rng.choice([*Train.model_fields])
    _section(tree, "train")[key] = _field("Train", key, rng)


def _field(section: str, key: str, rng: random.Random) -> Any:
    """A value of a key of the recipe, mostly one that its schema allows."""
    known = SCHEMA["$defs"][section]["properties"]
    return allowed(known[key], rng, SCHEMA) if key in known and rng.random() < 0.7 else value_of(rng)


def _model(tree: Tree, rng: random.Random) -> None:
    model = _section(tree, "model")
    if model.get("name") in names():
        options = known_options(model["name"], backbone=None)
        key = rng.choice([*options, "backbone", "weights", "new_head"])
        model[key] = rng.choice(NUMBERS) if rng.random() < 0.5 else value_of(rng)


def _task(tree: Tree, rng: random.Random) -> None:
    task = _section(tree, "task")
    if task.get("name") in [*TASKS]:
        task.update(_options(TASKS[task["name"]], rng, derived=DERIVED["task"]))


def _other_row(tree: Tree, rng: random.Random) -> None:
    tables = {"model": names(), "task": [*TASKS], "data": [*READERS]}
    section = rng.choice([*tables])
    _section(tree, section)["reader" if section == "data" else "name"] = rng.choice([*tables[section]])
    if section == "model" and rng.random() < 0.5:
        tree["model"]["backbone"] = rng.choice([*BACKBONES])


CHANGES = (
    *(_value, _near, _unknown, _missing, _augment, _augment, _noise, _noise, _order, _schedule),
    *(_data, _data, _data, _train, _train, _train, _model, _model, _task, _other_row),
)
